//! Plugins of every kind: where they are found, the engine that they share, those in use, and how they change while the daemon runs.
//!
//! Read in this order: this file (the engine), [`set`] (the plugins of one time) over `folders` (those of the configuration's folders)
//! and [`installed`] with [`record`] (those of the content store),
//! [`live`] (how one set takes the place of another), [`view`] (what is told of them), [`trouble`] (why not).

mod folders;
pub mod installed;
pub mod live;
pub mod record;
pub mod set;
pub mod trouble;
pub mod view;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use transom_plugin::{Host, HostConfig, LoadError};

use crate::{lock, places};

pub use live::{Changed, Live};
pub use trouble::Trouble;

/// The engine, which is started when the first plugin is loaded: it takes milliseconds and address space that nobody owes
/// who has no plugin. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Engine {
    root: PathBuf,
    host: Arc<OnceLock<Result<Host, LoadError>>>,
}

impl Engine {
    /// An engine that keeps compiled code below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Engine {
        Engine {
            root: root.to_path_buf(),
            host: Arc::default(),
        }
    }

    /// The engine, started.
    ///
    /// # Errors
    /// Why it cannot be started; the same each time.
    pub fn host(&self) -> Result<&Host, &LoadError> {
        self.host.get_or_init(|| start(&self.root)).as_ref()
    }
}

fn start(root: &Path) -> Result<Host, LoadError> {
    let cache = places::compiled(root);
    let made = lock::folder(&cache, 0o700);
    if let Err(error) = &made {
        tracing::warn!(%error, "plugins are compiled anew at each start");
    }
    Host::new(HostConfig {
        cache_dir: made.is_ok().then_some(cache),
        ..HostConfig::default()
    })
}

/// What may be plugins in a folder, sorted; the folder itself if it is one.
fn candidates(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let is_plugin = |path: &Path| path.join("plugin.toml").is_file();
    if is_plugin(folder) {
        return Ok(vec![folder.to_path_buf()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if is_plugin(&path) || path.extension().is_some_and(|extension| extension == "wasm") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Runs what computes or waits for a disk beside the tasks of requests.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    // Nothing cancels a blocking task, so that it has panicked if it has no result.
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
