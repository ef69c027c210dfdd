//! Folders that entries need and the archive does not list.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use transom_sys::{Errno, OFlags, Sys, Times, Timespec, XattrFlags};

use super::folders::gives_on;
use super::name::split;
use super::resolve::{Resolver, or_root};
use super::{ApplyOptions, Ownership};

/// The mode of a folder that nothing is known about, as containerd's.
const MODE: u32 = 0o755;

/// Makes the folder `name` in `dir`, whose path from the root is `names`, as the first lower layer that has it shows it. Gives
/// its inode and that path.
pub(super) fn make<S: Sys>(
    sys: &S,
    resolver: &Resolver<'_, S>,
    options: &ApplyOptions,
    dir: BorrowedFd<'_>,
    name: &[u8],
    names: &[Vec<u8>],
) -> Result<(u64, Vec<u8>), Errno> {
    sys.mkdirat(dir, name, MODE)?;
    // A setgid folder above gives its bit on, and the umask may be in the way.
    sys.fchmodat(dir, name, MODE)?;
    let path = names.join(&b'/');
    if let Some(found) = first(sys, resolver, dir, &options.parents, &path)? {
        let copied = copy(sys, options.ownership, dir, name, &found);
        sys.close(found);
        copied?;
    }
    Ok((sys.statat(dir, name)?.st_ino, path))
}

/// Gives folders that were made without a look at lower layers what [`make`] would have given them. `false` if one of those
/// would have passed something on to what was created in it since: then nobody can tell what that would be like.
pub(super) fn adopt<S: Sys>(
    sys: &S,
    root: BorrowedFd<'_>,
    parents: &[PathBuf],
    folders: &BTreeMap<u64, Vec<u8>>,
) -> Result<bool, Errno> {
    let resolver = Resolver::new(sys);
    for (inode, path) in folders {
        let (up, name) = split(path);
        let Some(found) = first(sys, &resolver, root, parents, path)? else {
            continue;
        };
        if gives_on(sys, found.as_fd())? {
            return Ok(false);
        }
        let above = match resolver.folder(root, up, None) {
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            other => other?,
        };
        let dir = or_root(above.as_ref(), root);
        // The archive may have put something else there since.
        if sys.statat(dir, name).is_ok_and(|stat| stat.st_ino == *inode) {
            copy(sys, Ownership::Keep, dir, name, &found)?;
        }
    }
    Ok(true)
}

/// The folder `path` of the first of `parents` that has it.
fn first<S: Sys>(
    sys: &S,
    resolver: &Resolver<'_, S>,
    dir: BorrowedFd<'_>,
    parents: &[PathBuf],
    path: &[u8],
) -> Result<Option<OwnedFd>, Errno> {
    for parent in parents {
        match find(sys, resolver, dir, parent, path) {
            Ok(None) => {}
            // Something else is there, and hides what is below.
            Err(Errno::NOTDIR) => break,
            other => return other,
        }
    }
    Ok(None)
}

/// The folder `path` of a lower layer, if it has it.
fn find<S: Sys>(
    sys: &S,
    resolver: &Resolver<'_, S>,
    dir: BorrowedFd<'_>,
    parent: &Path,
    path: &[u8],
) -> Result<Option<OwnedFd>, Errno> {
    // A path from `/` on, so that it does not matter from where.
    let opened = sys.openat(
        dir,
        parent.as_os_str().as_bytes(),
        OFlags::PATH | OFlags::DIRECTORY,
        0,
    );
    let root = match opened {
        Err(Errno::NOENT) => return Ok(None),
        other => other?,
    };
    let found = resolver.has_folder(root.as_fd(), path);
    sys.close(root);
    found
}

/// Gives the folder `name` the owner, extended attributes, mode and times of `from`.
fn copy<S: Sys>(
    sys: &S,
    ownership: Ownership,
    dir: BorrowedFd<'_>,
    name: &[u8],
    from: &OwnedFd,
) -> Result<(), Errno> {
    let stat = sys.fstat(from.as_fd())?;
    let made = sys.openat(
        dir,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
        0,
    )?;
    let to = made.as_fd();
    if ownership == Ownership::Keep {
        sys.fchown(to, stat.st_uid, stat.st_gid)?;
    }
    copy_xattrs(sys, ownership, from, to)?;
    sys.fchmod(to, stat.st_mode & 0o7777)?;
    let time = |seconds, nanos: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: nanos.cast_signed(),
    };
    sys.futimens(
        to,
        Times {
            accessed: time(stat.st_atime, stat.st_atime_nsec),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
        },
    )?;
    sys.close(made);
    Ok(())
}

fn copy_xattrs<S: Sys>(
    sys: &S,
    ownership: Ownership,
    from: &OwnedFd,
    to: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let keys = match sys.listxattr(from.as_fd()) {
        Err(Errno::NOTSUP) => return Ok(()),
        other => other?,
    };
    for key in keys.iter().filter(|key| !key.starts_with(b"trusted.")) {
        let value = match sys.getxattr(from.as_fd(), key) {
            Err(Errno::NOTSUP | Errno::NODATA) => continue,
            other => other?,
        };
        match sys.fsetxattr(to, key, &value, XattrFlags::CREATE) {
            // Nothing to keep it in, or there by itself already.
            Err(Errno::NOTSUP | Errno::NODATA | Errno::EXIST) => {}
            Err(Errno::PERM) if ownership == Ownership::Ignore => {}
            other => other?,
        }
    }
    Ok(())
}
