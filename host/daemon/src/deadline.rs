//! How long a client waits for an answer: `grpc-timeout` (gRPC over HTTP/2, "Requests").

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Sleep;
use tonic::Status;

/// The header.
const HEADER: &str = "grpc-timeout";

/// Digits that a value may have.
const DIGITS: usize = 8;

/// The end of a client's patience. Without one, or with one that cannot be read, it never comes.
pub(crate) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// What a request's headers say.
    pub(crate) fn of(headers: &HeaderMap) -> Deadline {
        let value = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let sleep = value
            .and_then(parse)
            .map(|time| Box::pin(tokio::time::sleep(time)));
        Deadline { sleep }
    }

    /// The status to answer with, once it has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        match &mut self.sleep {
            Some(sleep) => sleep
                .as_mut()
                .poll(cx)
                .map(|()| Status::deadline_exceeded("context deadline exceeded")),
            None => Poll::Pending,
        }
    }
}

fn parse(value: &str) -> Option<Duration> {
    let unit = value.len().checked_sub(1)?;
    let (digits, unit) = (value.get(..unit)?, value.get(unit..)?);
    let right = (1..=DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| right)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("3M"), Some(Duration::from_secs(180)));
        assert_eq!(parse("99999999S"), Some(Duration::from_secs(99_999_999)));
        assert_eq!(parse("4m"), Some(Duration::from_millis(4)));
        assert_eq!(parse("5u"), Some(Duration::from_micros(5)));
        assert_eq!(parse("0n"), Some(Duration::ZERO));
        for wrong in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "+1S",
            "1.5S",
            "123456789S",
            "1 S",
            "ä",
            "1ä",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
