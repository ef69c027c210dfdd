//! `[plugins]` of the configuration.

use serde::Deserialize;

use crate::settings::Period;

/// `[plugins]`: how plugins are treated by whoever loads them for the registry.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Plugins {
    /// When one is suspended.
    pub breaker: Breaker,
}

/// `[plugins.breaker]`. What is not said is up to whoever loads plugins.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Crashes within `window` after which its calls are refused, beyond those that end well; 0 for never.
    pub crashes: Option<usize>,
    /// How long a crash counts.
    pub window: Option<Period>,
    /// How long calls are refused before one is let try.
    pub pause: Option<Period>,
}
