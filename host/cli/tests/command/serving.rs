//! Our own registry, served by the command.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::transom;

/// A registry that is being served; it ends with this.
pub(crate) struct Serving {
    process: Child,
    pub(crate) address: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Serving {
    /// On a folder.
    pub(crate) fn files(folder: &Path) -> Serving {
        Serving::with([
            OsStr::new("--listen"),
            OsStr::new("127.0.0.1:0"),
            OsStr::new("--storage"),
            folder.as_os_str(),
        ])
    }

    /// With these arguments.
    pub(crate) fn with<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Serving {
        let mut process = transom(["--json", "registry", "serve"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let served: Value = serde_json::from_str(&line).unwrap();
        Serving {
            process,
            address: served["address"].as_str().unwrap().to_owned(),
        }
    }
}
