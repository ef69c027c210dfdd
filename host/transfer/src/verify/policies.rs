//! Policies over what is known of an image: before it is pulled, and before it gets a name.
//!
//! What an expression sees: the name; digest, media type and size of what the name stands for; as annotations those of that
//! document and of the manifest for the platform; as labels those in the image's configuration; as platform the one that this is
//! for. `found` looks for all that.

use transom_meta::images::{Admission, Image};
use transom_meta::kv::Pending;
use transom_meta::policy::{Policies, Refusal};
use transom_meta::{Caller, Metadata};

use super::found;
use super::{Judgement, Subject, Verifier};

/// Policies that an image must meet to be pulled.
#[derive(Debug)]
pub struct PullPolicies(pub Policies);

/// Policies that an image must meet to get a name.
#[derive(Debug)]
pub struct ImagePolicies(pub Policies);

impl Verifier for PullPolicies {
    fn name(&self) -> &str {
        "policies"
    }

    fn verify<'a>(&'a self, subject: &'a Subject<'a>) -> Pending<'a, Result<Judgement, String>> {
        Box::pin(async move {
            let found = found::remote(subject).await.map_err(|error| error.to_string())?;
            match self.0.judge(found).await {
                Ok(()) => Ok(Judgement {
                    allowed: true,
                    reason: format!("{} policies hold", self.0.len()),
                }),
                Err(refusal @ Refusal::Broken { .. }) => Ok(Judgement {
                    allowed: false,
                    reason: refusal.to_string(),
                }),
                Err(refusal) => Err(refusal.to_string()),
            }
        })
    }
}

impl Admission for ImagePolicies {
    fn admit<'a>(
        &'a self,
        metadata: &'a Metadata,
        caller: &'a Caller,
        image: &'a Image,
    ) -> Pending<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let found = found::stored(metadata, caller, image).await;
            // Whatever cannot be read may say what nobody knows.
            let found = found.map_err(|error| Refusal::Unread {
                reason: error.to_string(),
            })?;
            let judged = self.0.judge(found).await;
            if let Err(refusal) = &judged {
                let (name, digest) = (&image.name, &image.target.digest);
                tracing::warn!(name, digest, %refusal, "an image is refused");
            }
            judged
        })
    }
}
