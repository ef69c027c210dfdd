//! Debian's clients, as they are: skopeo, podman, buildah, ctr; and docker-registry on the same folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use transom_tests::sample::{Compression, ImageBuilder, Meta, Sample, Shape};
use transom_tests::{require_program, require_root, target_dir};

use crate::serving::{Serving, noise};

#[path = "clients/containerd.rs"]
mod containerd;
#[path = "clients/docker_registry.rs"]
pub(crate) mod docker_registry;

/// A place for a client's files, with configurations that let it use any image, and none of the machine's.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        // The target folder is on a disk that overlayfs takes, which /tmp may not be.
        let place = Place {
            folder: tempfile::tempdir_in(target_dir()).unwrap(),
        };
        let policy = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;
        fs::write(place.path("policy.json"), policy).unwrap();
        fs::write(place.path("none.conf"), "").unwrap();
        fs::write(place.path("auth.json"), "{}").unwrap();
        let storage = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{0}/graph\"\nrunroot = \"{0}/run\"\n\
             [storage.options]\npull_options = {{enable_partial_images = \"true\", use_hard_links = \"false\", ostree_repos = \"\"}}\n",
            place.folder.path().display()
        );
        fs::write(place.path("storage.conf"), storage).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// An image that no other test has: clients remember where they have seen a blob.
    pub(crate) fn image(&self, name: &str) -> Sample {
        let mut builder = ImageBuilder::new();
        let seed = std::process::id().wrapping_mul(31).wrapping_add(fxhash(name));
        for layer in 0..2 {
            let filled = builder.layer("noise", Compression::Gzip, |writer| {
                for number in 0..20 {
                    let content = noise(20_000, seed + layer * 100 + number);
                    let path = format!("{name}-{layer}-{number}");
                    writer.file(path.as_bytes(), &Meta::new(0o644), &content);
                }
                Ok(())
            });
            filled.unwrap();
        }
        builder.write(&self.path(name), "latest", Shape::Flat).unwrap()
    }

    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"))
            .env("CONTAINERS_REGISTRIES_CONF", self.path("none.conf"))
            .env("REGISTRY_AUTH_FILE", self.path("auth.json"))
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path());
        command
    }

    /// Runs skopeo, which must succeed.
    #[track_caller]
    pub(crate) fn skopeo(&self, arguments: &[&str]) -> String {
        let policy = self.text("policy.json");
        let mut command = self.command("skopeo");
        good(command.arg("--policy").arg(policy).args(arguments))
    }

    /// Copies an image from one place to another, neither of which has TLS.
    #[track_caller]
    pub(crate) fn copy(&self, from: &str, to: &str, more: &[&str]) {
        let plain = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        self.skopeo(&[&["copy", "-q"], more, &plain, &[from, to]].concat());
    }
}

fn fxhash(text: &str) -> u32 {
    text.bytes().fold(7, |hash: u32, byte| {
        hash.wrapping_mul(131).wrapping_add(u32::from(byte))
    })
}

/// Runs a program that must succeed; what it wrote.
#[track_caller]
pub(crate) fn good(command: &mut Command) -> String {
    let output = command.output().unwrap();
    succeeded(command, &output)
}

