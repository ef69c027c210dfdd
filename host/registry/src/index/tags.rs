//! The tags of a repository: a record that proves them, and a set.

use bytes::Bytes;
use transom_meta::kv::{KvError, Write};

use super::record::{Listed, Proof};
use super::set::{Edit, Set};
use super::{Before, Index, is, key, prefix};
use crate::limits;
use crate::names::{RepositoryName, Tag};

impl Index {
    /// Tags as they are in the index, after `last`, and what could prove them; `None` if nothing could, or if there are none at
    /// all: then the question is whether the repository is there.
    pub(crate) async fn tags(
        &self,
        name: &RepositoryName,
        last: Option<&str>,
        most: usize,
    ) -> Result<Option<(Proof, Vec<String>)>, KvError> {
        let _whole = self.whole.read().await;
        // First what proves: if the tags are of a later list, it proves nothing.
        let found = self.kv.get(&list_key(name)).await?;
        let listed = found.as_ref().and_then(Listed::decode).map(|(listed, _)| listed);
        let Some(listed) = listed.filter(|listed| self.provable(listed)) else {
            return Ok(None);
        };
        let set = self.tag_set(name);
        let tags = set.page(last, most).await?;
        let any = !tags.is_empty() || (last.is_some() && !set.page(None, 1).await?.is_empty());
        Ok(any.then_some((listed.proof, tags)))
    }

    /// To be called before the tags are listed which are then [kept](Index::keep_tags).
    pub(crate) async fn before_tags(&self, name: &RepositoryName) -> Result<Before, KvError> {
        self.before(&list_key(name)).await
    }

    /// Keeps what was listed, which is in order, unless something was written between; says whether it did.
    pub(crate) async fn keep_tags(
        &self,
        name: &RepositoryName,
        before: &Before,
        proof: Proof,
        tags: &[&str],
    ) -> Result<bool, KvError> {
        let _whole = self.whole.read().await;
        let record = list_key(name);
        let mut writes = self.tag_set(name).replace(tags).await?;
        let conditions = vec![is(&record, before.value.as_ref())];
        writes.push(Write::Put {
            key: record,
            value: self.listed(proof, before.era).encode(b""),
        });
        self.commit(conditions, writes).await
    }

    /// A tag was set or deleted by this process. What is being listed meanwhile is not kept.
    pub(super) async fn tag_changed(
        &self,
        name: &RepositoryName,
        tag: &Tag,
        present: bool,
    ) -> Result<bool, KvError> {
        let _whole = self.whole.read().await;
        let record = list_key(name);
        for _ in 0..limits::INDEX_TRIES {
            let before = self.kv.get(&record).await?;
            let known = before.as_ref().and_then(Listed::decode).map(|(listed, _)| listed);
            let known = known.filter(|listed| self.provable(listed));
            let known = known.filter(|listed| listed.proof == Proof::OnlyWriter);
            let (proof, era, mut edit) = match known {
                Some(listed) => {
                    let edit = self.tag_set(name).set(tag.as_str(), present).await?;
                    (listed.proof, listed.era, edit)
                }
                None => (Proof::None, self.era(), Edit::default()),
            };
            edit.conditions.push(is(&record, before.as_ref()));
            edit.writes.push(Write::Put {
                key: record.clone(),
                value: self.listed(proof, era).encode(b""),
            });
            if self.commit(edit.conditions, edit.writes).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Nobody knows what the tags are: they are to be listed again.
    pub(super) async fn forget_tags(&self, name: &RepositoryName) -> Result<(), KvError> {
        let write = Write::Put {
            key: list_key(name),
            value: self.listed(Proof::None, self.era()).encode(b""),
        };
        self.commit(Vec::new(), vec![write]).await.map(drop)
    }

    fn tag_set(&self, name: &RepositoryName) -> Set<'_> {
        Set {
            kv: &*self.kv,
            prefix: key(&[prefix::TAGS, name.as_str().as_bytes(), b"\0"]),
        }
    }
}

fn list_key(name: &RepositoryName) -> Bytes {
    key(&[prefix::LIST, name.as_str().as_bytes()])
}
