//! Debian's `ctr snapshots`: every verb that needs no differ.

use std::path::PathBuf;
use std::process::{Command, Output};

use transom_tests::needs::require_root;

use crate::ctr::Ctr;
use crate::program::{Program, good};

/// Mounts what `ctr snapshots mounts` or `prepare --target` printed, and unmounts it when it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(line: &str, target: &std::path::Path) -> Mounted {
        std::fs::create_dir_all(target).expect("a folder");
        let output = Command::new("sh").arg("-ec").arg(line).output().expect("sh runs");
        assert!(output.status.success(), "{line}: {output:?}");
        Mounted(target.to_path_buf())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// A daemon, and `ctr snapshots` with one of its snapshotters.
struct Stage {
    program: Program,
    ctr: Ctr,
    snapshotter: &'static str,
    target: PathBuf,
}

impl Stage {
    fn new(snapshotter: &'static str) -> Option<Stage> {
        if !require_root() {
            return None;
        }
        // `ctr` puts nothing on a view that would keep it: what collects by itself could take it at any time.
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = folder.path().join("config.toml");
        std::fs::write(&config, "[gc]\nstartup_delay = \"1h\"\n").expect("a file");
        let program = Program::in_folder(folder, &["--config", &config.to_string_lossy()]);
        let ctr = Ctr::new(&program.socket())?;
        let target = program.folder.path().join("mnt");
        Some(Stage {
            program,
            ctr,
            snapshotter,
            target,
        })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let all = [&["snapshots", "--snapshotter", self.snapshotter], arguments].concat();
        self.ctr.run(&all)
    }

    #[track_caller]
    fn good(&self, arguments: &[&str]) -> String {
        good(&self.run(arguments))
    }

    /// What it says when it does not do something; ctr 1.6 does not always fail then.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
    }

    /// Makes `base` with a file.
    fn base(&self) {
        let place = self.target.to_string_lossy();
        let line = self.good(&["prepare", "--target", &place, "a"]);
        {
            let _mounted = Mounted::new(&line, &self.target);
            std::fs::write(self.target.join("file"), "base").expect("it can be written to");
        }
        assert_eq!(self.good(&["mounts", &place, "a"]), line);
        self.good(&["commit", "base", "a"]);
        let refused = self.refused(&["mounts", &place, "base"]);
        assert!(refused.contains("not active or view"), "{refused}");
    }

    /// Makes an active snapshot and a view on `base`.
    fn upper(&self) {
        let place = self.target.to_string_lossy();
        self.good(&["prepare", "b", "base"]);
        let line = self.good(&["view", "--target", &place, "v", "base"]);
        let _mounted = Mounted::new(&line, &self.target);
        let file = self.target.join("file");
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "base");
        std::fs::write(&file, "no").expect_err("it is read-only");
    }

    fn shown(&self) {
        let info = self.good(&["info", "base"]);
        assert!(info.contains("\"Kind\": \"Committed\""), "{info}");
        assert!(info.contains("containerd.io/gc.root"), "{info}");
        self.good(&["label", "base", "k=v"]);
        assert!(self.good(&["info", "base"]).contains("\"k\": \"v\""));
        let listed = self.good(&["ls"]);
        let mut lines: Vec<Vec<&str>> = listed
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        lines.sort();
        let wanted = [
            &["KEY", "PARENT", "KIND"][..],
            &["b", "base", "Active"],
            &["base", "Committed"],
            &["v", "base", "View"],
        ];
        assert_eq!(lines, wanted);
        let tree = self.good(&["tree"]);
        assert!(tree.contains("\\_ b") && tree.contains("\\_ v"), "{tree}");
        let usage = self.good(&["usage", "-b", "base"]);
        let usage: Vec<&str> = usage.lines().nth(1).expect("a line").split_whitespace().collect();
        assert_eq!((usage[0], usage[2]), ("base", "2"), "a folder and a file");
        assert!(usage[1].parse::<u64>().expect("bytes") > 0, "{usage:?}");
    }

    /// Removes everything: the folders go with the collection that the removal makes worth while.
    fn removed(&self) {
        let refused = self.refused(&["rm", "base"]);
        assert!(refused.contains("cannot remove snapshot with child"), "{refused}");
        self.good(&["rm", "b", "v", "base"]);
        assert_eq!(self.good(&["ls"]).lines().count(), 1, "the heading");
        // A lease that is deleted makes one be waited for.
        self.ctr.good(&["leases", "create", "--id", "L"]);
        self.ctr.good(&["leases", "rm", "--sync", "L"]);
        let folder = format!("root/io.containerd.snapshotter.v1.{}/snapshots", self.snapshotter);
        let left = std::fs::read_dir(self.program.folder.path().join(folder));
        assert_eq!(left.expect("its folder").count(), 0);
    }
}

fn verbs(snapshotter: &'static str) {
    let Some(stage) = Stage::new(snapshotter) else {
        return;
    };
    stage.base();
    stage.upper();
    stage.shown();
    stage.removed();
}

#[test]
fn overlayfs() {
    verbs("overlayfs");
}

#[test]
fn native() {
    verbs("native");
}
