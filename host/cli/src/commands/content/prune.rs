//! `transom content prune`.

use std::collections::BTreeMap;

use serde_json::json;
use transom_oci::Digest;

use crate::arguments::References;
use crate::client::{Client, Labels};
use crate::commands::{print, print_json};
use crate::failure::Failure;

/// How the labels begin by which a manifest keeps its layers.
const LAYERS: &str = "containerd.io/gc.ref.content.l.";

/// Removes the labels by which manifests keep their layers.
pub(super) async fn references(client: &Client, command: &References, json: bool) -> Result<(), Failure> {
    let mut found = Vec::new();
    client
        .list(Vec::new(), async |info| {
            let labels: BTreeMap<_, _> = info
                .labels
                .into_keys()
                .filter(|key| key.starts_with(LAYERS))
                .map(|key| (key, String::new()))
                .collect();
            if !labels.is_empty() {
                found.push((info.digest, labels));
            }
            Ok(())
        })
        .await?;
    for (digest, labels) in found {
        let digest: Digest = digest
            .parse()
            .map_err(|error| Failure::silent(format!("a digest: {error}")))?;
        let keys: Vec<_> = labels.keys().cloned().collect();
        if !command.dry {
            client.label(&digest, Labels::set(labels)).await?;
        }
        if json {
            print_json(&json!({ "digest": digest, "labels": keys, "removed": !command.dry }))?;
        } else {
            print(&format!("{digest} {}\n", keys.join(" ")))?;
        }
    }
    if command.dry || command.later {
        return Ok(());
    }
    client.collect().await
}
