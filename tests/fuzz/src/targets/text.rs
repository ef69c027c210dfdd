//! Any text as what people and documents write: image references, platforms, digests, `plugin.toml`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use transom_image::Reference;
use transom_oci::{Digest, Platform};
use transom_plugin::Manifest;

use super::shape;

/// Parses the text as everything that it could be; what can be parsed must be the same after printing it.
///
/// # Panics
/// When it is not.
pub fn text(data: &[u8]) -> String {
    let [choice, data @ ..] = data else {
        return "empty".to_owned();
    };
    // Which paths there are decides how a reference is cut, so that differs from try to try.
    let exists = |path: &Path| path.as_os_str().len() % (2 + usize::from(*choice % 8)) == 1;
    let mut outcome = match Reference::parse_with(OsStr::from_bytes(data), exists) {
        Ok(reference) => format!(
            "{:?} {} {}",
            reference.transport,
            reference.selector.name.is_some(),
            reference.selector.digest.is_some()
        ),
        Err(error) => shape(&error),
    };
    let Ok(text) = std::str::from_utf8(data) else {
        return outcome;
    };
    match text.parse::<Digest>() {
        Ok(digest) => {
            assert_eq!(digest.to_string(), text, "a digest is written in one way only");
            outcome.push_str(digest.algorithm().as_str());
        }
        Err(error) => outcome.push_str(&shape(&error)),
    }
    match text.parse::<Platform>() {
        Ok(platform) => {
            let printed = platform.to_string();
            let again: Platform = printed
                .parse()
                .unwrap_or_else(|error| panic!("{printed:?}: {error}"));
            assert_eq!(again.to_string(), printed);
            assert!(
                platform.rank(&platform).is_some(),
                "{printed} does not suit itself"
            );
        }
        Err(error) => outcome.push_str(&shape(&error)),
    }
    match Manifest::parse(text, Path::new("plugin.toml")) {
        Ok(manifest) => outcome.push_str(&manifest.name.len().to_string()),
        Err(error) => outcome.push_str(&shape(&error)),
    }
    outcome
}
