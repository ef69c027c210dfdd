//! What a manifest says that it is.

use serde::Deserialize;
use transom_oci::media_type;

/// The fields by which kinds are told apart.
#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

/// The media type of a manifest, from its header and its content. A document that can be read as two things is refused: what
/// somebody checked would not be what somebody else runs (CVE-2021-41190).
pub(crate) fn media_type_of(header: Option<&str>, body: &[u8]) -> Result<String, String> {
    let header = header
        .map(|text| text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase())
        .filter(|text| !is_vague(text));
    // Such as the page of a proxy that wants a login.
    let shape: Shape = serde_json::from_slice(body).map_err(|_| {
        let kind = header.as_deref().map(crate::error::shortened).unwrap_or_default();
        format!("what it sends as a manifest is not JSON ({kind}): is that a registry?")
    })?;
    if shape.fs_layers.is_some() && shape.layers.is_none() && shape.manifests.is_none() {
        return Err(
            "the image is of Docker's schema 1, which nobody supports any more: push it again".to_owned(),
        );
    }
    if shape.manifests.is_some() && (shape.layers.is_some() || shape.config.is_some()) {
        return Err("a manifest that is an index as well".to_owned());
    }
    let inner = shape.media_type.filter(|text| !text.is_empty());
    match (&header, &inner) {
        (Some(header), Some(inner)) if !header.eq_ignore_ascii_case(inner) => Err(format!(
            "it sends a manifest as {header:?} that calls itself {inner:?}"
        )),
        _ => {
            let shown = header.or(inner);
            if let Some(kind) = &shown {
                let index = media_type::is_index(kind) && shape.layers.is_some();
                let manifest = media_type::is_manifest(kind) && shape.manifests.is_some();
                if index || manifest {
                    return Err(format!("it sends something else as {kind:?}"));
                }
            }
            Ok(shown.unwrap_or_else(|| guess(shape.manifests.is_some())))
        }
    }
}

fn guess(index: bool) -> String {
    let kind = if index {
        media_type::INDEX
    } else {
        media_type::MANIFEST
    };
    kind.to_owned()
}

/// Types that servers give to files that they know nothing of.
fn is_vague(kind: &str) -> bool {
    matches!(
        kind,
        "" | "application/json"
            | "application/octet-stream"
            | "binary/octet-stream"
            | "text/plain"
            | "text/json"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_and_the_document_must_agree() {
        let manifest = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        let named = format!(r#"{{"mediaType":"{}","layers":[]}}"#, media_type::DOCKER_MANIFEST);
        assert_eq!(
            media_type_of(Some("text/plain"), manifest).unwrap(),
            media_type::MANIFEST
        );
        assert_eq!(
            media_type_of(None, br#"{"manifests":[]}"#).unwrap(),
            media_type::INDEX
        );
        assert_eq!(
            media_type_of(None, named.as_bytes()).unwrap(),
            media_type::DOCKER_MANIFEST
        );
        let with_parameter = format!("{}; charset=utf-8", media_type::DOCKER_MANIFEST);
        assert!(media_type_of(Some(&with_parameter), named.as_bytes()).is_ok());
        for (header, body) in [
            (Some(media_type::MANIFEST), named.as_bytes()),
            (Some(media_type::INDEX), manifest.as_slice()),
            (Some(media_type::MANIFEST), br#"{"manifests":[]}"#),
            (None, br#"{"manifests":[],"layers":[]}"#),
            (None, br#"{"schemaVersion":1,"fsLayers":[]}"#),
            (None, b"\x00"),
        ] {
            assert!(media_type_of(header, body).is_err(), "{header:?}");
        }
    }
}
