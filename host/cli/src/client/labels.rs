//! Labels as they are typed: `key=value`, or `key=` and `key` to remove one.

use std::collections::BTreeMap;

use prost_types::FieldMask;

use crate::failure::Failure;
use crate::show::printable;

/// Labels to set, and the mask that leaves all others alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) mask: FieldMask,
}

impl Labels {
    /// What was typed. A label without a value is to be removed.
    pub(crate) fn parse(arguments: &[String]) -> Result<Labels, Failure> {
        let mut values = BTreeMap::new();
        for argument in arguments {
            let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
            if key.is_empty() {
                return Err(Failure::usage(format!(
                    "{argument:?} is no label: write KEY=VALUE"
                )));
            }
            values.insert(key.to_owned(), value.to_owned());
        }
        Ok(Labels::set(values))
    }

    /// Labels to set or, with an empty value, to remove.
    pub(crate) fn set(values: BTreeMap<String, String>) -> Labels {
        let paths = values.keys().map(|key| format!("labels.{key}")).collect();
        Labels {
            values,
            mask: FieldMask { paths },
        }
    }

    /// Labels to set in place of all that are there.
    pub(crate) fn replacing(self) -> Labels {
        Labels {
            values: self
                .values
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .collect(),
            mask: FieldMask {
                paths: vec!["labels".to_owned()],
            },
        }
    }
}

/// For people: `a=b,c=d`, or `-`.
pub(crate) fn text(labels: &BTreeMap<String, String>) -> String {
    let texts: Vec<_> = labels
        .iter()
        .map(|(key, value)| printable(&format!("{key}={value}")))
        .collect();
    if texts.is_empty() {
        "-".to_owned()
    } else {
        texts.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read() {
        let typed = ["a=b=c".to_owned(), "x/y.z=".to_owned(), "gone".to_owned()];
        let labels = Labels::parse(&typed).unwrap();
        assert_eq!(labels.values["a"], "b=c");
        assert_eq!(labels.mask.paths, ["labels.a", "labels.gone", "labels.x/y.z"]);
        assert_eq!(text(&labels.values), "a=b=c,gone=,x/y.z=");
        let all = labels.replacing();
        assert_eq!((all.values.len(), all.mask.paths), (1, vec!["labels".to_owned()]));
        assert!(Labels::parse(&["=b".to_owned()]).is_err());
        assert_eq!(text(&BTreeMap::new()), "-");
    }
}
