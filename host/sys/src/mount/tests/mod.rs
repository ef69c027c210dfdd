//! The order of the calls, with mounts that are only pretended: no root is needed.

mod fuse;
mod idmap;
mod layers;
mod loops;
mod sequence;
mod stack;
mod temp;
mod unmount;

use std::path::{Path, PathBuf};

use super::Mount;
use crate::{Linux, Op, Recorded};

/// Pretended mounts, and a folder to mount at.
struct Stage {
    sys: Recorded<Linux>,
    folder: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let sys = Recorded::new(Linux);
        sys.pretend_mounts();
        sys.pretend_user_namespace(false);
        Stage {
            sys,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn make(&self, name: &str) -> PathBuf {
        let path = self.root().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn mount(&self, mounts: &[Mount]) -> Result<(), super::MountError> {
        super::on(&self.sys, mounts, self.root())
    }

    /// The calls of these kinds so far: kind and what was asked, with `/ROOT` for the folder.
    fn calls(&self, ops: &[Op]) -> Vec<String> {
        let root = std::fs::canonicalize(self.root()).unwrap();
        let calls = self.sys.calls().into_iter().filter(|call| ops.contains(&call.op));
        calls
            .map(|call| {
                let what = String::from_utf8(call.name).unwrap();
                let what = what.replace(root.to_str().unwrap(), "/ROOT");
                format!("{:?} {what}", call.op)
            })
            .collect()
    }
}

fn described(kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        kind: kind.to_owned(),
        source: source.to_owned(),
        target: String::new(),
        options: options.iter().map(|&option| option.to_owned()).collect(),
    }
}

fn inside(target: &str, mount: Mount) -> Mount {
    Mount {
        target: target.to_owned(),
        ..mount
    }
}
