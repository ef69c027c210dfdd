//! TLS: certificates that change while it runs, and clients' certificates; HTTP/2; the listener for operators; a whole
//! configuration.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use reqwest::{Client, ClientBuilder, Version};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::oneshot;
use transom_registry::access::{Access, Actor, Decision, Gate, Presented};
use transom_registry::config::Config;
use transom_registry::event::Nobody;
use transom_registry::metrics::Metrics;
use transom_registry::run::Running;
use transom_registry::server::{ClientCertificates, Server, Tls, TlsError, TlsFiles};
use transom_registry::{Options, Registry, Settings, Store};
use transom_storage::Factory;
use transom_storage::memory::Memory;

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/registry/keys");

pub(crate) fn key(name: &str) -> std::path::PathBuf {
    Path::new(KEYS).join(name)
}

/// Lets everybody in, and notes what they showed.
#[derive(Debug, Default)]
struct Noting(Mutex<Vec<(Option<String>, String)>>);

impl Gate for Noting {
    fn check<'a>(&'a self, presented: &'a Presented<'a>, _: &'a [Access]) -> Decision<'a> {
        let shown = presented.certificate.map(str::to_owned);
        self.0.lock().unwrap().push((shown, presented.origin.to_owned()));
        Box::pin(async { Ok(Actor::default()) })
    }
}

/// A client that trusts the tests' authority, and may have a certificate.
fn client(certificate: Option<&str>, http2: bool) -> Client {
    builder(certificate, http2).build().unwrap()
}

pub(crate) fn builder(certificate: Option<&str>, http2: bool) -> ClientBuilder {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(key("tls-ca.crt")).unwrap())
        .unwrap();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match certificate {
        Some(name) => {
            let chain = vec![CertificateDer::from_pem_file(key(&format!("{name}.crt"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(key(&format!("{name}.pem"))).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = match http2 {
        true => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        false => vec![b"http/1.1".to_vec()],
    };
    Client::builder().tls_backend_preconfigured(config).tls_info(true)
}

/// The certificate that a server shows.
async fn shown(url: &str) -> Vec<u8> {
    let response = client(None, true).get(url).send().await.unwrap();
    let info = response.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
    info.peer_certificate().unwrap().to_vec()
}

fn registry(gate: Arc<dyn Gate>) -> Registry {
    let store = Store::new(Arc::new(Memory::default()), Options::default());
    Registry::new(
        store,
        gate,
        Arc::new(Nobody),
        Settings::default(),
        Metrics::default(),
    )
}

#[tokio::test]
async fn certificates_are_taken_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key_file) = (folder.path().join("c"), folder.path().join("k"));
    let set = |name: &str| {
        fs::copy(key(&format!("{name}.crt")), &certificate).unwrap();
        fs::copy(key(&format!("{name}.pem")), &key_file).unwrap();
    };
    set("tls-server");
    let files = TlsFiles {
        certificate: certificate.clone(),
        key: key_file.clone(),
        clients: None,
    };
    let tls = Arc::new(Tls::open(files).unwrap());
    let gate = Arc::new(Noting::default());
    let registry = registry(Arc::clone(&gate) as Arc<dyn Gate>);
    let server = Server::listen(registry, ([127, 0, 0, 1], 0).into(), Some(Arc::clone(&tls)));
    let server = server.await.unwrap();
    let url = format!("https://{}/v2/", server.address().unwrap());
    let serving = tokio::spawn(server.serve(std::future::pending()));
    let first = shown(&url).await;
    assert!(!tls.reload().unwrap());
    // One that does not fit its key changes nothing.
    fs::copy(key("tls-other.crt"), &certificate).unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::Unusable { .. })));
    assert_eq!(shown(&url).await, first);
    set("tls-other");
    assert!(tls.reload().unwrap());
    let second = shown(&url).await;
    assert!(second != first);
    for (http2, version) in [(true, Version::HTTP_2), (false, Version::HTTP_11)] {
        let response = client(None, http2).get(&url).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, version));
    }
    let (certificate, origin) = gate.0.lock().unwrap().pop().unwrap();
    assert_eq!((certificate, format!("{origin}/v2/")), (None, url));
    serving.abort();
}

