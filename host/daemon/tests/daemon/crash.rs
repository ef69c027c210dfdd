//! The real program, killed under load, and its disk's power cut: what was acknowledged is there, and nothing is half there.
//!
//! The power is cut by copying the file of a loop device as it is: what the file system had not been told to flush is not in
//! it. `commit=300` keeps the journal from being written by the clock. `TRANSOM_CRASH_ROUNDS` asks for more rounds.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use transom_api::content::content_client::ContentClient;
use transom_api::content::{ListContentRequest, ReadContentRequest, WriteAction, WriteContentRequest};
use transom_api::images::images_client::ImagesClient;
use transom_api::images::{CreateImageRequest, Image, ListImagesRequest};
use transom_api::types::Descriptor;

use crate::program::Program;
use crate::rig::{channel, here, sha256};

const CLIENTS: u64 = 8;

/// What the daemon has said is done: images by name, each with the digest of its content.
type Acknowledged = Arc<Mutex<Vec<(String, String)>>>;

pub(crate) fn rounds() -> u64 {
    let asked = std::env::var("TRANSOM_CRASH_ROUNDS").ok();
    asked.and_then(|rounds| rounds.parse().ok()).unwrap_or(3)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_to_a_kill() {
    let (acknowledged, next) = (Acknowledged::default(), Arc::new(AtomicU64::new(0)));
    killed(
        async |socket, round| load(&socket, &acknowledged, &next, round).await,
        async |folder| check(folder, &acknowledged).await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_to_a_power_cut() {
    if !transom_tests::needs::require_root() {
        return;
    }
    for round in 0..rounds() {
        let (acknowledged, next) = (Acknowledged::default(), Arc::new(AtomicU64::new(0)));
        let load = async |socket: PathBuf| load(&socket, &acknowledged, &next, round).await;
        let disk = cut_under(load).await;
        check(rooted(&disk.mount("cut")), &acknowledged).await;
    }
}

/// Kills a daemon while `load` is on it, which gets its socket and the number of the round, and has `check` look at what is left
/// in its folder; again and again in the same folder.
pub(crate) async fn killed(load: impl AsyncFn(PathBuf, u64), check: impl AsyncFn(TempDir) -> TempDir) {
    let mut folder = tempfile::tempdir().expect("a temporary folder");
    for round in 0..rounds() {
        let mut program = Program::in_folder(folder, &[]);
        load(program.socket(), round).await;
        program.child.kill().expect("it runs");
        program.child.wait().expect("it ends");
        folder = std::mem::replace(&mut program.folder, tempfile::tempdir().expect("a folder"));
        drop(program);
        folder = check(folder).await;
    }
}

/// Cuts the power of the disk that a daemon is on while `load` is on it; gives the disk as it was then, as `cut`.
pub(crate) async fn cut_under(load: impl AsyncFn(PathBuf)) -> Disk {
    let disk = Disk::new();
    let folder = rooted(&disk.mount("disk"));
    let mut program = Program::in_folder(folder, &[]);
    load(program.socket()).await;
    program.child.kill().expect("it runs");
    program.child.wait().expect("it ends");
    disk.cut();
    disk
}

/// A folder for a daemon, whose root is on that disk.
pub(crate) fn rooted(disk: &Path) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = disk.join("root");
    std::fs::create_dir_all(&root).expect("a folder");
    std::os::unix::fs::symlink(&root, folder.path().join("root")).expect("a link");
    folder
}

/// Lets clients write blobs and images for a while that differs from round to round.
async fn load(socket: &Path, acknowledged: &Acknowledged, next: &Arc<AtomicU64>, round: u64) {
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (socket, acknowledged) = (socket.to_path_buf(), Arc::clone(acknowledged));
            let next = Arc::clone(next);
            tokio::spawn(async move {
                let channel = channel(&socket).await;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let made = make(&channel, number).await;
                    acknowledged.lock().await.push(made);
                }
            })
        })
        .collect();
    // Until there is something to lose, and then some.
    while acknowledged.lock().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(150 + round * 37 % 100)).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

