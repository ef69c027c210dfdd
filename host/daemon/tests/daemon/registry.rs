//! The registry in the daemon: pushed to and pulled from by skopeo, and images of namespaces that another daemon pulls.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use transom_api::introspection::PluginsRequest;
use transom_api::introspection::introspection_client::IntrospectionClient;
use transom_client::{Client, Hosts, Options, Reference};
use transom_content::Store;
use transom_tests::require_program;

use crate::ctr::{Ctr, archive};
use crate::program::{Program, command, failed, good};
use crate::rig::sha256;

/// A daemon with more in its configuration, and the address of its registry.
pub(crate) fn start(config: &str) -> (Program, SocketAddr) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("config.toml");
    std::fs::write(&file, config).expect("a file");
    let file = file.display().to_string();
    let program = Program::in_folder(folder, &["--config", &file, "--metrics-address", "127.0.0.1:0"]);
    let address = program
        .serving
        .split("registry=")
        .nth(1)
        .expect("the log names it");
    let address = address.split_whitespace().next().expect("an address");
    let address = address.parse().expect("an address");
    (program, address)
}

const IMAGES: &str = "[registry]\nnamespaces = [\"default\"]\n[registry.http]\nlisten = \"127.0.0.1:0\"\n";

/// One request; the status and the body.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    .expect("sent");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).expect("an answer");
    let status = line
        .split(' ')
        .nth(1)
        .expect("a status")
        .parse()
        .expect("a status");
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).expect("a head");
    }
    let mut body = Vec::new();
    reader.read_to_end(&mut body).expect("a body");
    (status, body)
}

/// skopeo, which believes everything, with none of the machine's settings; `None` if it is not installed.
fn skopeo(folder: &Path) -> Option<Command> {
    let program = require_program("skopeo")?;
    let policy = folder.join("policy.json");
    std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).expect("a file");
    let mut skopeo = Command::new(program);
    skopeo.env("HOME", folder).arg("--policy").arg(policy);
    Some(skopeo)
}

fn copy(folder: &Path, from: &str, to: &str) -> Option<()> {
    // The layer is not compressed, and stays so.
    let plain = [
        "copy",
        "-q",
        "--preserve-digests",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
    ];
    good(
        &skopeo(folder)?
            .args(plain)
            .args([from, to])
            .output()
            .expect("skopeo runs"),
    );
    Some(())
}

/// The parts of a daemon whose type has this in it.
fn parts(program: &Program, kind: &str) -> Vec<transom_api::introspection::Plugin> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listed = runtime.block_on(async {
        let channel = crate::rig::channel(&program.socket()).await;
        let request = PluginsRequest {
            filters: vec![format!("type~={kind}")],
        };
        IntrospectionClient::new(channel).plugins(request).await
    });
    listed.expect("the filter is right").into_inner().plugins
}

