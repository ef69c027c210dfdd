//! What the errors of object stores mean.

use crate::{Error, StoragePath};

/// Makes an [`Error`] of one of the crate's.
pub(super) fn failed(
    driver: &'static str,
    doing: &'static str,
    path: &StoragePath,
) -> impl Fn(object_store::Error) -> Error + Send + use<> {
    let path = path.clone();
    move |error| meaning(driver, doing, &path, error)
}

fn meaning(
    driver: &'static str,
    doing: &'static str,
    path: &StoragePath,
    error: object_store::Error,
) -> Error {
    use object_store::Error as Store;
    let (driver, path) = (driver.into(), path.clone());
    match error {
        Store::NotFound { .. } => Error::NotFound { driver, path },
        Store::AlreadyExists { .. } | Store::Precondition { .. } => Error::AlreadyExists { driver, path },
        Store::PermissionDenied { source, .. } | Store::Unauthenticated { source, .. } => Error::Denied {
            driver,
            path,
            reason: source.to_string(),
        },
        Store::NotSupported { .. } | Store::NotImplemented { .. } => Error::Unsupported {
            driver,
            what: doing.into(),
        },
        Store::Generic { source, .. } => {
            let text = chain(&*source);
            match kind(&text) {
                Some(Said::Full) => Error::NoSpace { driver, path },
                Some(Said::Later) => Error::Unavailable {
                    driver,
                    reason: text,
                    retry_after: None,
                },
                None => Error::Other {
                    driver,
                    doing,
                    path,
                    source,
                },
            }
        }
        error => Error::Other {
            driver,
            doing,
            path,
            source: error.into(),
        },
    }
}

enum Said {
    Full,
    Later,
}

/// What a text says. The crate has no types for it: it keeps the HTTP status and the store's code in the text.
fn kind(text: &str) -> Option<Said> {
    const FULL: [&str; 4] = [
        "507 Insufficient Storage",
        "XMinioStorageFull",
        "QuotaExceeded",
        "StorageFull",
    ];
    const LATER: [&str; 12] = [
        "429 Too Many Requests",
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
        "504 Gateway Timeout",
        "SlowDown",
        "InternalError",
        "RequestTimeout",
        "error sending request",
        "timed out",
        "connection",
        "error decoding response body",
    ];
    if FULL.iter().any(|part| text.contains(part)) {
        return Some(Said::Full);
    }
    LATER
        .iter()
        .any(|part| text.contains(part))
        .then_some(Said::Later)
}

/// An error's text with those of its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> Error {
        let path = StoragePath::new("/a").unwrap();
        let (store, source) = ("S3", text.into());
        meaning(
            "s3",
            "write",
            &path,
            object_store::Error::Generic { store, source },
        )
    }

    #[test]
    fn what_a_store_says_has_a_meaning() {
        for text in [
            "Error performing PUT http://h/b/k in 1ms - Server returned non-2xx status code: 503 Service Unavailable: ",
            "Server returned error response: <Error><Code>SlowDown</Code></Error>",
            "HTTP error: error sending request for url (http://127.0.0.1:1/b)",
        ] {
            assert!(error(text).is_temporary(), "{text}");
        }
        let full = error("non-2xx status code: 507 Insufficient Storage: <Code>XMinioStorageFull</Code>");
        assert!(matches!(full, Error::NoSpace { .. }), "{full}");
        let other = error("non-2xx status code: 400 Bad Request: <Code>InvalidArgument</Code>");
        assert!(matches!(other, Error::Other { .. }), "{other}");
    }
}
