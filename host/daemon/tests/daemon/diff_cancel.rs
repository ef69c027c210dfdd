//! Clients that go away in the middle of a layer, and daemons that are killed there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::{TempDir, tempdir};
use transom_api::diff::diff_client::DiffClient;
use transom_layer::exec::ExternalProcessor;
use transom_tests::needs::require_root;

use crate::layers::{Layer, TAR, apply, bind, folder, mounts_below, overlay, request};
use crate::program::Program;
use crate::rig::{Rig, channel, here};
use crate::{blobs, layers};

const SLOW: &str = "application/vnd.example.slow";

/// How long anything may take that is bound to happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place with a program that passes on what it gets and then never ends by itself.
struct Stall {
    at: TempDir,
}

impl Stall {
    fn new() -> Stall {
        Stall {
            at: tempdir().expect("a folder"),
        }
    }

    fn script(&self) -> String {
        format!("echo $$ > {}; cat; sleep 1000", self.pid_file().display())
    }

    fn pid_file(&self) -> PathBuf {
        self.at.path().join("pid")
    }

    fn processor(&self) -> ExternalProcessor {
        ExternalProcessor {
            id: "stall".to_owned(),
            accepts: vec![SLOW.to_owned()],
            returns: TAR.to_owned(),
            path: "sh".into(),
            args: vec!["-c".to_owned(), self.script()],
            env: Vec::new(),
        }
    }

    fn upper(&self) -> PathBuf {
        folder(self.at.path(), "u")
    }

    /// Mounts that must be mounted.
    fn mounts(&self) -> Vec<transom_api::types::Mount> {
        let lower = folder(self.at.path(), "l");
        vec![bind(&lower), overlay(Some(&self.upper()), &[&lower])]
    }

    /// The program's process, once the layer's first file is unpacked.
    async fn at_work(&self) -> u32 {
        let first = self.upper().join("first");
        until("the layer is in the middle", || first.exists()).await;
        let text = std::fs::read_to_string(self.pid_file()).expect("the program has begun");
        text.trim().parse().expect("a number")
    }
}

