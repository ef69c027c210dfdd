//! A registry as one end of a transfer.

use std::fmt;

use transom_client::{Client, Reference, Remote};

use crate::error::TransferError;

/// An image in a registry.
#[derive(Clone, Debug)]
pub struct Registry {
    client: Client,
    reference: Reference,
    /// As it was written.
    name: String,
}

impl Registry {
    /// An image by its whole name, which a client reaches.
    ///
    /// # Errors
    /// [`TransferError::Registry`] if that is no name.
    pub fn new(client: Client, name: &str) -> Result<Registry, TransferError> {
        Ok(Registry {
            client,
            reference: name.parse().map_err(Box::new)?,
            name: name.to_owned(),
        })
    }

    /// What the image is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, taken apart.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Its repository.
    ///
    /// # Errors
    /// [`TransferError::Registry`] for mistakes in the settings of its hosts.
    pub fn remote(&self) -> Result<Remote, TransferError> {
        Ok(self.client.remote(&self.reference.repository).map_err(Box::new)?)
    }
}

/// As containerd calls it in events.
impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OCI Registry ({})", self.name)
    }
}
