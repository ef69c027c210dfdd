//! Plugins as artifacts: one component, which carries its `plugin.toml`, in the layout of the CNCF for WebAssembly.
//!
//! ```text
//! component + plugin.toml → section → Package → manifest, configuration, layer → registry, layout, file
//! manifest → blobs → Artifact → signatures → trust → Host::load_any → admitted
//! ```
//!
//! Read [`section`] (`plugin.toml` inside the component), [`package`] (how an artifact is made), this file (how one is read),
//! [`signature`] (who says that it is good), [`trust`] (whom the operator believes), [`error`].

pub mod error;
pub mod package;
pub mod section;
pub mod signature;
pub mod trust;

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use transom_oci::limits::MANIFEST_BYTES_MAX;
use transom_oci::{Algorithm, Descriptor, Digest, media_type};

pub use error::ArtifactError;
pub use package::Package;
pub use signature::Signature;
pub use trust::{Admitted, Policy, Trust, TrustError, TrustedKey};

use crate::component::{self, Component};
use crate::error::LoadError;
use crate::limits::{ARTIFACT_LAYERS_MAX, COMPONENT_BYTES_MAX};
use crate::manifest::{Manifest, PluginKind};
use crate::world::{self, World};

/// The media type of the configuration.
pub const CONFIG: &str = "application/vnd.wasm.config.v0+json";

/// The media type of the component.
pub const LAYER: &str = "application/wasm";

/// What tools called a component before they agreed on [`LAYER`].
pub const OLDER_LAYERS: [&str; 2] = [
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
];

/// Where a manifest says what the plugin is called.
pub const TITLE: &str = "org.opencontainers.image.title";
/// Where a manifest says which version it has.
pub const VERSION: &str = "org.opencontainers.image.version";
/// Where a manifest says what the plugin is for.
pub const DESCRIPTION: &str = "org.opencontainers.image.description";
/// Where a manifest says under which licence it is given.
pub const LICENSES: &str = "org.opencontainers.image.licenses";

/// Opens a blob of an artifact. What is read is checked against the descriptor.
pub type Open<'a> = dyn FnMut(&Descriptor) -> io::Result<Box<dyn Read>> + 'a;

/// A plugin as it was read from a registry, a layout or a content store: not yet trusted, not yet loaded.
#[derive(Clone)]
pub struct Artifact {
    /// Its manifest: what a pin, a signature and a lock file name.
    pub descriptor: Descriptor,
    /// The bytes of the manifest.
    pub bytes: Vec<u8>,
    /// What its parts are, the configuration first.
    pub blobs: Vec<Descriptor>,
    /// The component.
    pub component: Vec<u8>,
    /// The digest of the component.
    pub component_digest: Digest,
    /// The `plugin.toml` inside the component; without one, what the component says of itself counts.
    pub manifest: Option<Manifest>,
    /// What kind of plugin it is, by what it exports.
    pub kind: PluginKind,
    /// The world that it was built for.
    pub world: String,
    /// What the manifest's annotations say: for people, and for tools that know nothing else.
    pub annotations: std::collections::BTreeMap<String, String>,
}

impl Artifact {
    /// Reads the artifact of a manifest. `expected` is the digest that it is known by, if there is one.
    ///
    /// # Errors
    ///
    /// [`ArtifactError`], which says what it is instead of a plugin, or what is damaged.
    pub fn read(
        manifest: &[u8],
        expected: Option<&Digest>,
        open: &mut Open<'_>,
    ) -> Result<Artifact, ArtifactError> {
        let (descriptor, document) = self::document(manifest, expected)?;
        let layer = layer(&document)?;
        let component = fetch(open, layer, "the component", COMPONENT_BYTES_MAX)?;
        let names = readable(&component)?;
        let world = World::of(&names);
        let plugin_toml = section::manifest(&component, Path::new("plugin.toml"))?;
        let mut blobs = vec![document.config.clone()];
        blobs.extend(document.layers.iter().cloned());
        Ok(Artifact {
            descriptor,
            bytes: manifest.to_vec(),
            blobs,
            component_digest: Digest::of(Algorithm::Sha256, &component),
            component,
            kind: world.kind(),
            world: plugin_toml
                .as_ref()
                .map_or_else(|| world.name.to_owned(), |manifest| manifest.world.clone()),
            manifest: plugin_toml,
            annotations: document.annotations,
        })
    }

    /// The digest of the manifest.
    pub fn digest(&self) -> &Digest {
        &self.descriptor.digest
    }

    /// What it is called: by its `plugin.toml`, else by its annotations.
    pub fn name(&self) -> Option<&str> {
        let annotated = || self.annotations.get(TITLE).map(String::as_str);
        self.manifest
            .as_ref()
            .map(|manifest| manifest.name.as_str())
            .or_else(annotated)
    }

    /// Its version: by its `plugin.toml`, else by its annotations.
    pub fn version(&self) -> Option<&str> {
        let annotated = || self.annotations.get(VERSION).map(String::as_str);
        self.manifest
            .as_ref()
            .map(|manifest| manifest.version.as_str())
            .or_else(annotated)
    }
}

