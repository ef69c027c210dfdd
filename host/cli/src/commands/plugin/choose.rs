//! From the tags of a repository to the newest version that is wanted and runs here.

use transom_client::Remote;
use transom_oci::{Descriptor, Manifest};
use transom_plugin::artifact::{self, CONFIG};
use transom_plugin::installed::resolve;

use crate::failure::{Failure, Kind};
use crate::limits;

/// The newest version in a range that this host can run, and its tag. Only the small configuration is fetched of those that are
/// looked at.
pub(super) async fn newest(remote: &Remote, range: Option<&str>) -> Result<(Descriptor, String), Failure> {
    let text = range.unwrap_or(resolve::ANY);
    let range = resolve::range(text).map_err(Failure::usage)?;
    let tags = remote.all_tags().await?;
    let candidates = resolve::candidates(&tags, &range);
    let name = remote.repository();
    if candidates.is_empty() {
        let are_versions = tags.iter().filter(|tag| !tag.ends_with(".sig"));
        let shown: Vec<&str> = are_versions
            .take(limits::TAGS_SHOWN)
            .map(String::as_str)
            .collect();
        return Err(Failure::new(
            Kind::NotFound,
            format!(
                "{name} has no version in {text:?}; its tags are {}",
                shown.join(", ")
            ),
        ));
    }
    let mut first: Option<Failure> = None;
    for (version, tag) in candidates.into_iter().take(limits::VERSIONS_TRIED) {
        let fetched = remote.manifest(&tag).await?;
        match check(remote, &fetched.bytes).await {
            Ok(()) => return Ok((fetched.descriptor, tag)),
            Err(failure) => {
                tracing::info!(%version, reason = failure.message(), "not this one");
                first.get_or_insert(failure.about(version));
            }
        }
    }
    Err(match first {
        Some(failure) => failure.about(format_args!("no version of {name} in {text:?} runs here")),
        None => Failure::new(Kind::NotFound, format!("{name} has no version")),
    })
}

/// Whether the interfaces that an artifact lists are offered here. One that lists none is looked at when it is loaded.
async fn check(remote: &Remote, manifest: &[u8]) -> Result<(), Failure> {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(manifest) else {
        return Ok(());
    };
    let config = manifest.config;
    if config.media_type != CONFIG || config.size > transom_oci::limits::CONFIG_BYTES_MAX {
        return Ok(());
    }
    let mut bytes = Vec::new();
    let mut reader = remote.blob(&config)?;
    while let Some(chunk) = reader.chunk().await? {
        bytes.extend(chunk);
    }
    Ok(artifact::check_config(&bytes)?)
}