#[test]
fn skopeo_pushes_and_pulls_and_the_daemon_knows_of_it() {
    let (program, address) = start("[registry.http]\nlisten = \"127.0.0.1:0\"\n");
    let folder = program.folder.path();
    let (image, manifest) = archive(folder);
    let (image, theirs) = (image.display(), format!("docker://{address}/team/app:v1"));
    if copy(folder, &format!("oci-archive:{image}"), &theirs).is_none() {
        return;
    }
    let back = folder.join("back");
    copy(folder, &theirs, &format!("oci:{}:v1", back.display())).expect("skopeo was there");
    let index = std::fs::read_to_string(back.join("index.json")).expect("a layout");
    assert!(index.contains(&manifest), "{index}");
    // Names with a host are as any others where no images are shown.
    copy(folder, &theirs, &format!("docker://{address}/quay.io/app:v1")).expect("skopeo was there");
    let kept = folder.join("root/io.transom.registry.v1/storage/docker/registry/v2/repositories/team/app");
    assert!(kept.is_dir());

    let registry = &parts(&program, "registry")[0];
    assert_eq!(registry.r#type, "io.transom.registry.v1");
    assert_eq!(registry.exports["Address"], address.to_string());
    assert_eq!(registry.exports["Driver"], "filesystem");
    let scheduler = &parts(&program, "gc")[0];
    let operators = scheduler.exports["MetricsAddress"].parse().expect("an address");
    let (_, counted) = ask(operators, "GET", "/metrics");
    let counted = String::from_utf8(counted).expect("text");
    assert!(
        counted.contains("registry_http_requests_total{") && counted.contains("transom_rpc_total"),
        "{counted}"
    );

    let (folder, log) = program.stop();
    assert!(TcpStream::connect(address).is_err(), "it still listens: {log}");
    drop(folder);
}

#[test]
fn a_request_that_has_begun_ends_before_the_daemon_does() {
    let (mut program, address) = start("[registry.http]\nlisten = \"127.0.0.1:0\"\n");
    let digest = sha256(b"whole");
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(
        stream,
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nwho"
    )
    .expect("sent");
    // It is at work: the folder of the upload is there.
    let uploads = program
        .folder
        .path()
        .join("root/io.transom.registry.v1/storage/docker/registry/v2/repositories/app/_uploads");
    while !uploads.is_dir() {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&program.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    stream.write_all(b"le").expect("sent");
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    drop(stream);
    assert!(program.child.wait().expect("it ends").success());
}

#[test]
fn another_daemon_pulls_the_images_of_a_namespace() {
    let (program, address) = start(IMAGES);
    let Some(ctr) = Ctr::new(&program.socket()) else {
        return;
    };
    let folder = program.folder.path();
    let (image, manifest) = archive(folder);
    ctr.good(&["images", "import", "--no-unpack", &image.display().to_string()]);

    // skopeo, by the path of the registry.
    let theirs = format!("docker://{address}/example.com/a:1");
    let back = folder.join("back");
    if copy(folder, &theirs, &format!("oci:{}:v1", back.display())).is_none() {
        return;
    }
    let index = std::fs::read_to_string(back.join("index.json")).expect("a layout");
    assert!(index.contains(&manifest), "{index}");

    // Whoever is told of a mirror asks by the name of the image.
    let certs = folder.join("certs.d");
    std::fs::create_dir_all(certs.join("example.com")).expect("a folder");
    let mirror = format!(
        "server = \"https://example.com\"\n[host.\"http://{address}\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
    );
    std::fs::write(certs.join("example.com/hosts.toml"), mirror).expect("a file");
    pull_with_our_client(&certs, &manifest);

    // And a second daemon, for which ctr pulls.
    let (second, _) = start(IMAGES);
    let other = Ctr::new(&second.socket()).expect("it was there");
    let certs = certs.display().to_string();
    let pulled = other.run(&[
        "images",
        "pull",
        "--hosts-dir",
        &certs,
        "--snapshotter",
        "native",
        "example.com/a:1",
    ]);
    good(&pulled);
    let listed = other.good(&["images", "ls"]);
    assert!(listed.contains(&manifest), "{listed}");
    assert!(parts(&program, "registry")[0].exports["Namespaces"] == "default");
}

/// The whole image into a content store of ours.
fn pull_with_our_client(certs: &Path, manifest: &str) {
    let root = TempDir::new().expect("a temporary folder");
    let store = Store::open(root.path()).expect("a store");
    let client = Client::new(Options {
        hosts: Hosts {
            folders: vec![certs.to_owned()],
            ..Hosts::default()
        },
        ..Options::default()
    });
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let image: Reference = "example.com/a:1".parse().expect("a name");
        let remote = client.remote(&image.repository).expect("the mirror's settings");
        let fetched = remote.manifest(&image.target()).await.expect("a manifest");
        assert_eq!(fetched.descriptor.digest.as_str(), manifest);
        let image: transom_oci::Manifest = serde_json::from_slice(&fetched.bytes).expect("a manifest");
        for blob in image.layers.iter().chain([&image.config]) {
            remote.fetch_into(blob, &store, &|_| {}).await.expect("a blob");
        }
    });
}

