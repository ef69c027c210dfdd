//! `transom image pull` and `push`, and `transom content fetch`: by a daemon that speaks with registries itself, and by containerd
//! 1.6, which keeps what the command fetches. The registry is our own.

use serde_json::Value;
use transom_tests::sample::{Compression, ImageBuilder, Meta, Sample, Shape};

use super::rig::{Rig, on_both, shape};
use crate::serving::Serving;
use crate::support::{NOT_FOUND, REFUSED, UNAVAILABLE, USAGE, run};

on_both!(
    an_image_is_pulled_unpacked_and_pushed,
    content_is_fetched_and_not_unpacked,
    what_goes_wrong_has_its_exit_code,
);

/// A registry with an image for this machine of three layers, as an index of an index.
fn offered(rig: &Rig) -> (Serving, Sample) {
    let mut image = ImageBuilder::new();
    for (number, compression) in [Compression::Gzip, Compression::Zstd, Compression::Gzip]
        .into_iter()
        .enumerate()
    {
        let made = image.layer("files", compression, |layer| {
            let content = vec![u8::try_from(number).unwrap(); 200_000];
            layer.file(format!("file{number}").as_bytes(), &Meta::new(0o644), &content);
            Ok(())
        });
        made.unwrap();
    }
    let sample = image.write(&rig.path("offered"), "v1", Shape::Nested).unwrap();
    let registry = Serving::files(&rig.path("registry"));
    let from = format!("oci:{}:{}", sample.layout.display(), sample.tag);
    let to = format!("docker://{}/team/app:v1", registry.address);
    run(["image", "copy", "--plain-http", &from, &to]).ok();
    (registry, sample)
}

fn an_image_is_pulled_unpacked_and_pushed(rig: &Rig) {
    if !transom_tests::require_root() {
        return;
    }
    let (registry, _) = offered(rig);
    let name = format!("{}/team/app:v1", registry.address);
    let pulled = rig.one(&["image", "pull", "--plain-http", "--label", "a=b", &name]);
    assert_eq!(shape(&pulled), "{blobs bytes digest name seconds snapshotter}");
    // An index, a manifest, a configuration, three layers.
    assert_eq!(
        (&pulled["name"], &pulled["blobs"]),
        (&name.clone().into(), &6.into())
    );
    let checked = rig.one(&["image", "check"]);
    let platforms = checked["platforms"].as_array().unwrap();
    let whole = platforms
        .iter()
        .filter(|platform| platform["status"] == "complete");
    assert_eq!(whole.count(), 1, "{checked}");
    assert_eq!(rig.one(&["image", "get", &name])["labels"]["a"], "b");
    assert_eq!(rig.ok(&["snapshot", "ls", "-q"]).lines().count(), 3);
    rig.ok(&["gc", "run"]);
    assert_eq!(
        rig.ok(&["content", "ls", "-q"]).lines().count(),
        6,
        "the labels keep all of it"
    );
    let again = rig.one(&["image", "pull", "--plain-http", &name]);
    assert_eq!((&again["blobs"], &again["bytes"]), (&0.into(), &0.into()));
    let other = format!("{}/team/other:v2", registry.address);
    // The index lists what was not fetched.
    let push = ["image", "push", "--plain-http", &other, &name];
    rig.run(&push).fails(NOT_FOUND, &["--platform"]);
    let host = transom_oci::Platform::host().to_string();
    let pushed = rig.one(&[&push[..], &["--platform", &host]].concat());
    assert_ne!(pushed["digest"], pulled["digest"]);
    assert_eq!(pushed["blobs"], 5);
    let list = format!("{}/team/other", registry.address);
    assert_eq!(run(["registry", "ls-tags", "--plain-http", &list]).ok(), "v2\n");
    let local = rig.ok(&["image", "pull", "--local", "--plain-http", &other]);
    assert!(
        local.starts_with(&format!("pulled {other}: 0 blobs, 0 B in ")),
        "{local}"
    );
}

fn content_is_fetched_and_not_unpacked(rig: &Rig) {
    let (registry, _) = offered(rig);
    let name = format!("{}/team/app:v1", registry.address);
    let fetched = rig.one(&["content", "fetch", "--plain-http", "--all-platforms", &name]);
    assert_eq!(fetched["snapshotter"], Value::Null);
    let blobs = fetched["blobs"].as_u64().unwrap();
    assert!(blobs > 6, "the other platforms too: {fetched}");
    assert_eq!(rig.ok(&["content", "ls", "-q"]).lines().count() as u64, blobs);
    assert_eq!(rig.ok(&["snapshot", "ls", "-q"]), "");
    let manifest = format!("containerd.io/distribution.source.{}", registry.address);
    for blob in rig.json(&["content", "ls"]) {
        assert_eq!(blob["labels"][&manifest], "team/app");
    }
}

fn what_goes_wrong_has_its_exit_code(rig: &Rig) {
    let (registry, _) = offered(rig);
    let address = &registry.address;
    let pull = |name: &str| rig.run(&["image", "pull", "--no-unpack", "--plain-http", name]);
    pull(&format!("{address}/team/none:v1")).fails(NOT_FOUND, &["team/none:v1"]);
    pull("not a name").fails(USAGE, &["not a name"]);
    // Port 9 is for what is thrown away; nobody listens there.
    pull("127.0.0.1:9/a:b").fails(UNAVAILABLE, &["127.0.0.1:9"]);
    let none = format!("{address}/team/app:none");
    rig.run(&["image", "push", "--plain-http", &none])
        .fails(NOT_FOUND, &["not found"]);
    assert_eq!(rig.ok(&["image", "ls", "-q"]), "");
}

#[test]
fn a_login_of_this_user_is_used_by_the_daemon() {
    let rig = Rig::transomd();
    let hash = bcrypt::hash("secret", 4).unwrap();
    let users = rig.file("users", format!("alice:{hash}\n").as_bytes());
    let config = format!(
        "[storage]\ndriver = \"inmemory\"\n[http]\nlisten = \"127.0.0.1:0\"\n[auth.htpasswd]\nrealm = \"Registry\"\npath = {users:?}\n"
    );
    let config = rig.file("registry.toml", config.as_bytes());
    let registry = Serving::with(["--config", &config]);
    let (_second, sample) = offered(&rig);
    let archive = sample.layout.display().to_string();
    let target = format!("{}/team/app:v1", registry.address);
    let copied = format!("docker://{target}");
    run([
        "image",
        "copy",
        "--plain-http",
        "-u",
        "alice:secret",
        &format!("oci:{archive}:v1"),
        &copied,
    ])
    .ok();
    let pull = |user: &str| {
        rig.run(&[
            "image",
            "pull",
            "--no-unpack",
            "--plain-http",
            "-u",
            user,
            &target,
        ])
    };
    pull("alice:wrong").fails(REFUSED, &["team/app"]);
    pull("alice:secret").ok();
}
