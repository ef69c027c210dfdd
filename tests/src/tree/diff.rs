//! Comparing two [`Tree`]s.

use std::collections::BTreeSet;
use std::fmt;

use super::{Entry, Kind, Tree, shown};

/// What a comparison leaves out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    /// Owner and group: a normal user cannot give files away.
    pub owner: bool,
    /// Every modification time.
    pub times: bool,
    /// The modification times of directories, for tools that do not restore them.
    pub dir_times: bool,
    /// All extended attributes, for file systems that have none.
    pub xattrs: bool,
    /// Which names share one file.
    pub links: bool,
}

/// One difference: a path, and for an attribute that differs both values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Expected but not there.
    Missing {
        /// Where.
        path: Vec<u8>,
        /// What it should be.
        want: Kind,
    },
    /// There but not expected.
    Unexpected {
        /// Where.
        path: Vec<u8>,
        /// What it is.
        have: Kind,
    },
    /// There, with another value of something.
    Changed {
        /// Where.
        path: Vec<u8>,
        /// What differs.
        field: &'static str,
        /// The expected value.
        want: String,
        /// The value found.
        have: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing { path, want } => write!(f, "{}: missing, want {want}", shown(path)),
            Difference::Unexpected { path, have } => {
                write!(f, "{}: not expected, have {have}", shown(path))
            }
            Difference::Changed {
                path,
                field,
                want,
                have,
            } => write!(f, "{}: {field}: want {want}, have {have}", shown(path)),
        }
    }
}

/// Everything in which `have` differs from `want`, in the order of the paths.
#[must_use]
pub fn diff(want: &Tree, have: &Tree, ignore: &Ignore) -> Vec<Difference> {
    let paths: BTreeSet<&Vec<u8>> = want.entries.keys().chain(have.entries.keys()).collect();
    let mut found = Vec::new();
    for path in paths {
        match (want.entries.get(path), have.entries.get(path)) {
            (Some(want), None) => found.push(Difference::Missing {
                path: path.clone(),
                want: want.kind.clone(),
            }),
            (None, Some(have)) => found.push(Difference::Unexpected {
                path: path.clone(),
                have: have.kind.clone(),
            }),
            (Some(want), Some(have)) => {
                found.extend(
                    compare(want, have, ignore)
                        .into_iter()
                        .map(|(field, want, have)| Difference::Changed {
                            path: path.clone(),
                            field,
                            want,
                            have,
                        }),
                );
            }
            (None, None) => unreachable!("every path comes from one of the two"),
        }
    }
    found
}

/// Differences as lines for people, the first `most` of them and a count of the rest.
#[must_use]
pub fn report(differences: &[Difference], most: usize) -> String {
    let mut lines: Vec<String> = differences.iter().take(most).map(ToString::to_string).collect();
    if differences.len() > most {
        lines.push(format!("… and {} more", differences.len() - most));
    }
    lines.join("\n")
}

fn compare(want: &Entry, have: &Entry, ignore: &Ignore) -> Vec<(&'static str, String, String)> {
    let mut found = Vec::new();
    let mut check = |field: &'static str, want: String, have: String| {
        if want != have {
            found.push((field, want, have));
        }
    };
    if want.kind != have.kind {
        check("kind", format!("{}", want.kind), format!("{}", have.kind));
    }
    check("mode", format!("{:04o}", want.mode), format!("{:04o}", have.mode));
    if !ignore.owner {
        let owner = |entry: &Entry| format!("{}:{}", entry.uid, entry.gid);
        check("owner", owner(want), owner(have));
    }
    let times_matter = !ignore.dir_times || want.kind != Kind::Dir;
    if times_matter && !ignore.times {
        let time = |entry: &Entry| format!("{}.{:09}", entry.mtime, entry.mtime_nsec);
        check("mtime", time(want), time(have));
    }
    if !ignore.xattrs {
        check("xattrs", xattrs(want), xattrs(have));
    }
    if !ignore.links {
        check("hard links", links(want), links(have));
    }
    found
}

fn xattrs(entry: &Entry) -> String {
    let pairs: Vec<String> = entry
        .xattrs
        .iter()
        .map(|(name, value)| format!("{}={:?}", shown(name), shown(value)))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

fn links(entry: &Entry) -> String {
    entry
        .link_group
        .as_deref()
        .map_or_else(|| "none".to_owned(), |first| format!("with {}", shown(first)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use transom_oci::{Algorithm, Digest};

    fn file(content: &str) -> Entry {
        Entry {
            kind: Kind::File {
                size: content.len() as u64,
                digest: Digest::of(Algorithm::Sha256, content.as_bytes()),
            },
            mode: 0o644,
            uid: 1,
            gid: 2,
            mtime: 3,
            mtime_nsec: 4,
            xattrs: BTreeMap::new(),
            link_group: None,
        }
    }

    fn tree(entries: &[(&str, Entry)]) -> Tree {
        Tree {
            entries: entries
                .iter()
                .map(|(path, entry)| (path.as_bytes().to_vec(), entry.clone()))
                .collect(),
        }
    }

    #[test]
    fn equal_trees_have_no_difference() {
        let a = tree(&[("x", file("x")), ("y", file("y"))]);
        assert_eq!(diff(&a, &a, &Ignore::default()), []);
    }

    #[test]
    fn every_field_is_compared_and_can_be_ignored_where_it_may_be() {
        type Change = (&'static str, fn(&mut Entry), Option<fn(&mut Ignore)>);
        let changes: [Change; 8] = [
            ("kind", |e| e.kind = Kind::Fifo, None),
            ("mode", |e| e.mode = 0o4644, None),
            ("owner", |e| e.uid = 9, Some(|i| i.owner = true)),
            ("owner", |e| e.gid = 9, Some(|i| i.owner = true)),
            ("mtime", |e| e.mtime = 9, Some(|i| i.times = true)),
            ("mtime", |e| e.mtime_nsec = 9, Some(|i| i.times = true)),
            (
                "xattrs",
                |e| {
                    e.xattrs.insert(b"user.a".to_vec(), b"\xff".to_vec());
                },
                Some(|i| i.xattrs = true),
            ),
            (
                "hard links",
                |e| e.link_group = Some(b"x".to_vec()),
                Some(|i| i.links = true),
            ),
        ];
        let want = tree(&[("x", file("x"))]);
        for (field, change, ignored_by) in changes {
            let mut have = want.clone();
            change(have.entries.get_mut(&b"x"[..]).unwrap());
            let found = diff(&want, &have, &Ignore::default());
            let [Difference::Changed { field: changed, .. }] = &found[..] else {
                panic!("{field}: {found:?}");
            };
            assert_eq!(*changed, field);
            if let Some(ignored_by) = ignored_by {
                let mut ignore = Ignore::default();
                ignored_by(&mut ignore);
                assert_eq!(diff(&want, &have, &ignore), [], "{field}");
            }
        }
    }

    #[test]
    fn the_report_is_readable_and_bounded() {
        let want = tree(&[("a\n\u{fc}", file("x")), ("b", file("x"))]);
        let have = tree(&[("b", file("y")), ("c", file("x"))]);
        let found = diff(&want, &have, &Ignore::default());
        let text = report(&found, 2);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with("a\\nü: missing, want file of 1 bytes, sha256:"));
        assert!(lines[1].starts_with("b: kind: want file of 1 bytes"));
        assert_eq!(lines[2], "… and 1 more");
    }
}
