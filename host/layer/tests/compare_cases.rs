//! The cases of containerd's `TestDiffTar`, by their names, and the rules that those leave out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "compare_support/layers.rs"]
#[expect(dead_code, reason = "shared by several test programs")]
mod layers;

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use layers::{chmod, copy, entries, layer_with, lines, make_node, mkdir, plain, tar_of, touch, trees, write};
use transom_layer::compare::CompareOptions;
use transom_layer::tar::Time;
use transom_sys::{FileType, Linux, Sys as _, XattrFlags};

/// What changes when `after` is done to a copy of what `before` makes.
fn diff(before: impl Fn(&Path), after: impl Fn(&Path)) -> Vec<String> {
    lines(&tar(before, after))
}

fn tar(before: impl Fn(&Path), after: impl Fn(&Path)) -> Vec<u8> {
    let work = tempfile::tempdir().unwrap();
    let (lower, upper) = (work.path().join("lower"), work.path().join("upper"));
    fs::create_dir(&lower).unwrap();
    before(&lower);
    copy(&lower, &upper);
    after(&upper);
    tar_of(trees(Some(&lower), &upper))
}

#[test]
fn empty_diff() {
    let found = diff(|at| mkdir(&at.join("etc"), 0o755), |_| {});
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn parent_inclusion() {
    let found = diff(
        |at| {
            mkdir(&at.join("d1"), 0o755);
            mkdir(&at.join("d2"), 0o770);
        },
        |at| {
            mkdir(&at.join("d1/d"), 0o700);
            write(&at.join("d2/f"), "ok", 0o644);
        },
    );
    assert_eq!(
        found,
        ["d 0755 d1/", "d 0700 d1/d/", "d 0770 d2/", "f 0644 d2/f ok"]
    );
}

#[test]
fn hardlink_parent_inclusion() {
    let found = diff(
        |at| {
            for folder in ["d1", "d2", "d3", "d4", "d5", "d6"] {
                mkdir(&at.join(folder), 0o755);
            }
            for file in ["d1/f1", "d2/f1", "d4/f1", "d5/f1"] {
                write(&at.join(file), "link me", 0o644);
            }
            fs::hard_link(at.join("d1/f1"), at.join("d6/l1")).unwrap();
            fs::hard_link(at.join("d5/f1"), at.join("d6/l2")).unwrap();
        },
        |at| {
            fs::hard_link(at.join("d1/f1"), at.join("d2/l1")).unwrap();
            fs::hard_link(at.join("d4/f1"), at.join("d3/l1")).unwrap();
            fs::remove_file(at.join("d6/l1")).unwrap();
            fs::remove_file(at.join("d6/l2")).unwrap();
        },
    );
    let expected = [
        "d 0755 d2/",
        "f 0644 d2/l1 link me",
        "d 0755 d1/",
        "h d1/f1 -> d2/l1",
        "d 0755 d3/",
        "f 0644 d3/l1 link me",
        "d 0755 d4/",
        "h d4/f1 -> d3/l1",
        "d 0755 d6/",
        "w d6/.wh.l1",
        "w d6/.wh.l2",
    ];
    assert_eq!(found, expected);
}

#[test]
fn update_directory_permission() {
    let found = diff(
        |at| {
            mkdir(&at.join("d1"), 0o755);
            mkdir(&at.join("d2"), 0o770);
        },
        |at| {
            chmod(&at.join("d1"), 0o777);
            mkdir(&at.join("d1/d"), 0o700);
            write(&at.join("d2/f"), "ok", 0o644);
        },
    );
    assert_eq!(
        found,
        ["d 0777 d1/", "d 0700 d1/d/", "d 0770 d2/", "f 0644 d2/f ok"]
    );
}

#[test]
fn hardlink_updated_parent() {
    let found = diff(
        |at| {
            for folder in ["d1", "d2", "d3", "d4"] {
                mkdir(&at.join(folder), 0o755);
            }
            for file in ["d1/f1", "d2/f1", "d3/f1"] {
                write(&at.join(file), "link me", 0o644);
            }
        },
        |at| {
            chmod(&at.join("d1"), 0o777);
            fs::hard_link(at.join("d1/f1"), at.join("d2/l1")).unwrap();
            chmod(&at.join("d4"), 0o777);
            fs::hard_link(at.join("d3/f1"), at.join("d4/l1")).unwrap();
        },
    );
    let expected = [
        "d 0777 d1/",
        "d 0755 d2/",
        "f 0644 d2/l1 link me",
        "h d1/f1 -> d2/l1",
        "d 0777 d4/",
        "f 0644 d4/l1 link me",
        "d 0755 d3/",
        "h d3/f1 -> d4/l1",
    ];
    assert_eq!(found, expected);
}

#[test]
fn whiteout_includes_parents() {
    let found = diff(
        |at| {
            for folder in ["d1", "d2", "d3", "d4", "d5"] {
                mkdir(&at.join(folder), 0o755);
                write(&at.join(folder).join("f1"), "content", 0o644);
            }
            write(&at.join("d2/f2"), "content", 0o644);
        },
        |at| {
            for file in ["d1/f1", "d2/f1", "d3/f1", "d4/f1"] {
                fs::remove_file(at.join(file)).unwrap();
            }
            chmod(&at.join("d2/f2"), 0o777);
            write(&at.join("d3/f2"), "content", 0o644);
            write(&at.join("d4/f0"), "content", 0o644);
            fs::remove_dir_all(at.join("d5")).unwrap();
        },
    );
    let expected = [
        "d 0755 d1/",
        "w d1/.wh.f1",
        "d 0755 d2/",
        "w d2/.wh.f1",
        "f 0777 d2/f2 content",
        "d 0755 d3/",
        "w d3/.wh.f1",
        "f 0644 d3/f2 content",
        "d 0755 d4/",
        "f 0644 d4/f0 content",
        "w d4/.wh.f1",
        "w .wh.d5",
    ];
    assert_eq!(found, expected);
}

#[test]
fn whiteout_parent_removal() {
    let found = diff(
        |at| {
            mkdir(&at.join("d1"), 0o755);
            mkdir(&at.join("d2"), 0o755);
            write(&at.join("d2/f1"), "content", 0o644);
        },
        |at| {
            fs::remove_dir_all(at.join("d1")).unwrap();
            fs::remove_dir_all(at.join("d2")).unwrap();
            mkdir(&at.join("d3"), 0o755);
        },
    );
    assert_eq!(found, ["w .wh.d1", "w .wh.d2", "d 0755 d3/"]);
}

#[test]
fn ignore_sockets() {
    let found = diff(
        |at| write(&at.join("f1"), "content", 0o644),
        |at| {
            write(&at.join("f2"), "content", 0o644);
            make_node(&at.join("s0"), FileType::Socket, (0, 0)).unwrap();
            write(&at.join("f3"), "content", 0o644);
        },
    );
    assert_eq!(found, ["f 0644 f2 content", "f 0644 f3 content"]);
}

#[test]
fn a_socket_takes_away_what_it_replaced() {
    let found = diff(
        |at| {
            mkdir(&at.join("d"), 0o755);
            write(&at.join("d/f"), "", 0o644);
            write(&at.join("f"), "", 0o644);
            make_node(&at.join("s"), FileType::Socket, (0, 0)).unwrap();
        },
        |at| {
            fs::remove_dir_all(at.join("d")).unwrap();
            fs::remove_file(at.join("f")).unwrap();
            for name in ["d", "f"] {
                make_node(&at.join(name), FileType::Socket, (0, 0)).unwrap();
            }
            touch(&at.join("s"), 1, 1);
        },
    );
    assert_eq!(found, ["w .wh.d", "w .wh.f"]);
}

#[test]
fn a_slash_comes_before_every_other_byte() {
    let names = ["a", "a b", "a!", "a-b", "a.b", "a0", "ab", "\u{fffd}"];
    let found = diff(
        |_| {},
        |at| {
            for name in names {
                mkdir(&at.join(name), 0o755);
                write(&at.join(name).join("x"), "", 0o644);
            }
        },
    );
    let expected: Vec<String> = names
        .iter()
        .flat_map(|name| [format!("d 0755 {name}/"), format!("f 0644 {name}/x ")])
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn a_folder_and_a_file_can_take_each_others_place() {
    let found = diff(
        |at| {
            mkdir(&at.join("d"), 0o755);
            write(&at.join("d/gone"), "", 0o644);
            write(&at.join("f"), "", 0o644);
        },
        |at| {
            fs::remove_dir_all(at.join("d")).unwrap();
            write(&at.join("d"), "now a file", 0o600);
            fs::remove_file(at.join("f")).unwrap();
            mkdir(&at.join("f"), 0o700);
            write(&at.join("f/new"), "", 0o644);
        },
    );
    assert_eq!(found, ["f 0600 d now a file", "d 0700 f/", "f 0644 f/new "]);
}

/// Each thing that makes a file another one, and each that does not.
#[test]
fn sameness_goes_by_containerds_rules() {
    let before = |at: &Path| {
        for name in ["cut", "fine", "half"] {
            write(&at.join(name), "12345", 0o644);
        }
        touch(&at.join("cut"), 1000, 0);
        touch(&at.join("fine"), 1000, 5);
        touch(&at.join("half"), 1000, 0);
        symlink("12345", at.join("link")).unwrap();
        touch(&at.join("link"), 1000, 0);
    };
    let rewritten = |content: &'static str, nanos: [i64; 3]| {
        diff(before, move |at| {
            for (name, nanos) in ["cut", "fine", "half"].into_iter().zip(nanos) {
                fs::remove_file(at.join(name)).unwrap();
                write(&at.join(name), content, 0o644);
                touch(&at.join(name), 1000, nanos);
            }
        })
    };
    // Nanoseconds on both sides are believed; zeros on both make the content count; zero and not zero differ.
    assert_eq!(rewritten("12345", [0, 5, 7]), ["f 0644 half 12345"]);
    assert_eq!(
        rewritten("1234x", [0, 5, 7]),
        [
            "f 0644 cut 1234x",
            "f 0644 half 12345".replace("12345", "1234x").as_str()
        ]
    );
    assert_eq!(rewritten("12345", [0, 6, 0]), ["f 0644 fine 12345"]);
    assert_eq!(rewritten("1234", [0, 5, 0]).len(), 3, "the size");
    let retargeted = |target: &'static str| {
        diff(before, move |at| {
            fs::remove_file(at.join("link")).unwrap();
            symlink(target, at.join("link")).unwrap();
            touch(&at.join("link"), 1000, 0);
        })
    };
    assert_eq!(retargeted("12345"), [""; 0]);
    assert_eq!(retargeted("1234x"), ["s link -> 1234x"]);
    let mode = diff(before, |at| chmod(&at.join("fine"), 0o600));
    assert_eq!(mode, ["f 0600 fine 12345"]);
    let later = diff(before, |at| touch(&at.join("fine"), 1001, 5));
    assert_eq!(later, ["f 0644 fine 12345"]);
    let folder_time = diff(|at| mkdir(&at.join("d"), 0o755), |at| touch(&at.join("d"), 5, 5));
    assert_eq!(folder_time, [""; 0], "a folder's time does not count");
}

