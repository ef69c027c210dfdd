//! What the options of a mount mean: flags, propagation, loop device, mapped ids, and data for the file system.

use rustix::mount::{MountFlags, MountPropagationFlags};

use super::description::Mount;
use super::error::MountError;
use super::idmap::IdMaps;
use super::limits::{OPTION_BYTES_MAX, OPTIONS_MAX};

/// `MS_REMOUNT`, which rustix keeps to itself.
pub(super) const REMOUNT: MountFlags = MountFlags::from_bits_retain(32);

/// The options of a mount, understood.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// The flags of the first `mount(2)`.
    pub(super) flags: MountFlags,
    /// The flags that an option cleared by name.
    pub(super) cleared: MountFlags,
    /// The changes of propagation after it, each a call of its own.
    pub(super) propagation: Vec<MountPropagationFlags>,
    /// What the file system itself understands, in the order given.
    pub(super) data: Vec<String>,
    /// Whether the source is a file to be mounted through a loop device.
    pub(super) is_loop: bool,
    /// Whether that device goes past the page cache.
    pub(super) direct_io: bool,
    /// The ids as the mount shows them, where they are not those on disk.
    pub(super) ids: Option<IdMaps>,
}

/// What a word does to the flags.
enum Word {
    Set(MountFlags),
    Clear(MountFlags),
    Propagation(MountPropagationFlags),
}

