//! Archives that are damaged, or made to do harm: each is refused with a reason, and nothing is left of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use transom_meta::Class;
use transom_meta::kv::Pending;
use transom_oci::{Descriptor, media_type};
use transom_transfer::{ByteSource, ImportOptions, StreamError};

use crate::stage::{
    LAYOUT, Sample, Stage, any_name, archive, blob_name, caller, descriptor, digest, gzip, header, index,
    layout, named, refused, tar,
};

fn sample() -> Sample {
    Sample::new("linux/amd64", &["a", "b"])
}

/// Imports what must be refused; gives class and text. Nothing of it is left.
async fn refuses(archive: &[u8]) -> (Class, String) {
    let stage = Stage::new().await;
    let refused = refused(stage.import(archive, &any_name()).await);
    assert!(stage.metadata.images(&caller(), &[]).await.unwrap().is_empty());
    assert_eq!(stage.collected().await, BTreeSet::new());
    refused
}

#[tokio::test]
async fn a_truncated_archive_is_refused_wherever_it_ends() {
    let whole = archive(&sample(), "latest");
    let zeros = whole.iter().rev().take_while(|byte| **byte == 0).count();
    let step = (whole.len() - zeros) / 23;
    for length in (1..whole.len() - zeros).step_by(step) {
        let (class, text) = refuses(&whole[..length]).await;
        assert_eq!(class, Class::InvalidArgument, "{length}: {text}");
    }
    for compressed in [gzip(&whole), zstd::encode_all(&whole[..], 1).unwrap()] {
        let (class, text) = refuses(&compressed[..compressed.len() / 2]).await;
        assert_eq!(class, Class::InvalidArgument, "{text}");
    }
    // Without the end there is all that is listed.
    let stage = Stage::new().await;
    stage
        .import(&whole[..whole.len() - 1024], &any_name())
        .await
        .unwrap();
}

/// Cut off between two files, with the index before them: a sparse archive has an end.
#[tokio::test]
async fn an_archive_that_ends_between_files_is_incomplete() {
    let sample = sample();
    let index = index(&[named(sample.descriptor(), "latest")]);
    let names: Vec<String> = sample.blobs().iter().map(|blob| blob_name(blob)).collect();
    let mut files: Vec<(&str, &[u8])> = vec![LAYOUT, ("index.json", &index)];
    files.extend(names.iter().map(String::as_str).zip(sample.blobs()).rev().take(3));
    let sparse = tar(&files);
    let (class, text) = refuses(&sparse[..sparse.len() - 1024]).await;
    assert_eq!(class, Class::InvalidArgument);
    assert!(
        text.contains("the archive is incomplete") && text.contains(digest(&sample.layers[0]).as_str()),
        "{text}"
    );
    Stage::new().await.import(&sparse, &any_name()).await.unwrap();
}