#[test]
fn owners_and_capabilities_and_devices_count() {
    if !transom_tests::require_root() {
        return;
    }
    // Version 2, effective, CAP_NET_BIND_SERVICE.
    let cap = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let key = b"security.capability";
    let before = |at: &Path| {
        for name in ["a", "b", "c"] {
            write(&at.join(name), "x", 0o755);
            touch(&at.join(name), 1000, 1);
        }
        make_node(&at.join("dev"), FileType::CharacterDevice, (1, 3)).unwrap();
        touch(&at.join("dev"), 1000, 1);
    };
    let tar = tar(before, |at| {
        std::os::unix::fs::lchown(at.join("a"), Some(7), Some(8)).unwrap();
        let file = fs::File::open(at.join("b")).unwrap();
        Linux
            .fsetxattr(file.as_fd(), key, &cap, XattrFlags::empty())
            .unwrap();
        fs::remove_file(at.join("dev")).unwrap();
        make_node(&at.join("dev"), FileType::CharacterDevice, (1, 5)).unwrap();
        touch(&at.join("dev"), 1000, 1);
    });
    let found = lines(&tar);
    assert_eq!(found, ["f 0755 a x", "f 0755 b x", "CharDevice 0644 dev 1:5"]);
    let seen = entries(&tar);
    assert_eq!((seen[0].entry.uid, seen[0].entry.gid), (7, 8));
    assert_eq!(seen[1].entry.xattrs, [(key.to_vec(), cap.to_vec())]);
    assert!(seen[0].entry.xattrs.is_empty());
}

