//! All of it with a real client: skopeo logs in by a password or by a token server, is let in or refused, and it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use transom_meta::kv::memory::Memory;
use transom_registry::access::Gate;
use transom_registry::auth::gate;
use transom_registry::event::{Listener, Nobody};
use transom_registry::metrics::Metrics;
use transom_registry::notify::{Notifier, Source};
use transom_registry::server::Server;
use transom_registry::settings::parse;
use transom_registry::{Options, Registry, Store, auth, policy};
use transom_tests::require_program;
use transom_tests::sample::{Compression, ImageBuilder, Meta, Shape};

use crate::signer::{Key, claims};

/// A registry that serves, and an image for it.
struct Place {
    runtime: Runtime,
    folder: TempDir,
    image: String,
    skopeo: PathBuf,
}

impl Place {
    /// Without skopeo there is none, and the test is skipped.
    fn new() -> Option<Place> {
        let skopeo = require_program("skopeo")?;
        let folder = tempfile::tempdir().unwrap();
        let mut builder = ImageBuilder::new();
        let layer = builder.layer("a file", Compression::Gzip, |layer| {
            layer.file(b"file", &Meta::new(0o644), b"content");
            Ok(())
        });
        layer.unwrap();
        let layout = folder.path().join("image");
        let sample = builder.write(&layout, "v1", Shape::Flat).unwrap();
        let image = format!("oci:{}:{}", sample.layout.display(), sample.tag);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Some(Place {
            runtime,
            folder,
            image,
            skopeo,
        })
    }

    fn gate(&self, auth: &str, policy: Option<&str>) -> Arc<dyn Gate> {
        let auth: auth::Settings = parse(auth).unwrap();
        let policy = policy.map(|text| policy::Settings {
            file: self.write("policy.toml", text),
        });
        gate(&auth, policy.as_ref()).unwrap()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn serve(&self, gate: Arc<dyn Gate>, listener: Arc<dyn Listener>) -> SocketAddr {
        let store = Store::new(Arc::new(transom_storage::Memory::default()), Options::default());
        let registry = Registry::new(store, gate, listener, Default::default(), Metrics::default());
        let listening = Server::listen(registry, ([127, 0, 0, 1], 0).into(), None);
        let server = self.runtime.block_on(listening).unwrap();
        let address = server.address().unwrap();
        self.runtime.spawn(server.serve(std::future::pending()));
        address
    }

    /// Runs skopeo: what it says, and whether it succeeded. It has a home of its own, without anybody's passwords and caches.
    fn skopeo(&self, arguments: &[&str]) -> Result<String, String> {
        let home = self.folder.path().join("home");
        std::fs::create_dir_all(&home).unwrap();
        let output = Command::new(&self.skopeo)
            .args(["--insecure-policy", "--tmpdir"])
            .arg(&home)
            .args(arguments)
            .env("HOME", &home)
            .env("XDG_RUNTIME_DIR", &home)
            .env("XDG_DATA_HOME", &home)
            .env("REGISTRY_AUTH_FILE", home.join("auth.json"))
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr)),
        }
    }

    fn push(&self, to: &str, login: &[&str]) -> Result<String, String> {
        let arguments = ["copy", "--dest-tls-verify=false", "--retry-times=0"];
        self.skopeo(&[&arguments, login, &[&self.image, to]].concat())
    }

    fn pull(&self, from: &str, login: &[&str]) -> Result<String, String> {
        let to = format!("dir:{}", self.folder.path().join("pulled").display());
        let arguments = ["copy", "--src-tls-verify=false", "--retry-times=0"];
        self.skopeo(&[&arguments, login, &[from, &to]].concat())
    }

    /// A server whose answers a function makes.
    fn http(
        &self,
        answer: impl Fn(&http::request::Parts, &[u8]) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> SocketAddr {
        let listener = self.runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(answer);
        self.runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = Arc::clone(&answer);
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = Arc::clone(&answer);
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await?.to_bytes();
                        Ok::<_, hyper::Error>(answer(&head, &body))
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        address
    }
}

const POLICY: &str = r#"
[[rules]]
repositories = ["public/**"]
who = ["everyone"]
allow = ["pull"]

[[rules]]
repositories = ["team/**"]
who = ["user:alice"]
allow = ["pull", "push", "delete"]
"#;

