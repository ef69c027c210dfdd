//! Any tree, packed by GNU tar and by the `tar` crate, must come out as GNU tar itself unpacks it; and any tree that we make a layer
//! of must come out of GNU tar and of Python's `tarfile` as it was.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "apply_support/archive.rs"]
#[expect(dead_code, reason = "shared by several test programs")]
mod archive;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use archive::chunks;
use proptest::prelude::*;
use transom_layer::apply::{ApplyOptions, Ownership, apply};
use transom_layer::compare::{Changes, CompareOptions, compare};
use transom_layer::compress::Compression;
use transom_sys::{FileType, Linux, Sys, Times, Timespec, XattrFlags};
use transom_tests::tree::{Kind, Tree, walk};

/// One name of a tree; which folder it goes into is a number, taken modulo the folders that there are.
#[derive(Clone, Debug)]
struct Node {
    folder: usize,
    name: Vec<u8>,
    what: What,
    mode: u32,
    owner: (u32, u32),
    time: (i64, u32),
    xattr: bool,
}

#[derive(Clone, Debug)]
enum What {
    Folder,
    File(Vec<u8>),
    /// Pieces of data at these offsets.
    Sparse(Vec<u32>),
    Symlink(Vec<u8>),
    /// A second name for an earlier file.
    HardLink(usize),
    Fifo,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z]{1,8}".prop_map(String::into_bytes),
        1 => "[a-z]{90,110}".prop_map(String::into_bytes),
        1 => "[a-z]{150,255}".prop_map(String::into_bytes),
        1 => "\\PC{1,20}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 1..12),
    ]
    .prop_filter("a name that a folder can hold and that is no whiteout", |name| {
        name.len() <= 255
            && !name.contains(&b'/')
            && !name.contains(&0)
            && name != b"."
            && name != b".."
            && !name.starts_with(b".wh.")
    })
}

fn what() -> impl Strategy<Value = What> {
    prop_oneof![
        3 => Just(What::Folder),
        3 => proptest::collection::vec(any::<u8>(), 0..3000).prop_map(What::File),
        1 => proptest::collection::vec(0_u32..4_000_000, 0..12).prop_map(What::Sparse),
        1 => proptest::collection::vec(1_u8..255, 1..200).prop_map(What::Symlink),
        1 => (0_usize..100).prop_map(What::HardLink),
        1 => Just(What::Fifo),
    ]
}

fn node() -> impl Strategy<Value = Node> {
    let owner = prop_oneof![Just((0, 0)), (0_u32..70_000, 0_u32..3_000_000)];
    let time = (0_i64..4_000_000_000, 0_u32..1_000_000_000);
    (
        0_usize..20,
        name(),
        what(),
        0_u32..0o10000,
        owner,
        time,
        any::<bool>(),
    )
        .prop_map(|(folder, name, what, mode, owner, time, xattr)| Node {
            folder,
            name,
            what,
            mode,
            owner,
            time,
            xattr,
        })
}

/// Makes the tree on disk. What cannot be (a name twice, a path too long for GNU tar to open) is left out.
fn plant(root: &Path, nodes: &[Node], is_root: bool) {
    let mut folders = vec![root.to_path_buf()];
    let mut files = Vec::new();
    let mut made: Vec<(PathBuf, &Node)> = Vec::new();
    for node in nodes {
        let path = folders[node.folder % folders.len()].join(OsStr::from_bytes(&node.name));
        if fs::symlink_metadata(&path).is_ok() || path.as_os_str().len() > 1500 {
            continue;
        }
        match &node.what {
            What::Folder => {
                fs::create_dir(&path).unwrap();
                folders.push(path.clone());
            }
            What::File(data) => {
                fs::write(&path, data).unwrap();
                files.push(path.clone());
            }
            What::Sparse(offsets) => {
                let file = File::create(&path).unwrap();
                file.set_len(5_000_000).unwrap();
                for &offset in offsets {
                    file.write_all_at(b"some data", u64::from(offset)).unwrap();
                }
                files.push(path.clone());
            }
            What::Symlink(target) => symlink(OsStr::from_bytes(target), &path).unwrap(),
            What::HardLink(index) if !files.is_empty() => {
                fs::hard_link(&files[index % files.len()], &path).unwrap();
                continue;
            }
            What::HardLink(_) => continue,
            What::Fifo => {
                let folder = File::open(path.parent().unwrap()).unwrap();
                Linux
                    .mknodat(folder.as_fd(), &node.name, FileType::Fifo, 0o600, (0, 0))
                    .unwrap();
            }
        }
        made.push((path, node));
    }
    // From the last to the first: folders get their times after what is in them.
    for (path, node) in made.iter().rev() {
        dress(path, node, is_root);
    }
}