#[tokio::test]
async fn a_blob_that_is_not_what_its_name_says_is_refused() {
    let sample = sample();
    let index = index(&[named(sample.descriptor(), "latest")]);
    let names: Vec<String> = sample.blobs().iter().map(|blob| blob_name(blob)).collect();
    for wrong in 0..names.len() {
        let mut files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(sample.blobs()).collect();
        files[wrong].1 = b"something else";
        files.extend([("index.json", &*index), LAYOUT]);
        let (class, text) = refuses(&tar(&files)).await;
        assert_eq!(class, Class::InvalidArgument);
        assert!(
            text.contains(&names[wrong]) && text.contains("has the digest"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_first_of_two_blobs_with_one_name_is_what_the_name_says() {
    let sample = sample();
    let index = index(&[named(sample.descriptor(), "latest")]);
    let names: Vec<String> = sample.blobs().iter().map(|blob| blob_name(blob)).collect();
    let mut files: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(sample.blobs()).collect();
    files.extend([
        (&*names[0], sample.blobs()[0]),
        (&*names[1], b"another"),
        ("index.json", &*index),
        LAYOUT,
    ]);
    let archive = tar(&files);
    let stage = Stage::new().await;
    stage.import(&archive, &any_name()).await.unwrap();
    assert_eq!(stage.collected().await, sample.digests());
}

/// Names are keys of a map and nothing else: whatever they are, no file is written by them.
#[tokio::test]
async fn names_lead_nowhere() {
    let sample = sample();
    let index = index(&[named(sample.descriptor(), "latest")]);
    let names: Vec<String> = sample.blobs().iter().map(|blob| blob_name(blob)).collect();
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("file").to_string_lossy().into_owned();
    let mut files: Vec<(&str, &[u8])> = vec![
        (&absolute, b"x"),
        ("../../../../../../tmp/transom-transfer-escape", b"x"),
        ("blobs/sha256/../../../escape", b"x"),
        ("blobs/sha256/not-hex", b"x"),
        ("blobs/md5/d41d8cd98f00b204e9800998ecf8427e", b"x"),
        ("blobs/../index.json/..", b"x"),
        ("", b"x"),
        ("blobs", b"x"),
    ];
    files.extend(names.iter().map(String::as_str).zip(sample.blobs()));
    files.extend([("index.json", &*index), LAYOUT]);
    let stage = Stage::new().await;
    stage.import(&tar(&files), &any_name()).await.unwrap();
    assert_eq!(stage.collected().await, sample.digests());
    assert!(!outside.path().join("file").exists());
    assert!(!std::path::Path::new("/tmp/transom-transfer-escape").exists());
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    // An index of 1 GiB is refused by its header: there is nothing behind it.
    let mut large = header("index.json", 1 << 30);
    large.set_cksum();
    let (class, text) = refuses(large.as_bytes()).await;
    assert_eq!(class, Class::ResourceExhausted);
    assert!(text.contains("1073741824 bytes of \"index.json\""), "{text}");
    // 100,000 files.
    let mut empty = header("a", 0);
    empty.set_cksum();
    let many = gzip(&empty.as_bytes().repeat(100_000));
    let (class, text) = refuses(&many).await;
    assert_eq!(class, Class::ResourceExhausted);
    assert!(text.contains("members of the archive"), "{text}");
    // Names of 32 MiB and more.
    let mut long = header("././@LongLink", 1 << 20);
    long.set_entry_type(tar::EntryType::GNULongName);
    long.set_cksum();
    let one = [long.as_bytes(), &[b'a'; 1 << 20][..], empty.as_bytes()].concat();
    let (class, text) = refuses(&gzip(&one.repeat(40))).await;
    assert_eq!(class, Class::ResourceExhausted);
    assert!(text.contains("names of the archive"), "{text}");
    // One header of more than a mebibyte.
    let mut longer = header("././@LongLink", (1 << 20) + 1);
    longer.set_entry_type(tar::EntryType::GNULongName);
    longer.set_cksum();
    assert_eq!(refuses(longer.as_bytes()).await.0, Class::ResourceExhausted);
}

#[tokio::test]
async fn documents_with_too_much_in_them_are_refused() {
    let sample = sample();
    let many: Vec<Descriptor> = vec![sample.descriptor(); 20_000];
    let list = index(&many);
    let root = index(&[named(descriptor(media_type::INDEX, &list), "latest")]);
    let (class, text) = refuses(&layout(&[&list], &root)).await;
    assert_eq!(class, Class::ResourceExhausted, "{text}");
    // A manifest as large as no registry takes it.
    let mut fat = sample.clone();
    fat.manifest.extend(vec![b' '; 5 << 20]);
    let (class, text) = refuses(&archive(&fat, "latest")).await;
    assert_eq!(class, Class::ResourceExhausted, "{text}");
}

/// A digest cannot contain itself, so that the next best thing is an index that lists one many times, which does so, too.
#[tokio::test]
async fn indexes_in_indexes_end() {
    let sample = sample();
    let mut blobs: Vec<Vec<u8>> = sample.blobs().into_iter().map(<[u8]>::to_vec).collect();
    let mut below = sample.descriptor();
    for _ in 0..7 {
        let list = index(&vec![below; 100]);
        below = descriptor(media_type::INDEX, &list);
        blobs.push(list);
    }
    let all: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    let stage = Stage::new().await;
    let root = index(&[named(below.clone(), "latest")]);
    stage.import(&layout(&all, &root), &any_name()).await.unwrap();
    assert_eq!(stage.collected().await.len(), blobs.len());
    for _ in 0..8 {
        let list = index(&[below]);
        below = descriptor(media_type::INDEX, &list);
        blobs.push(list);
    }
    let all: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
    let root = index(&[named(below, "latest")]);
    let (class, text) = refuses(&layout(&all, &root)).await;
    assert_eq!(class, Class::ResourceExhausted);
    assert!(text.contains("indexes in indexes"), "{text}");
}

#[tokio::test]
async fn documents_that_contradict_are_refused() {
    let sample = sample();
    let blobs = sample.blobs();
    let mut longer = sample.descriptor();
    longer.size += 1;
    let (_, text) = refuses(&layout(&blobs, &index(&[named(longer, "latest")]))).await;
    assert!(text.contains("its descriptor says"), "{text}");
    let mut as_index = sample.descriptor();
    as_index.media_type = media_type::INDEX.to_owned();
    let (_, text) = refuses(&layout(&blobs, &index(&[named(as_index, "latest")]))).await;
    assert!(text.contains("expected an index but found a manifest"), "{text}");
    for (bytes, kind, wanted) in [
        (
            &br#"{"schemaVersion":1,"fsLayers":[]}"#[..],
            media_type::MANIFEST,
            "schema 1",
        ),
        (
            br#"{"schemaVersion":2,"manifests":[]}"#,
            media_type::MANIFEST,
            "found an index",
        ),
        (b"[]", media_type::MANIFEST, ""),
        (b"\xff", media_type::INDEX, ""),
    ] {
        let root = index(&[named(descriptor(kind, bytes), "latest")]);
        let (class, text) = refuses(&layout(&[bytes], &root)).await;
        assert_eq!(class, Class::InvalidArgument, "{text}");
        assert!(text.contains(wanted), "{text}");
    }
}

#[tokio::test]
async fn what_is_no_archive_is_refused() {
    for (bytes, wanted) in [
        (&b"hello"[..], "tar"),
        (&[7; 4096], "corrupt tar"),
        (b"", "unrecognized image format"),
        (b"\xfd7zXZ\0\0\0", "`xz -d`"),
        (b"\x1f\x8bnot gzip at all", "gzip"),
        (b"\x28\xb5\x2f\xfdnot zstd at all", "zstd"),
    ] {
        let (class, text) = refuses(bytes).await;
        assert_eq!(class, Class::InvalidArgument, "{text}");
        assert!(text.contains(wanted), "{text}");
    }
}

/// Some bytes, and then the client has gone.
struct Broken(std::vec::IntoIter<Bytes>);

impl ByteSource for Broken {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, StreamError>> {
        let reason = "the client has gone".to_owned();
        let next = Iterator::next(&mut self.0).ok_or(StreamError { reason });
        Box::pin(std::future::ready(next.map(Some)))
    }
}

#[tokio::test]
async fn a_client_that_goes_leaves_nothing() {
    let whole = archive(&sample(), "latest");
    for bytes in [whole.clone(), gzip(&whole)] {
        let stage = Stage::new().await;
        let half = Box::new(Broken(crate::stage::chunks(&bytes[..bytes.len() / 2])));
        let options = ImportOptions::default();
        let done = stage
            .transfers
            .import(&caller(), half, options, &any_name(), stage.told.clone())
            .await;
        let (class, text) = refused(done);
        assert_eq!(class, Class::Aborted);
        assert!(text.contains("the client has gone"), "{text}");
        assert_eq!(stage.collected().await, BTreeSet::new());
    }
}

/// Bytes that never come to an end.
struct Stuck(std::vec::IntoIter<Bytes>, Arc<tokio::sync::Notify>);

impl ByteSource for Stuck {
    fn next(&mut self) -> Pending<'_, Result<Option<Bytes>, StreamError>> {
        match Iterator::next(&mut self.0) {
            Some(bytes) => Box::pin(std::future::ready(Ok(Some(bytes)))),
            None => {
                self.1.notify_one();
                Box::pin(std::future::pending())
            }
        }
    }
}

#[tokio::test]
async fn a_cancelled_import_leaves_nothing() {
    let whole = archive(&sample(), "latest");
    let stage = Stage::new().await;
    let stuck = Arc::new(tokio::sync::Notify::new());
    let source = Box::new(Stuck(
        crate::stage::chunks(&whole[..whole.len() / 2]),
        stuck.clone(),
    ));
    let (into, nobody) = (any_name(), caller());
    let import = stage.transfers.import(
        &nobody,
        source,
        ImportOptions::default(),
        &into,
        stage.told.clone(),
    );
    tokio::select! {
        done = import => panic!("it cannot end: {done:?}"),
        () = stuck.notified() => {}
    }
    assert_eq!(stage.collected().await, BTreeSet::new());
}
