//! `transom inspect`.

use transom_oci::{Digest, chain_ids};
use transom_tests::sample::{Compression, ImageBuilder, Meta, Shape};

use crate::image::{RawImage, RawLayer, Tar, small, xz_processor};
use crate::support::{NOT_FOUND, run, select};

#[test]
fn layers_are_shown_with_their_stages() {
    let folder = tempfile::tempdir().unwrap();
    let sample = small(folder.path());
    let text = run(["inspect".as_ref(), sample.layout.as_os_str()]).ok();
    assert!(text.contains("image small linux/"), "{text}");
    assert!(
        text.contains(&format!("{} layers", sample.layers.len())),
        "{text}"
    );
    let diff_ids: Vec<Digest> = sample.layers.iter().map(|layer| layer.diff_id.clone()).collect();
    for (layer, chain_id) in sample.layers.iter().zip(chain_ids(&diff_ids)) {
        for part in [
            layer.descriptor.digest.to_string(),
            layer.descriptor.media_type.clone(),
            format!("diffID  {}", layer.diff_id),
            format!("chainID {chain_id}"),
        ] {
            assert!(text.contains(&part), "{part} is not in {text}");
        }
    }
    assert!(text.contains("stages  decompress (native)"), "{text}");
}

#[test]
fn processors_on_the_command_line_are_among_the_stages() {
    let folder = tempfile::tempdir().unwrap();
    let Some(xz) = xz_processor() else { return };
    let sample = small(folder.path());
    let arguments = ["inspect".as_ref(), sample.layout.as_os_str(), "--json".as_ref()];
    let document = run(arguments.into_iter().chain(xz.iter().map(AsRef::as_ref))).json();
    assert_eq!(document["format"], "oci-layout");
    let entry = &document["entries"][0];
    assert_eq!(entry["kind"], "image");
    assert_eq!(entry["digest"], sample.manifest.digest.to_string());
    assert_eq!(entry["names"][0], "small");
    let layers = entry["image"]["layers"].as_array().unwrap();
    let stages: Vec<String> = layers.iter().map(|layer| layer["stages"].to_string()).collect();
    let native = r#"["decompress (native)"]"#;
    assert_eq!(stages, [native, native, r#"["xz (exec)"]"#, native, native]);
}

#[test]
fn a_layer_that_nothing_reads_says_so_and_what_would() {
    let folder = tempfile::tempdir().unwrap();
    let tar = Tar::new().end();
    let strange = RawLayer::typed("application/x-strange", tar.clone(), &tar);
    let image = RawImage::write(folder.path(), &[strange]);
    let text = run(["inspect".as_ref(), image.layout.as_os_str()]).ok();
    assert!(
        text.contains("stages  none: no processor for media type application/x-strange"),
        "{text}"
    );
    let document = run(["--json".as_ref(), "inspect".as_ref(), image.layout.as_os_str()]).json();
    let layer = &document["entries"][0]["image"]["layers"][0];
    assert!(layer["noStages"].as_str().unwrap().contains("--processor"));
}

#[test]
fn indexes_are_shown_as_trees_and_can_be_narrowed_down() {
    let folder = tempfile::tempdir().unwrap();
    let mut image = ImageBuilder::new();
    let fill = |layer: &mut transom_tests::sample::LayerWriter<'_>| {
        layer.file(b"file", &Meta::new(0o644), b"");
        Ok(())
    };
    image.layer("one", Compression::Gzip, fill).unwrap();
    let sample = image.write(folder.path(), "two", Shape::Nested).unwrap();
    let inspect = |selector: &str, more: &[&str]| {
        let image = select(&sample.layout, selector);
        run(["inspect", &image, "--json"].iter().chain(more)).json()
    };
    let all = inspect(":two", &[]);
    assert_eq!(all["entries"][0]["kind"], "index");
    assert_eq!(all["entries"][0]["manifests"].as_array().unwrap().len(), 2);
    let host = sample.manifest.platform.as_ref().unwrap().to_string();
    let one = inspect("", &["--platform", &host]);
    assert_eq!(one["entries"][0]["manifests"].as_array().unwrap().len(), 1);
    let one = inspect(&format!("@{}", sample.manifest.digest), &[]);
    assert_eq!(one["entries"][0]["kind"], "image");
    let none = select(&sample.layout, ":other");
    run(["inspect", &none]).fails(NOT_FOUND, &["nothing in", "is what was asked for"]);
}

#[test]
fn what_is_damaged_is_told_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let image = RawImage::plain(folder.path());
    std::fs::remove_file(&image.blobs[0]).unwrap();
    let text = run(["inspect".as_ref(), image.layout.as_os_str()]).ok();
    assert!(text.contains("problem: "), "{text}");
}