#[test]
fn times_are_whole_seconds_and_no_later_than_the_epoch_that_was_asked_for() {
    let work = tempfile::tempdir().unwrap();
    let at = work.path();
    for (name, seconds) in [("a", 999), ("b", 1000), ("c", 5000)] {
        write(&at.join(name), "", 0o644);
        touch(&at.join(name), seconds, 999_999_999);
    }
    let times = |epoch: Option<i64>| {
        let options = CompareOptions {
            source_date_epoch: epoch,
            ..plain()
        };
        let (tar, _) = layer_with(&Arc::new(Linux), trees(None, at), &options).unwrap();
        let times: Vec<Time> = entries(&tar).iter().map(|seen| seen.entry.mtime).collect();
        times
    };
    let whole = |seconds: [i64; 3]| seconds.map(|seconds| Time { seconds, nanos: 0 });
    assert_eq!(times(None), whole([999, 1000, 5000]));
    assert_eq!(times(Some(1000)), whole([999, 1000, 1000]));
}

#[test]
fn a_whiteout_has_no_time_and_no_mode_whatever_the_epoch() {
    let tar = tar(
        |at| write(&at.join("f"), "", 0o644),
        |at| fs::remove_file(at.join("f")).unwrap(),
    );
    let seen = &entries(&tar)[0].entry;
    assert_eq!((seen.mode, seen.uid, seen.gid, seen.size), (0, 0, 0, 0));
    assert_eq!(seen.mtime, Time::default());
}

