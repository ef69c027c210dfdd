//! The folders that repositories are found in: of each, whether it is a repository, and which folders are in it.
//!
//! One pair for each folder: a folder of ten thousand repositories is some hundred kilobytes, which are written anew only when
//! a repository comes or goes.

use std::sync::Arc;

use bytes::Bytes;
use transom_meta::kv::{Condition, KvError, Write};

use super::record::{Listed, Proof};
use super::{Before, Index, is, key, prefix};
use crate::limits;
use crate::names::RepositoryName;

/// What is known of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folder {
    /// Whether it is a repository.
    pub(crate) repository: bool,
    /// The names of the folders in it that may be repositories or lead to some, in order, one on a line. They are read in their
    /// place: of ten thousand a page needs a hundred.
    names: Arc<str>,
}

impl Folder {
    /// Of names in order.
    pub(crate) fn new(repository: bool, names: &[&str]) -> Folder {
        let names = names.join("\n").into();
        Folder { repository, names }
    }

    /// The names of the folders in it, in order.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.names.split('\n').filter(|name| !name.is_empty())
    }

    /// The first name from a byte on, and where the next one is; `0` is where the first begins.
    pub(crate) fn next(&self, at: usize) -> Option<(&str, usize)> {
        let rest = self.names.get(at..).filter(|rest| !rest.is_empty())?;
        let name = rest.split('\n').next()?;
        Some((name, at + name.len() + 1))
    }

    /// Puts the name of a folder in; says whether it is new.
    fn add(&mut self, name: &str) -> bool {
        let mut names: Vec<&str> = self.folders().collect();
        let Err(place) = names.binary_search(&name) else {
            return false;
        };
        names.insert(place, name);
        *self = Folder::new(self.repository, &names);
        true
    }

    fn encode(&self, listed: &Listed) -> Bytes {
        let kind: &[u8] = if self.repository { b"r" } else { b"f" };
        listed.encode(&[kind, self.names.as_bytes()].concat())
    }

    fn decode(value: &Bytes) -> Option<(Listed, Folder)> {
        let (listed, rest) = Listed::decode(value)?;
        let (kind, names) = rest.split_first()?;
        let names = std::str::from_utf8(names).ok()?.into();
        let repository = *kind == b'r';
        Some((listed, Folder { repository, names }))
    }
}

impl Index {
    /// What is known of a folder, with what could prove it. The top folder has no name.
    pub(crate) async fn folder(&self, name: &str) -> Result<Option<(Proof, Folder)>, KvError> {
        let found = self.kv.get(&folder_key(name)).await?;
        let found = found.as_ref().and_then(Folder::decode);
        let proved = found.filter(|(listed, _)| self.provable(listed));
        Ok(proved.map(|(listed, folder)| (listed.proof, folder)))
    }

    /// To be called before a folder is listed which is then [kept](Index::keep_folder).
    pub(crate) async fn before_folder(&self, name: &str) -> Result<Before, KvError> {
        self.before(&folder_key(name)).await
    }

    /// Keeps what was listed, unless something was written between; says whether it did.
    pub(crate) async fn keep_folder(
        &self,
        name: &str,
        before: &Before,
        proof: Proof,
        folder: &Folder,
    ) -> Result<bool, KvError> {
        let key = folder_key(name);
        let conditions = vec![is(&key, before.value.as_ref())];
        let value = folder.encode(&self.listed(proof, before.era));
        self.commit(conditions, vec![Write::Put { key, value }]).await
    }

    /// Whether this process knows that a repository is one.
    pub(super) async fn is_repository(&self, name: &RepositoryName) -> Result<bool, KvError> {
        let found = self.folder(name.as_str()).await?;
        Ok(found.is_some_and(|(proof, folder)| proof == Proof::OnlyWriter && folder.repository))
    }

    /// This process has made a repository, or may have. What is being listed meanwhile, of it or of a folder above it, is not
    /// kept.
    pub(super) async fn add_repository(&self, name: &RepositoryName) -> Result<bool, KvError> {
        for _ in 0..limits::INDEX_TRIES {
            let (conditions, writes) = self.with_repository(name.as_str()).await?;
            if self.commit(conditions, writes).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn with_repository(&self, name: &str) -> Result<(Vec<Condition>, Vec<Write>), KvError> {
        let (mut conditions, mut writes) = (Vec::new(), Vec::new());
        // The era of the folder above, if it is known and did not have this one: then this one is new, and nothing else is in it.
        let mut new = None;
        let mut ends = name.match_indices('/').map(|(at, _)| at).chain([name.len()]);
        let mut above = "";
        loop {
            let next = ends.next().map(|end| &name[..end]);
            let key = folder_key(above);
            let before = self.kv.get(&key).await?;
            let known = before.as_ref().and_then(Folder::decode).filter(|(listed, _)| {
                new.is_none() && self.provable(listed) && listed.proof == Proof::OnlyWriter
            });
            let (proof, era, mut folder) = match (known, new) {
                (Some((listed, folder)), _) => (listed.proof, listed.era, folder),
                (None, Some(era)) => (Proof::OnlyWriter, era, Folder::default()),
                (None, None) => (Proof::None, self.era(), Folder::default()),
            };
            let added = match next {
                Some(next) => folder.add(next.rsplit('/').next().unwrap_or(next)),
                None => std::mem::replace(&mut folder.repository, true),
            };
            new = (added && proof == Proof::OnlyWriter).then_some(era);
            conditions.push(is(&key, before.as_ref()));
            let value = folder.encode(&self.listed(proof, era));
            writes.push(Write::Put { key, value });
            match next {
                Some(next) => above = next,
                None => return Ok((conditions, writes)),
            }
        }
    }

    /// Nobody knows what a repository is, nor the folders above it: they are to be listed again.
    pub(super) async fn forget_repository(&self, name: &RepositoryName) -> Result<(), KvError> {
        let name = name.as_str();
        let slashes = name.match_indices('/').map(|(at, _)| &name[..at]);
        let all = [""].into_iter().chain(slashes).chain([name]);
        let write = |name| Write::Put {
            key: folder_key(name),
            value: Folder::default().encode(&self.listed(Proof::None, self.era())),
        };
        self.commit(Vec::new(), all.map(write).collect()).await.map(drop)
    }
}

fn folder_key(name: &str) -> Bytes {
    key(&[prefix::FOLDER, name.as_bytes()])
}
