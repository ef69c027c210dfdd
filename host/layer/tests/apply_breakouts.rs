//! Archives that try to leave the root folder, or that lead through links: the cases of containerd's `TestBreakouts` with
//! its results, each by `openat2` and by the walk that stands in for it. Nothing outside the root may change.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "apply_support/archive.rs"]
#[expect(dead_code, reason = "shared by several test programs")]
mod archive;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use archive::{Archive, apply_to};
use transom_layer::apply::{ApplyError, ApplyOptions};
use transom_sys::{Errno, Linux, Op, Recorded};
use transom_tests::tree::walk;

type Prepare = fn(&Path);
type Check = fn(&Path);

struct Case {
    name: &'static str,
    before: Prepare,
    tar: fn() -> Archive,
    /// `None` where the archive must be refused as invalid.
    check: Option<Check>,
}

fn nothing(_: &Path) {}

fn passwd(root: &Path) {
    fs::create_dir(root.join("etc")).unwrap();
    fs::write(root.join("etc/passwd"), "inside").unwrap();
}

fn passwd_and_folder(root: &Path) {
    passwd(root);
    fs::create_dir(root.join("localetc")).unwrap();
}

fn passwd_and_link(root: &Path) {
    passwd(root);
    symlink("/etc", root.join("localetc")).unwrap();
}

fn whited_out_and_link(root: &Path) {
    passwd_and_link(root);
    fs::write(root.join("etc/whitedout"), "ahhhh whiteout").unwrap();
}

fn passwd_and_dead_link(root: &Path) {
    passwd(root);
    symlink("/dne", root.join("localetc")).unwrap();
}

fn linked_passwd(root: &Path) {
    passwd(root);
    symlink("etc", root.join("localetc")).unwrap();
    fs::hard_link(root.join("etc/passwd"), root.join("etc/localpasswd")).unwrap();
}

/// A path in the root with its links followed as if the root were `/`, by text.
fn inside(root: &Path, path: &str) -> PathBuf {
    let mut parts: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut found = PathBuf::new();
    while let Some(part) = parts.pop() {
        match part.as_str() {
            "" | "." => {}
            ".." => {
                found.pop();
            }
            _ => {
                found.push(&part);
                if let Ok(target) = fs::read_link(root.join(&found)) {
                    found.pop();
                    if target.is_absolute() {
                        found = PathBuf::new();
                    }
                    parts.extend(target.to_str().unwrap().split('/').rev().map(str::to_owned));
                }
            }
        }
    }
    root.join(found)
}

fn inode(root: &Path, path: &str) -> u64 {
    fs::metadata(inside(root, path)).unwrap().ino()
}

fn unbroken(root: &Path) {
    assert_eq!(fs::read(root.join("etc/unbroken")).unwrap(), b"unbroken");
}

fn same(root: &Path, one: &str, other: &str) {
    assert_eq!(inode(root, one), inode(root, other));
}

fn cases() -> Vec<Case> {
    let mut cases = link_cases();
    cases.extend(hard_link_cases());
    cases.extend(override_cases());
    cases.extend(whiteout_cases());
    cases
}

fn etc() -> Archive {
    Archive::new().dir("etc", 0o755)
}

fn file() -> Archive {
    Archive::new()
        .dir("etc", 0o770)
        .file("/etc/passwd", b"inside", 0o644)
}

