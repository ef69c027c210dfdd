//! One host over HTTP: tries, redirects, silence, proxies, TLS.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use transom_client::hosts::{Authorities, Identity};
use transom_client::{Client, Error, Hosts, Options, Remote, Repository, Secret, Timeouts};
use transom_oci::media_type;

use crate::fake::{Fake, Fault, Voice, reply};
use crate::support::{options, remote, remote_with, testdata};

const BODY: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;

async fn with_manifest() -> Fake {
    let fake = Fake::start().await;
    fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    fake
}

#[tokio::test]
async fn temporary_failures_are_tried_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let fake = with_manifest().await;
        fake.next(vec![
            reply(status, &[], ""),
            reply(status, &[("retry-after", "0")], ""),
        ]);
        remote(&fake).resolve("1").await.unwrap();
        assert_eq!(fake.seen().len(), 3, "{status}");
    }
    let fake = with_manifest().await;
    fake.plan(|_| reply(429, &[], ""));
    assert!(matches!(
        remote(&fake).resolve("1").await,
        Err(Error::Busy { .. })
    ));
    assert_eq!(fake.seen().len(), 3);
    fake.plan(|_| reply(418, &[], ""));
    assert!(matches!(
        remote(&fake).manifest("1").await,
        Err(Error::Status { status: 418, .. })
    ));
    assert_eq!(fake.seen().len(), 4);
}

#[tokio::test]
async fn a_registry_says_how_long_to_wait() {
    let fake = with_manifest().await;
    fake.next(vec![reply(429, &[("retry-after", "1")], "")]);
    let begin = Instant::now();
    remote(&fake).resolve("1").await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    // Longer than anybody wants to wait: said at once.
    fake.plan(|_| reply(429, &[("retry-after", "86400")], ""));
    let error = remote(&fake).resolve("1").await.unwrap_err();
    assert!(error.to_string().contains("86400 s"), "{error}");
}

#[tokio::test]
async fn redirects_have_an_end() {
    let fake = with_manifest().await;
    let address = fake.address;
    fake.plan(move |_| {
        reply(
            302,
            &[("location", &format!("http://{address}/v2/team/app/manifests/1"))],
            "",
        )
    });
    assert!(matches!(
        remote(&fake).resolve("1").await,
        Err(Error::Protocol { .. })
    ));
    assert_eq!(fake.seen().len(), 6);
    fake.plan(|_| reply(307, &[], ""));
    assert!(matches!(
        remote(&fake).resolve("1").await,
        Err(Error::Protocol { .. })
    ));
    fake.plan(|_| reply(307, &[("location", "file:///etc/passwd")], ""));
    assert!(matches!(
        remote(&fake).resolve("1").await,
        Err(Error::Protocol { .. })
    ));
}

#[tokio::test]
async fn silence_has_an_end() {
    let fake = with_manifest().await;
    let quick = Options {
        timeouts: Timeouts {
            connect: Duration::from_secs(20),
            stall: Duration::from_millis(100),
        },
        ..options()
    };
    fake.plan(|_| Fault::Stall(5));
    let error = remote_with(&fake, quick.clone()).manifest("1").await.unwrap_err();
    assert!(matches!(error, Error::Stalled { .. }), "{error}");
    // A server that takes the request and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let quiet = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            all.push(stream);
        }
    });
    let repository = Repository::new(&address.to_string(), "a").unwrap();
    let error = Client::new(quick)
        .remote(&repository)
        .unwrap()
        .resolve("1")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Stalled { .. }), "{error}");
    quiet.abort();
}

#[tokio::test]
async fn nobody_there_is_said() {
    // A place where nobody listens, and nobody else can.
    let place = tokio::net::TcpSocket::new_v4().unwrap();
    place.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = place.local_addr().unwrap().to_string();
    for plain_http in [true, false] {
        let options = Options {
            hosts: Hosts {
                plain_http,
                ..Hosts::default()
            },
            ..options()
        };
        let repository = Repository::new(&address, "a").unwrap();
        let error = Client::new(options)
            .remote(&repository)
            .unwrap()
            .resolve("1")
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let repository = Repository::new(&listener.local_addr().unwrap().to_string(), "a").unwrap();
    let remote = Client::new(options()).remote(&repository).unwrap();
    let request = tokio::spawn(async move { remote.resolve("1").await.map(drop) });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut some = [0; 16];
    stream.read_exact(&mut some).await.unwrap();
    request.abort();
    let mut rest = Vec::new();
    // Ends when the client has closed it.
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"\r\n\r\n"));
}

