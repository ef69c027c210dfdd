//! What an answer other than the expected means.

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::answer::Answer;
use super::wire::{Trouble, host_of};
use crate::error::shortened;
use crate::{Error, limits};

#[derive(Debug, Deserialize)]
struct Errors {
    #[serde(default)]
    errors: Vec<One>,
    /// OAuth 2 and some token servers.
    #[serde(default)]
    error_description: String,
    #[serde(default)]
    details: String,
}

#[derive(Debug, Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Reads what an answer says, and what it means. The registry's own detail is left out: it repeats requests.
pub(crate) async fn trouble(what: &str, mut answer: Answer) -> Trouble {
    let (status, host) = (answer.status(), host_of(answer.url()));
    let after = retry_after(answer.headers());
    let body = answer.read_some(limits::ERROR_BYTES).await;
    let (code, reason) = message(&body);
    let what = what.to_owned();
    let error = match status {
        StatusCode::UNAUTHORIZED => Error::Unauthorized { host, what, reason },
        StatusCode::FORBIDDEN => Error::Denied { host, what, reason },
        StatusCode::NOT_FOUND => Error::NotFound { host, what, reason },
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
            Error::Unsupported { host, what, reason }
        }
        _ if code == "UNSUPPORTED" => Error::Unsupported { host, what, reason },
        _ if code == "DENIED" => Error::Denied { host, what, reason },
        StatusCode::TOO_MANY_REQUESTS => Error::Busy {
            host,
            retry_after: after,
        },
        status => Error::Status {
            host,
            what,
            status: status.as_u16(),
            code,
            reason,
        },
    };
    let again = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    if again {
        Trouble::Again { error, after }
    } else {
        Trouble::Never(error)
    }
}

/// The first code, and all messages.
fn message(body: &[u8]) -> (String, String) {
    let Ok(found) = serde_json::from_slice::<Errors>(body) else {
        return (String::new(), String::new());
    };
    let code = found
        .errors
        .first()
        .map(|one| shortened(&one.code))
        .unwrap_or_default();
    let mut texts: Vec<&str> = found.errors.iter().map(|one| one.message.as_str()).collect();
    texts.extend([found.error_description.as_str(), found.details.as_str()]);
    texts.retain(|text| !text.is_empty());
    let reason = if texts.is_empty() {
        code.clone()
    } else {
        shortened(&texts.join("; "))
    };
    (code, reason)
}

/// Seconds, or a date; one that is past means now.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found() {
        let read = |text: &str| message(text.as_bytes());
        let (code, reason) = read(
            r#"{"errors":[{"code":"DENIED","message":"no\nway","detail":{"secret":1}},{"message":"b"}]}"#,
        );
        assert_eq!((code.as_str(), reason.as_str()), ("DENIED", "no way; b"));
        assert_eq!(read(r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#).1, "NAME_UNKNOWN");
        assert_eq!(read(r#"{"error":"x","error_description":"why"}"#).1, "why");
        for text in ["", "<html>", "[]", "{\"errors\":7}"] {
            assert_eq!(read(text), (String::new(), String::new()), "{text}");
        }
    }

    #[test]
    fn a_registry_may_name_seconds_or_a_date() {
        let read = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            retry_after(&headers)
        };
        assert_eq!(read(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let later = SystemTime::now() + Duration::from_secs(100);
        let seconds = read(&httpdate::fmt_http_date(later)).unwrap().as_secs();
        assert!((90..=100).contains(&seconds), "{seconds}");
        for text in ["", "soon", "-1", "1.5"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
