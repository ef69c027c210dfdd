//! What happens in a container: changes to a tree, each of which may fail, as there.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use transom_sys::{FileType, Linux, Sys as _, XattrFlags};

use crate::layers::{make_node, touch};

/// One change; places are numbers, taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Make {
        folder: usize,
        name: u8,
        what: What,
        time: (i64, i64),
    },
    /// Writes other content into a file.
    Write(usize, u8, (i64, i64)),
    /// Opens for writing, which copies up, and changes nothing.
    Open(usize),
    Mode(usize, u32),
    /// Sets the mode that it has.
    SameMode(usize),
    Owner(usize, u32),
    Time(usize, (i64, i64)),
    Remove(usize),
    /// Removes a folder and makes it again.
    Again(usize),
    Rename(usize, usize, u8),
    Link(usize, usize, u8),
    Capability(usize, bool),
    /// Sets what only another kind of overlay takes for a mark.
    FalseMark(usize),
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Folder,
    File(u8, usize),
    Symlink(u8),
    Fifo,
    Device,
    Socket,
}

fn time() -> impl Strategy<Value = (i64, i64)> {
    // Few, so that some are equal; two in three as a tar leaves them.
    (
        1000_i64..1003,
        prop_oneof![2 => Just(0_i64), 1 => 1_i64..1_000_000_000],
    )
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        4 => Just(What::Folder),
        6 => (any::<u8>(), 0_usize..3).prop_map(|(byte, size)| What::File(byte % 3, size * 40_000)),
        1 => any::<u8>().prop_map(|byte| What::Symlink(byte % 3)),
        1 => Just(What::Fifo),
        1 => Just(What::Device),
        1 => Just(What::Socket),
    ]
}

/// Any change.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    let at = || 0_usize..40;
    let name = || 0_u8..8;
    prop_oneof![
        10 => (at(), name(), what(), time())
            .prop_map(|(folder, name, what, time)| Op::Make { folder, name, what, time }),
        2 => (at(), any::<u8>(), time()).prop_map(|(at, byte, time)| Op::Write(at, byte % 3, time)),
        1 => at().prop_map(Op::Open),
        2 => (at(), 0_u32..0o10000).prop_map(|(at, mode)| Op::Mode(at, mode)),
        1 => at().prop_map(Op::SameMode),
        1 => (at(), 0_u32..3_000_000).prop_map(|(at, id)| Op::Owner(at, id)),
        1 => (at(), time()).prop_map(|(at, time)| Op::Time(at, time)),
        3 => at().prop_map(Op::Remove),
        2 => at().prop_map(Op::Again),
        2 => (at(), at(), name()).prop_map(|(from, to, name)| Op::Rename(from, to, name)),
        2 => (at(), at(), name()).prop_map(|(from, to, name)| Op::Link(from, to, name)),
        1 => (at(), any::<bool>()).prop_map(|(at, set)| Op::Capability(at, set)),
        1 => at().prop_map(Op::FalseMark),
    ]
}

/// Names that sort in interesting ways.
const NAMES: [&str; 8] = [
    "a",
    "a-b",
    "a.b",
    "b",
    "\u{e4}",
    "c c",
    "x",
    "long-long-long-long-long-long-long-long-long-long-long",
];

/// Everything in the tree, sorted, the root first.
fn places(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.to_path_buf()];
    let mut next = 0;
    while next < found.len() {
        let path = found[next].clone();
        if fs::symlink_metadata(&path).is_ok_and(|facts| facts.is_dir()) {
            let mut names: Vec<PathBuf> = fs::read_dir(&path)
                .unwrap()
                .map(|name| name.unwrap().path())
                .collect();
            names.sort();
            found.extend(names);
        }
        next += 1;
    }
    found
}