/// A proxy that takes requests and tunnels, and writes down the first line and the password of each.
async fn proxy() -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let line = head.lines().next().unwrap().to_owned();
                let shown = head
                    .lines()
                    .any(|line| line.to_lowercase().starts_with("proxy-authorization: basic "));
                log.lock().unwrap().push(format!("{line} {shown}"));
                let target = line.split(' ').nth(1).unwrap().trim_start_matches("http://");
                let target = target.split('/').next().unwrap().to_owned();
                let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                if line.starts_with("CONNECT") {
                    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                } else {
                    let inner =
                        head.replacen(&line, &line.replacen("http://", "", 1).replacen(' ', " /", 1), 1);
                    let path = line.split(' ').nth(1).unwrap().splitn(4, '/').nth(3).unwrap();
                    let fixed = format!("{} /{path} HTTP/1.1", line.split(' ').next().unwrap());
                    let inner = inner.lines().skip(1).collect::<Vec<_>>().join("\r\n");
                    server
                        .write_all(format!("{fixed}\r\n{inner}\r\n\r\n").as_bytes())
                        .await
                        .unwrap();
                }
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    (address, lines)
}

#[tokio::test]
async fn proxies_are_used_as_they_are_given() {
    let fake = with_manifest().await;
    let (address, lines) = proxy().await;
    let mut options = options();
    options.proxies.http = Some(Secret::new(format!("http://user:pass@{address}")));
    remote_with(&fake, options.clone()).resolve("1").await.unwrap();
    let want = format!(
        "HEAD http://{}/v2/team/app/manifests/1 HTTP/1.1 true",
        fake.address
    );
    assert_eq!(*lines.lock().unwrap(), [want]);
    options.proxies.none = Some("127.0.0.1".to_owned());
    remote_with(&fake, options).resolve("1").await.unwrap();
    assert_eq!(lines.lock().unwrap().len(), 1);
}

/// A proxy that speaks SOCKS 5 without a login, as far as one connection to an address of IPv4 needs it.
async fn socks() -> (String, Arc<std::sync::Mutex<Vec<u16>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ports = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&ports);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut methods = [0; 2];
                client.read_exact(&mut methods).await.unwrap();
                client
                    .read_exact(&mut vec![0; usize::from(methods[1])])
                    .await
                    .unwrap();
                client.write_all(&[5, 0]).await.unwrap();
                let mut request = [0; 10];
                client.read_exact(&mut request).await.unwrap();
                assert_eq!(request[..8], [5, 1, 0, 1, 127, 0, 0, 1]);
                let port = u16::from_be_bytes([request[8], request[9]]);
                log.lock().unwrap().push(port);
                let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
            });
        }
    });
    (address, ports)
}

#[tokio::test]
async fn tls_goes_through_proxies() {
    let fake = secure(false, &[b"h2", b"http/1.1"]).await;
    let (address, lines) = proxy().await;
    let mut options = Options {
        hosts: believing(),
        ..options()
    };
    options.proxies.https = Some(Secret::new(format!("http://{address}")));
    remote_with(&fake, options).resolve("1").await.unwrap();
    let want = format!("CONNECT {} HTTP/1.1 false", fake.address);
    assert_eq!(*lines.lock().unwrap(), [want]);
}

