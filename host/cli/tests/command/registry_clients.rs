//! What the command pushes, skopeo and podman read, and the other way round; encrypted images too. Over Debian's docker-registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use transom_tests::sample::{Compression, ImageBuilder, Meta, Shape};
use transom_tests::{require_program, require_root, target_dir};

use crate::encrypted::{key, needs, plain};
use crate::registry::Peer;
use crate::support::{run, unpack};

/// What a program that ended well wrote.
#[track_caller]
fn good(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A client without the machine's settings, which uses any image.
fn client(program: &str, folder: &Path) -> Command {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let storage = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/graph\"\nrunroot = \"{0}/run\"\n",
        folder.display()
    );
    write(
        "policy.json",
        r#"{"default":[{"type":"insecureAcceptAnything"}]}"#,
    );
    let mut command = Command::new(program);
    command
        .env("CONTAINERS_STORAGE_CONF", write("storage.conf", &storage))
        .env("CONTAINERS_REGISTRIES_CONF", write("none.conf", ""))
        .env("REGISTRY_AUTH_FILE", write("auth.json", "{}"))
        .env("HOME", folder)
        .env("TMPDIR", folder);
    command
}

#[test]
fn podman_and_the_command_read_what_the_other_pushed() {
    if !require_root() || require_program("podman").is_none() {
        return;
    }
    let Some(peer) = Peer::start("") else { return };
    // On the disk of the target folder: podman wants a file system with all kinds of attributes.
    let folder = tempfile::tempdir_in(target_dir()).unwrap();
    let policy = folder.path().join("policy.json").display().to_string();
    let mut builder = ImageBuilder::new();
    for (compression, name) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
        let filled = builder.layer(name, compression, |layer| {
            layer.file(name.as_bytes(), &Meta::new(0o644), name.repeat(9000).as_bytes());
            Ok(())
        });
        filled.unwrap();
    }
    let sample = builder
        .write(&folder.path().join("sample"), "latest", Shape::Flat)
        .unwrap();
    let (ours, theirs) = (
        format!("{}/team/ours:v1", peer.address),
        format!("{}/team/theirs:v2", peer.address),
    );
    let from = format!("oci:{}", sample.layout.display());
    run(["image", "copy", &from, &format!("docker://{ours}")]).ok();
    let flags = ["-q", "--tls-verify=false", "--signature-policy", &policy];
    let podman = || client("podman", folder.path());
    let id = good(podman().arg("pull").args(flags).arg(&ours));
    let seen = good(podman().args(["images", "-q", "--no-trunc"]));
    assert!(seen.contains(id.trim()), "{seen}");
    good(podman().arg("push").args(flags).args([&ours, &theirs]));
    let target = folder.path().join("root");
    unpack(format!("docker://{theirs}"), &target, &[]).ok();
    for name in ["gzip", "zstd"] {
        assert_eq!(fs::read(target.join(name)).unwrap(), name.repeat(9000).as_bytes());
    }
    good(podman().args(["rmi", "-af"]));
}

#[test]
fn encrypted_images_go_both_ways_with_skopeo() {
    let Some((plugin, skopeo)) = needs() else { return };
    let Some(peer) = Peer::start("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let image = plain(folder.path());
    let at = |name: &str| format!("oci:{}", folder.path().join(name).display());
    let (ours, theirs) = (
        format!("docker://{}/team/sealed-ours:v1", peer.address),
        format!("docker://{}/team/sealed-theirs:v1", peer.address),
    );
    let skopeo = skopeo.display().to_string();
    let copy = |flags: &[&str], from: &str, to: &str| {
        let mut command = client(&skopeo, folder.path());
        command
            .arg("--policy")
            .arg(folder.path().join("policy.json"))
            .args(["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false"])
            .args(flags)
            .args([from, to]);
        good(&mut command);
    };
    let sealed = ["--encryption-key", &format!("jwe:{}", key("rsa.pub.pem"))];
    // What it encrypts and pushes, the command unpacks from there.
    let plain = format!("oci:{}", image.layout.display());
    copy(&sealed, &plain, &theirs);
    let target = folder.path().join("root");
    let flags = ["--plugin", &plugin, "--decryption-key", &key("rsa.pem")];
    unpack(&theirs, &target, &flags).ok();
    // What the command pushes, it decrypts.
    copy(&sealed, &plain, &at("sealed"));
    run(["image", "copy", &at("sealed"), &ours]).ok();
    copy(&["--decryption-key", &key("rsa.pem")], &ours, &at("opened"));
    let opened = folder.path().join("opened-root");
    unpack(folder.path().join("opened"), &opened, &[]).ok();
    for name in ["one", "two", "three"] {
        let expected = name.repeat(5000);
        for root in [&target, &opened] {
            assert_eq!(fs::read(root.join(name)).unwrap(), expected.as_bytes());
        }
    }
}
