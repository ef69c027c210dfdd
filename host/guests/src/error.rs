//! What can go wrong on the way to a component.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `plugin.toml` is not what it should be. Loading the plugin says more.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The folder is no project in a language that is built here.
    #[error("{}: {reason}", folder.display())]
    Language {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        reason: &'static str,
    },
    /// A compiler is not installed.
    #[error("there is no {name}: {get}")]
    Tool {
        /// The program.
        name: &'static str,
        /// How to get it.
        get: String,
    },
    /// A compiler did not do it.
    #[error("{tool} failed: {said}")]
    Failed {
        /// The program.
        tool: String,
        /// What it printed.
        said: String,
    },
    /// No bindings can be made of the interfaces.
    #[error("the bindings cannot be made: {0}")]
    Bindings(String),
    /// What was compiled makes no component.
    #[error("what was compiled is no plugin: {0}")]
    Component(String),
}

/// Makes an [`Error::File`].
pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Error + '_ {
    |source| Error::File {
        path: path.to_owned(),
        source,
    }
}