#[tokio::test]
async fn a_host_may_have_a_proxy_of_its_own() {
    let fake = with_manifest().await;
    let (address, ports) = socks().await;
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join(fake.address.to_string());
    std::fs::create_dir(&folder).unwrap();
    let text = format!(
        "server = \"http://{}\"\nproxy = \"socks5://{address}\"\n",
        fake.address
    );
    std::fs::write(folder.join("hosts.toml"), text).unwrap();
    let mut options = Options {
        hosts: Hosts {
            folders: vec![root.path().to_owned()],
            headers: [("x-client".parse().unwrap(), "me".parse().unwrap())]
                .into_iter()
                .collect(),
            ..Hosts::default()
        },
        ..options()
    };
    // Instead of the machine's, which is not there.
    options.proxies.http = Some(Secret::new("http://127.0.0.1:1"));
    remote_with(&fake, options).resolve("1").await.unwrap();
    assert_eq!(*ports.lock().unwrap(), [fake.address.port()]);
    assert_eq!(fake.seen()[0].header("x-client"), Some("me"));
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(testdata(name))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// A server over TLS that may want certificates.
async fn secure(wants_client: bool, protocols: &[&[u8]]) -> Fake {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates("ca.pem"));
    let builder = if wants_client {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(testdata("server.key")).unwrap();
    let mut config = builder.with_single_cert(certificates("server.pem"), key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let fake = Fake::speaking(Voice::Tls(acceptor)).await;
    fake.add_manifest("team/app", "1", media_type::MANIFEST, BODY);
    fake
}

fn over(fake: &Fake, hosts: Hosts) -> Remote {
    remote_with(fake, Options { hosts, ..options() })
}

fn believing() -> Hosts {
    Hosts {
        authorities: vec![Authorities::read(&testdata("ca.pem")).unwrap()],
        ..Hosts::default()
    }
}

#[tokio::test]
async fn hosts_on_this_machine_are_tried_with_tls_and_without() {
    // Neither certificates nor a scheme are given.
    let fake = secure(false, &[b"http/1.1"]).await;
    over(&fake, Hosts::default()).resolve("1").await.unwrap();
    let fake = with_manifest().await;
    let remote = over(&fake, Hosts::default());
    remote.resolve("1").await.unwrap();
    remote.resolve("1").await.unwrap();
    assert_eq!(fake.lines(), ["HEAD /v2/team/app/manifests/1"; 2]);
}

#[tokio::test]
async fn certificates_are_checked_where_they_are_given() {
    let fake = secure(false, &[b"h2", b"http/1.1"]).await;
    over(&fake, believing()).resolve("1").await.unwrap();
    let stranger = Hosts {
        authorities: vec![Authorities::read(&testdata("client.pem")).unwrap()],
        ..Hosts::default()
    };
    let error = over(&fake, stranger).resolve("1").await.unwrap_err();
    assert!(
        matches!(error, Error::Tls { .. }) && error.to_string().contains("certs.d"),
        "{error}"
    );
    let error = over(
        &fake,
        Hosts {
            plain_http: true,
            ..Hosts::default()
        },
    )
    .resolve("1")
    .await;
    assert!(error.is_err());
    assert_eq!(fake.seen().len(), 1);
}

#[tokio::test]
async fn our_certificate_is_shown_to_the_registry_alone() {
    let fake = secure(true, &[b"h2"]).await;
    let error = over(&fake, believing()).resolve("1").await.unwrap_err();
    assert!(
        matches!(error, Error::Tls { .. } | Error::Unreachable { .. }),
        "{error}"
    );
    let ours = Hosts {
        identities: vec![Identity::read(&testdata("client.pem"), Some(&testdata("client.key"))).unwrap()],
        ..believing()
    };
    over(&fake, ours.clone()).resolve("1").await.unwrap();
    // Redirected to another host that wants one: it gets none.
    let first = secure(false, &[b"h2"]).await;
    let place = format!("https://{}/v2/team/app/manifests/1", fake.address);
    first.plan(move |_| reply(307, &[("location", &place)], ""));
    let error = over(&first, ours).resolve("1").await.unwrap_err();
    assert!(
        matches!(error, Error::Tls { .. } | Error::Unreachable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn many_streams_share_a_connection_of_http2() {
    let fake = secure(false, &[b"h2"]).await;
    let root = tempfile::tempdir().unwrap();
    let store = transom_content::Store::open(root.path()).unwrap();
    let bytes = crate::support::noise(6_000_000, 50);
    let descriptor = fake.add_blob(bytes.clone());
    let options = Options {
        hosts: believing(),
        piece_bytes: 512 << 10,
        ..options()
    };
    let remote = remote_with(&fake, options);
    // Streams that nobody reads do not stop the others.
    let mut idle = Vec::new();
    for _ in 0..6 {
        let mut reader = remote.blob(&descriptor).unwrap();
        reader.chunk().await.unwrap();
        idle.push(reader);
    }
    remote.fetch_into(&descriptor, &store, &|_| {}).await.unwrap();
    assert!(std::fs::read(store.blob_path(&descriptor.digest)).unwrap() == bytes);
}

#[tokio::test]
async fn no_redirect_leads_out_of_tls() {
    let (fake, clear) = (secure(false, &[b"h2"]).await, with_manifest().await);
    let place = format!("http://{}/v2/team/app/manifests/1", clear.address);
    fake.plan(move |_| reply(307, &[("location", &place)], ""));
    assert!(matches!(
        over(&fake, believing()).resolve("1").await,
        Err(Error::Protocol { .. })
    ));
    assert!(clear.seen().is_empty());
    // A registry that does not know that TLS ends before it names itself in the clear, and is understood.
    let address = fake.address;
    fake.plan(move |seen| match seen.method.as_str() {
        "POST" => reply(
            202,
            &[(
                "location",
                &format!("http://{address}/v2/team/app/blobs/uploads/u0"),
            )],
            "",
        ),
        _ => Fault::None,
    });
    fake.shelf
        .uploads
        .lock()
        .unwrap()
        .insert("u0".to_owned(), Vec::new());
    let bytes = bytes::Bytes::from_static(b"layer");
    let digest = transom_oci::Digest::of(transom_oci::Algorithm::Sha256, &bytes);
    let descriptor = transom_oci::Descriptor::new(media_type::LAYER_TAR, digest, 5);
    let remote = over(&fake, believing());
    remote
        .push_blob(&descriptor, Arc::new(bytes), &[], Default::default(), &|_| {})
        .await
        .unwrap();
}
