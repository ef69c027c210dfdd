//! What is kept with each list: what proves that it is the driver's.

use bytes::{BufMut, Bytes, BytesMut};
use transom_storage::Stamp;

use super::{Era, Index};

/// What proves a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing.
    None,
    /// The folder had this stamp before it was listed, and nothing has come in or gone since if it still has it.
    Stamp(Stamp),
    /// This process listed the folder, and all that it changed since then is in the list.
    OnlyWriter,
}

/// The beginning of each value. Two that were written are never equal, so that a condition on one holds only if nothing was
/// written between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(super) proof: Proof,
    pub(super) era: Era,
    pub(super) number: u64,
}

/// Bytes before the stamp: the kind, the era, the number, the stamp's length.
const HEAD: usize = 1 + 16 + 8 + 1;

impl Listed {
    /// The bytes, with what belongs to it after them.
    pub(super) fn encode(&self, rest: &[u8]) -> Bytes {
        let (kind, stamp) = match &self.proof {
            Proof::Stamp(stamp) if stamp.as_bytes().len() <= usize::from(u8::MAX) => {
                (b's', &stamp.as_bytes()[..])
            }
            Proof::OnlyWriter => (b'o', &[][..]),
            Proof::None | Proof::Stamp(_) => (b'n', &[][..]),
        };
        let mut bytes = BytesMut::with_capacity(HEAD + stamp.len() + rest.len());
        bytes.put_u8(kind);
        bytes.put_slice(&self.era);
        bytes.put_u64(self.number);
        bytes.put_u8(u8::try_from(stamp.len()).unwrap_or_default());
        bytes.put_slice(stamp);
        bytes.put_slice(rest);
        bytes.freeze()
    }

    /// Reads it, and what comes after it; `None` for bytes that are not ours.
    pub(super) fn decode(bytes: &Bytes) -> Option<(Listed, Bytes)> {
        let head = bytes.get(..HEAD)?;
        let era = head[1..17].try_into().ok()?;
        let number = u64::from_be_bytes(head[17..25].try_into().ok()?);
        let end = HEAD + usize::from(head[25]);
        let stamp = bytes.get(HEAD..end)?;
        let proof = match head[0] {
            b's' => Proof::Stamp(Stamp::new(bytes.slice_ref(stamp))),
            b'o' => Proof::OnlyWriter,
            b'n' => Proof::None,
            _ => return None,
        };
        Some((Listed { proof, era, number }, bytes.slice(end..)))
    }
}

impl Index {
    /// What could prove a list: nothing, if it is from a time that nobody knows about. A stamp is still to be compared.
    pub(super) fn provable(&self, listed: &Listed) -> bool {
        match &listed.proof {
            Proof::None => false,
            Proof::Stamp(_) => true,
            Proof::OnlyWriter => self.only_writer && listed.era == self.era(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use transom_meta::kv::memory::Memory;

    #[test]
    fn records_are_read_as_they_were_written() {
        let index = Index::new(Arc::new(Memory::new()), true);
        for proof in [
            Proof::None,
            Proof::OnlyWriter,
            Proof::Stamp(Stamp::new(&b"stamp"[..])),
            Proof::Stamp(Stamp::new(&b""[..])),
        ] {
            let listed = index.listed(proof, index.era());
            let bytes = listed.encode(b"rest");
            let (read, rest) = Listed::decode(&bytes).unwrap();
            assert_eq!((read, &rest[..]), (listed, &b"rest"[..]));
            for end in 0..bytes.len() - 4 {
                assert_eq!(Listed::decode(&bytes.slice(..end)), None);
            }
        }
        // A stamp that is too long to be kept proves nothing.
        let long = index.listed(Proof::Stamp(Stamp::new(vec![0; 256])), index.era());
        assert_eq!(Listed::decode(&long.encode(b"")).unwrap().0.proof, Proof::None);
    }

    #[test]
    fn what_a_process_has_listed_is_proved_within_its_era() {
        let kv = Arc::new(Memory::new());
        let (index, next) = (Index::new(kv.clone(), true), Index::new(kv.clone(), true));
        let listed = index.listed(Proof::OnlyWriter, index.era());
        assert!(index.provable(&listed) && !next.provable(&listed));
        assert_ne!(
            listed.encode(b""),
            index.listed(Proof::OnlyWriter, index.era()).encode(b"")
        );
        index.begin_era();
        assert!(!index.provable(&listed));
        let several = Index::new(kv, false);
        assert!(!several.provable(&several.listed(Proof::OnlyWriter, several.era())));
    }
}
