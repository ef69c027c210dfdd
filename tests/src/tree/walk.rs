//! Reading a directory into a [`Tree`].

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{lgetxattr, llistxattr, major, minor};
use transom_oci::{Algorithm, Digest, Hasher};

use super::{Entry, Kind, Tree};

/// Reads everything under a directory, following no symbolic link.
///
/// # Errors
/// What cannot be read; the message has the path.
pub fn walk(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::default();
    // The first name of each file that has several, by device and inode.
    let mut first_names: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    walk_dir(root, &[], &mut tree, &mut first_names)?;
    // Only now is it known which names share a file within the tree; links from outside do not count.
    let mut shared: HashMap<Vec<u8>, usize> = HashMap::new();
    for entry in tree.entries.values() {
        if let Some(first) = &entry.link_group {
            *shared.entry(first.clone()).or_default() += 1;
        }
    }
    for entry in tree.entries.values_mut() {
        entry.link_group.take_if(|first| shared[first] < 2);
    }
    Ok(tree)
}

fn walk_dir(
    folder: &Path,
    name: &[u8],
    tree: &mut Tree,
    first_names: &mut HashMap<(u64, u64), Vec<u8>>,
) -> io::Result<()> {
    let mut children: Vec<_> = fs::read_dir(folder)
        .and_then(|children| children.map(|child| child.map(|c| c.file_name())).collect())
        .map_err(|error| at(folder, &error))?;
    children.sort();
    for child in children {
        let path = folder.join(&child);
        let mut child_name = name.to_vec();
        if !name.is_empty() {
            child_name.push(b'/');
        }
        child_name.extend_from_slice(child.as_bytes());

        let metadata = fs::symlink_metadata(&path).map_err(|error| at(&path, &error))?;
        let mut entry = read_entry(&path, &metadata).map_err(|error| at(&path, &error))?;
        if !metadata.is_dir() && metadata.nlink() > 1 {
            let first = first_names
                .entry((metadata.dev(), metadata.ino()))
                .or_insert_with(|| child_name.clone());
            entry.link_group = Some(first.clone());
        }
        tree.entries.insert(child_name.clone(), entry);
        if metadata.is_dir() {
            walk_dir(&path, &child_name, tree, first_names)?;
        }
    }
    Ok(())
}

fn read_entry(path: &Path, metadata: &Metadata) -> io::Result<Entry> {
    let (device_major, device_minor) = (major(metadata.rdev()), minor(metadata.rdev()));
    let file_type = metadata.file_type();
    let kind = if file_type.is_file() {
        Kind::File {
            size: metadata.len(),
            digest: digest_of(path)?,
        }
    } else if file_type.is_dir() {
        Kind::Dir
    } else if file_type.is_symlink() {
        Kind::Symlink {
            target: fs::read_link(path)?.into_os_string().into_vec(),
        }
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else if file_type.is_socket() {
        Kind::Socket
    } else if file_type.is_char_device() {
        Kind::CharDevice {
            major: device_major,
            minor: device_minor,
        }
    } else {
        Kind::BlockDevice {
            major: device_major,
            minor: device_minor,
        }
    };
    Ok(Entry {
        kind,
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: metadata.mtime(),
        mtime_nsec: u32::try_from(metadata.mtime_nsec()).map_err(io::Error::other)?,
        xattrs: read_xattrs(path)?,
        link_group: None,
    })
}

fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// The kernel's own limit for a list of names and for a value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const XATTR_MAX: usize = 64 << 10;

/// The extended attributes of a path itself; none where the file system has none.
pub(crate) fn read_xattrs(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut buffer = vec![0_u8; XATTR_MAX];
    let names = match llistxattr(path, &mut buffer[..]) {
        Ok(length) => buffer[..length].to_vec(),
        Err(rustix::io::Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.into()),
    };
    names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let length = lgetxattr(path, name, &mut buffer[..])?;
            Ok((name.to_vec(), buffer[..length].to_vec()))
        })
        .collect()
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn records_names_links_and_content() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/one"), "x").unwrap();
        fs::hard_link(root.join("a/b/one"), root.join("a/two")).unwrap();
        symlink("../nowhere", root.join("a/link")).unwrap();
        fs::write(root.join("outside"), "y").unwrap();
        let other = tempfile::tempdir_in(root.parent().unwrap()).unwrap();
        fs::hard_link(root.join("outside"), other.path().join("name")).unwrap();

        let tree = walk(root).unwrap();
        let names: Vec<String> = tree
            .entries
            .keys()
            .map(|name| super::super::shown(name))
            .collect();
        assert_eq!(names, ["a", "a/b", "a/b/one", "a/link", "a/two", "outside"]);
        let entry = |name: &str| &tree.entries[name.as_bytes()];
        assert_eq!(entry("a/two").link_group.as_deref(), Some(&b"a/b/one"[..]));
        assert_eq!(entry("a/b/one").link_group, entry("a/two").link_group);
        assert_eq!(entry("outside").link_group, None);
        assert_eq!(
            entry("a/b/one").kind,
            Kind::File {
                size: 1,
                digest: Digest::of(Algorithm::Sha256, b"x")
            }
        );
        assert_eq!(
            entry("a/link").kind,
            Kind::Symlink {
                target: b"../nowhere".to_vec()
            }
        );
        assert_eq!(tree.files(), (3, 3));
    }
}