fn link_cases() -> Vec<Case> {
    vec![
        Case {
            name: "SymlinkAbsolute",
            before: nothing,
            tar: || {
                etc()
                    .symlink("/etc", "localetc")
                    .file("/localetc/unbroken", b"unbroken", 0o644)
            },
            check: Some(unbroken),
        },
        Case {
            name: "SymlinkUpAndOut",
            before: nothing,
            tar: || {
                etc()
                    .dir("dummy", 0o755)
                    .symlink("/dummy/../etc", "localetc")
                    .file("/localetc/unbroken", b"unbroken", 0o644)
            },
            check: Some(unbroken),
        },
        Case {
            name: "SymlinkMultipleAbsolute",
            before: nothing,
            tar: || {
                etc()
                    .dir("dummy", 0o755)
                    .symlink("/etc", "/dummy/etc")
                    .symlink("/dummy/etc", "localetc")
                    .file("/dummy/etc/unbroken", b"unbroken", 0o644)
            },
            check: Some(unbroken),
        },
        Case {
            name: "SymlinkMultipleRelative",
            before: nothing,
            tar: || {
                etc()
                    .dir("dummy", 0o755)
                    .symlink("/etc", "/dummy/etc")
                    .symlink("./dummy/etc", "localetc")
                    .file("/dummy/etc/unbroken", b"unbroken", 0o644)
            },
            check: Some(unbroken),
        },
        Case {
            name: "SymlinkEmptyFile",
            before: nothing,
            tar: || {
                etc()
                    .file("etc/emptied", b"notempty", 0o644)
                    .symlink("/etc", "localetc")
                    .file("/localetc/emptied", b"", 0o644)
            },
            check: Some(|root| assert_eq!(fs::read(root.join("etc/emptied")).unwrap(), b"")),
        },
        Case {
            name: "SymlinkParentDirectory",
            before: nothing,
            tar: || file().symlink("/etc/", "..").link("/etc/passwd", "localpasswd"),
            check: Some(|root| same(root, "localpasswd", "etc/passwd")),
        },
        Case {
            name: "SymlinkEmptyFilename",
            before: nothing,
            tar: || file().symlink("/etc/", "").link("/etc/passwd", "localpasswd"),
            check: Some(|root| same(root, "localpasswd", "etc/passwd")),
        },
        Case {
            name: "SymlinkParentRelative",
            before: nothing,
            tar: || {
                file()
                    .symlink("/etc/", "localetc/sub/..")
                    .link("/etc/passwd", "/localetc/localpasswd")
            },
            check: Some(|root| same(root, "localetc/localpasswd", "etc/passwd")),
        },
        Case {
            name: "SymlinkSlashEnded",
            before: nothing,
            tar: || {
                file()
                    .dir("localetc/", 0o770)
                    .link("/etc/passwd", "/localetc/localpasswd")
            },
            check: Some(|root| same(root, "localetc/localpasswd", "etc/passwd")),
        },
    ]
}

