//! What the configuration says of snapshotters.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use transom_snapshot::{NativeOptions, OverlayOptions};

use super::section::{Faults, Section};

/// Which snapshotters there are, and how they behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// Those that are loaded.
    pub enabled: Vec<Snapshotter>,
    /// The one that serves a containerd which asks for another name.
    pub default: Snapshotter,
    /// Whether a snapshot's files are on the disk when its commit is answered.
    pub sync: bool,
    /// The overlayfs snapshotter's folder; in the root if `None`.
    pub overlayfs_root: Option<PathBuf>,
    /// How the overlayfs snapshotter behaves.
    pub overlayfs: OverlayOptions,
    /// The native snapshotter's folder; in the root if `None`.
    pub native_root: Option<PathBuf>,
    /// How the native snapshotter behaves.
    pub native: NativeOptions,
}

/// A snapshotter that can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshotter {
    /// Folders that the kernel lays over each other.
    Overlayfs,
    /// Folders that are copied.
    Native,
}

impl Snapshotter {
    /// Every one.
    pub const ALL: [Snapshotter; 2] = [Snapshotter::Overlayfs, Snapshotter::Native];

    /// Its name, for clients and in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Snapshotter::Overlayfs => "overlayfs",
            Snapshotter::Native => "native",
        }
    }
}

impl fmt::Display for Snapshotter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Snapshotter {
    type Err = ();

    fn from_str(name: &str) -> Result<Snapshotter, ()> {
        let found = Snapshotter::ALL.into_iter().find(|known| known.name() == name);
        found.ok_or(())
    }
}

impl Default for Snapshots {
    fn default() -> Self {
        Snapshots {
            enabled: Snapshotter::ALL.into(),
            default: Snapshotter::Overlayfs,
            sync: true,
            overlayfs_root: None,
            overlayfs: OverlayOptions::default(),
            native_root: None,
            native: NativeOptions::default(),
        }
    }
}

impl Snapshots {
    pub(super) fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        section.set("enabled", &mut self.enabled, faults);
        section.set("default", &mut self.default, faults);
        section.set("sync", &mut self.sync, faults);
        let mut overlayfs = section.section("overlayfs", faults);
        let options = &mut self.overlayfs;
        overlayfs.set("root", &mut self.overlayfs_root, faults);
        overlayfs.set("mount_options", &mut options.mount_options, faults);
        overlayfs.set("upperdir_label", &mut options.upperdir_label, faults);
        overlayfs.set("async_remove", &mut options.async_remove, faults);
        overlayfs.set("slow_chown", &mut options.slow_chown, faults);
        overlayfs.end(faults);
        let mut native = section.section("native", faults);
        native.set("root", &mut self.native_root, faults);
        native.set("async_remove", &mut self.native.async_remove, faults);
        native.end(faults);
        section.end(faults);
    }
}
