//! Layers for the diff service, mounts for them, and a client of it.

use std::path::{Path, PathBuf};

use tonic::Status;
use transom_api::diff::diff_client::DiffClient;
use transom_api::diff::{ApplyRequest, DiffRequest};
use transom_api::types::{Descriptor, Mount};
use transom_tests::sample::Compression;

use crate::blobs;
use crate::rig::{Rig, here, sha256};

pub(crate) const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// A layer's tar in the making.
pub(crate) struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Layer {
        Layer(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Layer {
        self.entry(tar::EntryType::Regular, path, 0o640, content)
    }

    pub(crate) fn folder(self, path: &str, mode: u32) -> Layer {
        self.entry(tar::EntryType::Directory, path, mode, b"")
    }

    fn entry(mut self, kind: tar::EntryType, path: &str, mode: u32, content: &[u8]) -> Layer {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        self.0
            .append_data(&mut header, path, content)
            .expect("a tar takes it");
        self
    }

    pub(crate) fn end(self) -> Vec<u8> {
        self.0.into_inner().expect("a tar ends")
    }
}

pub(crate) fn gzip(tar: &[u8]) -> Vec<u8> {
    Compression::Gzip.compress(tar).expect("it compresses")
}

pub(crate) fn mount(kind: &str, source: &Path, options: &[String]) -> Mount {
    Mount {
        r#type: kind.to_owned(),
        source: source.to_str().expect("text").to_owned(),
        target: String::new(),
        options: options.to_vec(),
    }
}

/// What a snapshotter gives for one folder.
pub(crate) fn bind(folder: &Path) -> Mount {
    mount("bind", folder, &["rw".to_owned(), "rbind".to_owned()])
}

/// What a snapshotter gives for an active snapshot with parents.
pub(crate) fn overlay(upper: Option<&Path>, lowers: &[&Path]) -> Mount {
    let mut options = vec!["index=off".to_owned()];
    if let Some(upper) = upper {
        let work = upper.with_extension("work");
        std::fs::create_dir_all(&work).expect("a folder");
        options.push(format!("workdir={}", work.display()));
        options.push(format!("upperdir={}", upper.display()));
    }
    let lowers: Vec<String> = lowers.iter().map(|lower| lower.display().to_string()).collect();
    if !lowers.is_empty() {
        options.push(format!("lowerdir={}", lowers.join(":")));
    }
    mount("overlay", Path::new("overlay"), &options)
}

/// A new folder.
pub(crate) fn folder(at: &Path, name: &str) -> PathBuf {
    let folder = at.join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A mount as the system knows it.
pub(crate) fn system(mount: &Mount) -> transom_sys::Mount {
    transom_sys::Mount {
        kind: mount.r#type.clone(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        options: mount.options.clone(),
    }
}

/// Does something with mounts.
pub(crate) fn mounted<T>(mounts: &[Mount], work: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().expect("a folder");
    let temp = transom_sys::mount::TempMounts::new(&folder.path().join("m")).expect("a folder");
    let mounts: Vec<_> = mounts.iter().map(system).collect();
    let mounted = temp.mount(&mounts).expect("it mounts");
    let done = work(mounted.path());
    mounted.unmount().expect("it unmounts");
    done
}

/// What is mounted below a folder.
pub(crate) fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let folder = folder.canonicalize().expect("a folder");
    let mounts = transom_sys::mount::info::mounts(&transom_sys::Linux).expect("a list");
    let below = transom_sys::mount::info::below(&mounts, &folder);
    below.map(|mount| mount.target.clone()).collect()
}

pub(crate) fn descriptor(media_type: &str, blob: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: sha256(blob),
        size: i64::try_from(blob.len()).expect("small"),
        ..Descriptor::default()
    }
}

pub(crate) fn request(media_type: &str, blob: &[u8], mounts: &[Mount]) -> ApplyRequest {
    ApplyRequest {
        diff: Some(descriptor(media_type, blob)),
        mounts: mounts.to_vec(),
        ..ApplyRequest::default()
    }
}

pub(crate) async fn ask(rig: &Rig, request: ApplyRequest) -> Result<Descriptor, Status> {
    let answer = DiffClient::new(rig.channel.clone()).apply(here(request)).await?;
    Ok(answer.into_inner().applied.expect("a descriptor"))
}

/// Stores a blob, if it is not there, and applies it.
pub(crate) async fn apply(
    rig: &Rig,
    media_type: &str,
    blob: &[u8],
    mounts: &[Mount],
) -> Result<Descriptor, Status> {
    if blobs::info(rig, &sha256(blob)).await.is_err() {
        blobs::put(rig, blob).await;
    }
    ask(rig, request(media_type, blob, mounts)).await
}

pub(crate) async fn compare(rig: &Rig, request: DiffRequest) -> Result<Descriptor, Status> {
    let answer = DiffClient::new(rig.channel.clone()).diff(here(request)).await?;
    Ok(answer.into_inner().diff.expect("a descriptor"))
}