async fn make(channel: &Channel, number: u64) -> (String, String) {
    let size = [10, 4096, 70_000, 1 << 20][usize::try_from(number % 4).expect("small")];
    let data: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(size).collect();
    let digest = sha256(&data);
    let message = WriteContentRequest {
        action: WriteAction::Commit.into(),
        r#ref: format!("ref-{number}"),
        data: Bytes::from(data),
        ..WriteContentRequest::default()
    };
    let (sender, messages) = tokio::sync::mpsc::channel(1);
    sender.send(message).await.expect("there is room");
    let limit = transom_api::limits::MESSAGE_BYTES;
    let mut content = ContentClient::new(channel.clone()).max_encoding_message_size(limit);
    let mut answers = content
        .write(here(ReceiverStream::new(messages)))
        .await
        .expect("a stream")
        .into_inner();
    let answer = answers.message().await.expect("written").expect("an answer");
    assert_eq!(answer.digest, digest);
    let name = format!("image-{number:06}");
    let image = Image {
        name: name.clone(),
        target: Some(Descriptor {
            media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
            digest: digest.clone(),
            size: i64::try_from(size).expect("small"),
            ..Descriptor::default()
        }),
        ..Image::default()
    };
    let request = CreateImageRequest {
        image: Some(image),
        ..CreateImageRequest::default()
    };
    let created = ImagesClient::new(channel.clone()).create(here(request)).await;
    created.expect("an image");
    (name, digest)
}

/// Starts the daemon on what is left and compares; gives its folder back.
async fn check(folder: TempDir, acknowledged: &Acknowledged) -> TempDir {
    let program = Program::in_folder(folder, &[]);
    let channel = channel(&program.socket()).await;
    let listed = ImagesClient::new(channel.clone())
        .list(here(ListImagesRequest::default()))
        .await
        .expect("a list")
        .into_inner();
    let images: std::collections::BTreeMap<_, _> = listed
        .images
        .into_iter()
        .map(|image| (image.name, image.target.unwrap_or_default().digest))
        .collect();
    let acknowledged = acknowledged.lock().await.clone();
    for (name, digest) in &acknowledged {
        assert_eq!(images.get(name), Some(digest), "{name} of {}", acknowledged.len());
        whole(&channel, digest).await;
    }
    // And what was not acknowledged is there as a whole, or not at all.
    let mut content = ContentClient::new(channel.clone());
    let mut pages = content
        .list(here(ListContentRequest::default()))
        .await
        .expect("a list")
        .into_inner();
    let mut seen = 0;
    while let Some(page) = pages.message().await.expect("a page") {
        for info in page.info {
            whole(&channel, &info.digest).await;
            seen += 1;
        }
    }
    assert!(seen >= acknowledged.len(), "{seen} of {}", acknowledged.len());
    program.stop().0
}

pub(crate) async fn whole(channel: &Channel, digest: &str) {
    let request = ReadContentRequest {
        digest: digest.to_owned(),
        ..ReadContentRequest::default()
    };
    let limit = transom_api::limits::MESSAGE_BYTES;
    let mut content = ContentClient::new(channel.clone()).max_decoding_message_size(limit);
    let mut answers = content.read(here(request)).await.expect(digest).into_inner();
    let mut data = Vec::new();
    while let Some(answer) = answers.message().await.expect(digest) {
        data.extend_from_slice(&answer.data);
    }
    assert_eq!(sha256(&data), digest);
}

/// An ext4 file system in a file.
pub(crate) struct Disk {
    folder: TempDir,
}

impl Disk {
    pub(crate) fn new() -> Disk {
        let disk = Disk {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        let image = disk.image("disk");
        std::fs::File::create(&image)
            .and_then(|file| file.set_len(512 << 20))
            .expect("a sparse file");
        run(Command::new("mkfs.ext4").arg("-q").arg(&image));
        disk
    }

    fn image(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.ext4"))
    }

    pub(crate) fn mount(&self, name: &str) -> PathBuf {
        let target = self.folder.path().join(name);
        std::fs::create_dir(&target).expect("a folder");
        run(Command::new("mount")
            .args(["-o", "loop,commit=300"])
            .arg(self.image(name))
            .arg(&target));
        target
    }

    /// What is on the disk now, as the file system `cut`.
    pub(crate) fn cut(&self) {
        run(Command::new("cp")
            .arg("--sparse=always")
            .arg(self.image("disk"))
            .arg(self.image("cut")));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for name in ["disk", "cut"] {
            let target = self.folder.path().join(name);
            // One that was never mounted is no failure.
            let _ = Command::new("umount").arg("-l").arg(target).output();
        }
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
}
