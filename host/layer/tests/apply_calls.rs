//! Which system calls `apply` makes, and what it does when one of them fails.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "apply_support/archive.rs"]
#[expect(dead_code, reason = "shared by several test programs")]
mod archive;

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use archive::{Archive, Header, apply_to};
use transom_layer::apply::{ApplyError, ApplyLimits, ApplyOptions, Ownership};
use transom_sys::{Errno, Linux, Op, Recorded, Sys as _, XattrFlags};

fn many(archive: Archive, from: usize, to: usize) -> Archive {
    (from..to).fold(archive, |archive, index| {
        archive.file(&format!("d/{index}"), b"data", 0o644)
    })
}

/// The calls that applying these entries makes.
fn count(archive: Archive) -> BTreeMap<Op, usize> {
    let root = tempfile::tempdir().unwrap();
    let sys = Recorded::new(Linux);
    apply_to(&sys, archive.end(), root.path(), &ApplyOptions::default()).unwrap();
    sys.counts()
}

#[test]
fn a_small_file_takes_four_calls() {
    let few = count(many(Archive::new().dir("d", 0o755), 0, 10));
    let more = count(many(Archive::new().dir("d", 0o755), 0, 110));
    let added: BTreeMap<Op, usize> = more
        .into_iter()
        .map(|(op, count)| (op, count - few.get(&op).unwrap_or(&0)))
        .filter(|&(_, count)| count > 0)
        .collect();
    let expected = [
        (Op::Openat, 100),
        (Op::Close, 100),
        (Op::Futimens, 100),
        (Op::Write, 100),
    ];
    assert_eq!(added, BTreeMap::from(expected));
}

#[test]
fn a_folder_takes_four_calls_and_its_times() {
    let folders = |count: usize| {
        (0..count).fold(Archive::new(), |archive, index| {
            archive
                .dir(&format!("{index}"), 0o755)
                .file(&format!("{index}/f"), b"", 0o644)
        })
    };
    let (few, more) = (count(folders(10)), count(folders(60)));
    let added = |op| more.get(&op).unwrap_or(&0) - few.get(&op).unwrap_or(&0);
    assert_eq!(added(Op::Mkdirat), 50);
    assert_eq!(added(Op::Openat), 100, "the handle of each folder, and each file");
    assert_eq!(added(Op::Fstat), 50);
    assert_eq!(added(Op::Utimensat), 50);
    assert_eq!(
        added(Op::Openat2) + added(Op::Statat) + added(Op::Fchmodat) + added(Op::Fchownat),
        0
    );
}

#[test]
fn special_bits_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let tar = Archive::new()
        .dir("t", 0o1777)
        .dir("g", 0o2755)
        .file("s", b"x", 0o4755)
        .end();
    apply_to(&Linux, tar, root.path(), &ApplyOptions::default()).unwrap();
    let mode = |name: &str| fs::metadata(root.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("t"), mode("g"), mode("s")), (0o1777, 0o2755, 0o4755));
}

#[test]
fn what_a_setgid_folder_gives_on_is_taken_back() {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o2755)).unwrap();
    let tar = Archive::new()
        .dir("d", 0o755)
        .file("d/f", b"x", 0o600)
        .file("e/f", b"x", 0o600)
        .end();
    apply_to(&Linux, tar, root.path(), &ApplyOptions::default()).unwrap();
    for (name, mode) in [("d", 0o755), ("d/f", 0o600), ("e", 0o755), ("e/f", 0o600)] {
        let found = fs::metadata(root.path().join(name)).unwrap();
        assert_eq!(found.mode() & 0o7777, mode, "{name}");
    }
}

/// A default ACL of `user::rwx,group::r-x,other::---`, as the kernel keeps it.
const DEFAULT_ACL: [u8; 28] = [
    2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 4, 0, 5, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255,
    255,
];

#[test]
fn a_default_acl_does_not_change_the_mode() {
    let root = tempfile::tempdir().unwrap();
    let folder = fs::File::open(root.path()).unwrap();
    let key = b"system.posix_acl_default";
    if Linux
        .fsetxattr(folder.as_fd(), key, &DEFAULT_ACL, XattrFlags::empty())
        .is_err()
    {
        return transom_tests::skip("needs a file system with ACLs");
    }
    let tar = Archive::new()
        .dir("d", 0o755)
        .file("d/f", b"x", 0o644)
        .file("f", b"x", 0o646)
        .end();
    apply_to(&Linux, tar, root.path(), &ApplyOptions::default()).unwrap();
    for (name, mode) in [("d", 0o755), ("d/f", 0o644), ("f", 0o646)] {
        assert_eq!(
            fs::metadata(root.path().join(name)).unwrap().mode() & 0o7777,
            mode,
            "{name}"
        );
    }
}

