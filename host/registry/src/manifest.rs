//! What a manifest says: its type, and what it refers to. Its bytes are kept as they came.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use transom_oci::media_type::{self, INDEX, MANIFEST};
use transom_oci::{Descriptor, Digest};

use crate::{Error, limits};

/// What is read of a manifest of any type.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    #[serde(default)]
    schema_version: Option<u64>,
    /// Its media type, if it says so itself.
    #[serde(default)]
    pub media_type: Option<String>,
    /// The type of the artifact.
    #[serde(default)]
    pub artifact_type: Option<String>,
    /// The configuration of an image.
    #[serde(default)]
    pub config: Option<Descriptor>,
    /// The layers of an image.
    #[serde(default, deserialize_with = "null_as_default")]
    pub layers: Vec<Descriptor>,
    /// The blobs of an artifact, in a type that the specification had for a while.
    #[serde(default, deserialize_with = "null_as_default")]
    pub blobs: Vec<Descriptor>,
    /// The manifests of an index.
    #[serde(default, deserialize_with = "null_as_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default)]
    pub subject: Option<Descriptor>,
    /// Free key-value pairs.
    #[serde(default, deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
}

/// Go writes what is not there as `null`.
fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Something that must be in the repository before a manifest can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed<'m> {
    /// A blob.
    Blob(&'m Descriptor),
    /// Another manifest.
    Manifest(&'m Descriptor),
}

impl<'m> Needed<'m> {
    /// What is needed.
    #[must_use]
    pub fn digest(self) -> &'m Digest {
        match self {
            Needed::Blob(descriptor) | Needed::Manifest(descriptor) => &descriptor.digest,
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`] if it is not JSON of the right form, or refers to too much.
    pub fn read(bytes: &[u8]) -> Result<Manifest, Error> {
        // An array would be taken for the fields in their order.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            let reason = "it is not a JSON object".to_owned();
            return Err(Error::ManifestInvalid(reason));
        }
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|error| Error::ManifestInvalid(error.to_string()))?;
        let descriptors = manifest.layers.len() + manifest.blobs.len() + manifest.manifests.len();
        if descriptors > limits::DESCRIPTORS {
            let most = limits::DESCRIPTORS;
            let reason = format!("it refers to {descriptors} things, of which there may be {most}");
            return Err(Error::ManifestInvalid(reason));
        }
        Ok(manifest)
    }

    /// The media type that its content shows: what it says, or else what it looks like. `None` if it looks like nothing known.
    #[must_use]
    pub fn shown_type(&self) -> Option<&str> {
        match (&self.media_type, &self.config) {
            (Some(said), _) if !said.is_empty() => Some(said),
            (_, Some(_)) => Some(MANIFEST),
            (_, None) if !self.manifests.is_empty() => Some(INDEX),
            _ => None,
        }
    }

    /// Checks it as one of a type that it was pushed as.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`] if its content does not fit the type.
    pub fn check(&self, pushed_as: &str) -> Result<(), Error> {
        let invalid = |reason: String| Err(Error::ManifestInvalid(reason));
        if matches!(
            pushed_as,
            media_type::DOCKER_MANIFEST_V1 | media_type::DOCKER_MANIFEST_V1_SIGNED
        ) {
            return invalid("Docker's schema 1 is not kept any more; push it as schema 2 or OCI".to_owned());
        }
        if let Some(said) = self.media_type.as_deref().filter(|said| !said.is_empty())
            && said != pushed_as
        {
            return invalid(format!("it is pushed as {pushed_as} and says that it is {said}"));
        }
        let (image, index) = (
            media_type::is_manifest(pushed_as),
            media_type::is_index(pushed_as),
        );
        if (image || index) && self.schema_version != Some(2) {
            return invalid("its schemaVersion is not 2".to_owned());
        }
        if image && self.config.is_none() {
            return invalid("it has no config".to_owned());
        }
        // Nobody shall read as an image what another reads as an index.
        if image && !self.manifests.is_empty() {
            return invalid("an image has no manifests".to_owned());
        }
        if index && (self.config.is_some() || !self.layers.is_empty()) {
            return invalid("an index has neither config nor layers".to_owned());
        }
        Ok(())
    }

    /// What must be in the repository. Layers that nobody may hand on are not among it.
    pub fn needed(&self) -> impl Iterator<Item = Needed<'_>> {
        let kept = |layer: &&Descriptor| !media_type::is_nondistributable(&layer.media_type);
        let blobs = self.layers.iter().filter(kept).chain(&self.blobs);
        let blobs = self.config.iter().chain(blobs).map(Needed::Blob);
        blobs.chain(self.manifests.iter().map(Needed::Manifest))
    }

    /// The digests of everything that it refers to, its subject left out.
    pub fn everything(&self) -> impl Iterator<Item = &Digest> {
        let parts = self.config.iter().chain(&self.layers).chain(&self.blobs);
        parts.chain(&self.manifests).map(|descriptor| &descriptor.digest)
    }

    /// Everything that it refers to.
    #[must_use]
    pub fn references(&self) -> Vec<Descriptor> {
        let parts = self.config.iter().chain(&self.layers).chain(&self.blobs);
        parts.chain(&self.manifests).cloned().collect()
    }

    /// The type of the artifact as referrers are asked for: its own, or else the type of the configuration.
    #[must_use]
    pub fn artifact(&self) -> Option<&str> {
        let own = self.artifact_type.as_deref().filter(|own| !own.is_empty());
        own.or_else(|| self.config.as_ref().map(|config| config.media_type.as_str()))
    }
}