#[tokio::test]
async fn clients_are_known_by_their_certificates() {
    for required in [true, false] {
        let clients = ClientCertificates {
            authorities: key("tls-ca.crt"),
            required,
        };
        let files = TlsFiles {
            certificate: key("tls-server.crt"),
            key: key("tls-server.pem"),
            clients: Some(clients),
        };
        let tls = Arc::new(Tls::open(files).unwrap());
        let gate = Arc::new(Noting::default());
        let registry = registry(Arc::clone(&gate) as Arc<dyn Gate>);
        let server = Server::listen(registry, ([127, 0, 0, 1], 0).into(), Some(tls))
            .await
            .unwrap();
        let url = format!("https://{}/v2/", server.address().unwrap());
        let serving = tokio::spawn(server.serve(std::future::pending()));
        client(Some("tls-client"), true).get(&url).send().await.unwrap();
        assert_eq!(
            gate.0.lock().unwrap().pop().unwrap().0.as_deref(),
            Some("CN=alice,O=Example")
        );
        let without = client(None, true).get(&url).send().await;
        assert_eq!(without.is_err(), required);
        // Another authority's is worth nothing.
        assert!(client(Some("leaf"), true).get(&url).send().await.is_err());
        serving.abort();
    }
}

#[tokio::test]
async fn http2_is_spoken_without_tls_to_clients_that_know() {
    let server = Server::listen(
        registry(Arc::new(Noting::default())),
        ([127, 0, 0, 1], 0).into(),
        None,
    );
    let server = server.await.unwrap();
    let base = format!("http://{}/v2/", server.address().unwrap());
    let serving = tokio::spawn(server.serve(std::future::pending()));
    let client = builder(None, true).http2_prior_knowledge().build().unwrap();
    let content = crate::serving::noise(3 << 20, 9);
    let digest = crate::serving::sha256(&content);
    let push = client.post(format!("{base}a/blobs/uploads/?digest={digest}"));
    let made = push.body(content.clone()).send().await.unwrap();
    assert_eq!((made.status().as_u16(), made.version()), (201, Version::HTTP_2));
    let path = format!("{base}a/blobs/{digest}");
    let head = client.head(&path).send().await.unwrap();
    assert_eq!(
        head.headers()["content-length"],
        content.len().to_string().as_str()
    );
    let got = client.get(&path).send().await.unwrap().bytes().await.unwrap();
    assert!(got == content);
    let missing = client
        .head(format!("{base}a/manifests/none"))
        .send()
        .await
        .unwrap();
    assert_eq!(missing.status().as_u16(), 404);
    assert!(missing.bytes().await.unwrap().is_empty());
    serving.abort();
}

#[tokio::test]
async fn a_configuration_is_a_registry_with_a_listener_for_operators() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "read_only = true\n[storage]\ndriver = \"filesystem\"\nrootdirectory = {:?}\n\
         [http]\nlisten = \"127.0.0.1:0\"\nrelative_urls = false\nheaders = {{ X-Extra = [\"a\", \"b\"] }}\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n",
        folder.path()
    );
    let (config, factory) = (Config::parse(&text).unwrap(), Factory::builtin());
    let running = Running::open(&config, &factory).await.unwrap();
    let base = format!("http://{}", running.address().unwrap());
    let operators = format!("http://{}", running.admin_address().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(running.serve(async {
        let _ = stopped.await;
    }));
    let client = client(None, true);
    let begin = || client.post(format!("{base}/v2/a/blobs/uploads/")).send();
    assert_eq!(begin().await.unwrap().status().as_u16(), 405);
    let switch = |text: &'static str| client.put(format!("{operators}/read-only")).body(text).send();
    assert_eq!(switch("maybe").await.unwrap().status().as_u16(), 400);
    let answer = switch("{\"read_only\": false}")
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(answer, "{\"read_only\":false}\n");
    let begun = begin().await.unwrap();
    assert_eq!(begun.status().as_u16(), 202);
    let place = begun.headers()["location"].to_str().unwrap();
    assert!(
        place.starts_with(&format!("{base}/v2/a/blobs/uploads/")),
        "{place}"
    );
    assert_eq!(begun.headers().get_all("x-extra").iter().count(), 2);
    let get = async |path: &str| {
        let response = client.get(format!("{operators}{path}")).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    assert_eq!(get("/health").await, (200, "{}\n".to_owned()));
    let (status, metrics) = get("/metrics").await;
    let counted = "registry_http_requests_total{handler=\"blob_upload\",method=\"post\",code=\"405\"} 1";
    assert!(status == 200 && metrics.contains(counted), "{metrics}");
    assert_eq!(get("/else").await.0, 404);
    drop(stop);
    serving.await.unwrap();
}