#[test]
fn skopeo_logs_in_by_a_password_and_a_receiver_is_told() {
    let Some(place) = Place::new() else { return };
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    let hook = Arc::clone(&told);
    let receiver = place.http(move |_, body| {
        let envelope: Value = serde_json::from_slice(body).unwrap();
        hook.lock()
            .unwrap()
            .extend(envelope["events"].as_array().unwrap().clone());
        Response::new(Full::default())
    });
    let settings = [parse(&format!("name = \"hook\"\nurl = \"http://{receiver}/\"\n")).unwrap()];
    let opened = Notifier::open(&settings, Arc::new(Memory::new()), Source::default());
    let notifier = Arc::new(place.runtime.block_on(opened).unwrap());

    let hash = |password: &str| bcrypt::hash(password, 4).unwrap();
    let users = place.write("users", &format!("alice:{}\nbob:{}\n", hash("p"), hash("q")));
    let auth = format!("[htpasswd]\nrealm = \"Registry\"\npath = {users:?}\n");
    let listener: Arc<dyn Listener> = Arc::clone(&notifier) as _;
    let address = place.serve(place.gate(&auth, Some(POLICY)), listener);

    let team = format!("docker://{address}/team/app:v1");
    place.push(&team, &["--dest-creds=alice:p"]).unwrap();
    assert!(
        place
            .push(&team, &["--dest-creds=alice:q"])
            .unwrap_err()
            .contains("unauthorized")
    );
    let bob = place.push(&team, &["--dest-creds=bob:q"]).unwrap_err();
    assert!(bob.contains("403"), "{bob}");
    place.push(&team, &[]).unwrap_err();
    place.pull(&team, &["--src-creds=alice:p"]).unwrap();
    place.pull(&team, &["--src-creds=bob:q"]).unwrap_err();
    // What is not there, is not there for strangers either; and there is nothing that they may not know.
    let public = format!("docker://{address}/public/app:v1");
    assert!(place.pull(&public, &[]).unwrap_err().contains("manifest unknown"));
    let other = format!("docker://{address}/other/app:v1");
    place.pull(&other, &["--src-creds=alice:p"]).unwrap_err();

    place.runtime.block_on(async {
        while notifier.status()[0].pending > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        notifier.stop().await;
    });
    let told = told.lock().unwrap();
    let find = |action: &str, tag: &str| {
        let fits = |event: &&Value| event["action"] == action && event["target"]["tag"] == tag;
        told.iter()
            .find(fits)
            .unwrap_or_else(|| panic!("{action} in {told:#?}"))
    };
    let push = find("push", "v1");
    assert_eq!(push["actor"]["name"], "alice");
    assert_eq!(push["target"]["repository"], "team/app");
    assert_eq!(push["request"]["host"], address.to_string());
    let url = push["target"]["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://{address}/v2/team/app/manifests/sha256:")));
    find("pull", "v1");
    assert!(told.iter().all(|event| event["actor"]["name"] == "alice"));
}

/// A token server: alice may do everything, a stranger may pull what is public.
fn token_server(key: &Key, head: &http::request::Parts) -> Response<Full<Bytes>> {
    let query = head.uri.query().unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let decoded = |text: &str| text.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    let asked: Vec<(String, String)> = pairs
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect();
    let basic = head
        .headers
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    let alice = format!("Basic {}", STANDARD.encode("alice:p"));
    let known = basic.as_ref().is_some_and(|basic| *basic == alice);
    if basic.is_some() && !known {
        return Response::builder().status(401).body(Full::default()).unwrap();
    }
    let mut access = Vec::new();
    for (_, scope) in asked.iter().filter(|(name, _)| name == "scope") {
        let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else {
            continue;
        };
        let granted = actions
            .split(',')
            .filter(|action| known || (*action == "pull" && name.starts_with("public/")));
        access.push(json!({"type": kind, "name": name, "actions": granted.collect::<Vec<_>>()}));
    }
    let mut claims = claims();
    claims["sub"] = if known { "alice" } else { "" }.into();
    claims["access"] = access.into();
    let service: HashMap<_, _> = asked.into_iter().collect();
    claims["aud"] = service["service"].clone().into();
    let token = key.sign(&json!({"alg": "ES256", "kid": "k"}), &claims);
    Response::new(Full::from(json!({"token": token}).to_string()))
}

#[test]
fn skopeo_gets_tokens() {
    let Some(place) = Place::new() else { return };
    let key = Arc::new(Key::p256());
    let jwks = place.write("jwks.json", &json!({"keys": [key.jwk("k")]}).to_string());
    let tokens = place.http(move |head, _| token_server(&key, head));
    let auth = format!(
        "[token]\nrealm = \"http://{tokens}/token\"\nservice = \"registry.example\"\nissuer = \"auth.example\"\njwks = {jwks:?}\n"
    );
    let address = place.serve(place.gate(&auth, None), Arc::new(Nobody));
    let public = format!("docker://{address}/public/app:v1");
    let secret = format!("docker://{address}/secret/app:v1");
    place.push(&public, &["--dest-creds=alice:p"]).unwrap();
    place.push(&secret, &["--dest-creds=alice:p"]).unwrap();
    place.pull(&secret, &["--src-creds=alice:p"]).unwrap();
    place.pull(&public, &[]).unwrap();
    place.pull(&secret, &[]).unwrap_err();
    place.push(&public, &[]).unwrap_err();
    assert!(
        place
            .pull(&public, &["--src-creds=alice:x"])
            .unwrap_err()
            .contains("unauthorized")
    );
    let deleted = place.skopeo(&["delete", "--tls-verify=false", "--creds=alice:p", &secret]);
    deleted.unwrap();
    place.pull(&secret, &["--src-creds=alice:p"]).unwrap_err();
}

#[test]
fn strangers_pull_by_skopeo() {
    let Some(place) = Place::new() else { return };
    let hash = bcrypt::hash("p", 4).unwrap();
    let users = place.write("users", &format!("alice:{hash}\n"));
    let auth = format!("anonymous_pull = true\n[htpasswd]\nrealm = \"r\"\npath = {users:?}\n");
    let address = place.serve(place.gate(&auth, None), Arc::new(Nobody));
    let app = format!("docker://{address}/app:v1");
    place.push(&app, &[]).unwrap_err();
    place.push(&app, &["--dest-creds=alice:p"]).unwrap();
    place.pull(&app, &[]).unwrap();

    // What the guide says of `anonymous_ping`: skopeo has no reason to log in then.
    let address = place.serve(
        place.gate(&format!("anonymous_ping = true\n{auth}"), None),
        Arc::new(Nobody),
    );
    let app = format!("docker://{address}/app:v1");
    assert!(
        place
            .push(&app, &["--dest-creds=alice:p"])
            .unwrap_err()
            .contains("unauthorized")
    );
}
