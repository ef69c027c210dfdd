//! Signatures in cosign's form: a small document that names the digest of a manifest ("simple signing"), signed with a key, in an
//! artifact under the tag `sha256-<hex>.sig` beside the signed one.
//!
//! cosign's own additions (certificates, entries of a transparency log, bundles) are left alone: what counts here is whose key it
//! was.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use transom_keys::{KeyError, PublicKey, SigningKey};
use transom_oci::{Descriptor, Digest, Manifest, media_type};

use super::error::ArtifactError;
use super::package::{describe, text};
use super::{Open, document, fetch};
use crate::limits::{SIGNATURE_PAYLOAD_BYTES_MAX, SIGNATURES_MAX};

/// The media type of the signed document.
pub const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// Where a layer has its signature.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// What such a document says that it is.
const TYPE: &str = "cosign container image signature";

/// The tag under which the signatures of a manifest are.
pub fn tag(digest: &Digest) -> String {
    format!("{}-{}.sig", digest.algorithm(), digest.hex())
}

/// A signed document, and one signature of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The document.
    pub payload: Vec<u8>,
    /// The signature, DER-encoded.
    pub signature: Vec<u8>,
}

impl Signature {
    /// Signs a manifest. `reference` is where it is, for people: `registry.example/plugins/scan`; nothing is checked against it.
    ///
    /// # Errors
    ///
    /// [`KeyError::Random`].
    pub fn new(digest: &Digest, reference: &str, key: &SigningKey) -> Result<Signature, KeyError> {
        // The keys in this order: cosign compares its own documents byte by byte.
        let payload = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":{}}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"{TYPE}"}},"optional":null}}"#,
            json!(reference),
        );
        let signature = key.sign(payload.as_bytes())?;
        Ok(Signature {
            payload: payload.into_bytes(),
            signature,
        })
    }

    /// Whether a key says that a manifest is good.
    pub fn vouches(&self, digest: &Digest, key: &PublicKey) -> bool {
        self.names(digest) && key.verifies(&self.payload, &self.signature)
    }

    /// Whether the document is about this manifest.
    fn names(&self, digest: &Digest) -> bool {
        let Ok(payload) = serde_json::from_slice::<Value>(&self.payload) else {
            return false;
        };
        let critical = &payload["critical"];
        critical["type"] == TYPE && critical["image"]["docker-manifest-digest"] == digest.as_str()
    }
}

/// Reads what is under [`tag`]. Layers that are no signatures are left out.
///
/// # Errors
///
/// [`ArtifactError`] if it cannot be read, or is damaged.
pub fn read(
    manifest: &[u8],
    expected: Option<&Digest>,
    open: &mut Open<'_>,
) -> Result<Vec<Signature>, ArtifactError> {
    let (_, document) = document(manifest, expected)?;
    let mut signatures = Vec::new();
    for layer in document.layers.iter().filter(|layer| layer.media_type == PAYLOAD) {
        if signatures.len() == SIGNATURES_MAX {
            return Err(ArtifactError::NotAPlugin(format!(
                "it has more than {SIGNATURES_MAX} signatures"
            )));
        }
        let signature = layer.annotations.get(SIGNATURE).map(|text| STANDARD.decode(text));
        let Some(Ok(signature)) = signature else {
            continue;
        };
        signatures.push(Signature {
            payload: fetch(open, layer, "the signed document", SIGNATURE_PAYLOAD_BYTES_MAX)?,
            signature,
        });
    }
    Ok(signatures)
}

/// The blobs of an artifact with signatures, in the order in which they are to be stored; the last is its manifest.
///
/// # Errors
///
/// [`ArtifactError`], which no signatures of [`read`] or [`Signature::new`] bring about.
pub fn package(signatures: &[Signature]) -> Result<Vec<(Descriptor, Vec<u8>)>, ArtifactError> {
    let mut blobs = Vec::new();
    let mut layers: Vec<Descriptor> = Vec::new();
    for Signature { payload, signature } in signatures {
        let mut layer = describe(PAYLOAD, payload);
        layer
            .annotations
            .insert(SIGNATURE.to_owned(), STANDARD.encode(signature));
        blobs.push((describe(PAYLOAD, payload), payload.clone()));
        layers.push(layer);
    }
    // As cosign has it: the configuration of an image whose layers are the documents.
    let diff_ids: Vec<&Digest> = layers.iter().map(|layer| &layer.digest).collect();
    let config = text(&json!({
        "architecture": "",
        "config": {},
        "created": "0001-01-01T00:00:00Z",
        "history": vec![json!({ "created": "0001-01-01T00:00:00Z" }); layers.len()],
        "os": "",
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    }))?;
    let manifest = text(&Manifest {
        schema_version: 2,
        media_type: Some(media_type::MANIFEST.to_owned()),
        artifact_type: None,
        config: describe(media_type::IMAGE_CONFIG, &config),
        layers,
        subject: None,
        annotations: BTreeMap::new(),
    })?;
    blobs.push((describe(media_type::IMAGE_CONFIG, &config), config));
    blobs.push((describe(media_type::MANIFEST, &manifest), manifest));
    Ok(blobs)
}
