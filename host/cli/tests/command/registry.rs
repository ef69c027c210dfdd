//! What the command does with a registry: Debian's docker-registry, on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use transom_tests::sample::{Compression, ImageBuilder, Meta, Sample, Shape};

use crate::support::{
    DAMAGED, Done, INTERRUPTED, NOT_FOUND, REFUSED, UNAVAILABLE, USAGE, assert_empty, assert_tree, finish,
    run, signal, transom, unpack, wait_until,
};

/// docker-registry on a folder of its own; it ends with this.
pub(crate) struct Peer {
    _folder: tempfile::TempDir,
    process: Child,
    pub(crate) address: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Peer {
    pub(crate) fn start(more: &str) -> Option<Peer> {
        let program = transom_tests::require_program("docker-registry")?;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.yml");
        let data = folder.path().join("data");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"127.0.0.1:0\"}}\n{more}\n",
            data.display()
        );
        fs::write(&config, text).unwrap();
        let mut process = Command::new(program)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
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
        std::thread::spawn(move || lines.for_each(drop));
        Some(Peer {
            _folder: folder,
            process,
            address,
        })
    }

    fn name(&self, rest: &str) -> String {
        format!("docker://{}/{rest}", self.address)
    }
}

/// An index of an index with an image for this machine in it.
fn nested(folder: &Path) -> Sample {
    let mut image = ImageBuilder::new();
    for (compression, name) in [(Compression::Gzip, b"in/gzip"), (Compression::Zstd, b"in/zstd")] {
        let made = image.layer("files", compression, |layer| {
            layer.file(name, &Meta::new(0o644), &[7; 100_000]);
            Ok(())
        });
        made.unwrap();
    }
    image.write(&folder.join("nested"), "two", Shape::Nested).unwrap()
}

/// A registry that sends `whole` under each path that ends like one of them, and of anything else `part`, then nothing more.
fn stalling(whole: Vec<(String, String, Vec<u8>)>, part: Vec<u8>, length: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let found = whole.iter().find(|(end, _, _)| path.ends_with(end));
            let (kind, body, length) = match found {
                Some((_, kind, body)) => (kind.as_str(), body, body.len()),
                None => ("application/octet-stream", &part, length),
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
            if head.starts_with("GET") {
                drop(stream.write_all(body));
            }
            if found.is_none() {
                open.push(stream);
            }
        }
    });
    address
}