/// More than all pipes and buffers hold, with a small file before it.
fn large() -> Vec<u8> {
    Layer::new()
        .file("first", b"x")
        .file("large", &vec![5; 12 << 20])
        .end()
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A dead one that nobody has waited for yet still has a folder there, without a command line.
fn runs(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

/// The services are asked without a socket: tonic's channels have a clock of their own for the same header.
#[tokio::test]
async fn the_clients_deadline_ends_a_request_and_its_work() {
    if !require_root() {
        return;
    }
    let stall = Stall::new();
    let rig = Rig::with(|config| config.stream_processors = vec![stall.processor()]).await;
    let blob = large();
    blobs::put(&rig, &blob).await;
    // On a busy machine the first deadlines come before the layer is in the middle.
    for deadline in ["2S", "10S", "60S"] {
        let mut asked = here(request(SLOW, &blob, &stall.mounts()));
        let deadline = deadline.parse().expect("text");
        asked.metadata_mut().insert("grpc-timeout", deadline);
        let mut client = DiffClient::new(rig.services.clone());
        let error = client.apply(asked).await.expect_err("it stalls for ever");
        assert_eq!(error.code(), tonic::Code::DeadlineExceeded, "{error}");
        assert_eq!(error.message(), "context deadline exceeded");
        until("the mounts go", || mounts_below(rig.folder.path()).is_empty()).await;
        if stall.upper().join("first").exists() {
            let pid = stall.at_work().await;
            until("the process goes", || !runs(pid)).await;
            return;
        }
    }
    panic!("the layer is never in the middle");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_no_mount_and_no_process() {
    if !require_root() {
        return;
    }
    let stall = Stall::new();
    let rig = Rig::with(|config| {
        config.stream_processors = vec![stall.processor()];
        config.limits.diffs = 1;
    })
    .await;
    let blob = large();
    blobs::put(&rig, &blob).await;
    for _ in 0..3 {
        let mut client = DiffClient::new(rig.channel.clone());
        let asked = here(request(SLOW, &blob, &stall.mounts()));
        let call = tokio::spawn(async move { client.apply(asked).await });
        let pid = stall.at_work().await;
        assert!(!mounts_below(rig.folder.path()).is_empty() && runs(pid));
        call.abort();
        until("the mounts go", || mounts_below(rig.folder.path()).is_empty()).await;
        until("the process goes", || !runs(pid)).await;
        std::fs::remove_file(stall.upper().join("first")).expect("what was unpacked is the caller's");
    }
    // Its place is free again: nothing of it works any more.
    let target = tempdir().expect("a folder");
    let small = Layer::new().file("f", b"x").end();
    let applied = tokio::time::timeout(PATIENCE, apply(&rig, TAR, &small, &[bind(target.path())])).await;
    applied.expect("there is room").expect("it is applied");
}

#[tokio::test]
async fn a_comparison_that_nobody_waits_for_ends() {
    if !require_root() {
        return;
    }
    let at = tempdir().expect("a folder");
    let rig = Rig::with(|config| config.limits.diffs = 1).await;
    let (left, right) = (folder(at.path(), "l"), folder(at.path(), "r"));
    // Half a gibibyte of nothing takes its time to be compressed, and no room.
    let file = std::fs::File::create(right.join("f")).expect("a file");
    file.set_len(512 << 20).expect("a hole");
    let asked = transom_api::diff::DiffRequest {
        left: vec![bind(&left)],
        right: vec![bind(&right), bind(&right)],
        ..Default::default()
    };
    let mut client = DiffClient::new(rig.channel.clone());
    let call = tokio::spawn(async move { client.diff(here(asked)).await });
    until("it begins", || !mounts_below(rig.folder.path()).is_empty()).await;
    call.abort();
    until("the mounts go", || mounts_below(rig.folder.path()).is_empty()).await;
    let small = transom_api::diff::DiffRequest::default();
    let compared = tokio::time::timeout(PATIENCE, layers::compare(&rig, small)).await;
    compared.expect("there is room").expect("it is compared");
    let statuses = blobs::client(&rig)
        .list_statuses(here(transom_api::content::ListStatusesRequest::default()))
        .await;
    assert!(statuses.expect("a list").into_inner().statuses.is_empty());
}

/// The real program, killed in the middle of a layer: the next one finds what it left mounted.
#[tokio::test]
async fn a_crash_leaves_no_mount_after_the_next_start() {
    if !require_root() {
        return;
    }
    let stall = Stall::new();
    let folder = tempdir().expect("a folder");
    let config = folder.path().join("config.toml");
    let script = stall.script();
    let text = format!(
        "[stream_processors.stall]\naccepts = [{SLOW:?}]\nreturns = {TAR:?}\npath = \"sh\"\nargs = [\"-c\", {script:?}]\n"
    );
    std::fs::write(&config, text).expect("a file");
    let config = config.to_str().expect("text").to_owned();
    let mut program = Program::in_folder(folder, &["--config", &config]);
    let root = program.folder.path().join("root");
    let blob = large();
    let connected = channel(&program.socket()).await;
    blobs::put_on(connected.clone(), &blob).await;
    let asked = here(request(SLOW, &blob, &stall.mounts()));
    let call = tokio::spawn(async move { DiffClient::new(connected).apply(asked).await });
    let pid = stall.at_work().await;
    program.child.kill().expect("it runs");
    program.child.wait().expect("it ends");
    call.await.expect("no panic").expect_err("nobody answers");
    assert!(!mounts_below(&root).is_empty(), "nobody has unmounted it");
    kill_group(pid);
    let folder = std::mem::replace(&mut program.folder, tempdir().expect("a folder"));
    let program = Program::in_folder(folder, &["--config", &config]);
    assert_eq!(mounts_below(&root), <[&Path; 0]>::default());
    let left: Vec<_> = std::fs::read_dir(root.join("tmpmounts"))
        .expect("a folder")
        .collect();
    assert!(left.is_empty(), "{left:?}");
    program.stop();
}

/// The program does not belong to the daemon that was killed any more.
fn kill_group(leader: u32) {
    let leader = i32::try_from(leader)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    let killed =
        rustix::process::kill_process_group(leader.expect("a number"), rustix::process::Signal::KILL);
    killed.expect("it runs");
}
