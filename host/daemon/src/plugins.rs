//! Where plugins of any kind are found, and the engine that they share.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use transom_plugin::{Host, HostConfig, LoadError};

use crate::parts::Part;
use crate::{lock, places};

/// The engine, which is started when the first plugin is loaded: it takes milliseconds and address space that nobody owes
/// who has no plugin.
#[derive(Debug)]
pub struct Engine<'r> {
    root: &'r Path,
    host: OnceCell<Result<Host, LoadError>>,
}

impl<'r> Engine<'r> {
    /// An engine that keeps compiled code below `root`.
    #[must_use]
    pub fn new(root: &'r Path) -> Engine<'r> {
        Engine {
            root,
            host: OnceCell::new(),
        }
    }

    /// The engine, started.
    ///
    /// # Errors
    /// Why it cannot be started; the same each time.
    pub fn host(&self) -> Result<&Host, &LoadError> {
        self.host.get_or_init(|| start(self.root)).as_ref()
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

/// What may be plugins in `folders`, each of which is one or holds some. A folder that cannot be read is told to `refuse`.
pub(crate) fn found(
    folders: &[PathBuf],
    mut refuse: impl FnMut(&Path, &dyn std::error::Error),
) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for folder in folders {
        match candidates(folder) {
            Ok(found) => paths.extend(found),
            Err(error) => refuse(folder, &error),
        }
    }
    paths
}

/// What may be plugins in a folder, sorted.
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

/// Says in the log that a plugin cannot be used, and makes the part that says it to clients.
pub(crate) fn refused(
    kind: &'static str,
    part: fn(String) -> Part,
    path: &Path,
    error: &dyn std::error::Error,
) -> Part {
    tracing::error!(path = %path.display(), %error, "a {kind} plugin cannot be used");
    let name = path.file_stem().unwrap_or(path.as_os_str());
    let status = tonic::Status::unknown(error.to_string());
    part(name.to_string_lossy().into_owned()).failed(&status)
}
