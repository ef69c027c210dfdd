//! What a manifest or index lists, and the labels by which the collector keeps it.

use std::collections::HashMap;

use transom_meta::{Caller, Labels, Metadata};
use transom_oci::{Descriptor, media_type};

use crate::error::TransferError;
use crate::{document, limits, reference};

/// What a blob lists: of a manifest the configuration and the layers, of an index what it lists, of others nothing.
///
/// # Errors
/// Those of [`document::load`], and [`TransferError::Document`].
pub async fn children(
    metadata: &Metadata,
    caller: &Caller,
    of: &Descriptor,
) -> Result<Vec<Descriptor>, TransferError> {
    let kind = of.media_type.as_str();
    if !media_type::is_manifest(kind) && !media_type::is_index(kind) {
        return Ok(Vec::new());
    }
    let bytes = document::load(metadata, caller, of).await?;
    listed(&bytes, of)
}

/// As [`children`], from the bytes.
///
/// # Errors
/// [`TransferError::Document`], [`TransferError::Limit`].
pub fn listed(bytes: &[u8], of: &Descriptor) -> Result<Vec<Descriptor>, TransferError> {
    let name = of.digest.as_str();
    let children = if media_type::is_manifest(&of.media_type) {
        let manifest = document::manifest(bytes, name)?;
        [vec![manifest.config], manifest.layers].concat()
    } else if media_type::is_index(&of.media_type) {
        document::index(bytes, name)?.manifests
    } else {
        Vec::new()
    };
    if children.len() > limits::CHILDREN {
        return Err(TransferError::Limit {
            what: format!("the {} descriptors in {name}", children.len()),
            limit: limits::CHILDREN as u64,
        });
    }
    Ok(children)
}

/// The labels by which a blob keeps these children; containerd's `ChildGCLabels`.
#[must_use]
pub fn labels(children: &[Descriptor]) -> Labels {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut labels = Labels::new();
    for child in children {
        let kind = child.media_type.as_str();
        let key = if child.annotations.contains_key(reference::SUBJECT) {
            "referrer.sha256."
        } else if media_type::is_known_config(kind) {
            "config"
        } else if media_type::is_manifest(kind) {
            "m."
        } else if media_type::is_layer(kind) {
            "l."
        } else {
            ""
        };
        let count = counts.entry(key).or_default();
        let end = match (key, *count) {
            ("referrer.sha256.", _) => child.digest.hex()[..12].to_owned(),
            ("config", 0) => String::new(),
            (_, count) => count.to_string(),
        };
        *count += 1;
        let key = match key {
            "" => format!("containerd.io/gc.ref.content.{end}"),
            key => format!("containerd.io/gc.ref.content.{key}{end}"),
        };
        labels.insert(key, child.digest.to_string());
    }
    labels
}

/// Writes the labels by which a blob keeps these children onto it.
///
/// # Errors
/// [`TransferError::Meta`].
pub async fn keep(
    metadata: &Metadata,
    caller: &Caller,
    parent: &Descriptor,
    children: &[Descriptor],
) -> Result<(), TransferError> {
    if children.is_empty() {
        return Ok(());
    }
    let labels = labels(children);
    let has = metadata.content_info(caller, &parent.digest).await?.labels;
    if labels.iter().all(|(key, value)| has.get(key) == Some(value)) {
        return Ok(());
    }
    let paths: Vec<String> = labels.keys().map(|key| format!("labels.{key}")).collect();
    metadata
        .content_update(caller, &parent.digest, labels, &paths)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use transom_oci::{Algorithm, Digest};

    #[test]
    fn children_are_kept_under_containerds_keys() {
        let digest = |text: &str| Digest::of(Algorithm::Sha256, text.as_bytes());
        let child = |kind: &str, text: &str| Descriptor::new(kind, digest(text), 1);
        let mut referrer = child(media_type::MANIFEST, "r");
        referrer.annotations = Labels::from([(reference::SUBJECT.to_owned(), "x".to_owned())]);
        let children = [
            child(media_type::IMAGE_CONFIG, "c"),
            child(media_type::LAYER_TAR_GZIP, "l0"),
            child("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "l1"),
            child(media_type::MANIFEST, "m0"),
            child(media_type::DOCKER_MANIFEST, "m1"),
            child(media_type::INDEX, "i0"),
            child("x/y", "i1"),
            child(media_type::DOCKER_IMAGE_CONFIG, "c1"),
            referrer,
        ];
        let found = labels(&children);
        let short = |key: &str| key.replace("containerd.io/gc.ref.content.", "");
        let found: Vec<(String, String)> = found
            .into_iter()
            .map(|(key, value)| (short(&key), value))
            .collect();
        let mut wanted: Vec<(String, String)> = [
            ("config", "c"),
            ("l.0", "l0"),
            ("l.1", "l1"),
            ("m.0", "m0"),
            ("m.1", "m1"),
            ("0", "i0"),
            ("1", "i1"),
            ("config1", "c1"),
            (&format!("referrer.sha256.{}", &digest("r").hex()[..12]), "r"),
        ]
        .map(|(key, text)| (key.to_owned(), digest(text).to_string()))
        .to_vec();
        wanted.sort();
        assert_eq!(found, wanted);
    }
}
