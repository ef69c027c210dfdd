//! Loads a daemon that speaks containerd's API, or a registry, with one kind of request and prints what it got through, as one JSON
//! document. `cargo xtask bench` runs it against ours and the peer in turn, and watches their CPU time and memory from outside.
//!
//! Read in this order: `main.rs` (what is asked for), [`client`] (connections and headers), [`jobs`] (requests about content and images), [`layers`] (about layers
//! and snapshots), [`registry`] (to a registry).

mod client;
mod jobs;
mod layers;
mod registry;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde_json::json;

use client::Client;

/// Loads a daemon or a registry with one kind of request.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// The daemon's socket, or the registry's address and port
    socket: PathBuf,
    /// What to ask for
    #[arg(value_enum)]
    job: Job,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 1)]
    clients: u32,
    /// How long jobs that repeat go on
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Images and blobs to make, and to choose from
    #[arg(long, default_value_t = 1000)]
    count: u32,
    /// Bytes of a blob
    #[arg(long, default_value_t = 4096)]
    size: u64,
    /// Bytes of one write or read
    #[arg(long, default_value_t = 1 << 20)]
    chunk: u32,
    /// The snapshot to compare with what it stands on, or the one that layers stand on
    #[arg(long, default_value = "")]
    snapshot: String,
    /// The media type of the layers to apply
    #[arg(long, default_value = "application/vnd.oci.image.layer.v1.tar+gzip")]
    media_type: String,
    /// Makes names and contents differ from those of other runs
    #[arg(long, default_value_t = 0)]
    salt: u64,
}

/// The kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Job {
    /// Wait until the daemon answers, and ask for its version
    Ready,
    /// Make `count` images and as many blobs
    Seed,
    /// Content.Info of those blobs
    Info,
    /// Images.Get of those images
    GetImage,
    /// Images.Update of one label
    UpdateImage,
    /// Blobs of `size` bytes, written and committed under a lease
    PutBlob,
    /// One blob of `size` bytes in writes of `chunk` bytes
    Ingest,
    /// That blob, in reads of `chunk` bytes, or in one stream if `chunk` is 0
    Read,
    /// Images.List of all
    ListImages,
    /// Content.List of all
    ListContent,
    /// Diff.Apply of `count` layers of one small file onto one snapshot
    Apply,
    /// The same, each onto a snapshot of its own, which is prepared and committed
    Unpack,
    /// Diff.Diff of an active snapshot and what it stands on
    Compare,
    /// Snapshots.Prepare and Remove
    PrepareRemove,
    /// Wait until the registry answers
    RegistryReady,
    /// Push a manifest with a small layer, and a blob of `size` bytes
    RegistrySeed,
    /// GET of that manifest by its tag
    RegistryManifest,
    /// GET of that small layer
    RegistryBlob,
    /// The first page of 100 tags of `bench/tags`
    RegistryTags,
    /// The first page of 100 repositories
    RegistryCatalog,
    /// Small blobs by POST and PUT
    RegistryPutBlob,
    /// That blob of `size` bytes
    RegistryPull,
    /// A blob of `size` bytes from each client by PATCH, in chunks of `chunk` bytes, or in one stream if that is 0
    RegistryPush,
}

/// What a job got through.
#[derive(Clone, Copy, Debug, Default)]
struct Done {
    operations: u64,
    bytes: u64,
    time: Duration,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments)),
        Err(error) => Err(Error::Io(error)),
    };
    match done {
        Ok(done) => {
            let seconds = done.time.as_secs_f64();
            println!(
                "{}",
                json!({ "operations": done.operations, "bytes": done.bytes, "seconds": seconds })
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Done, Error> {
    match arguments.job {
        Job::Ready => jobs::ready(arguments).await,
        Job::Seed => jobs::seed(arguments).await,
        Job::Ingest => jobs::ingest(arguments).await,
        Job::Read => jobs::read(arguments).await,
        Job::ListImages => jobs::list_images(arguments).await,
        Job::ListContent => jobs::list_content(arguments).await,
        Job::Apply => layers::apply(arguments).await,
        Job::Unpack => layers::unpack(arguments).await,
        Job::Compare => layers::compare(arguments).await,
        Job::PrepareRemove => layers::prepare_remove(arguments).await,
        Job::RegistryReady
        | Job::RegistrySeed
        | Job::RegistryManifest
        | Job::RegistryBlob
        | Job::RegistryTags
        | Job::RegistryCatalog
        | Job::RegistryPutBlob
        | Job::RegistryPull
        | Job::RegistryPush => registry::run(arguments).await,
        Job::Info | Job::GetImage | Job::UpdateImage | Job::PutBlob => jobs::repeat(arguments).await,
    }
}

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The daemon refused.
    #[error("{0}")]
    Status(#[from] tonic::Status),
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(#[from] tonic::transport::Error),
    /// The runtime, or a task of it.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// HTTP.
    #[error("{0}")]
    Http(#[from] hyper::Error),
    /// A request that cannot be.
    #[error("{0}")]
    Request(#[from] http::Error),
    /// The daemon did not do as asked.
    #[error("{0}")]
    Wrong(String),
}