#[test]
fn an_owner_that_is_not_as_expected_is_set() {
    if !transom_tests::require_root() {
        return;
    }
    // What is created does not belong to whom it should, as on NFS with squashed ids.
    let sys = Recorded::new(Linux);
    sys.pretend_ids(4242, 4243);
    let root = tempfile::tempdir().unwrap();
    let own = |name: &[u8], flag| {
        let mut header = Header::new(name, flag, 0o755, 0);
        header.number(108, 8, 4242).number(116, 8, 4243);
        header
    };
    let tar = Archive::new()
        .raw(&own(b"f", b'0'), b"")
        .raw(&own(b"d", b'5'), b"")
        .raw(&own(b"g", b'0'), b"")
        .end();
    apply_to(&sys, tar, root.path(), &ApplyOptions::default()).unwrap();
    for name in ["f", "d", "g"] {
        let found = fs::metadata(root.path().join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (4242, 4243), "{name}");
    }
}

#[test]
fn a_full_disk_has_its_own_error() {
    for (op, errno) in [
        (Op::Write, Errno::NOSPC),
        (Op::Openat, Errno::DQUOT),
        (Op::Mkdirat, Errno::NOSPC),
    ] {
        let root = tempfile::tempdir().unwrap();
        let sys = Recorded::new(Linux);
        // The first openat lists the root.
        sys.fail_from(op, 1, errno);
        let tar = Archive::new()
            .dir("a", 0o755)
            .dir("b", 0o755)
            .file("f", b"x", 0o644)
            .file("g", b"x", 0o644);
        let error = apply_to(&sys, tar.end(), root.path(), &ApplyOptions::default()).unwrap_err();
        assert!(matches!(error, ApplyError::NoSpace { .. }), "{op:?}: {error}");
    }
}

