//! Any bytes as a tar, applied to a folder: nothing beside the folder may change, and how the bytes are cut into chunks
//! must not matter.

use std::cell::RefCell;
use std::fs::{self, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempDir;
use transom_layer::apply::{ApplyLimits, ApplyOptions, Ownership, WhiteoutFormat, apply, remove_contents};
use transom_layer::tar::TarLimits;

use super::{shape, temporary};

/// A folder to fill, with things beside it that must stay as they are.
struct Place {
    folder: TempDir,
    before: Vec<String>,
}

thread_local! {
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

/// Applies the bytes as a layer, twice: in one chunk and in small ones.
///
/// # Panics
/// When something beside the folder changed, when the two ways differ, or when the folder cannot be emptied.
pub fn tar(data: &[u8]) -> String {
    let [choice, data @ ..] = data else {
        return "empty".to_owned();
    };
    PLACE.with_borrow_mut(|place| {
        let place = place.get_or_insert_with(Place::new);
        let whole = place.apply(&mut Some(Bytes::copy_from_slice(data)), *choice);
        let size = 1 + usize::from(*choice) * 7;
        let chunks: Vec<Bytes> = data.chunks(size).map(Bytes::copy_from_slice).collect();
        let cut = place.apply(&mut chunks.into_iter(), *choice);
        assert_eq!(whole, cut, "chunks of {size} bytes make a difference");
        whole
    })
}

impl Place {
    fn new() -> Place {
        let folder = temporary();
        let (root, beside) = (folder.path().join("root"), folder.path().join("beside"));
        let fill = || {
            fs::create_dir(&root)?;
            fs::create_dir(&beside)?;
            fs::write(beside.join("file"), "untouched")?;
            fs::set_permissions(beside.join("file"), Permissions::from_mode(0o640))?;
            symlink("file", beside.join("link"))
        };
        fill().expect("the folder is new and ours");
        let before = record(&beside);
        Place { folder, before }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// What lower layers may have left: links out of the folder by every way.
    fn prepare(&self) {
        let (root, beside) = (self.root(), self.folder.path().join("beside"));
        let fill = || {
            fs::create_dir(root.join("dir"))?;
            fs::write(root.join("dir/file"), "lower")?;
            symlink("..", root.join("up"))?;
            symlink("../beside", root.join("out"))?;
            symlink(&beside, root.join("absolute"))?;
            symlink("dir", root.join("in"))?;
            symlink("loop", root.join("loop"))
        };
        fill().expect("the folder is empty and ours");
    }

    fn apply(&self, source: &mut dyn transom_layer::tar::ChunkSource, choice: u8) -> String {
        self.prepare();
        let root = File::open(self.root()).expect("it was made");
        let is_root = rustix::process::geteuid().is_root();
        let options = ApplyOptions {
            whiteouts: if choice & 1 == 1 && is_root {
                WhiteoutFormat::Overlay
            } else {
                WhiteoutFormat::Plain
            },
            ownership: if choice & 2 == 2 && is_root {
                Ownership::Keep
            } else {
                Ownership::Ignore
            },
            parents: Vec::new(),
            limits: ApplyLimits {
                entries: 1000,
                tar: TarLimits {
                    sparse_pieces: 1000,
                    ..TarLimits::default()
                },
                ..ApplyLimits::default()
            },
        };
        let result = match apply(source, root.as_fd(), &options) {
            Ok(report) => format!("{} entries, {} warnings", report.entries, report.warnings.total),
            Err(error) => shape(&error),
        };
        self.check();
        remove_contents(root.as_fd()).expect("whatever was unpacked can be removed");
        self.check();
        result
    }

    fn check(&self) {
        assert_eq!(record(&self.folder.path().join("beside")), self.before);
        let names = fs::read_dir(self.folder.path()).expect("it is ours").count();
        assert_eq!(names, 2, "something was made beside the folder");
    }
}

/// All that can be seen of a folder and the files in it.
fn record(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder)
        .expect("it is ours")
        .flatten()
        .map(|entry| entry.path());
    let mut lines: Vec<String> = entries
        .chain([folder.to_owned()])
        .map(|path| {
            let found = fs::symlink_metadata(&path).expect("it is there");
            let content = if found.is_file() {
                fs::read(&path).unwrap_or_default()
            } else {
                Vec::new()
            };
            format!(
                "{} {:o} {}:{} {}.{} {} links {content:?}",
                path.display(),
                found.mode(),
                found.uid(),
                found.gid(),
                found.mtime(),
                found.mtime_nsec(),
                found.nlink()
            )
        })
        .collect();
    lines.sort();
    lines
}
