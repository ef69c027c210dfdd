//! Referrers of which the driver has no links: manifests with a subject that a docker-registry took. They are found by
//! reading every manifest once, when the index is built.
//!
//! What is kept here never changes: the manifest of a digest has the same subject for ever. Whether it still is in its
//! repository is asked of the driver whenever it is listed.

use bytes::Bytes;
use transom_meta::kv::{KvError, Range, Write};
use transom_oci::Digest;

use super::set::Set;
use super::{Index, PAGE, key, prefix};
use crate::names::RepositoryName;

impl Index {
    /// The manifests about one that were found.
    pub(crate) async fn referrers(
        &self,
        name: &RepositoryName,
        subject: &Digest,
    ) -> Result<Vec<Digest>, KvError> {
        let prefix = referrers_key(name, subject);
        let mut range = Range::prefix(prefix.clone());
        let mut found = Vec::new();
        loop {
            let page = self.kv.range(&range, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            range = range.after(&last.key);
            for pair in page {
                let digest = std::str::from_utf8(&pair.key[prefix.len()..]);
                found.extend(digest.ok().and_then(|digest| digest.parse().ok()));
            }
        }
    }

    /// The manifests of a repository whose subjects are known, in the order of their text.
    pub(crate) async fn looked_at(&self, name: &RepositoryName) -> Result<Vec<String>, KvError> {
        self.looked_at_set(name).page(None, usize::MAX).await
    }

    /// Keeps which manifests were looked at, in order, and those of them that were found to be about another one.
    pub(crate) async fn keep_subjects(
        &self,
        name: &RepositoryName,
        looked_at: &[&str],
        found: &[(Digest, Digest)],
    ) -> Result<(), KvError> {
        let mut writes = self.looked_at_set(name).replace(looked_at).await?;
        writes.extend(found.iter().map(|(subject, digest)| Write::Put {
            key: key(&[&referrers_key(name, subject), digest.as_str().as_bytes()]),
            value: Bytes::new(),
        }));
        match writes.is_empty() {
            true => Ok(()),
            false => self.commit(Vec::new(), writes).await.map(drop),
        }
    }

    fn looked_at_set(&self, name: &RepositoryName) -> Set<'_> {
        Set {
            kv: &*self.kv,
            prefix: key(&[prefix::LOOKED_AT, name.as_str().as_bytes(), b"\0"]),
        }
    }
}

fn referrers_key(name: &RepositoryName, subject: &Digest) -> Bytes {
    let (name, subject) = (name.as_str().as_bytes(), subject.as_str().as_bytes());
    key(&[prefix::REFERRER, name, b"\0", subject, b"\0"])
}
