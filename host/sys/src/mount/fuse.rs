//! File systems of programs: mounted by `mount.fuse`, unmounted by `fusermount`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::calls::MountSys;
use super::description::Mount;
use super::error::MountError;
use super::info;
use super::limits::HELPER_TRIES;

/// `FUSE_SUPER_MAGIC`.
const MAGIC: u64 = 0x6573_5546;

/// The program that mounts a type, and what the program calls the type: `fuse3.sshfs` is mounted by `mount.fuse3` as
/// `sshfs`.
pub(super) fn helper(kind: &str) -> Option<(&'static str, &str)> {
    if let Some(kind) = kind.strip_prefix("fuse.") {
        return Some(("mount.fuse", kind));
    }
    Some(("mount.fuse3", kind.strip_prefix("fuse3.")?))
}

/// Mounts with the helper `program`. It gets its arguments as they are, never through a shell.
pub(super) fn mount<S: MountSys>(
    sys: &S,
    (program, kind): (&'static str, &str),
    mount: &Mount,
    target: &Path,
) -> Result<(), MountError> {
    let arguments = arguments(kind, mount, target)?;
    let failed = |output: String| MountError::Helper {
        program,
        target: target.to_path_buf(),
        output,
    };
    let before = top(sys, target)?;
    for _ in 0..HELPER_TRIES {
        match sys.run(program, &arguments) {
            Ok(ended) if ended.success => return Ok(()),
            Ok(ended) => return Err(failed(ended.output)),
            Err(error) if error.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => {}
            Err(error) => return Err(failed(error.to_string())),
        }
        // How it ended is lost. What it may have mounted may be half made: away with it, and once more.
        if top(sys, target)? != before {
            let _ = sys.unmount(target.as_os_str().as_bytes(), UnmountFlags::empty());
        }
    }
    Err(failed(format!(
        "its end was lost {HELPER_TRIES} times: {}",
        Errno::CHILD
    )))
}

fn arguments(kind: &str, mount: &Mount, target: &Path) -> Result<Vec<OsString>, MountError> {
    // The helper finds a program by this name, and older ones ask a shell to: nothing but a name may go there.
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._+-".contains(letter);
    if kind.is_empty() || kind.starts_with(['-', '.']) || !kind.chars().all(plain) {
        return Err(MountError::BadText {
            what: "type",
            text: mount.kind.clone(),
            reason: "does not name a FUSE program",
        });
    }
    if mount.source.starts_with('-') {
        return Err(MountError::BadText {
            what: "source",
            text: mount.source.clone(),
            reason: "would be read as an option",
        });
    }
    let mut arguments = vec![OsString::from(&mount.source), target.as_os_str().to_owned()];
    for option in &mount.options {
        arguments.push("-o".into());
        arguments.push(option.into());
    }
    arguments.push("-t".into());
    arguments.push(kind.into());
    Ok(arguments)
}

/// The number of the topmost mount at `target`, if any.
fn top<S: MountSys>(sys: &S, target: &Path) -> Result<Option<u32>, MountError> {
    let list = info::mounts(sys)?;
    Ok(list
        .iter()
        .rev()
        .find(|mount| mount.target == target)
        .map(|mount| mount.id))
}

/// Whether a FUSE file system is at `target`, also one whose program is gone.
pub(super) fn is_fuse<S: MountSys>(sys: &S, target: &Path) -> bool {
    match sys.statfs(target.as_os_str().as_bytes()) {
        Ok((magic, _)) => magic == MAGIC,
        Err(errno) => errno == Errno::NOTCONN,
    }
}

/// Lets FUSE's own program unmount, which users other than root need. False if there is none or it did not.
pub(super) fn unmount<S: MountSys>(sys: &S, target: &Path) -> bool {
    let arguments = [OsString::from("-u"), target.as_os_str().to_owned()];
    ["fusermount3", "fusermount"]
        .into_iter()
        .any(|program| sys.run(program, &arguments).is_ok_and(|ended| ended.success))
}