#[track_caller]
fn succeeded(command: &Command, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn layout(sample: &Sample) -> String {
    format!("oci:{}:{}", sample.layout.display(), sample.tag)
}

/// The blobs of a layout, by name.
pub(crate) fn blobs(layout: &Path) -> Vec<(String, Vec<u8>)> {
    let mut blobs: Vec<(String, Vec<u8>)> = fs::read_dir(layout.join("blobs/sha256"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    blobs.sort();
    blobs
}

#[test]
fn skopeo_pushes_pulls_lists_and_deletes() {
    if require_program("skopeo").is_none() {
        return;
    }
    let (serving, place) = (Serving::files(), Place::new());
    let sample = place.image("skopeo");
    let image = format!("docker://{}/some/where:v1", serving.address);
    place.copy(&layout(&sample), &image, &[]);
    place.copy(&image, &format!("oci:{}:latest", place.text("back")), &[]);
    assert!(blobs(&sample.layout) == blobs(&place.path("back")));
    let name = image.strip_suffix(":v1").unwrap();
    let tags = place.skopeo(&["list-tags", "--tls-verify=false", name]);
    assert!(tags.contains("\"v1\""), "{tags}");
    let raw = place.skopeo(&["inspect", "--raw", "--tls-verify=false", &image]);
    assert!(raw.contains(sample.layers[0].descriptor.digest.as_str()), "{raw}");
    // In Docker's form, to another repository, where the blobs are mounted.
    let docker = format!("docker://{}/other:v2", serving.address);
    place.copy(&image, &docker, &["-f", "v2s2"]);
    place.skopeo(&["inspect", "--tls-verify=false", &docker]);
    place.skopeo(&["delete", "--tls-verify=false", &image]);
    let tags = place.skopeo(&["list-tags", "--tls-verify=false", name]);
    assert!(!tags.contains("\"v1\""), "{tags}");
}

#[test]
fn skopeo_compresses_anew_and_encrypts() {
    if require_program("skopeo").is_none() {
        return;
    }
    let (serving, place) = (Serving::files(), Place::new());
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/registry/keys");
    let sample = place.image("encrypted");
    let plain = format!("dir:{}", place.text("plain"));
    place.copy(&layout(&sample), &plain, &["--dest-decompress"]);
    for format in ["zstd", "zstd:chunked"] {
        let sample = place.image(&format.replace(':', "-"));
        let folder = format!("dir:{}", place.text("folder"));
        place.copy(&layout(&sample), &folder, &["--dest-decompress"]);
        let image = format!("docker://{}/{}:v1", serving.address, format.replace(':', "-"));
        place.copy(
            &folder,
            &image,
            &["--dest-compress", "--dest-compress-format", format],
        );
        let raw = place.skopeo(&["inspect", "--raw", "--tls-verify=false", &image]);
        assert!(raw.contains("tar+zstd"), "{raw}");
        assert_eq!(
            raw.contains("zstd-chunked.manifest-position"),
            format == "zstd:chunked"
        );
        place.copy(&image, &format!("oci:{}:latest", place.text("zstd-back")), &[]);
    }
    let image = format!("docker://{}/secret:v1", serving.address);
    place.copy(
        &plain,
        &image,
        &["--encryption-key", &format!("jwe:{keys}/rsa.pub")],
    );
    let raw = place.skopeo(&["inspect", "--raw", "--tls-verify=false", &image]);
    assert!(
        raw.contains("tar+encrypted") || raw.contains("tar+gzip+encrypted"),
        "{raw}"
    );
    let back = format!("oci:{}:latest", place.text("compressed"));
    place.copy(&image, &back, &["--decryption-key", &format!("{keys}/rsa.pem")]);
    let decrypted = format!("dir:{}", place.text("decrypted"));
    place.copy(&back, &decrypted, &["--dest-decompress"]);
    let layer = |folder: &str| {
        let hex = sample.layers[0].diff_id.hex();
        fs::read(place.path(folder).join(hex))
    };
    assert!(layer("decrypted").unwrap() == layer("plain").unwrap());
}

#[test]
fn podman_pulls_only_the_parts_that_it_lacks() {
    if !require_root() || require_program("skopeo").is_none() || require_program("podman").is_none() {
        return;
    }
    let (serving, place) = (Serving::files(), Place::new());
    let overlay = fs::read_to_string(place.path("storage.conf")).unwrap();
    fs::write(
        place.path("storage.conf"),
        overlay.replace("\"vfs\"", "\"overlay\""),
    )
    .unwrap();
    let sample = place.image("podman");
    let folder = format!("dir:{}", place.text("folder"));
    place.copy(&layout(&sample), &folder, &["--dest-decompress"]);
    let image = format!("{}/podman:v1", serving.address);
    let chunked = ["--dest-compress", "--dest-compress-format", "zstd:chunked"];
    place.copy(&folder, &format!("docker://{image}"), &chunked);
    let pull = ["pull", "-q", "--tls-verify=false", "--signature-policy"];
    let policy = place.text("policy.json");
    let id = good(place.command("podman").args(pull).arg(&policy).arg(&image));
    let images = good(place.command("podman").args(["images", "-q", "--no-trunc"]));
    assert!(images.contains(id.trim()), "{images}");
    let counted = serving.counted();
    assert!(
        counted.contains("handler=\"blob\",method=\"get\",code=\"206\""),
        "{counted}"
    );
    // And the other way: what podman has goes to another name.
    let pushed = format!("{}/podman-pushed:v1", serving.address);
    let push = ["push", "-q", "--tls-verify=false", "--signature-policy"];
    good(
        place
            .command("podman")
            .args(push)
            .arg(&policy)
            .args([image.as_str(), &pushed]),
    );
    place.skopeo(&["inspect", "--tls-verify=false", &format!("docker://{pushed}")]);
    good(place.command("podman").args(["rmi", "-af"]));
}

#[test]
fn buildah_pushes_what_it_builds() {
    if !require_root() || require_program("skopeo").is_none() || require_program("buildah").is_none() {
        return;
    }
    let (serving, place) = (Serving::files(), Place::new());
    fs::write(
        place.path("Containerfile"),
        "FROM scratch\nCOPY file /file\nENV A=b\n",
    )
    .unwrap();
    fs::write(place.path("file"), "built").unwrap();
    let image = format!("{}/built:v1", serving.address);
    let policy = place.text("policy.json");
    let build = ["build", "-q", "--isolation", "chroot", "--signature-policy"];
    let mut command = place.command("buildah");
    good(
        command
            .args(build)
            .arg(&policy)
            .args(["-t", &image])
            .arg(place.folder.path()),
    );
    let push = ["push", "-q", "--tls-verify=false", "--signature-policy"];
    good(place.command("buildah").args(push).arg(&policy).arg(&image));
    let config = place.skopeo(&[
        "inspect",
        "--config",
        "--tls-verify=false",
        &format!("docker://{image}"),
    ]);
    assert!(config.contains("A=b"), "{config}");
    let pull = [
        "pull",
        "-q",
        "--tls-verify=false",
        "--policy",
        "always",
        "--signature-policy",
    ];
    good(place.command("buildah").args(pull).arg(&policy).arg(&image));
    good(place.command("buildah").args(["rmi", "-af"]));
}

#[test]
fn sixteen_clients_at_once() {
    if require_program("skopeo").is_none() {
        return;
    }
    let (serving, place) = (Serving::files(), Place::new());
    let samples: Vec<Sample> = (0..4)
        .map(|number| place.image(&format!("many{number}")))
        .collect();
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (place, sample, address) = (&place, &samples[number % 4], serving.address);
            scope.spawn(move || {
                let image = format!("docker://{address}/many/{}:v{number}", number % 3);
                place.copy(&layout(sample), &image, &[]);
                let back = format!("back{number}");
                place.copy(&image, &format!("oci:{}:latest", place.text(&back)), &[]);
                assert!(blobs(&sample.layout) == blobs(&place.path(&back)));
            });
        }
    });
}
