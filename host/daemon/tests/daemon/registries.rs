//! Pulls and pushes as containerd's client of version 2 asks for them, and as `ctr` of 1.6 does them itself: from and to our
//! registry and Debian's, with passwords, over TLS.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use prost::Message;
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use transom_api::images::images_client::ImagesClient;
use transom_api::images::{DeleteImageRequest, ListImagesRequest};
use transom_api::snapshots::StatSnapshotRequest;
use transom_api::snapshots::snapshots_client::SnapshotsClient;
use transom_api::transfer_types::{
    AuthRequest, AuthResponse, AuthType, ImageReference, ImageStore, OciRegistry, Progress, RegistryResolver,
    UnpackConfiguration,
};
use transom_oci::media_type;
use transom_registry::auth;
use transom_registry::event::Nobody;
use transom_registry::metrics::Metrics;
use transom_registry::server::{Server, Tls, TlsFiles};
use transom_registry::settings::parse;
use transom_registry::{Options, Registry, Store};

use crate::ctr::Ctr;
use crate::fake::{Fake, Fault, reply};
use crate::program::Program;
use crate::rig::{Rig, here, refused, sha256};
use crate::transfer_client::{Pipe, import, transfer, types, unpackable};

pub(crate) const IMPORTED: &str = "registry.test/unpacked:1";
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../registry/tests/registry/keys");

/// Our registry in this process, on loopback: who may use it, and whether over TLS. Gives its address.
pub(crate) async fn serve(auth: &str, tls: bool) -> String {
    let auth: auth::Settings = parse(auth).expect("settings");
    let gate = auth::gate(&auth, None).expect("a gate");
    let storage = Arc::new(transom_storage::Memory::default());
    let store = Store::new(storage, Options::default());
    let registry = Registry::new(
        store,
        gate,
        Arc::new(Nobody),
        Default::default(),
        Metrics::default(),
    );
    let tls = tls.then(|| {
        let key = |name: &str| Path::new(KEYS).join(name);
        let files = TlsFiles {
            certificate: key("tls-server.crt"),
            key: key("tls-server.pem"),
            clients: None,
        };
        Arc::new(Tls::open(files).expect("keys"))
    });
    let server = Server::listen(registry, ([127, 0, 0, 1], 0).into(), tls)
        .await
        .expect("a port");
    let address = server.address().expect("bound").to_string();
    tokio::spawn(server.serve(std::future::pending()));
    address
}

/// A file of users for the registry, and what it is told of it.
fn users(folder: &Path) -> String {
    let file = folder.join("users");
    let hash = bcrypt::hash("secret", 4).expect("a hash");
    std::fs::write(&file, format!("alice:{hash}\n")).expect("a file");
    format!("[htpasswd]\nrealm = \"Registry\"\npath = {file:?}\n")
}

/// A folder that says whose certificate the registry shows.
fn certificates(folder: &Path, address: &str) -> PathBuf {
    let hosts = folder.join("certs.d");
    let of_host = hosts.join(address);
    std::fs::create_dir_all(&of_host).expect("a folder");
    let ca = Path::new(KEYS).join("tls-ca.crt");
    let text = format!("[host.\"https://{address}\"]\nca = {ca:?}\n");
    std::fs::write(of_host.join("hosts.toml"), text).expect("a file");
    hosts
}

pub(crate) fn registry(name: &str, resolver: RegistryResolver) -> prost_types::Any {
    let registry = OciRegistry {
        reference: name.to_owned(),
        resolver: Some(resolver),
    };
    types("OCIRegistry", &registry)
}

pub(crate) fn named(name: &str) -> ImageStore {
    ImageStore {
        name: name.to_owned(),
        ..ImageStore::default()
    }
}

pub(crate) fn unpacked(name: &str) -> ImageStore {
    ImageStore {
        unpacks: vec![UnpackConfiguration::default()],
        ..named(name)
    }
}

