//! Debian's docker-registry as the peer, with a proxy between that cuts connections, and skopeo beside us.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use transom_client::auth::{Credentials, Fixed};
use transom_client::hosts::Authorities;
use transom_client::{Client, Error, Got, Hosts, Options, Pushed, Remote, Repository, Secret, Upwards};
use transom_oci::{Algorithm, Descriptor, Digest, media_type};

use crate::support::{noise, options, same, testdata};

/// docker-registry on a folder of its own; it ends with this.
struct Peer {
    _folder: tempfile::TempDir,
    process: Child,
    address: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Peer {
    /// Starts it with more lines of configuration; `None` if it is not installed.
    fn start(more: &str) -> Option<Peer> {
        let program = transom_tests::require_program("docker-registry")?;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n{more}\n",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut process = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        // It has the port chosen, and says which.
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                Some(
                    line.split("listening on ")
                        .nth(1)?
                        .split(['"', ','])
                        .next()?
                        .to_owned(),
                )
            })
            .unwrap();
        // It stops when nobody reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Peer {
            _folder: folder,
            process,
            address,
        })
    }

    fn plain() -> Option<Peer> {
        Peer::start("http: {addr: \"127.0.0.1:0\"}")
    }

    fn remote(&self, name: &str) -> Remote {
        remote_at(&self.address, name, options())
    }
}

fn remote_at(address: &str, name: &str, options: Options) -> Remote {
    let repository = Repository::new(address, name).unwrap();
    Client::new(options).remote(&repository).unwrap()
}

fn described(kind: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(kind, Digest::of(Algorithm::Sha256, bytes), bytes.len() as u64)
}

async fn push(
    remote: &Remote,
    descriptor: &Descriptor,
    bytes: &[u8],
    upwards: Upwards,
) -> Result<Pushed, Error> {
    let source = Arc::new(Bytes::copy_from_slice(bytes));
    remote.push_blob(descriptor, source, &[], upwards, &|_| {}).await
}

/// Pushes an image of one layer; its manifest.
async fn push_image(remote: &Remote, tag: &str, layer: &[u8]) -> Descriptor {
    let config =
        br#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
    let (layer_is, config_is) = (
        described(media_type::LAYER_TAR, layer),
        described(media_type::IMAGE_CONFIG, config),
    );
    push(remote, &layer_is, layer, Upwards::Auto).await.unwrap();
    push(remote, &config_is, config, Upwards::Auto).await.unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST, "config": config_is, "layers": [layer_is],
    });
    let bytes = serde_json::to_vec(&manifest).unwrap();
    remote
        .put_manifest(tag, media_type::MANIFEST, bytes.clone().into())
        .await
        .unwrap();
    described(media_type::MANIFEST, &bytes)
}