#[test]
fn a_copy_that_was_killed_goes_on() {
    let Some(peer) = Peer::start("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let layer: Vec<u8> = (0..5_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3..].to_vec())
        .collect();
    let file = folder.path().join("layer");
    fs::write(&file, &layer).unwrap();
    let repository = format!("{}/team/app", peer.address);
    let push = |kind: &str| {
        run([
            "content",
            "push-object",
            &repository,
            file.to_str().unwrap(),
            kind,
        ])
        .ok()
        .trim()
        .to_owned()
    };
    let digest = push("application/octet-stream");
    fs::write(&file, "{}").unwrap();
    let config = push("application/octet-stream");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"x/y","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{}}}]}}"#,
        layer.len()
    );
    fs::write(&file, &manifest).unwrap();
    let image = push(kind);
    let whole = vec![
        (
            format!("/manifests/{image}"),
            kind.to_owned(),
            manifest.into_bytes(),
        ),
        (format!("/blobs/{config}"), "x/y".to_owned(), b"{}".to_vec()),
    ];
    let address = stalling(whole, layer[..3_000_000].to_vec(), layer.len());
    let layout = folder.path().join("layout");
    let place = format!("oci:{}:v1", layout.display());
    let arguments = [
        "image",
        "copy",
        "--plain-http",
        &format!("docker://{address}/team/app@{image}"),
        &place,
    ];
    let mut child = transom(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let written = || {
        let ingests = fs::read_dir(layout.join("ingest"))
            .into_iter()
            .flatten()
            .flatten();
        ingests
            .filter_map(|ingest| ingest.path().join("data").metadata().ok())
            .map(|data| data.len())
            .max()
    };
    wait_until("two megabytes are there", || {
        written().is_some_and(|bytes| bytes >= 2_000_000)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let done = copy(&peer.name(&format!("team/app@{image}")), &place).json();
    let moved = done["bytes"].as_u64().unwrap();
    assert!(moved < 3_100_000, "{done}");
    let hex = digest.trim_start_matches("sha256:");
    assert!(fs::read(layout.join("blobs/sha256").join(hex)).unwrap() == layer);
}

#[test]
fn a_layer_is_unpacked_while_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let mut image = ImageBuilder::new();
    let made = image.layer("files", Compression::None, |layer| {
        layer.file(b"first", &Meta::new(0o644), b"1");
        layer.file(b"second", &Meta::new(0o644), &vec![2; 8_000_000]);
        Ok(())
    });
    made.unwrap();
    let sample = image
        .write(&folder.path().join("image"), "v1", Shape::Flat)
        .unwrap();
    let blob = |of: &transom_oci::Descriptor| {
        fs::read(sample.layout.join("blobs/sha256").join(of.digest.hex())).unwrap()
    };
    let (kind, manifest) = (sample.manifest.media_type.clone(), blob(&sample.manifest));
    let whole = vec![
        ("/manifests/v1".to_owned(), kind.clone(), manifest.clone()),
        (sample.manifest.digest.hex().to_owned(), kind, manifest),
        (
            sample.config.digest.hex().to_owned(),
            "application/octet-stream".to_owned(),
            blob(&sample.config),
        ),
    ];
    let layer = &sample.layers[0].blob;
    let half = layer[..layer.len() / 2].to_vec();
    let address = stalling(whole, half, layer.len());
    let target = folder.path().join("rootfs");
    fs::create_dir(&target).unwrap();
    let image = format!("docker://{address}/team/app:v1");
    let mut command = transom(["unpack", "--plain-http", &image]);
    let child = command
        .arg(&target)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the first file is there", || target.join("first").exists());
    signal(&child, rustix::process::Signal::INT);
    finish(child).fails(INTERRUPTED, &[]);
    assert_empty(&target);
}

fn copy(source: &str, destination: &str) -> Done {
    run(["--json", "image", "copy", source, destination])
}

#[test]
fn an_image_goes_up_down_across_and_is_unpacked() {
    let Some(peer) = Peer::start("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let sample = nested(folder.path());
    let layout = format!("oci:{}:two", sample.layout.display());
    let up = copy(&layout, &peer.name("team/app:v1")).json();
    let digest = up["image"]["digest"].as_str().unwrap().to_owned();
    // Nothing is moved that is there.
    let again = copy(&layout, &peer.name("team/app:v2")).json();
    assert_eq!(again["bytes"], 0, "{again}");
    // Across: the other repository takes the blobs from the first.
    let across = copy(&peer.name("team/app:v1"), &peer.name("team/other:v1")).json();
    assert_eq!(across["image"]["digest"], digest.as_str());
    let down = folder.path().join("down");
    let place = format!("oci:{}:here", down.display());
    copy(&peer.name(&format!("team/other@{digest}")), &place).ok();
    assert!(!down.join("ingest").exists());
    let target = folder.path().join("root-1");
    unpack(format!("{}:here", down.display()), &target, &[]).ok();
    assert_tree(&sample.tree, &target);
    let target = folder.path().join("root-2");
    unpack(peer.name("team/app:v1"), &target, &["--progress", "none"]).ok();
    assert_tree(&sample.tree, &target);
    let file = folder.path().join("image.tar");
    let archive = format!("oci-archive:{}:packed", file.display());
    copy(&peer.name("team/app:v1"), &archive).ok();
    let packed = fs::read(&file).unwrap();
    copy(&place, &archive).ok();
    assert!(
        fs::read(&file).unwrap() == packed,
        "the same image gives the same archive"
    );
    let target = folder.path().join("root-3");
    unpack(&file, &target, &[]).ok();
    assert_tree(&sample.tree, &target);
    assert_eq!(
        copy(&archive, &peer.name("team/packed:v1")).json()["image"]["digest"],
        digest.as_str()
    );
    copy(&archive, &format!("oci:{}:again", down.display())).ok();
    let target = folder.path().join("root-4");
    unpack(format!("{}:again", down.display()), &target, &[]).ok();
    assert_tree(&sample.tree, &target);
    let mut damaged = packed;
    let name = damaged
        .windows(13)
        .position(|bytes| bytes == b"blobs/sha256/")
        .unwrap();
    damaged[name + 512] ^= 1;
    fs::write(&file, damaged).unwrap();
    let fresh = format!("oci:{}", folder.path().join("fresh").display());
    run(["image", "copy", &archive, &fresh]).fails(DAMAGED, &["image.tar"]);
    let repository = format!("{}/team/app", peer.address);
    assert_eq!(run(["registry", "ls-tags", &repository]).ok(), "v1\nv2\n");
    let tags = run(["--json", "registry", "ls-tags", &repository]).json();
    assert_eq!(tags["tags"], serde_json::json!(["v1", "v2"]));
    unpack(peer.name("team/app:absent"), &folder.path().join("no"), &[])
        .fails(NOT_FOUND, &["team/app:absent"]);
    assert!(!folder.path().join("no").exists());
}

#[test]
fn single_objects_go_up_and_down() {
    let Some(peer) = Peer::start("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blob");
    fs::write(&file, "some bytes").unwrap();
    let repository = format!("{}/team/app", peer.address);
    let path = file.to_str().unwrap();
    let pushed = run(["--json", "content", "push-object", &repository, path]).json();
    assert_eq!(pushed["alreadyExisted"], false);
    assert_eq!(
        run(["--json", "content", "push-object", &repository, path]).json()["alreadyExisted"],
        true
    );
    let config = pushed["digest"].as_str().unwrap();
    let name = format!("{repository}@{config}");
    assert_eq!(run(["content", "fetch-object", &name]).ok(), "some bytes");
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = |subject: &str| {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"x/y","digest":"{config}","size":10}},"layers":[]{subject}}}"#
        )
    };
    fs::write(&file, manifest("")).unwrap();
    let tagged = format!("{repository}:v1");
    let image = run(["content", "push-object", &tagged, path, kind]).ok();
    assert_eq!(run(["content", "fetch-object", &tagged]).ok(), manifest(""));
    let subject = format!(
        r#","subject":{{"mediaType":"{kind}","digest":"{}","size":{}}}"#,
        image.trim(),
        manifest("").len()
    );
    fs::write(&file, manifest(&subject)).unwrap();
    let signature = run(["content", "push-object", &repository, path, kind]).ok();
    let found = run(["--json", "registry", "referrers", &tagged]).json();
    assert_eq!(found["referrers"][0]["digest"], signature.trim());
    assert!(
        run(["registry", "referrers", &tagged, "--artifact-type", "x/y"])
            .ok()
            .contains(signature.trim())
    );
    run(["content", "fetch-object", &format!("{repository}:absent")]).fails(NOT_FOUND, &["absent"]);
}

