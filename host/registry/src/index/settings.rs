//! `[index]` of the configuration.

use std::path::PathBuf;

use serde::Deserialize;

/// `[index]`: where the index is, and what it may rely on.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether there is one. Without this: with the filesystem driver, and where one of the other two is set.
    pub enabled: Option<bool>,
    /// Its folder, for this process alone. Without this: `index` in the folder `state`, or else `~index` in the folder of the
    /// filesystem driver.
    pub folder: Option<PathBuf>,
    /// Nobody but this process writes into the store while it runs: no other registry, and no `transom registry gc` by hand.
    pub only_writer: bool,
}
