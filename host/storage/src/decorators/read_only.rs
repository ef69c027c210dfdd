//! Nothing can be changed.

use std::sync::Arc;

use super::intercept::{Call, Intercepted, Interceptor};
use crate::driver::{Capabilities, Pending};
use crate::{Error, StorageDriver};

#[derive(Debug)]
struct ReadOnly(String);

/// `inner` without what changes it: [`Error::Denied`].
#[must_use]
pub fn read_only(inner: Arc<dyn StorageDriver>) -> Arc<dyn StorageDriver> {
    let name = inner.name().to_owned();
    Arc::new(Intercepted::new(inner, Arc::new(ReadOnly(name))))
}

impl Interceptor for ReadOnly {
    fn capabilities(&self, inner: Capabilities) -> Capabilities {
        Capabilities {
            put_if_absent: false,
            ..inner
        }
    }

    fn once<'a, T: Send + 'a>(&'a self, call: Call<'a>, run: Pending<'a, T>) -> Pending<'a, T> {
        if !call.action.changes() {
            return run;
        }
        let error = Error::Denied {
            driver: self.0.clone().into(),
            path: call.path.clone(),
            reason: "the storage is read-only".to_owned(),
        };
        Box::pin(async move { Err(error) })
    }
}