/// Does all that can be done. Every time is given, so that a clock's coarse ticks decide nothing.
pub(crate) fn run(root: &Path, ops: &[Op]) {
    for op in ops {
        let places = places(root);
        let folders: Vec<&PathBuf> = places
            .iter()
            .filter(|path| fs::symlink_metadata(path).unwrap().is_dir())
            .collect();
        let below = |at: usize| (places.len() > 1).then(|| places[1 + at % (places.len() - 1)].clone());
        let folder = |at: usize| folders[at % folders.len()].clone();
        let name = |name: u8| NAMES[usize::from(name) % NAMES.len()];
        match op {
            Op::Make {
                folder: at,
                name: which,
                what,
                time,
            } => make(&folder(*at).join(name(*which)), what, *time),
            Op::Rename(from, to, which) => {
                if let Some(from) = below(*from) {
                    // What overlayfs cannot move, a person copies; that is other changes here.
                    let _ = fs::rename(from, folder(*to).join(name(*which)));
                }
            }
            Op::Link(from, to, which) => {
                if let Some(from) = below(*from) {
                    let _ = fs::hard_link(from, folder(*to).join(name(*which)));
                }
            }
            other => {
                if let Some(path) = below(place(other)) {
                    alter(&path, other);
                }
            }
        }
    }
}

fn place(op: &Op) -> usize {
    match op {
        Op::Make { folder: at, .. }
        | Op::Write(at, ..)
        | Op::Open(at)
        | Op::Mode(at, _)
        | Op::SameMode(at)
        | Op::Owner(at, _)
        | Op::Time(at, _)
        | Op::Remove(at)
        | Op::Again(at)
        | Op::Rename(at, ..)
        | Op::Link(at, ..)
        | Op::Capability(at, _)
        | Op::FalseMark(at) => *at,
    }
}

fn make(path: &Path, what: &What, time: (i64, i64)) {
    let made = match what {
        What::Folder => fs::create_dir(path).is_ok(),
        What::File(byte, size) => OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .and_then(|mut file| file.write_all(&vec![*byte; *size]))
            .is_ok(),
        What::Symlink(byte) => symlink(format!("target{byte}"), path).is_ok(),
        What::Fifo => make_node(path, FileType::Fifo, (0, 0)).is_ok(),
        What::Device => make_node(path, FileType::CharacterDevice, (1, 3)).is_ok(),
        What::Socket => make_node(path, FileType::Socket, (0, 0)).is_ok(),
    };
    if made {
        touch(path, time.0, time.1);
    }
}

fn alter(path: &Path, op: &Op) {
    let facts = fs::symlink_metadata(path).unwrap();
    let is_file = facts.is_file();
    match op {
        Op::Write(_, byte, time) if is_file => {
            let length = usize::try_from(facts.size()).unwrap().max(1);
            // Not truncated first: that would be another time if it failed.
            fs::write(path, vec![*byte; length]).unwrap();
            touch(path, time.0, time.1);
        }
        Op::Open(_) if is_file => drop(File::options().write(true).open(path).unwrap()),
        Op::Mode(_, mode) if !facts.is_symlink() => {
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
        }
        Op::SameMode(_) if !facts.is_symlink() => {
            fs::set_permissions(path, fs::Permissions::from_mode(facts.mode() & 0o7777)).unwrap();
        }
        Op::Owner(_, id) => lchown(path, Some(*id), Some(id / 2)).unwrap(),
        Op::Time(_, time) => touch(path, time.0, time.1),
        Op::Remove(_) => remove(path),
        Op::Again(_) if facts.is_dir() => {
            remove(path);
            fs::create_dir(path).unwrap();
        }
        Op::Capability(_, set) if is_file => {
            let value = [
                1,
                0,
                0,
                2,
                u8::from(*set),
                4,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ];
            let file = File::open(path).unwrap();
            Linux
                .fsetxattr(file.as_fd(), b"security.capability", &value, XattrFlags::empty())
                .unwrap();
        }
        Op::FalseMark(_) if facts.is_dir() => {
            let folder = File::open(path).unwrap();
            // An overlay that goes by it does not let it through.
            let _ = Linux.fsetxattr(folder.as_fd(), b"user.overlay.opaque", b"y", XattrFlags::empty());
        }
        _ => {}
    }
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}