/// Imports the image that is moved about; its layers.
pub(crate) async fn imported(rig: &Rig) -> Vec<String> {
    let (archive, layers) = unpackable();
    let into = ImageStore {
        extra_references: vec![ImageReference {
            name: "unused".to_owned(),
            is_prefix: true,
            allow_overwrite: true,
            ..ImageReference::default()
        }],
        ..ImageStore::default()
    };
    import(rig, archive, &into).await.expect("imported");
    layers
}

pub(crate) async fn forget(rig: &Rig, name: &str) {
    let request = DeleteImageRequest {
        name: name.to_owned(),
        sync: true,
        target: None,
    };
    let mut images = ImagesClient::new(rig.channel.clone());
    images.delete(here(request)).await.expect("it was there");
}

/// Transfers and gives the events.
pub(crate) async fn moved(
    rig: &Rig,
    from: prost_types::Any,
    to: prost_types::Any,
) -> Result<Vec<Progress>, Status> {
    let events = Pipe::open(rig, "progress").await.events();
    let done = transfer(rig, from, to, "progress").await;
    let events = events.await.expect("no panic");
    done.map(|()| events)
}

/// Answers questions for credentials; gives what was asked.
fn answering(mut pipe: Pipe, answer: AuthResponse) -> JoinHandle<Vec<AuthRequest>> {
    tokio::spawn(async move {
        let mut asked = Vec::new();
        while let Ok(Some(message)) = pipe.incoming.message().await {
            assert_eq!(message.type_url, "containerd.types.transfer.AuthRequest");
            asked.push(AuthRequest::decode(message.value.as_slice()).expect("a message"));
            let answer = types("AuthResponse", &answer);
            pipe.outgoing.send(answer).await.expect("somebody waits");
        }
        asked
    })
}

fn password(word: &str) -> AuthResponse {
    AuthResponse {
        auth_type: AuthType::Credentials.into(),
        username: "alice".to_owned(),
        secret: word.to_owned(),
        ..AuthResponse::default()
    }
}