#[tokio::test]
async fn docker_registry_takes_and_gives() {
    let Some(peer) = Peer::plain() else { return };
    let remote = peer.remote("team/app");
    remote.ping().await.unwrap();
    let layer = noise(300_000, 60);
    let manifest = push_image(&remote, "v1", &layer).await;
    assert_eq!(remote.resolve("v1").await.unwrap(), manifest);
    assert_eq!(remote.resolve(manifest.digest.as_str()).await.unwrap(), manifest);
    assert_eq!(remote.manifest("v1").await.unwrap().descriptor, manifest);
    same(&remote, &described(media_type::LAYER_TAR, &layer), &layer).await;
    push_image(&remote, "v2", &noise(1_000, 61)).await;
    assert_eq!(remote.all_tags().await.unwrap(), ["v1", "v2"]);
    assert!(
        peer.remote("team/none")
            .all_tags()
            .await
            .unwrap_err()
            .is_not_found()
    );
    let list = Client::new(options())
        .repositories(&peer.address, Some(1))
        .await
        .unwrap();
    assert_eq!(list.all().await.unwrap(), ["team/app"]);
    remote.delete_manifest(manifest.digest.as_str()).await.unwrap();
    assert!(remote.resolve("v1").await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn docker_registry_takes_every_kind_of_upload() {
    let Some(peer) = Peer::plain() else { return };
    let remote = peer.remote("team/app");
    for (seed, upwards) in [
        (62, Upwards::Auto),
        (63, Upwards::Monolithic),
        (64, Upwards::Chunked(100_000)),
        (65, Upwards::Chunked(1 << 30)),
    ] {
        let bytes = noise(1_234_567, seed);
        let descriptor = described(media_type::LAYER_TAR, &bytes);
        assert_eq!(
            push(&remote, &descriptor, &bytes, upwards).await.unwrap(),
            Pushed::Uploaded
        );
        assert_eq!(
            push(&remote, &descriptor, &bytes, upwards).await.unwrap(),
            Pushed::Present
        );
        same(&remote, &descriptor, &bytes).await;
        let other = peer.remote(&format!("team/other{seed}"));
        let source = Arc::new(Bytes::from(bytes.clone()));
        let from = [remote.repository().clone()];
        let pushed = other
            .push_blob(&descriptor, source, &from, upwards, &|_| {})
            .await
            .unwrap();
        assert_eq!(pushed, Pushed::Mounted);
        same(&other, &descriptor, &bytes).await;
    }
    let empty = described(media_type::LAYER_TAR, b"");
    push(&remote, &empty, b"", Upwards::Auto).await.unwrap();
    let wrong = Descriptor {
        size: 5,
        ..described(media_type::LAYER_TAR, b"other")
    };
    let error = push(&remote, &wrong, b"bytes", Upwards::Auto).await.unwrap_err();
    assert!(
        matches!(&error, Error::Status { code, .. } if code == "DIGEST_INVALID"),
        "{error}"
    );
}

#[tokio::test]
async fn signatures_are_listed_though_docker_registry_knows_no_referrers() {
    let Some(peer) = Peer::plain() else { return };
    let remote = peer.remote("team/app");
    let image = push_image(&remote, "v1", &noise(1_000, 66)).await;
    let empty = described(media_type::EMPTY_CONFIG, b"{}");
    push(&remote, &empty, b"{}", Upwards::Auto).await.unwrap();
    let signature = serde_json::json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": "application/x-signature",
        "config": empty, "layers": [empty], "subject": image, "annotations": {"by": "me"},
    });
    let bytes = Bytes::from(serde_json::to_vec(&signature).unwrap());
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let put = remote
        .put_manifest(digest.as_str(), media_type::MANIFEST, bytes)
        .await
        .unwrap();
    assert!(!put.listed);
    let found = remote
        .referrers(&image.digest, Some("application/x-signature"))
        .await
        .unwrap();
    assert_eq!((found.len(), &found[0].digest), (1, &digest));
    assert_eq!(found[0].annotations["by"], "me");
}

#[tokio::test]
async fn a_password_over_tls_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    // "me:s3cret" by bcrypt.
    std::fs::write(
        &users,
        "me:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n",
    )
    .unwrap();
    let more = format!(
        "http: {{addr: \"127.0.0.1:0\", tls: {{certificate: {}, key: {}}}}}\nauth: {{htpasswd: {{realm: r, path: {}}}}}",
        testdata("server.pem").display(),
        testdata("server.key").display(),
        users.display()
    );
    let Some(peer) = Peer::start(&more) else { return };
    let with = |credentials| {
        let mut options = options();
        options.hosts = Hosts {
            authorities: vec![Authorities::read(&testdata("ca.pem")).unwrap()],
            ..Hosts::default()
        };
        let host = peer.address.clone();
        options.credentials = Arc::new(Fixed { host, credentials });
        remote_at(&peer.address, "team/app", options)
    };
    let password = |password| Credentials::Password {
        username: "me".to_owned(),
        password: Secret::new(password),
    };
    assert!(
        with(Credentials::Anonymous)
            .ping()
            .await
            .unwrap_err()
            .is_unauthorized()
    );
    assert!(
        with(password("wrong"))
            .ping()
            .await
            .unwrap_err()
            .is_unauthorized()
    );
    let remote = with(password("s3cret"));
    remote.ping().await.unwrap();
    let layer = noise(300_000, 67);
    push_image(&remote, "v1", &layer).await;
    same(&remote, &described(media_type::LAYER_TAR, &layer), &layer).await;
}

/// What is cut of a connection: after so many bytes up, after so many bytes down.
#[derive(Clone, Copy)]
struct Cut {
    up: usize,
    down: usize,
}