#[test]
fn names_that_would_be_whiteouts_are_left_out() {
    let work = tempfile::tempdir().unwrap();
    let (lower, upper) = (work.path().join("lower"), work.path().join("upper"));
    for folder in [&lower, &upper] {
        fs::create_dir(folder).unwrap();
    }
    write(&lower.join(".wh.old"), "", 0o644);
    write(&upper.join(".wh.passwd"), "", 0o644);
    mkdir(&upper.join(".wh..wh.plnk"), 0o755);
    write(&upper.join(".wh..wh.plnk/1"), "", 0o644);
    write(&upper.join("kept"), "", 0o644);
    let (tar, report) = layer_with(&Arc::new(Linux), trees(Some(&lower), &upper), &plain()).unwrap();
    assert_eq!(lines(&tar), ["f 0644 kept "]);
    assert_eq!(report.counts.reserved, 2);
}

#[test]
fn a_deep_tree_needs_few_descriptors_and_no_long_path() {
    let work = tempfile::tempdir().unwrap();
    let (lower, upper) = (work.path().join("lower"), work.path().join("upper"));
    for folder in [&lower, &upper] {
        let deep = "d/".repeat(500);
        fs::create_dir_all(folder.join(&deep)).unwrap();
        write(&folder.join(&deep).join("f"), "same", 0o644);
        touch(&folder.join(&deep).join("f"), 1000, 1);
    }
    write(&upper.join("d/d/new"), "", 0o644);
    let found = lines(&tar_of(trees(Some(&lower), &upper)));
    assert_eq!(found, ["d 0755 d/", "d 0755 d/d/", "f 0644 d/d/new "]);
    write(&upper.join("d/".repeat(500)).join("f"), "other", 0o644);
    let found = lines(&tar_of(trees(Some(&lower), &upper)));
    assert_eq!(found.len(), 502, "the folders, the file, and what is new above");
    assert_eq!(found[501], "f 0644 d/d/new ");
}

#[test]
fn the_same_trees_give_the_same_bytes() {
    let work = tempfile::tempdir().unwrap();
    for index in 0..200 {
        let folder = work.path().join(format!("d{}", index % 7));
        drop(fs::create_dir(&folder));
        fs::write(folder.join(format!("f{index}")), vec![b'x'; index * 37]).unwrap();
    }
    let copied = work.path().with_extension("copy");
    copy(work.path(), &copied);
    let first = tar_of(trees(None, work.path()));
    assert_eq!(first, tar_of(trees(None, &copied)));
    fs::remove_dir_all(copied).unwrap();
}
