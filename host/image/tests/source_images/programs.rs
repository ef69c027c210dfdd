//! What skopeo and umoci write, read back.

use std::path::Path;
use std::process::{Command, Stdio};

use transom_image::reference::Selector;
use transom_image::{Format, Image, PlatformChoice, Reference, Source, resolve};
use transom_oci::media_type;

use crate::builder::{ArchiveFile, Layout, Member, archive, file, gzip, open_with, read_layer, sha256};

/// Whether the programs are there. If not, says so; where everything must run, fails.
fn have(programs: &[&str]) -> bool {
    let runs = |program: &&&str| {
        let mut command = Command::new(program);
        command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let Some(missing) = programs.iter().find(|program| !runs(program)) else {
        return true;
    };
    let must = |name: &str, value: &str| std::env::var(name).is_ok_and(|set| set == value);
    assert!(
        !must("CI", "true") && !must("TRANSOM_NO_SKIP", "1"),
        "{missing} is not installed: apt-get install {missing}"
    );
    println!("SKIP: {missing} is not installed: apt-get install {missing}");
    false
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
}

fn open(argument: &str) -> (Source, Reference) {
    let reference = Reference::parse(argument.as_ref()).unwrap();
    (open_with(&reference, &mut std::io::empty()).unwrap(), reference)
}

fn read(argument: &str) -> (Source, Image) {
    let (source, reference) = open(argument);
    let image = resolve(&source, &reference.selector, &PlatformChoice::Host).unwrap();
    (source, image)
}

/// Real tar layers, for skopeo looks into them.
fn layers() -> [Vec<u8>; 2] {
    let contents: [&[Member]; 2] = [&[file("etc/motd", b"hello")], &[file("bin/x", &[7; 10_000])]];
    contents.map(archive)
}

fn layout() -> Layout {
    let [first, second] = layers();
    let mut layout = Layout::new();
    let config = crate::builder::config("linux/amd64", &[&first, &second, &first]);
    let config = layout.json(media_type::IMAGE_CONFIG, &config);
    let packed = layout.blob(media_type::LAYER_TAR_GZIP, &gzip(&second));
    let plain = layout.blob(media_type::LAYER_TAR, &first);
    let image = layout.manifest(&config, &[plain.clone(), packed, plain]);
    layout.list(image, Some("v1"));
    layout
}

fn in_folder(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn skopeo_docker_archives() {
    if !have(&["skopeo"]) {
        return;
    }
    let [first, second] = layers();
    let layout = layout();
    let path = in_folder(layout.path(), "docker.tar");
    let from = format!("oci:{}:v1", layout.path().display());
    run(
        "skopeo",
        &["copy", "-q", &from, &format!("docker-archive:{path}:foo/bar:v2")],
    );
    for argument in [
        path.clone(),
        format!("docker-archive:{path}:foo/bar:v2"),
        format!("{path}:v2"),
    ] {
        let (source, image) = read(&argument);
        assert_eq!(source.format(), Format::DockerArchive);
        assert_eq!(image.name.as_deref(), Some("docker.io/foo/bar:v2"));
        let contents: Vec<Vec<u8>> = (0..3).map(|at| read_layer(&source, &image, at)).collect();
        assert_eq!(contents, [first.clone(), second.clone(), first.clone()]);
        for layer in &image.layers {
            assert_eq!(layer.descriptor.digest, layer.diff_id);
        }
    }
}

#[test]
fn skopeo_oci_archives_and_layouts() {
    if !have(&["skopeo"]) {
        return;
    }
    let layout = layout();
    let from = format!("oci:{}:v1", layout.path().display());
    let (_, original) = read(&from);
    let folder = tempfile::tempdir().unwrap();
    let (tar, copy) = (
        in_folder(folder.path(), "oci.tar"),
        in_folder(folder.path(), "copy"),
    );
    run("skopeo", &["copy", "-q", &from, &format!("oci-archive:{tar}:v3")]);
    run("skopeo", &["copy", "-q", &from, &format!("oci:{copy}:v3")]);
    let packed = std::fs::read(&tar).unwrap();
    let squeezed = ArchiveFile::new(&gzip(&packed));
    let squeezed = squeezed.path().to_str().unwrap().to_owned();
    for (argument, format) in [
        (format!("oci-archive:{tar}:v3"), Format::OciArchive),
        (squeezed, Format::OciArchive),
        (format!("{copy}:v3"), Format::OciLayout),
    ] {
        let (source, image) = read(&argument);
        assert_eq!(source.format(), format);
        assert_eq!(image.name.as_deref(), Some("v3"));
        assert_eq!(image.config, original.config);
        for (at, layer) in image.layers.iter().enumerate() {
            assert_eq!(sha256(&read_layer(&source, &image, at)), layer.descriptor.digest);
        }
    }
}

#[test]
fn gnu_tar_archives() {
    if !have(&["tar"]) {
        return;
    }
    let layout = layout();
    let folder = tempfile::tempdir().unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let path = in_folder(folder.path(), format);
        let from = layout.path().to_str().unwrap();
        run("tar", &["-C", from, "--format", format, "-cf", &path, "."]);
        let (source, image) = read(&path);
        assert_eq!(read_layer(&source, &image, 0), layers()[0], "{format}");
    }
}

#[test]
fn umoci_layouts() {
    if !have(&["umoci"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = in_folder(folder.path(), "layout");
    run("umoci", &["init", "--layout", &path]);
    run("umoci", &["new", "--image", &format!("{path}:empty")]);
    let (source, image) = read(&path);
    assert_eq!(source.format(), Format::OciLayout);
    assert!(image.layers.is_empty());
    let again = resolve(&source, &Selector::default(), &PlatformChoice::Host).unwrap();
    assert_eq!(again.descriptor, image.descriptor);
}