#[test]
fn a_failed_write_names_the_entry() {
    let root = tempfile::tempdir().unwrap();
    let sys = Recorded::new(Linux);
    sys.fail_once(Op::Write, 0, Errno::IO);
    let tar = Archive::new().file("f", b"x", 0o644).end();
    let error = apply_to(&sys, tar, root.path(), &ApplyOptions::default()).unwrap_err();
    match error {
        ApplyError::Io {
            entry, action, errno, ..
        } => {
            assert_eq!((entry.as_str(), action, errno), ("f", "write", Errno::IO));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn devices_are_left_out_in_a_user_namespace() {
    let root = tempfile::tempdir().unwrap();
    let sys = Recorded::new(Linux);
    sys.pretend_user_namespace(true);
    let tar = Archive::new()
        .device("missing/null", b'3', 1, 3)
        .device("sda", b'4', 8, 0)
        .file("f", b"", 0o644)
        .end();
    let report = apply_to(&sys, tar, root.path(), &ApplyOptions::default()).unwrap();
    assert_eq!(
        (report.warnings.total, report.counts.ignored, report.counts.files),
        (2, 2, 1)
    );
    assert_eq!(report.warnings.kept[0].entry, "missing/null");
    assert_eq!(sys.counts().get(&Op::Mknodat), None);
    assert!(!root.path().join("missing").exists());
}

#[test]
fn without_ownership_nothing_is_given_away() {
    let root = tempfile::tempdir().unwrap();
    let sys = Recorded::new(Linux);
    let mut foreign = Header::new(b"f", b'0', 0o644, 0);
    foreign.number(108, 8, 4242).number(116, 8, 4243);
    sys.fail_from(Op::Fsetxattr, 0, Errno::PERM);
    let tar = Archive::new()
        .device("null", b'3', 1, 3)
        .pax(&[
            ("SCHILY.xattr.security.capability", b"x"),
            ("SCHILY.xattr.trusted.a", b"x"),
        ])
        .raw(&foreign, b"")
        .end();
    let options = ApplyOptions {
        ownership: Ownership::Ignore,
        ..ApplyOptions::default()
    };
    let report = apply_to(&sys, tar.clone(), root.path(), &options).unwrap();
    assert_eq!(report.warnings.total, 3);
    assert_eq!(sys.counts().get(&Op::Fchown), None);

    let kept = Recorded::new(Linux);
    kept.fail_from(Op::Fchown, 0, Errno::PERM);
    kept.pretend_user_namespace(true);
    let error = apply_to(&kept, tar.clone(), root.path(), &ApplyOptions::default()).unwrap_err();
    assert!(
        error.to_string().contains("only root can give files away"),
        "{error}"
    );
    let unmapped = Recorded::new(Linux);
    unmapped.fail_from(Op::Fchown, 0, Errno::INVAL);
    unmapped.pretend_user_namespace(true);
    let error = apply_to(&unmapped, tar, root.path(), &ApplyOptions::default()).unwrap_err();
    assert!(error.to_string().contains("/etc/subuid"), "{error}");
}

#[test]
fn a_folder_that_its_owner_cannot_write_is_filled_first() {
    let root = tempfile::tempdir().unwrap();
    let sys = Recorded::new(Linux);
    let (_, gid) = Linux.effective_ids();
    // As far as modes go this is not root; what is created differs from what is expected, which must not matter either.
    sys.pretend_ids(4242, gid);
    let options = ApplyOptions {
        ownership: Ownership::Ignore,
        ..ApplyOptions::default()
    };
    let tar = Archive::new()
        .dir("a", 0o555)
        .dir("a/b", 0)
        .file("a/b/f", b"x", 0o444)
        .dir("c", 0o500)
        .dir("c", 0o700);
    apply_to(&sys, tar.end(), root.path(), &options).unwrap();
    let made: Vec<_> = sys
        .calls()
        .into_iter()
        .filter(|call| call.op == Op::Fchmodat)
        .map(|call| call.name)
        .collect();
    assert_eq!(
        &made[made.len() - 3..],
        [b"c".to_vec(), b"b".to_vec(), b"a".to_vec()]
    );
    for (name, mode) in [("a", 0o555), ("a/b", 0), ("c", 0o700)] {
        assert_eq!(
            fs::metadata(root.path().join(name)).unwrap().mode() & 0o7777,
            mode,
            "{name}"
        );
        fs::set_permissions(root.path().join(name), fs::Permissions::from_mode(0o700)).unwrap();
    }
}

#[test]
fn extended_attributes_that_cannot_be_kept_are_warnings() {
    let root = tempfile::tempdir().unwrap();
    let sys = Recorded::new(Linux);
    sys.fail_once(Op::Fsetxattr, 0, Errno::NOTSUP);
    sys.fail_once(Op::Setxattrat, 0, Errno::PERM);
    let xattr = [("SCHILY.xattr.user.a", &b"x"[..])];
    let tar = Archive::new()
        .pax(&xattr)
        .file("f", b"", 0o644)
        .pax(&xattr)
        .symlink("f", "s")
        .end();
    let report = apply_to(&sys, tar, root.path(), &ApplyOptions::default()).unwrap();
    assert_eq!(report.warnings.total, 2);

    let refused = Recorded::new(Linux);
    refused.fail_once(Op::Fsetxattr, 0, Errno::PERM);
    let tar = Archive::new().pax(&xattr).file("g", b"", 0o644).end();
    assert!(apply_to(&refused, tar, root.path(), &ApplyOptions::default()).is_err());
}

#[test]
fn what_no_layer_may_say_is_refused() {
    let long = "n".repeat(256);
    let deep = "p/".repeat(2050);
    let invalid: Vec<(&str, Archive)> = vec![
        (
            "owner",
            Archive::new()
                .pax(&[("uid", b"4294967296")])
                .file("f", b"", 0o644),
        ),
        (
            "group",
            Archive::new().pax(&[("gid", b"-2")]).file("f", b"", 0o644),
        ),
        (
            "part",
            Archive::new()
                .pax(&[("path", long.as_bytes())])
                .file("f", b"", 0o644),
        ),
        (
            "path",
            Archive::new()
                .pax(&[("path", deep.as_bytes())])
                .file("f", b"", 0o644),
        ),
        ("link to a folder", Archive::new().link("..", "f")),
        ("link to nothing", Archive::new().link("", "f")),
        ("whiteout", Archive::new().file(".wh..", b"", 0o644)),
    ];
    for (name, archive) in invalid {
        let root = tempfile::tempdir().unwrap();
        let error = apply_to(&Linux, archive.end(), root.path(), &ApplyOptions::default()).unwrap_err();
        assert!(matches!(error, ApplyError::Invalid { .. }), "{name}: {error}");
    }
    let root = tempfile::tempdir().unwrap();
    let contiguous = Archive::new().raw(&Header::new(b"f", b'7', 0o644, 0), b"").end();
    let error = apply_to(&Linux, contiguous, root.path(), &ApplyOptions::default()).unwrap_err();
    assert!(matches!(error, ApplyError::UnhandledType { flag: b'7', .. }));
    let through_file = Archive::new().file("f", b"", 0o644).file("f/g", b"", 0o644).end();
    let error = apply_to(&Linux, through_file, root.path(), &ApplyOptions::default()).unwrap_err();
    assert!(matches!(
        error,
        ApplyError::Io {
            errno: Errno::NOTDIR,
            ..
        }
    ));
}

#[test]
fn device_numbers_must_fit() {
    let sys = Recorded::new(Linux);
    sys.pretend_user_namespace(false);
    for (major, minor) in [(0o7_777_777, 0), (4096, 0), (0, 1 << 20)] {
        let root = tempfile::tempdir().unwrap();
        let tar = Archive::new().device("d", b'4', major, minor).end();
        let error = apply_to(&sys, tar, root.path(), &ApplyOptions::default()).unwrap_err();
        assert!(
            error.to_string().contains("device number out of range"),
            "{error}"
        );
    }
}

#[test]
fn odd_names_are_kept_as_they_are() {
    use std::os::unix::ffi::OsStrExt as _;
    let root = tempfile::tempdir().unwrap();
    let name = [0xff, b'\n', b'\\', 0x80];
    let deep = "d".repeat(200);
    let path = format!("{deep}/{deep}/{deep}/{deep}/./../f");
    let tar = Archive::new()
        .raw(&Header::new(&name, b'0', 0o644, 1), b"x")
        .pax(&[("path", path.as_bytes())])
        .file("f", b"y", 0o644)
        .end();
    apply_to(&Linux, tar, root.path(), &ApplyOptions::default()).unwrap();
    assert_eq!(
        fs::read(root.path().join(std::ffi::OsStr::from_bytes(&name))).unwrap(),
        b"x"
    );
    assert_eq!(
        fs::read(root.path().join(format!("{deep}/{deep}/{deep}/f"))).unwrap(),
        b"y"
    );
}

#[test]
fn entries_and_warnings_are_bounded() {
    let root = tempfile::tempdir().unwrap();
    let sys = Recorded::new(Linux);
    sys.pretend_user_namespace(true);
    let limits = ApplyLimits {
        entries: 5,
        warnings: 2,
        ..ApplyLimits::default()
    };
    let options = ApplyOptions {
        limits,
        ..ApplyOptions::default()
    };
    let devices = |count: usize| {
        (0..count)
            .fold(Archive::new(), |archive, _| archive.device("d", b'3', 1, 3))
            .end()
    };
    let report = apply_to(&sys, devices(5), root.path(), &options).unwrap();
    assert_eq!((report.warnings.total, report.warnings.kept.len()), (5, 2));
    let error = apply_to(&sys, devices(6), root.path(), &options).unwrap_err();
    assert!(matches!(error, ApplyError::Limit { limit: 5, .. }));
}

#[test]
fn trees_deeper_than_open_files_allow_are_made_and_removed() {
    let root = tempfile::tempdir().unwrap();
    let sys = Recorded::new(Linux);
    sys.fail_from(Op::Openat2, 0, Errno::NOSYS);
    let path = "p/".repeat(2000);
    let tar = Archive::new()
        .pax(&[("path", format!("{path}f").as_bytes())])
        .file("f", b"x", 0o644)
        .end();
    apply_to(&sys, tar, root.path(), &ApplyOptions::default()).unwrap();
    let folder = fs::File::open(root.path()).unwrap();
    assert!(!transom_layer::apply::is_empty(folder.as_fd()).unwrap());
    transom_layer::apply::remove_contents(folder.as_fd()).unwrap();
    assert!(transom_layer::apply::is_empty(folder.as_fd()).unwrap());
}
