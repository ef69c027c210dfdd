//! The filter language of lists.

use crate::error::Class;

/// The filter plugins that a list may name.
#[derive(Clone, Debug, Default)]
pub struct Plugins {}

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// It cannot be read.
    #[error("filters: parse error: {0}")]
    Parse(String),
}

impl FilterError {
    /// The class of this error.
    #[must_use]
    pub fn class(&self) -> Class {
        Class::InvalidArgument
    }
}
