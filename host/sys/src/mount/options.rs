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
