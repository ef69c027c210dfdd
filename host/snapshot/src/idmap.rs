//! The labels with which a client asks for mapped ids.

use transom_meta::names::Labels;
use transom_meta::snapshots::SnapshotError;

use crate::limits::ID_RANGES;

/// The label with the mapping of user ids: `container:host:size`, several with commas between.
pub(crate) const UIDS: &str = "containerd.io/snapshot/uidmapping";
/// The same for group ids.
pub(crate) const GIDS: &str = "containerd.io/snapshot/gidmapping";

/// User and group outside of what is root inside; none if no mapping is asked for.
pub(crate) fn root_pair(labels: &Labels) -> Result<Option<(u32, u32)>, SnapshotError> {
    let (uids, gids) = (labels.get(UIDS), labels.get(GIDS));
    if uids.is_none() && gids.is_none() {
        return Ok(None);
    }
    let root = |label: &str, mapping: Option<&String>| {
        let mapping = mapping.map_or("", String::as_str);
        root_of(mapping).map_err(|reason| SnapshotError::Invalid {
            what: format!("label {label} = {mapping:?}: {reason}"),
        })
    };
    Ok(Some((root(UIDS, uids)?, root(GIDS, gids)?)))
}

fn root_of(mapping: &str) -> Result<u32, &'static str> {
    const FORM: &str = "it must be container:host:size, several with commas between";
    let mut root = None;
    for (number, range) in mapping.split(',').enumerate() {
        if number == ID_RANGES {
            return Err("it has more ranges than the kernel takes");
        }
        let numbers: Vec<u32> = range
            .split(':')
            .map(|number| match number.bytes().all(|byte| byte.is_ascii_digit()) {
                true => number.parse().map_err(|_| FORM),
                false => Err(FORM),
            })
            .collect::<Result<_, _>>()?;
        let &[inside, outside, size] = numbers.as_slice() else {
            return Err(FORM);
        };
        if size == 0 || inside.checked_add(size - 1).is_none() || outside.checked_add(size - 1).is_none() {
            return Err("a range must have ids, and end below 2^32");
        }
        if inside == 0 {
            root.get_or_insert(outside);
        }
    }
    root.ok_or("it maps nothing to root, id 0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_what_root_is_mapped_to() {
        assert_eq!(root_of("0:1000:65536"), Ok(1000));
        assert_eq!(root_of("1:5000:10,0:77:1"), Ok(77));
        assert_eq!(root_of("0:0:4294967295"), Ok(0));
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for mapping in [
            "",
            "0",
            "0:1",
            "0:1:2:3",
            "a:1:2",
            "0:1:0",
            "0:+1:2",
            "1:0:5",
            "0:4294967295:2",
            "0:1:99999999999",
            "0:1:2,",
        ] {
            assert!(root_of(mapping).is_err(), "{mapping}");
        }
        assert!(root_of(&vec!["0:1:2"; ID_RANGES + 1].join(",")).is_err());
    }

    #[test]
    fn both_labels_are_needed_or_none() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            let owned = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into()));
            owned.collect()
        };
        assert_eq!(root_pair(&labels(&[])).unwrap(), None);
        assert_eq!(
            root_pair(&labels(&[(UIDS, "0:1:9"), (GIDS, "0:2:9")])).unwrap(),
            Some((1, 2))
        );
        assert!(root_pair(&labels(&[(UIDS, "0:1:9")])).is_err());
    }
}