async fn has_snapshot(rig: &Rig, layers: &[String]) -> bool {
    let top = layers[1..].iter().fold(layers[0].clone(), |below, layer| {
        sha256(format!("{below} {layer}").as_bytes())
    });
    let stat = StatSnapshotRequest {
        snapshotter: "overlayfs".to_owned(),
        key: top,
    };
    let mut snapshots = SnapshotsClient::new(rig.channel.clone());
    snapshots.stat(here(stat)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_goes_to_a_registry_and_comes_back_unpacked() {
    if !transom_tests::require_root() {
        return;
    }
    let rig = Rig::start().await;
    let address = serve("", false).await;
    let name = format!("{address}/team/app:v1");
    let layers = imported(&rig).await;
    let resolver = || RegistryResolver {
        default_scheme: "http".to_owned(),
        ..RegistryResolver::default()
    };
    let events = moved(
        &rig,
        types("ImageStore", &named(IMPORTED)),
        registry(&name, resolver()),
    )
    .await
    .expect("pushed");
    let whole: Vec<&str> = events
        .iter()
        .filter(|event| event.name.is_empty())
        .map(|event| &*event.event)
        .collect();
    let (begun, done) = (
        format!("Pushing to OCI Registry ({name})"),
        format!("Completed push to OCI Registry ({name})"),
    );
    assert_eq!(whole, [begun, done]);
    forget(&rig, IMPORTED).await;
    let into = types("ImageStore", &unpacked(&name));
    let events = moved(&rig, registry(&name, resolver()), into)
        .await
        .expect("pulled");
    assert_eq!(
        events.iter().filter(|event| event.event == "extracted").count(),
        layers.len()
    );
    assert!(has_snapshot(&rig, &layers).await);
    let mut images = ImagesClient::new(rig.channel.clone());
    let listed = images
        .list(here(ListImagesRequest::default()))
        .await
        .expect("a list");
    let names: Vec<String> = listed
        .into_inner()
        .images
        .into_iter()
        .map(|image| image.name)
        .collect();
    assert_eq!(names, [name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_asked_for_its_password_and_certificates_are_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = serve(&users(folder.path()), true).await;
    let name = format!("{address}/team/app:v1");
    let hosts = certificates(folder.path(), &address);
    let rig = Rig::with(|config| config.transfer.config_path = Vec::new()).await;
    imported(&rig).await;
    let resolver = |stream: &str| RegistryResolver {
        auth_stream: stream.to_owned(),
        host_dir: hosts.display().to_string(),
        ..RegistryResolver::default()
    };
    let image = || types("ImageStore", &named(IMPORTED));
    // The folder of the request says whose certificates are believed.
    let unknown = RegistryResolver::default();
    let (code, _) = refused(
        moved(
            &rig,
            registry(&name.replace("127.0.0.1", "localhost"), unknown),
            types("ImageStore", &named("a")),
        )
        .await,
    );
    assert_ne!(code, Code::Ok);
    let (code, text) = refused(moved(&rig, image(), registry(&name, resolver(""))).await);
    assert_eq!(code, Code::PermissionDenied, "{text}");
    let asking = answering(Pipe::open(&rig, "wrong").await, password("wrong"));
    let (code, text) = refused(moved(&rig, image(), registry(&name, resolver("wrong"))).await);
    assert_eq!(code, Code::PermissionDenied, "{text}");
    assert!(!text.contains("wrong\"") && !asking.await.expect("no panic").is_empty());
    let asking = answering(Pipe::open(&rig, "right").await, password("secret"));
    moved(&rig, image(), registry(&name, resolver("right")))
        .await
        .expect("pushed");
    let asked = asking.await.expect("no panic");
    assert_eq!(
        (asked[0].host.as_str(), asked[0].reference.as_str()),
        (address.as_str(), name.as_str())
    );
    assert!(asked[0].wwwauthenticate[0].starts_with("Basic"), "{asked:?}");
    let asking = answering(Pipe::open(&rig, "again").await, password("secret"));
    let into = types("ImageStore", &named("again"));
    moved(&rig, registry(&name, resolver("again")), into)
        .await
        .expect("pulled");
    asking.await.expect("no panic");
    // A stream that is not there is one that nobody answers on.
    let (code, _) = refused(moved(&rig, image(), registry(&name, resolver("none"))).await);
    assert_eq!(code, Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_with_the_password_of_the_client() {
    let fake = Fake::start().await;
    let config = b"{}";
    let descriptor = |kind: &str, bytes: &[u8]| serde_json::json!({ "mediaType": kind, "digest": sha256(bytes), "size": bytes.len() });
    fake.add_blob(config.to_vec());
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": descriptor("application/vnd.example.config", config), "layers": [] });
    fake.add_manifest("team/app", "v1", media_type::MANIFEST, &manifest.to_string());
    let realm = format!("http://{}/token", fake.address);
    fake.plan(move |seen| {
        let shown = seen.header("authorization").unwrap_or_default();
        // alice:secret, and then the token.
        let json = [("content-type", "application/json")];
        if seen.path == "/token" {
            return match shown == "Basic YWxpY2U6c2VjcmV0" {
                true => reply(200, &json, r#"{"token":"for-alice","expires_in":300}"#),
                false => reply(401, &json, r#"{"errors":[]}"#),
            };
        }
        match shown == "Bearer for-alice" {
            true => Fault::None,
            false => {
                let wish =
                    format!("Bearer realm=\"{realm}\",service=\"fake\",scope=\"repository:team/app:pull\"");
                reply(401, &[("www-authenticate", &wish)], "{}")
            }
        }
    });
    let rig = Rig::start().await;
    let name = format!("{}/team/app:v1", fake.address);
    let resolver = |stream: &str| RegistryResolver {
        auth_stream: stream.to_owned(),
        default_scheme: "http".to_owned(),
        ..RegistryResolver::default()
    };
    let into = || types("ImageStore", &named(&name));
    let (code, text) = refused(moved(&rig, registry(&name, resolver("")), into()).await);
    assert_eq!(code, Code::PermissionDenied, "{text}");
    let asking = answering(Pipe::open(&rig, "one").await, password("secret"));
    moved(&rig, registry(&name, resolver("one")), into())
        .await
        .expect("pulled");
    let asked = asking.await.expect("no panic");
    assert!(
        asked[0].wwwauthenticate[0].starts_with("Bearer realm="),
        "{asked:?}"
    );
    // A header is shown as it is.
    let header = AuthResponse {
        auth_type: AuthType::Header.into(),
        secret: "Bearer for-alice".to_owned(),
        ..AuthResponse::default()
    };
    let asking = answering(Pipe::open(&rig, "two").await, header);
    moved(&rig, registry(&name, resolver("two")), into())
        .await
        .expect("pulled");
    asking.await.expect("no panic");
}

/// Debian's docker-registry on a folder; it ends with this.
struct Debian {
    _folder: tempfile::TempDir,
    process: Child,
    address: String,
}

impl Drop for Debian {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Debian {
    fn start() -> Option<Debian> {
        let program = transom_tests::require_program("docker-registry")?;
        let folder = tempfile::tempdir().expect("a folder");
        let (config, data) = (folder.path().join("config.yml"), folder.path().join("data"));
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n",
            data.display()
        );
        std::fs::write(&config, text).expect("a file");
        let mut command = Command::new(program);
        command.arg("serve").arg(&config);
        let mut process = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let mut said = lines.by_ref().map_while(Result::ok);
        let address = said.find_map(|line| {
            let address = line.split("listening on ").nth(1)?.split(['"', ',']).next()?;
            Some(address.to_owned())
        });
        // It stops when nobody reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Debian {
            _folder: folder,
            process,
            address: address.expect("it says where"),
        })
    }
}

/// An archive on disk for `ctr`.
fn archive(folder: &Path) -> PathBuf {
    let file = folder.join("image.tar");
    std::fs::write(&file, unpackable().0).expect("a file");
    file
}

/// As `ctr` of 1.6 pulls and pushes: it speaks with the registry, and the daemon keeps what comes.
fn round(ctr: &Ctr, address: &str, more: &[&str], folder: &Path) {
    let file = archive(folder);
    ctr.good(&["images", "import", &file.display().to_string()]);
    let name = format!("{address}/team/app:v1");
    ctr.good(&["images", "tag", IMPORTED, &name]);
    let with = |verb: &'static str| [&["images", verb][..], more, &[name.as_str()]].concat();
    ctr.good(&with("push"));
    ctr.good(&["images", "rm", "--sync", IMPORTED, &name]);
    assert_eq!(ctr.good(&["content", "ls", "-q"]), "");
    let said = ctr.good(&with("pull"));
    assert!(said.contains("done"), "{said}");
    let checked = ctr.good(&["images", "check"]);
    assert!(checked.contains("complete (3/3)"), "{checked}");
    assert_eq!(ctr.good(&["snapshots", "ls"]).lines().count(), 3);
}

#[test]
fn ctr_pulls_and_pushes_from_debians_registry() {
    if !transom_tests::require_root() {
        return;
    }
    let Some(registry) = Debian::start() else { return };
    let program = Program::start(&[]);
    let Some(ctr) = Ctr::new(&program.socket()) else {
        return;
    };
    round(&ctr, &registry.address, &["--plain-http"], program.folder.path());
}

#[test]
fn ctr_pulls_and_pushes_from_ours_with_a_password_over_tls() {
    if !transom_tests::require_root() {
        return;
    }
    let program = Program::start(&[]);
    let Some(ctr) = Ctr::new(&program.socket()) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let address = runtime.block_on(serve(&users(program.folder.path()), true));
    let hosts = certificates(program.folder.path(), &address)
        .display()
        .to_string();
    let more = ["--hosts-dir", &hosts, "--user", "alice:secret"];
    round(&ctr, &address, &more, program.folder.path());
}
