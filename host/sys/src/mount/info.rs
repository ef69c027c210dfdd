//! What is mounted where: `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::calls::MountSys;
use super::error::MountError;

/// One line of `/proc/self/mountinfo`; section 5 of the manual, `proc_pid_mountinfo`, explains the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountInfo {
    /// The number of the mount; it is used again after unmounting.
    pub id: u32,
    /// The number of the mount that it is on.
    pub parent: u32,
    /// The device of its files, major and minor.
    pub device: (u32, u32),
    /// The folder of the file system that is mounted.
    pub root: PathBuf,
    /// Where it is mounted, as this process sees it.
    pub target: PathBuf,
    /// The options of the mount, such as `ro,nosuid`.
    pub options: String,
    /// Propagation, such as `shared:5`; empty for a private mount.
    pub propagation: Vec<String>,
    /// The type of the file system.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// The options of the file system, with the escapes that the kernel shows them with.
    pub super_options: String,
}

/// Every mount that the process can see, in the order the kernel gives them: what is mounted on another comes after it.
///
/// # Errors
/// [`MountError::MountInfo`] where `/proc` is missing.
pub fn mounts<S: MountSys>(sys: &S) -> Result<Vec<MountInfo>, MountError> {
    let text = sys
        .mount_info()
        .map_err(|errno| MountError::MountInfo { errno })?;
    Ok(parse(&text))
}

/// The mounts at `folder` and below it, of a list.
pub fn below<'a>(mounts: &'a [MountInfo], folder: &'a Path) -> impl Iterator<Item = &'a MountInfo> {
    mounts
        .iter()
        .filter(move |mount| mount.target.starts_with(folder))
}

/// Reads the text of a mountinfo file. A line that does not look like one is passed over.
#[must_use]
pub fn parse(text: &[u8]) -> Vec<MountInfo> {
    text.split(|&byte| byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<MountInfo> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut next = || fields.next();
    let id = number(next()?)?;
    let parent = number(next()?)?;
    let device = next()?;
    let colon = device.iter().position(|&byte| byte == b':')?;
    let device = (number(&device[..colon])?, number(&device[colon + 1..])?);
    let root = path(next()?);
    let target = path(next()?);
    let options = text(next()?);
    let mut propagation = Vec::new();
    loop {
        match next()? {
            b"-" => break,
            tag => propagation.push(text(tag)),
        }
    }
    Some(MountInfo {
        id,
        parent,
        device,
        root,
        target,
        options,
        propagation,
        kind: text(next()?),
        source: text(next()?),
        // Missing where a file system has none to show.
        super_options: String::from_utf8_lossy(next().unwrap_or_default()).into_owned(),
    })
}

fn number(field: &[u8]) -> Option<u32> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn path(field: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(plain(field)))
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&plain(field)).into_owned()
}

/// Undoes the kernel's `\040`: three octal digits for a byte that would end a field or a line, and for the backslash.
fn plain(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', &[a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                bytes.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = &tail[3..];
            }
            _ => bytes.push(*first),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_with_their_escapes() {
        let text = b"36 35 98:0 /mnt1 /mnt\\0402\\134x\\011\\012 rw,noatime master:1 shared:2 - ext3 /dev/r\\040t rw,errors=continue\n\
            40 36 0:5 / /proc rw,nosuid - proc proc rw\n\
            41 36 0:6 / /a\\b\\400 rw - tmpfs\n\
            42 36 0:7 / /empty rw - tmpfs none \n\
            not a line\n\n";
        let mounts = parse(text);
        assert_eq!(mounts.len(), 3);
        let first = MountInfo {
            id: 36,
            parent: 35,
            device: (98, 0),
            root: PathBuf::from("/mnt1"),
            target: PathBuf::from("/mnt 2\\x\t\n"),
            options: "rw,noatime".to_owned(),
            propagation: vec!["master:1".to_owned(), "shared:2".to_owned()],
            kind: "ext3".to_owned(),
            source: "/dev/r t".to_owned(),
            super_options: "rw,errors=continue".to_owned(),
        };
        assert_eq!(mounts[0], first);
        assert_eq!(mounts[1].propagation, [] as [&str; 0]);
        assert_eq!(mounts[2].super_options, "");
    }

    #[test]
    fn below_means_whole_names() {
        let line = |target: &str| format!("1 1 0:1 / {target} rw - tmpfs none rw\n");
        let text = ["/a", "/a/b", "/ab", "/"].map(line).concat();
        let mounts = parse(text.as_bytes());
        let targets: Vec<_> = below(&mounts, Path::new("/a"))
            .map(|mount| &mount.target)
            .collect();
        assert_eq!(targets, [Path::new("/a"), Path::new("/a/b")]);
        assert_eq!(below(&mounts, Path::new("/")).count(), 4);
    }
}
