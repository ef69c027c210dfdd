//! The real program, killed and its power cut while it prepares, commits and removes snapshots: each is in the state that was
//! acknowledged last, or in the one that was asked for after that, and no folder is left over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Mutex;
use tonic::transport::Channel;
use transom_api::leases::leases_client::LeasesClient;
use transom_api::leases::{CreateRequest, DeleteRequest};
use transom_api::snapshots as api;
use transom_api::snapshots::snapshots_client::SnapshotsClient;

use crate::crash::{cut_under, killed, rooted, rounds};
use crate::program::Program;
use crate::rig::{channel, here};

const CLIENTS: u64 = 8;

/// What a snapshot goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    #[default]
    New,
    Active,
    Committed,
    Removed,
}

/// Of each snapshot, what was acknowledged, and what was asked for.
type Story = Arc<Mutex<BTreeMap<u64, (State, State)>>>;

/// The snapshotter that works for this user.
pub(crate) fn snapshotter() -> String {
    let root = rustix::process::geteuid().is_root();
    if root { "overlayfs" } else { "native" }.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_snapshot_is_lost_or_leaked_by_a_kill() {
    let (story, next) = (Story::default(), Arc::new(AtomicU64::new(0)));
    killed(
        async |socket, round| load(&socket, &story, &next, round).await,
        async |folder| check(folder, &story).await,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_snapshot_is_lost_or_leaked_by_a_power_cut() {
    if !transom_tests::needs::require_root() {
        return;
    }
    for round in 0..rounds() {
        let (story, next) = (Story::default(), Arc::new(AtomicU64::new(0)));
        let load = async |socket: PathBuf| load(&socket, &story, &next, round).await;
        let disk = cut_under(load).await;
        check(rooted(&disk.mount("cut")), &story).await;
    }
}

/// Lets clients take snapshots through their lives for a while that differs from round to round.
async fn load(socket: &Path, story: &Story, next: &Arc<AtomicU64>, round: u64) {
    let mut tasks = Vec::new();
    for _ in 0..CLIENTS {
        let (channel, story, next) = (channel(socket).await, Arc::clone(story), Arc::clone(next));
        tasks.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                // What ends with the daemon is what the test is about.
                if live(&channel, &story, number).await.is_err() {
                    return;
                }
            }
        }));
    }
    let before = story.lock().await.len();
    while story.lock().await.len() < before + 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(150 + round * 37 % 100)).await;
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

fn root_label() -> BTreeMap<String, String> {
    [("containerd.io/gc.root".to_owned(), "1".to_owned())].into()
}

/// Prepares one; commits two of three; removes half of those.
async fn live(channel: &Channel, story: &Story, number: u64) -> Result<(), tonic::Status> {
    let mut client = SnapshotsClient::new(channel.clone());
    let tell = async |acknowledged, asked| {
        story.lock().await.insert(number, (acknowledged, asked));
    };
    let key = format!("a-{number}");
    tell(State::New, State::Active).await;
    let request = api::PrepareSnapshotRequest {
        snapshotter: snapshotter(),
        key: key.clone(),
        parent: String::new(),
        labels: root_label(),
    };
    let mounts = client.prepare(here(request)).await?.into_inner().mounts;
    tell(State::Active, State::Active).await;
    std::fs::write(Path::new(&mounts[0].source).join("data"), key.as_bytes())?;
    if number.is_multiple_of(3) {
        return Ok(());
    }
    tell(State::Active, State::Committed).await;
    let request = api::CommitSnapshotRequest {
        snapshotter: snapshotter(),
        name: format!("s-{number}"),
        key,
        labels: root_label(),
        ..api::CommitSnapshotRequest::default()
    };
    client.commit(here(request)).await?;
    tell(State::Committed, State::Committed).await;
    if number.is_multiple_of(2) {
        return Ok(());
    }
    tell(State::Committed, State::Removed).await;
    let request = api::RemoveSnapshotRequest {
        snapshotter: snapshotter(),
        key: format!("s-{number}"),
    };
    client.remove(here(request)).await?;
    tell(State::Removed, State::Removed).await;
    Ok(())
}

/// Starts the daemon on what is left and compares; gives its folder back.
async fn check(folder: TempDir, story: &Story) -> TempDir {
    let program = Program::in_folder(folder, &[]);
    let channel = channel(&program.socket()).await;
    let mut found = listed(&channel).await;
    let count = found.len();
    for (number, (acknowledged, asked)) in &mut *story.lock().await {
        let active = found.remove(&format!("a-{number}"));
        let committed = found.remove(&format!("s-{number}"));
        let state = match (active, committed) {
            (Some(api::Kind::Active), None) => State::Active,
            (None, Some(api::Kind::Committed)) => State::Committed,
            (None, None) if *acknowledged >= State::Committed => State::Removed,
            (None, None) => State::New,
            other => panic!("snapshot {number}: {other:?}"),
        };
        assert!(
            state == *acknowledged || state == *asked,
            "snapshot {number} is {state:?}, acknowledged {acknowledged:?}, asked for {asked:?}"
        );
        if state == State::Committed {
            whole(&channel, *number).await;
        }
        // From here on this is how it is.
        (*acknowledged, *asked) = (state, state);
    }
    assert!(found.is_empty(), "nobody asked for {found:?}");
    collect(&channel).await;
    let snapshots = format!("root/io.containerd.snapshotter.v1.{}/snapshots", snapshotter());
    let folders = std::fs::read_dir(program.folder.path().join(snapshots)).expect("its folder");
    assert_eq!(folders.count(), count, "a folder for each snapshot");
    program.stop().0
}

pub(crate) async fn listed(channel: &Channel) -> BTreeMap<String, api::Kind> {
    let request = api::ListSnapshotsRequest {
        snapshotter: snapshotter(),
        filters: Vec::new(),
    };
    let mut client = SnapshotsClient::new(channel.clone());
    let mut pages = client.list(here(request)).await.expect("a list").into_inner();
    let mut found = BTreeMap::new();
    while let Some(page) = pages.message().await.expect("a page") {
        let named = |info: api::Info| (info.name.clone(), info.kind());
        found.extend(page.info.into_iter().map(named));
    }
    found
}

/// What was written before it was committed is there.
async fn whole(channel: &Channel, number: u64) {
    let mut client = SnapshotsClient::new(channel.clone());
    let key = format!("v-{number}");
    let request = api::ViewSnapshotRequest {
        snapshotter: snapshotter(),
        key: key.clone(),
        parent: format!("s-{number}"),
        labels: root_label(),
    };
    let mounts = client
        .view(here(request))
        .await
        .expect("a view")
        .into_inner()
        .mounts;
    let data = std::fs::read_to_string(Path::new(&mounts[0].source).join("data"));
    assert_eq!(data.expect("it was written"), format!("a-{number}"));
    let request = api::RemoveSnapshotRequest {
        snapshotter: snapshotter(),
        key,
    };
    client.remove(here(request)).await.expect("removed");
}

/// Waits for a collection.
pub(crate) async fn collect(channel: &Channel) {
    let mut leases = LeasesClient::new(channel.clone());
    let request = CreateRequest {
        id: "collect".to_owned(),
        ..CreateRequest::default()
    };
    leases.create(here(request)).await.expect("a lease");
    let request = DeleteRequest {
        id: "collect".to_owned(),
        sync: true,
    };
    leases.delete(here(request)).await.expect("a collection");
}
