//! Real files of this machine, as entries of a layer.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::layer::{LayerWriter, Meta};
use super::plans::Options;
use crate::tree::read_xattrs;

/// How much of a folder is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Files and symbolic links.
    pub(super) files: usize,
    /// Bytes in all.
    pub(super) bytes: u64,
    /// Bytes in one file; larger ones are passed over.
    pub(super) file_bytes: u64,
}

/// Adds a folder of this machine to a layer, in the order of names, until the budget is used up. Only what
/// everyone may read is taken: a sample image must not carry the machine's secrets.
pub(super) fn add_folder(
    layer: &mut LayerWriter<'_>,
    folder: &Path,
    budget: Budget,
    options: &Options,
) -> io::Result<()> {
    let mut taken = Taken {
        budget,
        names: HashMap::new(),
    };
    add_dir(layer, folder, &mut taken, options)
}

struct Taken {
    /// What is left.
    budget: Budget,
    /// The first name in the layer of each file with several, by device and inode.
    names: HashMap<(u64, u64), Vec<u8>>,
}

fn add_dir(layer: &mut LayerWriter<'_>, dir: &Path, taken: &mut Taken, options: &Options) -> io::Result<()> {
    let metadata = fs::symlink_metadata(dir)?;
    // A folder that cannot be listed is passed over like a file that cannot be read.
    let Ok(children) = fs::read_dir(dir) else {
        return Ok(());
    };
    if metadata.mode() & 0o005 != 0o005 {
        return Ok(());
    }
    layer.dir(&relative(dir), &meta_of(dir, &metadata, options)?);
    let mut children: Vec<_> = children
        .map(|child| child.map(|child| child.path()))
        .collect::<io::Result<_>>()?;
    children.sort();
    for child in children {
        if taken.budget.files == 0 {
            break;
        }
        let metadata = fs::symlink_metadata(&child)?;
        if metadata.is_dir() {
            add_dir(layer, &child, taken, options)?;
        } else {
            add_file(layer, &child, &metadata, taken, options)?;
        }
    }
    Ok(())
}

fn add_file(
    layer: &mut LayerWriter<'_>,
    path: &Path,
    metadata: &fs::Metadata,
    taken: &mut Taken,
    options: &Options,
) -> io::Result<()> {
    let name = relative(path);
    let budget = &mut taken.budget;
    // Names that mean something else in a layer.
    if path
        .file_name()
        .is_some_and(|name| name.as_bytes().starts_with(b".wh."))
    {
        return Ok(());
    }
    if metadata.is_symlink() {
        let target = fs::read_link(path)?.into_os_string().into_vec();
        layer.symlink(&name, &meta_of(path, metadata, options)?, &target);
    } else if metadata.is_file() && metadata.mode() & 0o004 != 0 {
        if metadata.len() > budget.file_bytes.min(budget.bytes) {
            return Ok(());
        }
        let inode = (metadata.dev(), metadata.ino());
        if let Some(first) = taken.names.get(&inode) {
            layer.hard_link(&name, first)?;
        } else {
            let Ok(content) = fs::read(path) else {
                return Ok(());
            };
            budget.bytes = budget.bytes.saturating_sub(content.len() as u64);
            layer.file(&name, &meta_of(path, metadata, options)?, &content);
            if metadata.nlink() > 1 {
                taken.names.insert(inode, name);
            }
        }
    } else {
        return Ok(());
    }
    budget.files -= 1;
    Ok(())
}

fn meta_of(path: &Path, metadata: &fs::Metadata, options: &Options) -> io::Result<Meta> {
    let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
    let mut meta = Meta::new(metadata.mode() & 0o7777)
        .owned_by(metadata.uid(), metadata.gid())
        .at(metadata.mtime().max(0), nanoseconds);
    meta.xattrs = read_xattrs(path)?;
    meta.xattrs.retain(|name, _| {
        (options.xattrs && name.starts_with(b"user."))
            || (options.capabilities && name == b"security.capability")
    });
    Ok(meta)
}

fn relative(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec()
}
