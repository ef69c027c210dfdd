//! Installed plugins: where they are, whom the operator trusts with them, and how one is loaded.

use std::path::Path;

use transom_oci::Digest;
use transom_plugin::artifact::Policy;
use transom_plugin::installed::Installed;
use transom_plugin::{Host, Loaded};

use crate::arguments::{PluginFolder, Trusted};
use crate::failure::Failure;
use crate::places;

/// The policy of the flags, else this machine's or user's; one that demands nothing if there is none.
pub(crate) fn policy(flags: &Trusted) -> Result<Policy, Failure> {
    match (&flags.trust, places::trust()) {
        (Some(file), _) => Ok(Policy::read(file)?),
        (None, Some(file)) if file.exists() => Ok(Policy::read(&file)?),
        _ => Ok(Policy::default()),
    }
}

/// The folder of the flags, else this machine's or user's.
pub(crate) fn folder(flags: &PluginFolder) -> Result<Installed, Failure> {
    let folder = flags.plugins.clone().or_else(places::plugins);
    let folder = folder.ok_or_else(|| {
        Failure::usage("no folder of plugins: HOME is not set; name one with --plugins DIR")
    })?;
    Ok(Installed::open(&folder)?)
}

/// The name of an installed plugin, and the digest that it is pinned to, if that is what was typed: no path looks so.
pub(crate) fn name(path: &Path) -> Option<(&str, Option<&str>)> {
    let text = path.to_str().filter(|_| !path.exists())?;
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    is_name.then_some((name, digest))
}

/// Loads an installed plugin, checked against the policy as it was when it was installed.
pub(crate) fn load(
    host: &Host,
    installed: &Installed,
    policy: &Policy,
    (name, digest): (&str, Option<&str>),
) -> Result<Loaded, Failure> {
    let digest: Option<Digest> = digest
        .map(str::parse)
        .transpose()
        .map_err(|error: transom_oci::DigestError| Failure::usage(error.to_string()))?;
    let (artifact, signatures) = installed.load(name, digest.as_ref())?;
    let admitted = policy
        .admit(host, &artifact, &signatures)
        .map_err(|error| Failure::from(error).about(name))?;
    Ok(admitted.plugin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path() {
        let digest = "sha256:0";
        assert_eq!(name(Path::new("xz")), Some(("xz", None)));
        assert_eq!(
            name(Path::new("secret-scan@sha256:0")),
            Some(("secret-scan", Some(digest)))
        );
        for path in ["xz.wasm", "./xz", "plugins/xz", "/tmp", "src", "Xz", ""] {
            assert_eq!(name(Path::new(path)), None, "{path}");
        }
    }
}