/// Passes connections on, and cuts them as it is told: each takes the next of the list.
async fn cutting(to: &str, cuts: Vec<Cut>) -> (String, Arc<Mutex<VecDeque<Cut>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let list = Arc::new(Mutex::new(VecDeque::from(cuts)));
    let (to, cuts) = (to.to_owned(), Arc::clone(&list));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let whole = Cut {
                up: usize::MAX,
                down: usize::MAX,
            };
            let cut = cuts.lock().unwrap().pop_front().unwrap_or(whole);
            let server = TcpStream::connect(&to).await.unwrap();
            tokio::spawn(async move {
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                // Whichever ends first takes the other with it.
                tokio::select! {
                    () = pass(client_in, server_out, cut.up) => {}
                    () = pass(server_in, client_out, cut.down) => {}
                }
            });
        }
    });
    (address, list)
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut left: usize,
) {
    let mut buffer = vec![0; 16 << 10];
    while left > 0 {
        let want = left.min(buffer.len());
        match from.read(&mut buffer[..want]).await {
            Ok(read) if read > 0 => {
                left -= read;
                if to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_survives_connections_that_are_cut() {
    let Some(peer) = Peer::plain() else { return };
    let layer = noise(5_000_000, 68);
    let manifest = push_image(&peer.remote("team/app"), "v1", &layer).await;
    let descriptor = described(media_type::LAYER_TAR, &layer);
    for (pieces, piece_bytes) in [(1, 4 << 20), (4, 512 << 10)] {
        let cuts = [10, 300, 900_000, 700_001, 1_000_003, 50, 800_000, 1_234_567];
        let cuts = cuts.map(|down| Cut { up: usize::MAX, down });
        let (address, left) = cutting(&peer.address, cuts.to_vec()).await;
        let mut options = Options {
            pieces,
            piece_bytes,
            ..options()
        };
        options.retry.tries = 12;
        let remote = remote_at(&address, "team/app", options);
        assert_eq!(remote.resolve("v1").await.unwrap(), manifest);
        let root = tempfile::tempdir().unwrap();
        let store = transom_content::Store::open(root.path()).unwrap();
        let got = remote.fetch_into(&descriptor, &store, &|_| {}).await.unwrap();
        assert_eq!(got, Got::Fetched { resumed_at: 0 });
        assert!(std::fs::read(store.blob_path(&descriptor.digest)).unwrap() == layer);
        assert!(left.lock().unwrap().len() < 5, "hardly anything was cut");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_survives_connections_that_are_cut() {
    let Some(peer) = Peer::plain() else { return };
    let bytes = noise(2_000_000, 69);
    let descriptor = described(media_type::LAYER_TAR, &bytes);
    for (name, upwards) in [
        ("a", Upwards::Monolithic),
        ("b", Upwards::Chunked(300_000)),
        ("c", Upwards::Chunked(1 << 30)),
    ] {
        let cuts = [100, 700_000, 500_000].map(|up| Cut { up, down: usize::MAX });
        let (address, left) = cutting(&peer.address, cuts.to_vec()).await;
        let mut options = options();
        options.retry.tries = 10;
        let remote = remote_at(&address, name, options);
        assert_eq!(
            push(&remote, &descriptor, &bytes, upwards).await.unwrap(),
            Pushed::Uploaded
        );
        assert!(left.lock().unwrap().is_empty());
        same(&peer.remote(name), &descriptor, &bytes).await;
    }
}

fn skopeo(arguments: &[&str]) -> Option<String> {
    let program = transom_tests::require_program("skopeo")?;
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn skopeo_and_we_read_what_the_other_pushed() {
    let Some(peer) = Peer::plain() else { return };
    let ours = push_image(&peer.remote("team/ours"), "v1", &noise(100_000, 70)).await;
    let name = format!("docker://{}/team/ours:v1", peer.address);
    let Some(seen) = skopeo(&["inspect", "--tls-verify=false", &name]) else {
        return;
    };
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["Digest"], ours.digest.as_str());
    // skopeo copies it elsewhere, as Docker's kind of manifest.
    let other = format!("docker://{}/team/theirs:v2", peer.address);
    let flags = [
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--format",
        "v2s2",
    ];
    let arguments = [["copy"].as_slice(), &flags, &[&name, &other]].concat();
    if skopeo(&arguments).is_none() {
        return;
    }
    let theirs = peer.remote("team/theirs");
    let fetched = theirs.manifest("v2").await.unwrap();
    assert_eq!(fetched.descriptor.media_type, media_type::DOCKER_MANIFEST);
    let manifest: transom_oci::Manifest = serde_json::from_slice(&fetched.bytes).unwrap();
    theirs.small_blob(&manifest.config).await.unwrap();
    let layer = manifest.layers[0].clone();
    assert_eq!(layer.media_type, media_type::DOCKER_LAYER_GZIP);
    let root = tempfile::tempdir().unwrap();
    let store = transom_content::Store::open(root.path()).unwrap();
    theirs.fetch_into(&layer, &store, &|_| {}).await.unwrap();
    assert!(Path::new(&store.blob_path(&layer.digest)).is_file());
}