fn dress(path: &Path, node: &Node, is_root: bool) {
    let is_link = matches!(node.what, What::Symlink(_));
    if is_root {
        lchown(path, Some(node.owner.0), Some(node.owner.1)).unwrap();
    }
    if node.xattr && matches!(node.what, What::File(_) | What::Folder) {
        let file = File::open(path).unwrap();
        // Not every file system has them.
        let _ = Linux.fsetxattr(file.as_fd(), b"user.test", b"a\0value", XattrFlags::empty());
    }
    if !is_link {
        // Whoever is not root has to be able to read it back.
        let mode = if is_root {
            node.mode
        } else {
            node.mode & 0o777 | 0o700
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let time = Timespec {
        tv_sec: node.time.0,
        tv_nsec: i64::from(node.time.1),
    };
    let folder = File::open(path.parent().unwrap()).unwrap();
    Linux
        .utimensat(
            folder.as_fd(),
            &node.name,
            Times {
                accessed: time,
                modified: time,
            },
        )
        .unwrap();
}

fn gnu_tar(arguments: &[&OsStr]) {
    let output = Command::new("tar")
        .args(arguments)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "tar {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What GNU tar and we make of an archive.
fn unpacked(archive: &Path, is_root: bool, chunk: usize) -> (Tree, Tree) {
    let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let owner = if is_root {
        "--same-owner"
    } else {
        "--no-same-owner"
    };
    gnu_tar(&[
        "-xp".as_ref(),
        owner.as_ref(),
        "--numeric-owner".as_ref(),
        "--xattrs".as_ref(),
        "--xattrs-include=*".as_ref(),
        "-C".as_ref(),
        theirs.path().as_os_str(),
        "-f".as_ref(),
        archive.as_os_str(),
    ]);
    let tar = fs::read(archive).unwrap();
    let ownership = if is_root {
        Ownership::Keep
    } else {
        Ownership::Ignore
    };
    let options = ApplyOptions {
        ownership,
        ..ApplyOptions::default()
    };
    let root = File::open(ours.path()).unwrap();
    let report = apply(&mut chunks(&tar, chunk), root.as_fd(), &options).unwrap();
    assert_eq!(report.warnings.kept, []);
    assert_eq!(report.stream_bytes, tar.len() as u64);
    (walk(theirs.path()).unwrap(), walk(ours.path()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, max_shrink_iters: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_out_as_gnu_tar_unpacks_it(
        nodes in proptest::collection::vec(node(), 1..25),
        chunk in 1_usize..20_000,
    ) {
        if transom_tests::require_program("tar").is_none() {
            return Ok(());
        }
        let is_root = Linux.effective_ids().0 == 0;
        let work = tempfile::tempdir().unwrap();
        let source = work.path().join("source");
        fs::create_dir(&source).unwrap();
        plant(&source, &nodes, is_root);
        let archive = work.path().join("archive.tar");
        let original = walk(&source).unwrap();
        for format in ["gnu", "pax"] {
            let mut arguments: Vec<&OsStr> = vec!["-c".as_ref(), "--sparse".as_ref()];
            let option = format!("--format={format}");
            arguments.push(option.as_ref());
            if format == "pax" {
                arguments.extend([OsStr::new("--xattrs"), OsStr::new("--xattrs-include=*")]);
            }
            arguments.extend(["-C".as_ref(), source.as_os_str(), "-f".as_ref(), archive.as_os_str(), ".".as_ref()]);
            gnu_tar(&arguments);
            let (theirs, ours) = unpacked(&archive, is_root, chunk);
            prop_assert_eq!(&theirs, &ours, "GNU tar's {} format", format);
            if format == "pax" {
                prop_assert_eq!(&original, &ours, "the tree itself");
            }
        }
        let mut builder = tar::Builder::new(File::create(&archive).unwrap());
        builder.follow_symlinks(false);
        if let Err(error) = builder.append_dir_all("", &source).and_then(|()| builder.finish()) {
            // It cannot pack long paths that begin with something else than UTF-8.
            let is_odd = original.entries.keys().any(|path| std::str::from_utf8(path).is_err());
            prop_assert!(is_odd, "the tar crate: {error}");
            return Ok(());
        }
        let (theirs, ours) = unpacked(&archive, is_root, chunk);
        prop_assert_eq!(&theirs, &ours, "the tar crate");
    }

    #[test]
    fn any_tree_made_into_a_layer_comes_out_as_it_was(nodes in proptest::collection::vec(node(), 1..25)) {
        if transom_tests::require_program("tar").is_none() || transom_tests::require_program("python3").is_none() {
            return Ok(());
        }
        let is_root = Linux.effective_ids().0 == 0;
        let work = tempfile::tempdir().unwrap();
        let source = work.path().join("source");
        fs::create_dir(&source).unwrap();
        // A layer has no extended attributes but capabilities, as in containerd.
        let nodes: Vec<Node> = nodes.into_iter().map(|node| Node { xattr: false, ..node }).collect();
        plant(&source, &nodes, is_root);
        let mut original = walk(&source).unwrap();
        let archive = work.path().join("layer.tar");
        let changes = Changes::Trees { lower: None, upper: File::open(&source).unwrap().into() };
        let options = CompareOptions { compression: Compression::None, ..CompareOptions::default() };
        compare(changes, &options, &mut File::create(&archive).unwrap()).unwrap();

        let (mut theirs, mut ours) = unpacked(&archive, is_root, 4096);
        for tree in [&mut original, &mut theirs, &mut ours] {
            as_in_a_layer(tree);
        }
        prop_assert_eq!(&original, &ours, "ours");
        prop_assert_eq!(&original, &theirs, "GNU tar");
        if is_root {
            let mut theirs = python_unpacked(&archive);
            as_in_a_layer(&mut theirs);
            // It leaves the times of symlinks alone.
            for tree in [&mut original, &mut theirs] {
                let links = tree.entries.values_mut().filter(|entry| matches!(entry.kind, Kind::Symlink { .. }));
                links.for_each(|entry| entry.mtime = 0);
            }
            prop_assert_eq!(&original, &theirs, "Python");
        }
    }
}

/// Leaves out what a layer has not, as in containerd: the folder itself, and parts of seconds.
fn as_in_a_layer(tree: &mut Tree) {
    tree.entries.retain(|path, _| !matches!(&path[..], b"" | b"."));
    tree.entries.values_mut().for_each(|entry| entry.mtime_nsec = 0);
}

/// What Python makes of an archive.
fn python_unpacked(archive: &Path) -> Tree {
    const SCRIPT: &str = "
import sys, tarfile
with tarfile.open(sys.argv[1], 'r:', errors='surrogateescape') as tar:
    trusted = {'filter': 'fully_trusted'} if hasattr(tarfile, 'fully_trusted_filter') else {}
    tar.extractall(sys.argv[2], numeric_owner=True, **trusted)
";
    let target = tempfile::tempdir().unwrap();
    let output = Command::new("python3")
        .args([
            OsStr::new("-c"),
            SCRIPT.as_ref(),
            archive.as_os_str(),
            target.path().as_os_str(),
        ])
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "python: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    walk(target.path()).unwrap()
}