/// The words that are no data. Those of containerd, and those for propagation as `mount(8)` and users of fstab know
/// them. containerd (1.6 as 2.x) passes the latter on as data, which a bind mount ignores and any file system refuses:
/// its code for propagation is never reached. Doing what they say is what their writer wanted.
fn word(option: &str) -> Option<Word> {
    use MountPropagationFlags as P;
    Some(match option {
        "async" => Word::Clear(MountFlags::SYNCHRONOUS),
        "atime" => Word::Clear(MountFlags::NOATIME),
        "bind" => Word::Set(MountFlags::BIND),
        // containerd hands this to the file system as data, where most refuse it.
        "defaults" => Word::Set(MountFlags::empty()),
        "dev" => Word::Clear(MountFlags::NODEV),
        "diratime" => Word::Clear(MountFlags::NODIRATIME),
        "dirsync" => Word::Set(MountFlags::DIRSYNC),
        "exec" => Word::Clear(MountFlags::NOEXEC),
        "mand" => Word::Set(MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
        "noatime" => Word::Set(MountFlags::NOATIME),
        "nodev" => Word::Set(MountFlags::NODEV),
        "nodiratime" => Word::Set(MountFlags::NODIRATIME),
        "noexec" => Word::Set(MountFlags::NOEXEC),
        "nomand" => Word::Clear(MountFlags::PERMIT_MANDATORY_FILE_LOCKING),
        "norelatime" => Word::Clear(MountFlags::RELATIME),
        "nostrictatime" => Word::Clear(MountFlags::STRICTATIME),
        "nosuid" => Word::Set(MountFlags::NOSUID),
        "rbind" => Word::Set(MountFlags::BIND.union(MountFlags::REC)),
        "relatime" => Word::Set(MountFlags::RELATIME),
        "remount" => Word::Set(REMOUNT),
        "ro" => Word::Set(MountFlags::RDONLY),
        "rw" => Word::Clear(MountFlags::RDONLY),
        "strictatime" => Word::Set(MountFlags::STRICTATIME),
        "suid" => Word::Clear(MountFlags::NOSUID),
        "sync" => Word::Set(MountFlags::SYNCHRONOUS),
        "shared" => Word::Propagation(P::SHARED),
        "rshared" => Word::Propagation(P::SHARED.union(P::REC)),
        "private" => Word::Propagation(P::PRIVATE),
        "rprivate" => Word::Propagation(P::PRIVATE.union(P::REC)),
        "slave" => Word::Propagation(P::DOWNSTREAM),
        "rslave" => Word::Propagation(P::DOWNSTREAM.union(P::REC)),
        "unbindable" => Word::Propagation(P::UNBINDABLE),
        "runbindable" => Word::Propagation(P::UNBINDABLE.union(P::REC)),
        _ => return None,
    })
}

impl Options {
    /// Reads the options of `mount`, which were [`check`]ed, later ones winning over earlier ones.
    pub(super) fn parse(mount: &Mount) -> Result<Self, MountError> {
        let mut options = Options {
            flags: MountFlags::empty(),
            cleared: MountFlags::empty(),
            propagation: Vec::new(),
            data: Vec::new(),
            is_loop: false,
            direct_io: false,
            ids: None,
        };
        let (mut uids, mut gids) = (None, None);
        for option in &mount.options {
            match word(option) {
                Some(Word::Set(flag)) => {
                    options.flags |= flag;
                    options.cleared -= flag;
                }
                Some(Word::Clear(flag)) => {
                    options.flags -= flag;
                    options.cleared |= flag;
                }
                Some(Word::Propagation(change)) => options.propagation.push(change),
                None if option == "loop" => options.is_loop = true,
                None => {
                    if let Some(map) = option.strip_prefix("uidmap=") {
                        uids = Some(map);
                    } else if let Some(map) = option.strip_prefix("gidmap=") {
                        gids = Some(map);
                    } else {
                        options.data.push(option.clone());
                    }
                }
            }
        }
        if options.is_loop {
            // Only then: a file system may have an option of that name.
            let before = options.data.len();
            options.data.retain(|option| option != "direct-io");
            options.direct_io = options.data.len() != before;
        }
        options.ids = IdMaps::parse(uids, gids)?;
        Ok(options)
    }

    /// The data in the form `mount(2)` takes it.
    pub(super) fn joined(&self) -> String {
        self.data.join(",")
    }
}

/// Refuses options that no mount may have.
pub(super) fn check(options: &[String]) -> Result<(), MountError> {
    if options.len() > OPTIONS_MAX {
        return Err(MountError::TooMany {
            what: "options of one mount",
            count: options.len(),
            most: OPTIONS_MAX,
        });
    }
    let bytes = options.iter().map(String::len).sum();
    if bytes > OPTION_BYTES_MAX {
        return Err(MountError::OptionsTooLong {
            bytes,
            most: OPTION_BYTES_MAX,
        });
    }
    for option in options {
        if option.starts_with("X-containerd.") {
            return Err(MountError::InternalOption {
                option: option.clone(),
            });
        }
        super::description::refuse_nul("option", option)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Options::parse(&Mount {
            options,
            ..Mount::default()
        })
        .unwrap()
    }

    #[test]
    fn every_word_does_what_mount_8_says() {
        // As numbers of `linux/mount.h`.
        let sets = [
            ("defaults", 0),
            ("ro", 1),
            ("nosuid", 2),
            ("nodev", 4),
            ("noexec", 8),
            ("sync", 16),
            ("remount", 32),
            ("mand", 64),
            ("dirsync", 128),
            ("noatime", 1024),
            ("nodiratime", 2048),
            ("bind", 4096),
            ("rbind", 4096 | 16384),
            ("relatime", 1 << 21),
            ("strictatime", 1 << 24),
        ];
        for (word, flags) in sets {
            let options = parse(&[word]);
            assert_eq!(options.flags.bits(), flags, "{word}");
            assert_eq!(options.data, [] as [&str; 0]);
        }
        let clears = [
            ("rw", "ro"),
            ("suid", "nosuid"),
            ("dev", "nodev"),
            ("exec", "noexec"),
            ("async", "sync"),
            ("nomand", "mand"),
            ("atime", "noatime"),
            ("diratime", "nodiratime"),
            ("norelatime", "relatime"),
            ("nostrictatime", "strictatime"),
        ];
        for (clear, set) in clears {
            assert_eq!(parse(&[set, clear]).flags.bits(), 0, "{clear}");
            assert_ne!(parse(&[clear, set]).flags.bits(), 0, "{clear}");
            assert!(parse(&[clear, set]).cleared.is_empty() && !parse(&[set, clear]).cleared.is_empty());
        }
        let changes = [
            ("unbindable", 1 << 17),
            ("private", 1 << 18),
            ("slave", 1 << 19),
            ("shared", 1 << 20),
        ];
        for (word, change) in changes {
            assert_eq!(parse(&[word]).propagation[0].bits(), change);
            assert_eq!(
                parse(&[&format!("r{word}")]).propagation[0].bits(),
                change | 16384
            );
            assert_eq!(parse(&[word]).flags.bits(), 0);
        }
    }

    #[test]
    fn what_is_no_word_is_data_in_order() {
        let options = parse(&["lowerdir=/a", "RO", "ro", " rw", "loop=x", "size=1m", ""]);
        assert_eq!(options.joined(), "lowerdir=/a,RO, rw,loop=x,size=1m,");
        assert!(!options.is_loop && options.ids.is_none());
    }

    #[test]
    fn the_last_map_counts() {
        let options = parse(&["uidmap=0:1:1", "gidmap=0:2:1", "uidmap=0:3:1"]);
        let ids = options.ids.unwrap();
        assert_eq!((ids.uids.as_str(), ids.gids.as_str()), ("0 3 1\n", "0 2 1\n"));
    }
}
