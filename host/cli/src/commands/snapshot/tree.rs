//! `transom snapshot tree`: which snapshots stand on which.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use transom_api::snapshots::Info;

use super::{document, kind};
use crate::client::snapshot::Snapshots;
use crate::commands::{print, print_json};
use crate::failure::Failure;
use crate::show::printable;

/// Snapshots by what they stand on.
type Children<'a> = BTreeMap<&'a str, Vec<&'a Info>>;

pub(super) async fn run(snapshots: &Snapshots, json: bool) -> Result<(), Failure> {
    let all = snapshots.list(Vec::new()).await?;
    let (roots, children) = arrange(&all);
    if json {
        return roots
            .into_iter()
            .try_for_each(|root| print_json(&branch(root, &children)));
    }
    print(&text(roots, &children))
}

/// Those that stand on nothing that is there, and the others by what they stand on.
fn arrange(all: &[Info]) -> (Vec<&Info>, Children<'_>) {
    let there = |name: &str| all.binary_search_by(|info| info.name.as_str().cmp(name)).is_ok();
    let mut children = Children::new();
    let mut roots = Vec::new();
    for info in all {
        if there(&info.parent) {
            children.entry(&info.parent).or_default().push(info);
        } else {
            roots.push(info);
        }
    }
    (roots, children)
}

/// One line each, those above indented below what they stand on. Without recursion: images may have hundreds of layers.
fn text(roots: Vec<&Info>, children: &Children<'_>) -> String {
    let mut text = String::new();
    let mut open: Vec<(usize, &Info)> = roots.into_iter().rev().map(|root| (0, root)).collect();
    while let Some((depth, info)) = open.pop() {
        text.push_str(&format!(
            "{:width$}{} ({})\n",
            "",
            printable(&info.name),
            kind(info),
            width = 2 * depth
        ));
        let above = children.get(info.name.as_str()).into_iter().flatten();
        open.extend(above.rev().map(|child| (depth + 1, *child)));
    }
    text
}

/// A snapshot for programs, with the keys of those that stand on it.
fn branch(root: &Info, children: &Children<'_>) -> Value {
    let mut document = document(root);
    let mut above = Vec::new();
    let mut open = vec![root];
    while let Some(info) = open.pop() {
        let these = children.get(info.name.as_str()).into_iter().flatten();
        for child in these {
            above.push(json!({ "key": child.name, "parent": child.parent, "kind": kind(child) }));
            open.push(child);
        }
    }
    document["above"] = above.into();
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_stand_below_their_parents() {
        let info = |name: &str, parent: &str| Info {
            name: name.to_owned(),
            parent: parent.to_owned(),
            kind: 3,
            ..Info::default()
        };
        let all = [
            info("a", ""),
            info("b", "a"),
            info("c", "b"),
            info("d", "a"),
            info("e", "gone"),
        ];
        let (roots, children) = arrange(&all);
        assert_eq!(
            text(roots, &children),
            "a (committed)\n  b (committed)\n    c (committed)\n  d (committed)\ne (committed)\n"
        );
        let tree = branch(&all[0], &children);
        assert_eq!(tree["above"].as_array().map(Vec::len), Some(3));
    }
}