#[test]
fn a_login_is_kept_used_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users");
    // "me:s3cret" by bcrypt.
    fs::write(
        &users,
        "me:$2y$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n",
    )
    .unwrap();
    let Some(peer) = Peer::start(&format!(
        "auth: {{htpasswd: {{realm: r, path: {}}}}}",
        users.display()
    )) else {
        return;
    };
    let file = folder.path().join("auth/config.json");
    let authfile = format!("--authfile={}", file.display());
    let login = |password: &str| -> Done {
        let mut command = transom([
            "registry",
            "login",
            &peer.address,
            "--username=me",
            "--password-stdin",
            &authfile,
        ]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(password.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap().into()
    };
    let said = login("wr0ng\n").fails(REFUSED, &["does not accept this user and password"]);
    assert!(!said.contains("wr0ng") && !file.exists());
    assert!(login("s3cret\n").ok().contains("config.json"));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let object = folder.path().join("object");
    fs::write(&object, "x").unwrap();
    let repository = format!("{}/team/app", peer.address);
    let push = |flag: &str| {
        run([
            "content",
            "push-object",
            &repository,
            object.to_str().unwrap(),
            flag,
        ])
    };
    push(&authfile).ok();
    push("--user=me:s3cret").ok();
    run(["registry", "logout", &peer.address, &authfile]).ok();
    push(&authfile).fails(REFUSED, &["wants a login", "transom registry login"]);
    run(["registry", "logout", &peer.address, &authfile]).fails(NOT_FOUND, &["nothing is kept"]);
}

#[test]
fn mistakes_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().display().to_string();
    run(["image", "copy", "docker://q.io/B", &format!("oci:{place}/x")]).fails(USAGE, &["write \"b\""]);
    run(["image", "copy", &place, "docker://q.io/b"]).fails(USAGE, &["oci:FOLDER"]);
    fs::write(folder.path().join("mine"), "").unwrap();
    run(["image", "copy", &format!("oci:{place}"), "docker://q.io/b"])
        .fails(USAGE, &["neither empty nor an OCI layout"]);
    let certs = folder.path().join("certs.d/q.io");
    fs::create_dir_all(&certs).unwrap();
    fs::write(certs.join("hosts.toml"), "\nserver = 5\n").unwrap();
    let hosts = format!("--hosts-dir={place}/certs.d");
    run(["registry", "ls-tags", "q.io/b", &hosts]).fails(USAGE, &["hosts.toml:2: "]);
    run(["registry", "ls-tags", "127.0.0.1:1/b"]).fails(UNAVAILABLE, &["refused"]);
}
