//! `transom inspect`: what an image is made of.

use std::fmt::Write as _;

use serde_json::{Value, json};
use transom_image::inspect::{Inspection, LayerNode, Node, NodeKind, inspect};
use transom_layer::chain::Chain;
use transom_oci::Platform;

use super::{open_image, print, print_json};
use crate::arguments::Inspect;
use crate::failure::{Failure, Kind};
use crate::handlers;
use crate::interrupt::Interrupt;
use crate::show::{printable, size};

pub(crate) fn run(command: Inspect, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let chain = handlers::chain(&command.handlers)?;
    let (source, selector) = open_image(&command.image, interrupt)?;
    let mut inspection = inspect(&source)?;
    let wanted = Wanted {
        name: selector.name,
        digest: selector.digest,
        platform: command.platform,
    };
    inspection.entries = inspection
        .entries
        .into_iter()
        .filter_map(|node| wanted.keep(node))
        .collect();
    if inspection.entries.is_empty() && !wanted.is_everything() {
        let message = format!(
            "nothing in {} is what was asked for; inspect it without a name, digest or platform",
            inspection.source
        );
        return Err(Failure::new(Kind::NotFound, message));
    }
    if json {
        return print_json(&with_stages(&inspection, &chain)?);
    }
    print(&text(&inspection, &chain))
}

/// Which of the entries are shown.
struct Wanted {
    name: Option<String>,
    digest: Option<transom_oci::Digest>,
    platform: Option<Platform>,
}

impl Wanted {
    fn is_everything(&self) -> bool {
        self.name.is_none() && self.digest.is_none() && self.platform.is_none()
    }

    fn keep(&self, node: Node) -> Option<Node> {
        let named = |name: &String| {
            node.names.iter().any(|known| {
                known == name || known.ends_with(&format!(":{name}")) || known.ends_with(&format!("/{name}"))
            })
        };
        if !self.name.as_ref().is_none_or(named) {
            return None;
        }
        let node = match &self.digest {
            Some(digest) => find(node, digest)?,
            None => node,
        };
        match &self.platform {
            Some(platform) => for_platform(node, platform),
            None => Some(node),
        }
    }
}

fn find(node: Node, digest: &transom_oci::Digest) -> Option<Node> {
    if node.digest == *digest {
        return Some(node);
    }
    node.manifests.into_iter().find_map(|below| find(below, digest))
}

fn for_platform(mut node: Node, platform: &Platform) -> Option<Node> {
    if node.kind != NodeKind::Index {
        let fits = node
            .platform
            .as_ref()
            .is_some_and(|own| platform.rank(own).is_some());
        return fits.then_some(node);
    }
    node.manifests = node
        .manifests
        .into_iter()
        .filter_map(|below| for_platform(below, platform))
        .collect();
    (!node.manifests.is_empty()).then_some(node)
}

/// The stages of a layer, as `name (kind)`, or why there are none.
fn stages(chain: &Chain, media_type: &str) -> Result<Vec<String>, String> {
    let steps = chain.plan(media_type).map_err(|error| error.to_string())?;
    Ok(steps
        .iter()
        .map(|step| format!("{} ({})", step.handler.name(), step.handler.kind().as_str()))
        .collect())
}

fn with_stages(inspection: &Inspection, chain: &Chain) -> Result<Value, Failure> {
    let failed = |error: serde_json::Error| Failure::io("cannot write the result as JSON", &error.into());
    let mut document = serde_json::to_value(inspection).map_err(failed)?;
    add_stages(&mut document, chain);
    Ok(document)
}

/// Adds `stages` or `noStages` to every layer of the document.
fn add_stages(value: &mut Value, chain: &Chain) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| add_stages(item, chain)),
        Value::Object(fields) => {
            if let Some(Value::Array(layers)) = fields.get_mut("layers") {
                for layer in layers {
                    let media_type = layer["mediaType"].as_str().unwrap_or_default();
                    match stages(chain, media_type) {
                        Ok(stages) => layer["stages"] = json!(stages),
                        Err(reason) => layer["noStages"] = json!(reason),
                    }
                }
            }
            fields.values_mut().for_each(|field| add_stages(field, chain));
        }
        _ => {}
    }
}

fn text(inspection: &Inspection, chain: &Chain) -> String {
    let mut text = format!("{} ({})\n", inspection.source, inspection.format);
    for node in &inspection.entries {
        node_text(&mut text, node, chain, 1);
    }
    text
}

fn node_text(text: &mut String, node: &Node, chain: &Chain, depth: usize) {
    let indent = "  ".repeat(depth);
    let kind = match node.kind {
        NodeKind::Index => "index",
        NodeKind::Image => "image",
        NodeKind::Attestation => "attestation",
        NodeKind::Artifact => "artifact",
        NodeKind::Unreadable => "unreadable",
    };
    let names: String = node
        .names
        .iter()
        .map(|name| format!(" {}", printable(name)))
        .collect();
    let platform = node
        .platform
        .as_ref()
        .map(|platform| format!(" {}", printable(&platform.to_string())));
    let _ = writeln!(text, "{indent}{kind}{names}{}", platform.unwrap_or_default());
    let _ = writeln!(
        text,
        "{indent}  {}  {}  {}",
        node.digest,
        size(node.size),
        printable(&node.media_type)
    );
    for (key, value) in &node.annotations {
        let _ = writeln!(text, "{indent}  {} = {}", printable(key), printable(value));
    }
    if let Some(artifact_type) = &node.artifact_type {
        let _ = writeln!(text, "{indent}  type {}", printable(artifact_type));
    }
    if let Some(problem) = &node.problem {
        let _ = writeln!(text, "{indent}  problem: {problem}");
    }
    if let Some(image) = &node.image {
        let _ = writeln!(
            text,
            "{indent}  {} layers, {}",
            image.layers.len(),
            size(image.layers_size)
        );
        for layer in &image.layers {
            layer_text(text, layer, chain, &indent);
        }
    }
    for below in &node.manifests {
        node_text(text, below, chain, depth + 1);
    }
}

fn layer_text(text: &mut String, layer: &LayerNode, chain: &Chain, indent: &str) {
    let descriptor = &layer.descriptor;
    let _ = writeln!(
        text,
        "{indent}  layer {}  {}  {}",
        descriptor.digest,
        size(descriptor.size),
        printable(&descriptor.media_type)
    );
    if let Some(problem) = &layer.problem {
        let _ = writeln!(text, "{indent}    problem: {problem}");
    }
    if let Some(diff_id) = &layer.diff_id {
        let _ = writeln!(text, "{indent}    diffID  {diff_id}");
    }
    if let Some(chain_id) = &layer.chain_id {
        let _ = writeln!(text, "{indent}    chainID {chain_id}");
    }
    for (key, value) in &descriptor.annotations {
        let _ = writeln!(text, "{indent}    {} = {}", printable(key), printable(value));
    }
    let _ = match stages(chain, &descriptor.media_type) {
        Ok(stages) => writeln!(text, "{indent}    stages  {}", stages.join(" > ")),
        Err(reason) => writeln!(text, "{indent}    stages  none: {}", printable(&reason)),
    };
}