fn hard_link_cases() -> Vec<Case> {
    vec![
        Case {
            name: "HardlinkRelative",
            before: nothing,
            tar: || {
                file()
                    .dir("breakouts", 0o755)
                    .symlink("../../etc", "breakouts/d1")
                    .link("/breakouts/d1/passwd", "breakouts/mypasswd")
            },
            check: Some(|root| same(root, "breakouts/mypasswd", "etc/passwd")),
        },
        Case {
            name: "HardlinkDownAndOut",
            before: nothing,
            tar: || {
                file()
                    .dir("breakouts", 0o755)
                    .dir("downandout", 0o755)
                    .symlink("../downandout/../../etc", "breakouts/d1")
                    .link("/breakouts/d1/passwd", "breakouts/mypasswd")
            },
            check: Some(|root| same(root, "breakouts/mypasswd", "etc/passwd")),
        },
        Case {
            name: "HardlinkAbsolute",
            before: nothing,
            tar: || {
                file()
                    .symlink("/etc", "localetc")
                    .link("/localetc/passwd", "localpasswd")
            },
            check: Some(|root| same(root, "localpasswd", "etc/passwd")),
        },
        Case {
            name: "HardlinkRelativeLong",
            before: nothing,
            tar: || {
                file()
                    .symlink("../../../../../../../etc", "localetc")
                    .link("/localetc/passwd", "localpasswd")
            },
            check: Some(|root| same(root, "localpasswd", "etc/passwd")),
        },
        Case {
            name: "HardlinkRelativeUpAndOut",
            before: nothing,
            tar: || {
                file()
                    .symlink("upandout/../../../etc", "localetc")
                    .link("/localetc/passwd", "localpasswd")
            },
            check: Some(|root| same(root, "localpasswd", "etc/passwd")),
        },
        Case {
            name: "HardlinkDirectRelative",
            before: nothing,
            tar: || file().link("../../../../../etc/passwd", "localpasswd"),
            check: Some(|root| same(root, "localpasswd", "etc/passwd")),
        },
        Case {
            name: "HardlinkDirectAbsolute",
            before: nothing,
            tar: || file().link("/etc/passwd", "localpasswd"),
            check: Some(|root| same(root, "localpasswd", "etc/passwd")),
        },
        Case {
            name: "HardlinkSymlinkBeforeCreateTarget",
            before: nothing,
            tar: || {
                Archive::new()
                    .dir("etc", 0o770)
                    .symlink("/etc/passwd", "localpasswd")
                    .link("localpasswd", "localpasswd-dup")
                    .file("/etc/passwd", b"after", 0o644)
            },
            check: Some(|root| same(root, "localpasswd-dup", "etc/passwd")),
        },
        Case {
            name: "HardlinkSymlinkRelative",
            before: nothing,
            tar: || {
                file()
                    .symlink("../../../../../etc/passwd", "passwdlink")
                    .link("/passwdlink", "localpasswd")
            },
            check: Some(linked_link),
        },
        Case {
            name: "HardlinkSymlinkAbsolute",
            before: nothing,
            tar: || {
                file()
                    .symlink("/etc/passwd", "passwdlink")
                    .link("/passwdlink", "localpasswd")
            },
            check: Some(linked_link),
        },
        Case {
            name: "HardlinkSymlinkChmod",
            before: nothing,
            tar: || {
                // The outer folder holds a file of this name; see `outside`.
                Archive::new()
                    .symlink("/../perm400", "also-exists-outside-root")
                    .link("also-exists-outside-root", "sketchylink")
            },
            check: Some(|root| {
                let link = fs::symlink_metadata(root.join("sketchylink")).unwrap();
                assert!(link.is_symlink());
            }),
        },
    ]
}

fn linked_link(root: &Path) {
    let target = fs::read_link(root.join("passwdlink")).unwrap();
    assert_eq!(fs::read_link(root.join("localpasswd")).unwrap(), target);
    same(root, "localpasswd", "etc/passwd");
}

fn override_cases() -> Vec<Case> {
    vec![
        Case {
            name: "SymlinkOverrideDirectory",
            before: passwd_and_folder,
            tar: || {
                Archive::new()
                    .symlink("/etc", "localetc")
                    .link("/etc/passwd", "/localetc/localpasswd")
            },
            check: Some(|root| same(root, "localetc/localpasswd", "etc/passwd")),
        },
        Case {
            name: "SymlinkOverrideDirectoryRelative",
            before: passwd_and_folder,
            tar: || {
                Archive::new()
                    .symlink("../../etc", "localetc")
                    .link("/etc/passwd", "/localetc/localpasswd")
            },
            check: Some(|root| same(root, "localetc/localpasswd", "etc/passwd")),
        },
        Case {
            name: "DirectoryOverrideSymlink",
            before: passwd_and_link,
            tar: || {
                Archive::new()
                    .dir("/localetc/", 0o755)
                    .link("/etc/passwd", "/localetc/localpasswd")
            },
            check: Some(|root| {
                same(root, "localetc/localpasswd", "etc/passwd");
                assert!(fs::symlink_metadata(root.join("localetc")).unwrap().is_dir());
                assert!(!root.join("etc/localpasswd").exists());
            }),
        },
        Case {
            name: "DirectoryOverrideSymlinkAndHardlink",
            before: linked_passwd,
            tar: || {
                Archive::new()
                    .dir("/localetc/", 0o755)
                    .file("/localetc/localpasswd", b"different", 0o644)
            },
            check: Some(|root| {
                assert_ne!(inode(root, "localetc/localpasswd"), inode(root, "etc/passwd"));
                assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"inside");
            }),
        },
    ]
}

