//! `transom image inspect`: the tree of blobs of an image.

use serde_json::{Value, json};

use super::document;
use crate::client::image::{Node, Referrer, State};
use crate::client::{Client, labels, time};
use crate::commands::{print, print_json};
use crate::failure::Failure;
use crate::show::{printable, size};

pub(super) async fn run(client: &Client, name: &str, json: bool) -> Result<(), Failure> {
    let image = client.image(name).await?;
    let tree = client.tree(&image).await?;
    if json {
        let mut document = document(&image);
        document["content"] = node_document(&tree);
        return print_json(&document);
    }
    let mut text = format!(
        "{}\n  created {} ago, updated {} ago, labels {}\n",
        printable(&image.name),
        time::age(image.created_at.as_ref()),
        time::age(image.updated_at.as_ref()),
        labels::text(&image.labels),
    );
    branch(&tree, "", true, &mut text);
    print(&text)
}

fn node_document(node: &Node) -> Value {
    let (state, problem) = match &node.state {
        State::Present => ("present", None),
        State::Missing => ("missing", None),
        State::Unreadable(problem) => ("unreadable", Some(problem)),
    };
    json!({
        "descriptor": node.descriptor,
        "state": state,
        "problem": problem,
        "platform": node.platform().map(ToString::to_string),
        "referrers": node.referrers.iter().map(referrer_document).collect::<Vec<_>>(),
        "children": node.children.iter().map(node_document).collect::<Vec<_>>(),
    })
}

fn referrer_document(referrer: &Referrer) -> Value {
    json!({
        "digest": referrer.digest,
        "artifactType": referrer.artifact_type,
        "documents": referrer.documents,
    })
}

/// What refers to a manifest: above its children, for there may be many of them.
fn referrers(node: &Node, indent: &str, text: &mut String) {
    for referrer in &node.referrers {
        let kind = referrer.artifact_type.as_deref().unwrap_or("(not here)");
        let (digest, count) = (&referrer.digest, referrer.documents.len());
        let line = format!("about it: {kind} {digest}, {count} documents");
        text.push_str(&format!("{indent}· {}\n", printable(&line)));
    }
}

fn branch(node: &Node, indent: &str, last: bool, text: &mut String) {
    let descriptor = &node.descriptor;
    let platform = node
        .platform()
        .map(|platform| format!(" {platform}"))
        .unwrap_or_default();
    let state = match &node.state {
        State::Present => String::new(),
        State::Missing => " (not here)".to_owned(),
        State::Unreadable(problem) => format!(" ({problem})"),
    };
    let line = format!(
        "{} {} {}{platform}{state}",
        descriptor.media_type,
        descriptor.digest,
        size(descriptor.size)
    );
    let (corner, below) = if last {
        ("└── ", "    ")
    } else {
        ("├── ", "│   ")
    };
    text.push_str(&format!("{indent}{corner}{}\n", printable(&line)));
    let indent = format!("{indent}{below}");
    referrers(node, &indent, text);
    for (index, child) in node.children.iter().enumerate() {
        branch(child, &indent, index + 1 == node.children.len(), text);
    }
}