#[test]
fn only_what_an_image_leads_to_is_given() {
    let (program, address) = start(IMAGES);
    let Some(ctr) = Ctr::new(&program.socket()) else {
        return;
    };
    let folder = program.folder.path();
    let (image, manifest) = archive(folder);
    ctr.good(&["images", "import", "--no-unpack", &image.display().to_string()]);
    ctr.good(&[
        "-n",
        "secret",
        "images",
        "import",
        "--no-unpack",
        &image.display().to_string(),
    ]);
    ctr.good(&[
        "-n",
        "secret",
        "images",
        "tag",
        "example.com/a:1",
        "example.com/hidden:1",
    ]);
    let lone = folder.join("lone");
    std::fs::write(&lone, "lone").expect("a file");
    let mut ingest = Command::new("ctr");
    ingest
        .arg("-a")
        .arg(program.socket())
        .args(["content", "ingest", "lone"]);
    let lone = std::fs::File::open(lone).expect("a file");
    good(&ingest.stdin(lone).output().expect("ctr runs"));

    let status = |path: &str| ask(address, "GET", &format!("/v2/{path}")).0;
    let body =
        |path: &str| String::from_utf8_lossy(&ask(address, "GET", &format!("/v2/{path}")).1).into_owned();
    assert_eq!(status("example.com/a/manifests/1"), 200);
    assert_eq!(status("a/manifests/1?ns=example.com"), 200);
    assert_eq!(status(&format!("example.com/a/manifests/{manifest}")), 200);
    let document: serde_json::Value =
        serde_json::from_slice(&ask(address, "GET", "/v2/example.com/a/manifests/1").1).expect("a manifest");
    let layer = document["layers"][0]["digest"].as_str().expect("a digest");
    assert_eq!(status(&format!("example.com/a/blobs/{layer}")), 200);
    // What nobody names, what another repository has, and what another namespace has.
    for path in [
        format!("example.com/a/blobs/{}", sha256(b"lone")),
        format!("example.com/b/blobs/{layer}"),
        format!("example.com/b/manifests/{manifest}"),
        "example.com/hidden/manifests/1".to_owned(),
        format!("example.com/hidden/blobs/{layer}"),
        "example.com/a/manifests/2".to_owned(),
        "example.com/b/tags/list".to_owned(),
    ] {
        assert_eq!(status(&path), 404, "{path}");
    }
    assert!(body("example.com/a/tags/list").contains("[\"1\"]"));
    assert!(body("_catalog").contains("[\"example.com/a\"]"));
    for (method, path) in [
        ("POST", "example.com/a/blobs/uploads/".to_owned()),
        ("POST", "team/app/blobs/uploads/".to_owned()),
        ("PUT", "example.com/a/manifests/2".to_owned()),
        ("DELETE", "example.com/a/manifests/1".to_owned()),
        ("DELETE", format!("example.com/a/blobs/{layer}")),
    ] {
        let (status, body) = ask(address, method, &format!("/v2/{path}"));
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(
            status == 405 && body.contains("UNSUPPORTED"),
            "{method} {path}: {status} {body}"
        );
    }
    // What is removed is gone at once.
    ctr.good(&["images", "rm", "--sync", "example.com/a:1"]);
    assert_eq!(status("example.com/a/manifests/1"), 404);
    assert_eq!(status(&format!("example.com/a/blobs/{layer}")), 404);
}

#[test]
fn what_no_image_has_comes_from_another_registry() {
    let (upstream, theirs) = start("[registry.http]\nlisten = \"127.0.0.1:0\"\n");
    let folder = upstream.folder.path();
    let (image, manifest) = archive(folder);
    let (image, target) = (image.display(), format!("docker://{theirs}/other:v1"));
    if copy(folder, &format!("oci-archive:{image}"), &target).is_none() {
        return;
    }
    let proxy = format!("[[registry.proxy]]\nprefix = \"example.com\"\nupstream = \"http://{theirs}\"\n");
    let (program, address) = start(&format!("{IMAGES}{proxy}"));
    let Some(ctr) = Ctr::new(&program.socket()) else {
        return;
    };
    ctr.good(&["images", "import", "--no-unpack", &image.to_string()]);
    let status = |path: &str| ask(address, "GET", &format!("/v2/{path}")).0;
    // The daemon's own, the other registry's, and nobody's.
    assert_eq!(status("example.com/a/manifests/1"), 200);
    assert_eq!(status("other/manifests/v1?ns=example.com"), 200);
    assert_eq!(status(&format!("example.com/other/manifests/{manifest}")), 200);
    assert_eq!(status("example.com/none/manifests/v1"), 404);
    assert_eq!(status("quay.io/a/manifests/1"), 404);
    let (refused, body) = ask(address, "POST", "/v2/example.com/other/blobs/uploads/");
    assert_eq!(refused, 405, "{}", String::from_utf8_lossy(&body));
}

#[test]
fn mistakes_of_the_registry_are_told_with_their_lines() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("config.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        let mut check = command(folder.path());
        check.args(["config", "check"]).arg(&file);
        check.output().expect("transomd runs")
    };
    good(&check(
        "[registry]\n[[registry.proxy]]\nprefix = \"hub\"\nupstream = \"https://registry-1.docker.io\"\n",
    ));
    for (text, told) in [
        (
            "[registry]\n\nnamespace = [\"a\"]\n",
            "line 3: [registry]: unknown key `namespace`",
        ),
        ("[registry]\nnamespaces = [\"a b\"]\n", "registry.namespaces"),
        ("[registry.http]\n\nlisten = 5\n", "line 3: [registry]: "),
        (
            "\n[registry.gc]\nevery = \"often\"\n",
            "line 3: [registry]: a time is text",
        ),
    ] {
        let said = failed(&check(text));
        assert!(said.contains(told), "{text}: {said}");
    }
    // Behind a containerd there are no images.
    std::fs::write(&file, IMAGES).expect("a file");
    let mut start = command(folder.path());
    let said = failed(
        &start
            .arg("--proxy-backend")
            .arg("--config")
            .arg(&file)
            .output()
            .expect("it runs"),
    );
    assert!(said.contains("registry.namespaces"), "{said}");
}

#[test]
fn a_flag_is_enough() {
    let program = Program::start(&["--registry-listen", "127.0.0.1:0"]);
    assert!(
        program.serving.contains("registry=127.0.0.1:"),
        "{}",
        program.serving
    );
}
