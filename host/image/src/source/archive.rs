//! A tar archive whose members can be read in any order and at the same time: indexed once, by name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::error::ImageError;
use crate::limits;
use crate::source::blob::Extent;
use crate::source::scan::{MemberKind, Scanner};

/// An indexed archive. Of several members with one name the last one counts, as when tar unpacks them. Links are
/// followed inside the archive only.
#[derive(Debug)]
pub struct Archive {
    file: Arc<File>,
    origin: String,
    members: BTreeMap<Vec<u8>, Node>,
}

#[derive(Clone, Debug)]
enum Node {
    File {
        offset: u64,
        size: u64,
    },
    Symlink(Vec<u8>),
    /// To a member that had not come yet.
    HardLink(Vec<u8>),
}

impl Archive {
    /// Indexes a plain tar file; `origin` names it in errors.
    ///
    /// # Errors
    /// [`ImageError::Archive`], [`ImageError::ArchiveTruncated`] and [`ImageError::ArchiveLimit`].
    pub fn index(file: File, origin: &str) -> Result<Archive, ImageError> {
        let metadata = file.metadata().map_err(|source: io::Error| ImageError::Io {
            action: "examine",
            path: origin.into(),
            source,
        })?;
        let mut members = BTreeMap::new();
        let mut scanner = Scanner::new(&file, metadata.len(), origin);
        let (mut count, mut name_bytes) = (0, 0);
        while let Some(member) = scanner.next()? {
            let (link_bytes, node) = match member.kind {
                MemberKind::File { offset, size } => (0, Node::File { offset, size }),
                MemberKind::Symlink(target) => (target.len(), Node::Symlink(target)),
                MemberKind::HardLink(target) => (target.len(), hard_link(&members, target)),
            };
            count += 1;
            name_bytes += (member.name.len() + link_bytes) as u64;
            check_limits(count, name_bytes, origin)?;
            if let Some(name) = normal_name(&member.name) {
                members.insert(name, node);
            }
        }
        Ok(Archive {
            file: Arc::new(file),
            origin: origin.to_owned(),
            members,
        })
    }

    /// The names of all files and links, in order; without leading `./` or `/`. Names with `..` are left out,
    /// for nothing in an image may be called so.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.members.keys().map(Vec::as_slice)
    }

    /// Opens a member, following links; `None` when there is none of that name.
    ///
    /// # Errors
    /// [`ImageError::ArchiveLink`] when a link leads out of the archive, in a circle or to nothing.
    pub fn open(&self, name: &str) -> Result<Option<Extent>, ImageError> {
        let Some(mut name) = normal_name(name.as_bytes()) else {
            return Ok(None);
        };
        let asked = name.clone();
        for hop in 0..limits::ARCHIVE_LINKS_MAX {
            let Some((prefix, node)) = self.first_node(&name) else {
                return match hop {
                    0 => Ok(None),
                    _ => Err(self.bad_link(&asked, "leads to nothing")),
                };
            };
            let rest = &name[prefix..];
            name = match node {
                Node::File { offset, size } if rest.is_empty() => {
                    return Ok(Some(Extent::new(self.file.clone(), *offset, *size)));
                }
                Node::File { .. } => return Ok(None),
                Node::Symlink(target) => follow(&name[..prefix], target, rest),
                Node::HardLink(target) => normal_name(target).map(|target| [&target, rest].concat()),
            }
            .ok_or_else(|| self.bad_link(&asked, "leads out of the archive"))?;
        }
        Err(self.bad_link(&asked, "goes in a circle"))
    }

    /// The shortest beginning of `name` that is a member, and its length: the whole name, or a link that stands
    /// for a folder on the way.
    fn first_node(&self, name: &[u8]) -> Option<(usize, &Node)> {
        let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends = slashes.map(|(at, _)| at).chain([name.len()]);
        ends.map(|end| (end, self.members.get(&name[..end])))
            .find_map(|(end, node)| Some((end, node?)))
    }

    fn bad_link(&self, member: &[u8], problem: &'static str) -> ImageError {
        ImageError::ArchiveLink {
            origin: self.origin.clone(),
            member: String::from_utf8_lossy(member).into_owned(),
            problem,
        }
    }
}

/// A hard link to something that came before is that thing, even if the name is given to another one later.
fn hard_link(members: &BTreeMap<Vec<u8>, Node>, target: Vec<u8>) -> Node {
    let known = normal_name(&target).and_then(|name| members.get(&name).cloned());
    known.unwrap_or(Node::HardLink(target))
}

fn check_limits(count: u64, name_bytes: u64, origin: &str) -> Result<(), ImageError> {
    for (value, limit, what) in [
        (count, limits::ARCHIVE_MEMBERS_MAX, "members"),
        (name_bytes, limits::ARCHIVE_NAME_BYTES_MAX, "bytes of names"),
    ] {
        if value > limit {
            return Err(ImageError::ArchiveLimit {
                origin: origin.to_owned(),
                what,
                limit,
            });
        }
    }
    Ok(())
}

/// A name without empty and `.` parts; `None` when it has `..` or nothing at all.
fn normal_name(name: &[u8]) -> Option<Vec<u8>> {
    let parts = name.split(|byte| *byte == b'/');
    let parts: Vec<&[u8]> = parts.filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.is_empty() || parts.contains(&b"..".as_slice()) {
        return None;
    }
    Some(parts.join(&b'/'))
}

/// The name that `rest` has behind the link `link` to `target`; `None` when that is outside.
fn follow(link: &[u8], target: &[u8], rest: &[u8]) -> Option<Vec<u8>> {
    if target.starts_with(b"/") {
        return None;
    }
    let mut path: Vec<&[u8]> = link.split(|byte| *byte == b'/').collect();
    path.pop();
    let parts = target
        .split(|byte| *byte == b'/')
        .chain(rest.split(|byte| *byte == b'/'));
    for part in parts {
        match part {
            b"" | b"." => {}
            b".." => {
                path.pop()?;
            }
            part => path.push(part),
        }
    }
    Some(path.join(&b'/'))
}