/// The media type of a header, without parameters and in small letters.
#[must_use]
pub fn plain_type(header: &str) -> String {
    let plain = header.split(';').next().unwrap_or_default().trim();
    plain.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: &str = r#"{"mediaType":"a/b","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;

    fn read(text: &str) -> Manifest {
        Manifest::read(text.replace("BLOB", BLOB).as_bytes()).unwrap()
    }

    #[test]
    fn types_are_told_by_content() {
        assert_eq!(
            read(r#"{"schemaVersion":2,"config":BLOB,"layers":null}"#).shown_type(),
            Some(MANIFEST)
        );
        assert_eq!(read(r#"{"manifests":[BLOB]}"#).shown_type(), Some(INDEX));
        assert_eq!(read(r#"{"mediaType":"x/y"}"#).shown_type(), Some("x/y"));
        assert_eq!(read(r#"{"mediaType":""}"#).shown_type(), None);
    }

    #[test]
    fn what_does_not_fit_its_type_is_refused() {
        let image = r#"{"schemaVersion":2,"config":BLOB,"layers":[BLOB]}"#;
        read(image).check(MANIFEST).unwrap();
        read(r#"{"schemaVersion":2}"#).check(INDEX).unwrap();
        read(r#"{"anything":1}"#).check("application/x").unwrap();
        for (text, pushed_as) in [
            (image, INDEX),
            (image, media_type::DOCKER_MANIFEST_V1),
            (r#"{"schemaVersion":2,"mediaType":"x/y","config":BLOB}"#, MANIFEST),
            (r#"{"schemaVersion":1,"config":BLOB}"#, MANIFEST),
            (r#"{"schemaVersion":2,"layers":[BLOB]}"#, MANIFEST),
            (
                r#"{"schemaVersion":2,"config":BLOB,"manifests":[BLOB]}"#,
                MANIFEST,
            ),
        ] {
            let error = read(text).check(pushed_as).unwrap_err();
            assert!(
                matches!(error, Error::ManifestInvalid(_)),
                "{text} as {pushed_as}"
            );
        }
        for text in ["", "[]", "1", r#"{"config":{"digest":"sha256:0"}}"#, "{}}"] {
            assert!(Manifest::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn layers_that_are_not_handed_on_are_not_needed() {
        let manifest = read(
            r#"{"config":BLOB,"layers":[BLOB,{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar",
            "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0,"urls":["http://x"]}]}"#,
        );
        assert_eq!(manifest.needed().count(), 2);
        assert_eq!(manifest.references().len(), 3);
        assert_eq!(manifest.artifact(), Some("a/b"));
    }

    #[test]
    fn parameters_are_not_part_of_a_type() {
        assert_eq!(
            plain_type(" Application/JSON ; charset=utf-8"),
            "application/json"
        );
    }
}
