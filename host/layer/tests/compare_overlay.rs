//! The short way for overlayfs beside the double walk over the mounted trees, on what a real overlay made: the same
//! bytes; and the layer applied to the lower tree gives the upper one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "compare_support/layers.rs"]
mod layers;
#[path = "compare_support/mounts.rs"]
mod mounts;
#[path = "compare_support/ops.rs"]
mod ops;

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use layers::{chmod, layer_with, lines, mkdir, overlay, plain, tar_of, touch, trees, write};
use mounts::{Overlay, privately};
use ops::{Op, op, run};
use proptest::prelude::*;
use transom_layer::apply::{ApplyOptions, WhiteoutFormat, apply};
use transom_layer::compare::{CompareError, OverlayMarks};
use transom_sys::{Linux, Sys as _, XattrFlags};
use transom_tests::tree::{Ignore, Tree, diff, report, walk};

/// Mount options under which the upper folder tells everything.
const PLAIN: &str = "index=off,redirect_dir=off,metacopy=off";

/// The folders of an overlay in the making.
struct Stack {
    work: tempfile::TempDir,
    /// Nearest first.
    layers: Vec<PathBuf>,
    options: String,
}

impl Stack {
    fn new(options: &str) -> Stack {
        let work = tempfile::tempdir().unwrap();
        for name in ["at", "lower", "upper", "empty"] {
            fs::create_dir(work.path().join(name)).unwrap();
        }
        let layers = vec![work.path().join("layer0")];
        fs::create_dir(&layers[0]).unwrap();
        Stack {
            work,
            layers,
            options: options.to_owned(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// Puts a layer with what `change` does on top of the others.
    fn change(&mut self, change: impl FnOnce(&Path)) {
        let number = self.layers.len();
        let (upper, work) = (
            self.path(&format!("layer{number}")),
            self.path(&format!("work{number}")),
        );
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        {
            let at = self.path("at");
            let _mounted = Overlay::mount(&at, &self.layers, Some((&upper, &work)), &self.options);
            change(&at);
        }
        self.layers.insert(0, upper);
    }

    /// The tree of these layers, mounted read-only; a single one is the folder itself.
    fn view(&self, layers: &[PathBuf], at: &str) -> (PathBuf, Option<Overlay>) {
        match layers {
            [one] => (one.clone(), None),
            _ => {
                let path = self.path(at);
                let userxattr = if self.options.contains("userxattr") {
                    "userxattr"
                } else {
                    ""
                };
                let mounted = Overlay::mount(&path, layers, None, userxattr);
                (path, Some(mounted))
            }
        }
    }

    /// By the double walk of what containerd mounts.
    fn by_trees(&self) -> Vec<u8> {
        let (lower, _lower) = self.view(&self.layers[1..], "lower");
        let (upper, _upper) = self.view(&self.layers, "upper");
        tar_of(trees(Some(&lower), &upper))
    }

    /// By the upper folder.
    fn by_upper(&self, marks: OverlayMarks) -> Result<Vec<u8>, CompareError> {
        let changes = overlay(&self.layers[0], &self.layers[1..], marks);
        layer_with(&Arc::new(Linux), changes, &plain()).map(|(tar, _)| tar)
    }

    /// The upper tree, as far as a layer can say it.
    fn merged(&self) -> Tree {
        let (upper, _upper) = self.view(&self.layers, "upper");
        said(walk(&upper).unwrap())
    }

    /// The lower tree with `layer` applied to it, in both forms of whiteouts.
    fn applied(&self, layer: &[u8]) -> [Tree; 2] {
        let (lower, mounted) = self.view(&self.layers[1..], "lower");
        let plain = self.path("plain");
        layers::copy(&lower, &plain);
        drop(mounted);
        apply_to(&plain, layer, &ApplyOptions::default());
        let over = self.path("over");
        fs::create_dir(&over).unwrap();
        let options = ApplyOptions {
            whiteouts: WhiteoutFormat::Overlay,
            parents: self.layers[1..].to_vec(),
            ..ApplyOptions::default()
        };
        apply_to(&over, layer, &options);
        let stack: Vec<PathBuf> = [vec![over], self.layers[1..].to_vec()].concat();
        let (view, _view) = self.view(&stack, "upper");
        [said(walk(&plain).unwrap()), said(walk(&view).unwrap())]
    }
}

fn apply_to(root: &Path, layer: &[u8], options: &ApplyOptions) {
    let folder = File::open(root).unwrap();
    let applied = apply(&mut Some(Bytes::copy_from_slice(layer)), folder.as_fd(), options).unwrap();
    assert_eq!(applied.warnings.kept, []);
}

/// What a layer can say of a tree: whole seconds, one extended attribute, no sockets.
fn said(mut tree: Tree) -> Tree {
    tree.entries
        .retain(|_, entry| entry.kind != transom_tests::tree::Kind::Socket);
    for entry in tree.entries.values_mut() {
        entry.mtime_nsec = 0;
        entry.xattrs.retain(|key, _| key == b"security.capability");
    }
    tree
}

/// Times of folders that have nothing new in them are not in a layer; and names that did not change stay linked, though
/// overlayfs has parted them.
const IGNORED: Ignore = Ignore {
    owner: false,
    times: false,
    dir_times: true,
    xattrs: false,
    links: true,
};

fn check(layers: &[Vec<Op>], marks: OverlayMarks) {
    let options = match marks {
        OverlayMarks::Trusted => PLAIN.to_owned(),
        OverlayMarks::User => "userxattr,index=off".to_owned(),
    };
    let mut stack = Stack::new(&options);
    if let [first, others @ ..] = layers {
        run(&stack.layers[0], first);
        for ops in others {
            stack.change(|at| run(at, ops));
        }
    }
    if stack.layers.len() < 2 {
        stack.change(|_| {});
    }
    let double = stack.by_trees();
    let short = stack.by_upper(marks).unwrap();
    assert_eq!(lines(&short), lines(&double));
    assert!(short == double, "the same entries, other headers");
    let wanted = stack.merged();
    for (how, applied) in ["plain", "overlay"].iter().zip(stack.applied(&short)) {
        let found = diff(&wanted, &applied, &IGNORED);
        assert!(
            found.is_empty(),
            "applied with {how} whiteouts:\n{}",
            report(&found, 10)
        );
    }
}

/// Whether overlays can be mounted here.
fn can_mount() -> bool {
    transom_tests::require_root()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_upper_folder_tells_what_both_trees_tell(
        layers in proptest::collection::vec(proptest::collection::vec(op(), 1..40), 2..5),
        user in proptest::bool::weighted(0.25),
    ) {
        if !can_mount() {
            return Ok(());
        }
        let marks = if user { OverlayMarks::User } else { OverlayMarks::Trusted };
        privately(|| check(&layers, marks));
    }
}

/// One layer with a bit of everything, then `change`; both ways must agree, and the lines be these.
fn agreed(change: impl FnOnce(&Path) + Send) -> Vec<String> {
    let found = privately(|| {
        let mut stack = Stack::new(PLAIN);
        let at = stack.layers[0].clone();
        for folder in ["d", "d/sub", "e"] {
            mkdir(&at.join(folder), 0o755);
        }
        for file in ["a", "d/f", "d/g", "d/sub/x"] {
            write(&at.join(file), file, 0o644);
            touch(&at.join(file), 1000, 7);
        }
        fs::hard_link(at.join("a"), at.join("b")).unwrap();
        stack.change(change);
        let tar = stack.by_upper(OverlayMarks::Trusted).unwrap();
        assert_eq!(lines(&tar), lines(&stack.by_trees()));
        lines(&tar)
    });
    found.unwrap()
}

#[test]
fn what_was_copied_up_and_did_not_change_is_left_out() {
    if !can_mount() {
        return;
    }
    let found = agreed(|at| {
        chmod(&at.join("a"), 0o644);
        chmod(&at.join("d/sub"), 0o755);
        File::options().write(true).open(at.join("d/f")).unwrap();
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_folder_removed_and_made_again_hides_what_was_in_it() {
    if !can_mount() {
        return;
    }
    let found = agreed(|at| {
        fs::remove_dir_all(at.join("d")).unwrap();
        mkdir(&at.join("d"), 0o755);
        mkdir(&at.join("d/sub"), 0o700);
        write(&at.join("d/g"), "new", 0o644);
    });
    let expected = [
        "d 0755 d/",
        "w d/.wh.f",
        "f 0644 d/g new",
        "d 0700 d/sub/",
        "w d/sub/.wh.x",
    ];
    assert_eq!(found, expected);
}

#[test]
fn links_that_were_copied_up_stay_links() {
    if !can_mount() {
        return;
    }
    let found = agreed(|at| {
        fs::hard_link(at.join("d/f"), at.join("e/new")).unwrap();
        fs::hard_link(at.join("a"), at.join("z")).unwrap();
    });
    let expected = [
        "d 0755 e/",
        "f 0644 e/new d/f",
        "d 0755 d/",
        "h d/f -> e/new",
        "f 0644 z a",
        "h a -> z",
    ];
    assert_eq!(found, expected);
}

#[test]
fn whiteouts_of_what_no_lower_layer_has_say_nothing() {
    if !can_mount() {
        return;
    }
    privately(|| {
        let mut stack = Stack::new(PLAIN);
        stack.change(|_| {});
        let upper = stack.layers[0].clone();
        mkdir(&upper.join("new"), 0o755);
        for whiteout in ["none", "new/none"] {
            layers::make_node(
                &upper.join(whiteout),
                transom_sys::FileType::CharacterDevice,
                (0, 0),
            )
            .unwrap();
        }
        let tar = stack.by_upper(OverlayMarks::Trusted).unwrap();
        assert_eq!(lines(&tar), ["d 0755 new/"]);
        assert_eq!(tar, stack.by_trees());
    });
}

#[test]
fn whiteouts_can_be_files_with_an_attribute() {
    if !can_mount() {
        return;
    }
    privately(|| {
        let mut stack = Stack::new(PLAIN);
        let lower = stack.layers[0].clone();
        mkdir(&lower.join("d"), 0o755);
        for name in ["d/gone", "d/kept", "d/empty"] {
            write(&lower.join(name), "old", 0o644);
            touch(&lower.join(name), 1000, 1);
        }
        stack.change(|_| {});
        let upper = stack.layers[0].clone();
        mkdir(&upper.join("d"), 0o755);
        for name in ["d/gone", "d/empty"] {
            write(&upper.join(name), "", 0o644);
        }
        let set = |path: &Path, key: &[u8], value: &[u8]| {
            let file = File::open(path).unwrap();
            Linux
                .fsetxattr(file.as_fd(), key, value, XattrFlags::empty())
                .unwrap();
        };
        set(&upper.join("d/gone"), b"trusted.overlay.whiteout", b"");
        let found = |stack: &Stack| lines(&stack.by_upper(OverlayMarks::Trusted).unwrap());
        let without = ["d 0755 d/", "f 0644 d/empty ", "f 0644 d/gone "];
        assert_eq!(found(&stack), without, "only where the folder says so");
        set(&upper.join("d"), b"trusted.overlay.opaque", b"x");
        assert_eq!(found(&stack), ["d 0755 d/", "f 0644 d/empty ", "w d/.wh.gone"]);
    });
}

/// What overlayfs keeps elsewhere than in the upper folder is told, and the double walk sees it all.
#[test]
fn what_the_upper_folder_does_not_tell_is_refused() {
    if !can_mount() {
        return;
    }
    type Case = (&'static str, fn(&Path), &'static str, &'static str);
    let cases: [Case; 3] = [
        (
            "redirect_dir=on",
            |at| fs::rename(at.join("d"), at.join("moved")).unwrap(),
            "moved",
            "redirect_dir",
        ),
        (
            "metacopy=on",
            |at| chmod(&at.join("d/f"), 0o600),
            "d/f",
            "metacopy",
        ),
        (
            "index=on",
            |at| fs::write(at.join("a"), "other").unwrap(),
            "a",
            "index",
        ),
    ];
    for (options, change, entry, reason) in cases {
        privately(|| {
            let mut stack = Stack::new(options);
            let at = stack.layers[0].clone();
            mkdir(&at.join("d"), 0o755);
            for file in ["a", "d/f"] {
                write(&at.join(file), file, 0o644);
                touch(&at.join(file), 1000, 7);
            }
            fs::hard_link(at.join("a"), at.join("b")).unwrap();
            stack.change(change);
            let error = stack.by_upper(OverlayMarks::Trusted).unwrap_err();
            let text = error.to_string();
            assert!(
                matches!(&error, CompareError::Cannot { entry: at, .. } if at == entry),
                "{text}"
            );
            assert!(text.contains(reason), "{text}");
        });
    }
}

#[test]
fn who_cannot_see_the_marks_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let sys = Arc::new(transom_sys::Recorded::new(Linux));
    sys.pretend_user_namespace(true);
    let changes = || overlay(folder.path(), &[folder.path()], OverlayMarks::Trusted);
    let error = layer_with(&sys, changes(), &plain()).unwrap_err();
    assert!(matches!(error, CompareError::Cannot { .. }), "{error}");
    sys.pretend_user_namespace(false);
    sys.pretend_ids(1000, 1000);
    let error = layer_with(&sys, changes(), &plain()).unwrap_err();
    assert!(error.to_string().contains("only root"), "{error}");
}
