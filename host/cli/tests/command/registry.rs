//! What the command does with a registry: Debian's docker-registry, on loopback.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use transom_tests::sample::{Compression, ImageBuilder, Meta, Sample, Shape};

use crate::support::{
    DAMAGED, Done, NOT_FOUND, REFUSED, UNAVAILABLE, USAGE, assert_tree, run, transom, unpack,
};

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
    fn start(more: &str) -> Option<Peer> {
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
