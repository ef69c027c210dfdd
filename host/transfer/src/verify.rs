//! Who is asked before an image is pulled, or gets a name. All must allow it.
//!
//! Read in this order: this file, [`programs`] (verifiers of containerd's, in a folder), [`policies`] (filter expressions over what is
//! `found` of the image).

mod found;
pub mod policies;
pub mod programs;

use std::fmt;
use std::sync::Arc;

use transom_client::Remote;
use transom_meta::kv::Pending;
use transom_oci::{Descriptor, Platform};

use crate::error::TransferError;
pub use policies::{ImagePolicies, PullPolicies};
pub use programs::Programs;

/// An image that may be pulled.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// As it was asked for.
    pub name: &'a str,
    /// What the name stands for.
    pub descriptor: &'a Descriptor,
    /// Where it is: for those who must know more.
    pub remote: &'a Remote,
    /// The platform that is wanted first, if one is.
    pub platform: Option<&'a Platform>,
}

/// What a verifier says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether the image may be pulled.
    pub allowed: bool,
    /// Why, or why not.
    pub reason: String,
}

/// Judges images.
pub trait Verifier: Send + Sync + fmt::Debug + 'static {
    /// Its name, for errors.
    fn name(&self) -> &str;

    /// Judges an image. An error is no judgement, and stops the pull as well.
    ///
    /// # Errors
    /// A text for people.
    fn verify<'a>(&'a self, subject: &'a Subject<'a>) -> Pending<'a, Result<Judgement, String>>;
}

/// All verifiers.
#[derive(Clone, Debug, Default)]
pub struct Verifiers(pub Vec<Arc<dyn Verifier>>);

impl Verifiers {
    /// Asks all, one after another.
    ///
    /// # Errors
    /// [`TransferError::Refused`], [`TransferError::Verifier`].
    pub async fn verify(&self, subject: &Subject<'_>) -> Result<(), TransferError> {
        for verifier in &self.0 {
            let (name, digest) = (subject.name.to_owned(), subject.descriptor.digest.clone());
            match verifier.verify(subject).await {
                Ok(Judgement {
                    allowed: true,
                    reason,
                }) => {
                    tracing::debug!(verifier = verifier.name(), name, %digest, reason, "an image is allowed");
                }
                Ok(Judgement { reason, .. }) => {
                    tracing::warn!(verifier = verifier.name(), name, %digest, reason, "an image is refused");
                    return Err(TransferError::Refused {
                        verifier: verifier.name().to_owned(),
                        name,
                        digest,
                        reason,
                    });
                }
                Err(reason) => {
                    return Err(TransferError::Verifier {
                        verifier: verifier.name().to_owned(),
                        name,
                        digest,
                        reason,
                    });
                }
            }
        }
        Ok(())
    }
}
