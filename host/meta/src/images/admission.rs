//! Who is asked before an image gets a name, or before a name stands for something else.

use std::fmt;

use super::{Image, object};
use crate::kv::Pending;
use crate::metadata::Inner;
use crate::policy::Refusal;
use crate::{Caller, Error, Metadata};

/// Decides which images there may be. What it does not know it must refuse.
pub trait Admission: Send + Sync + fmt::Debug + 'static {
    /// Whether it has anything to say now: if not, an update need not be looked at twice.
    fn asks(&self) -> bool {
        true
    }

    /// Decides about an image as it would be from now on. Its content may be there or not.
    ///
    /// # Errors
    /// Why it may not be.
    fn admit<'a>(
        &'a self,
        metadata: &'a Metadata,
        caller: &'a Caller,
        image: &'a Image,
    ) -> Pending<'a, Result<(), Refusal>>;
}

impl Inner {
    /// Whether somebody is asked at all.
    pub(super) fn asks(&self) -> bool {
        let admission = &self.options.admission;
        admission.as_ref().is_some_and(|admission| admission.asks())
    }
}

impl Metadata {
    /// Asks about an image; outside of any transaction, because it may take long.
    pub(super) async fn admit(&self, caller: &Caller, image: &Image) -> Result<(), Error> {
        let Some(admission) = &self.inner.options.admission else {
            return Ok(());
        };
        let admitted = admission.admit(self, caller, image).await;
        admitted.map_err(|refusal| Error::Refused {
            object: object(&image.name),
            refusal,
        })
    }
}