impl fmt::Debug for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artifact")
            .field("digest", &self.descriptor.digest)
            .field("component", &self.component_digest)
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

/// Why this host could not load what an artifact's configuration lists, if the configuration says so: it is asked before the
/// component is fetched. A configuration of another kind says nothing.
///
/// # Errors
///
/// [`LoadError::Version`] with the side that is too old, [`LoadError::MissingExport`].
pub fn check_config(config: &[u8]) -> Result<(), LoadError> {
    let Ok(config) = serde_json::from_slice::<package::Config>(config) else {
        return Ok(());
    };
    let Some(listed) = config.component else {
        return Ok(());
    };
    let names = Component {
        imports: listed.imports,
        exports: listed.exports,
        producers: Vec::new(),
    };
    let world = World::of(&names);
    world::check_imports(world, &names)?;
    world::check_exports(world, &names)
}

/// What a manifest's bytes say, and the descriptor of it.
pub(crate) fn document(
    bytes: &[u8],
    expected: Option<&Digest>,
) -> Result<(Descriptor, transom_oci::Manifest), ArtifactError> {
    let size = bytes.len() as u64;
    if size > MANIFEST_BYTES_MAX {
        return Err(ArtifactError::TooLarge {
            what: "the manifest",
            size,
            limit: MANIFEST_BYTES_MAX,
        });
    }
    let algorithm = expected.map_or(Algorithm::Sha256, Digest::algorithm);
    let digest = Digest::of(algorithm, bytes);
    if let Some(expected) = expected.filter(|expected| **expected != digest) {
        return Err(ArtifactError::Damaged {
            what: "the manifest",
            digest: expected.clone(),
            reason: format!("its bytes have the digest {digest}"),
        });
    }
    let wrong = |error: serde_json::Error| ArtifactError::NotAPlugin(format!("it is no manifest: {error}"));
    let value: serde_json::Value = serde_json::from_slice(bytes).map_err(wrong)?;
    if value.get("manifests").is_some() {
        let reason = "it is an index of several images, not an artifact; name one by its digest";
        return Err(ArtifactError::NotAPlugin(reason.to_owned()));
    }
    let document: transom_oci::Manifest = serde_json::from_value(value).map_err(wrong)?;
    let kind = document.media_type.as_deref().unwrap_or(media_type::MANIFEST);
    Ok((Descriptor::new(kind, digest, size), document))
}

/// The one layer that is a component.
fn layer(document: &transom_oci::Manifest) -> Result<&Descriptor, ArtifactError> {
    if document.layers.len() > ARTIFACT_LAYERS_MAX {
        return Err(ArtifactError::NotAPlugin(format!(
            "it has more than {ARTIFACT_LAYERS_MAX} layers: it is an image"
        )));
    }
    let is_component =
        |layer: &&Descriptor| layer.media_type == LAYER || OLDER_LAYERS.contains(&layer.media_type.as_str());
    let mut found = document.layers.iter().filter(is_component);
    match (found.next(), found.next()) {
        (Some(layer), None) => Ok(layer),
        (Some(_), Some(_)) => Err(ArtifactError::NotAPlugin(
            "it has several components; a plugin is one".to_owned(),
        )),
        (None, _) => {
            let types: Vec<&str> = document
                .layers
                .iter()
                .map(|layer| layer.media_type.as_str())
                .collect();
            let types = if types.is_empty() {
                "it has none at all".to_owned()
            } else {
                format!("they are {}", types.join(", "))
            };
            Err(ArtifactError::NotAPlugin(format!(
                "none of its layers is {LAYER} ({types}); push it with `transom plugin push`, or `oras push NAME FILE:{LAYER}`"
            )))
        }
    }
}

/// A blob, checked.
pub(crate) fn fetch(
    open: &mut Open<'_>,
    descriptor: &Descriptor,
    what: &'static str,
    limit: u64,
) -> Result<Vec<u8>, ArtifactError> {
    let Descriptor { digest, size, .. } = descriptor;
    if *size > limit {
        return Err(ArtifactError::TooLarge {
            what,
            size: *size,
            limit,
        });
    }
    let failed = |source| ArtifactError::Read {
        what,
        digest: digest.clone(),
        source,
    };
    let mut bytes = Vec::new();
    let reader = open(descriptor).map_err(failed)?;
    reader.take(size + 1).read_to_end(&mut bytes).map_err(failed)?;
    let damaged = |reason: String| ArtifactError::Damaged {
        what,
        digest: digest.clone(),
        reason,
    };
    if bytes.len() as u64 != *size {
        let than = if bytes.len() as u64 > *size {
            "more"
        } else {
            "fewer"
        };
        return Err(damaged(format!("it has {than} than {size} bytes")));
    }
    let actual = Digest::of(digest.algorithm(), &bytes);
    if actual != *digest {
        return Err(damaged(format!("its bytes have the digest {actual}")));
    }
    Ok(bytes)
}

/// The names in a component. Whether the rest of it is sound is for whoever loads it.
pub(crate) fn readable(bytes: &[u8]) -> Result<Component, ArtifactError> {
    component::check_kind(bytes)?;
    Ok(component::read(bytes)?)
}