fn whiteout_cases() -> Vec<Case> {
    let invalid = |name, tar| Case {
        name,
        before: passwd,
        tar,
        check: None,
    };
    vec![
        invalid("WhiteoutRootParent", || Archive::new().file(".wh...", b"", 0o644)),
        invalid("WhiteoutParent", || Archive::new().file("etc/.wh...", b"", 0o644)),
        invalid("WhiteoutRoot", || Archive::new().file(".wh..", b"", 0o644)),
        invalid("WhiteoutCurrentDirectory", || {
            Archive::new().file("etc/.wh..", b"", 0o644)
        }),
        invalid("WhiteoutNothing", || Archive::new().file("etc/.wh.", b"", 0o644)),
        Case {
            name: "WhiteoutSymlink",
            before: passwd_and_link,
            tar: || Archive::new().file(".wh.localetc", b"", 0o644),
            check: Some(|root| {
                assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"inside");
                assert!(fs::symlink_metadata(root.join("localetc")).is_err());
            }),
        },
        Case {
            name: "WhiteoutSymlinkPath",
            before: whited_out_and_link,
            tar: || Archive::new().file("localetc/.wh.whitedout", b"", 0o644),
            check: Some(|root| {
                assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"inside");
                assert!(!root.join("etc/whitedout").exists());
            }),
        },
        Case {
            name: "WhiteoutDirectoryName",
            before: whited_out_and_link,
            tar: || Archive::new().file(".wh.etc/somefile", b"non-empty", 0o644),
            check: Some(|root| {
                assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"inside");
                assert_eq!(fs::read(root.join(".wh.etc/somefile")).unwrap(), b"non-empty");
            }),
        },
        Case {
            name: "WhiteoutDeadSymlinkParent",
            before: passwd_and_dead_link,
            tar: || Archive::new().file("localetc/.wh.etc", b"", 0o644),
            check: Some(|root| {
                assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"inside");
                assert!(root.join("dne").is_dir());
            }),
        },
        Case {
            name: "WhiteoutRelativePath",
            before: passwd_and_dead_link,
            tar: || Archive::new().file("dne/../.wh.etc", b"", 0o644),
            check: Some(|root| assert!(!root.join("etc").exists())),
        },
    ]
}

/// A folder with the root in it, and things beside the root that must stay as they are.
fn outside() -> (tempfile::TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    fs::create_dir(outer.path().join("etc")).unwrap();
    fs::write(outer.path().join("etc/passwd"), "outside").unwrap();
    fs::write(outer.path().join("etc/unbroken"), "outside").unwrap();
    fs::write(outer.path().join("perm400"), "...").unwrap();
    fs::write(outer.path().join("also-exists-outside-root"), "...").unwrap();
    symlink("root", outer.path().join("out")).unwrap();
    let root = outer.path().join("root");
    fs::create_dir(&root).unwrap();
    (outer, root)
}

fn run(case: &Case, has_openat2: bool) {
    let (outer, root) = outside();
    (case.before)(&root);
    let without_root = || {
        let mut tree = walk(outer.path()).unwrap();
        tree.entries
            .retain(|path, _| path != b"root" && !path.starts_with(b"root/"));
        tree
    };
    let before = without_root();
    let sys = Recorded::new(Linux);
    if !has_openat2 {
        sys.fail_from(Op::Openat2, 0, Errno::NOSYS);
    }
    let result = apply_to(&sys, (case.tar)().end(), &root, &ApplyOptions::default());
    match case.check {
        Some(check) => {
            result.unwrap_or_else(|error| panic!("{}: {error}", case.name));
            check(&root);
        }
        None => {
            let error = result.expect_err(case.name);
            assert!(
                matches!(error, ApplyError::Invalid { .. }),
                "{}: {error}",
                case.name
            );
            assert_eq!(
                fs::read(root.join("etc/passwd")).unwrap(),
                b"inside",
                "{}",
                case.name
            );
        }
    }
    assert_eq!(
        before,
        without_root(),
        "{}: something outside the root changed",
        case.name
    );
}

#[test]
fn no_archive_leaves_the_root() {
    for case in cases() {
        run(&case, true);
    }
}

#[test]
fn nor_without_openat2() {
    for case in cases() {
        run(&case, false);
    }
}
