//! Requests to the server, and what its answers mean.

use std::io::Read;
use std::rc::Rc;

use transom_sdk::storage::{Http, Request, Response, Sending, StorageError};

use crate::listing::{self, QUESTION, Resource};

/// Bytes of a list of a folder: some 400,000 entries.
const LIST_MAX: u64 = 256 << 20;

/// How often the server is asked that answers 500.
const ASKS: usize = 3;

/// The server, and the folder on it.
pub(crate) struct Server {
    http: Rc<dyn Http>,
    /// Without a slash at the end.
    url: String,
    /// The path of the URL, without escapes.
    root: String,
    authorization: Option<String>,
}

/// The header of Basic authentication.
pub(crate) fn basic(user: &str, password: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "Basic ".to_owned();
    for three in format!("{user}:{password}").as_bytes().chunks(3) {
        let bits = three
            .iter()
            .enumerate()
            .fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for letter in 0..4 {
            let six = (bits >> (18 - 6 * letter) & 63) as usize;
            text.push(if letter <= three.len() {
                char::from(LETTERS[six])
            } else {
                '='
            });
        }
    }
    text
}

impl Server {
    pub(crate) fn new(http: Rc<dyn Http>, url: &str, authorization: Option<String>) -> Option<Self> {
        let url = url.trim_end_matches('/');
        let rest = url
            .strip_prefix("https://")
            .or_else(|| url.strip_prefix("http://"))?;
        if rest.is_empty() || rest.contains(['?', '#', '@', ' ']) {
            return None;
        }
        Some(Self {
            http,
            root: listing::path(url),
            url: url.to_owned(),
            authorization,
        })
    }

    /// The URL of a path. Paths have no letter that would have to be escaped.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{}", self.url, if path == "/" { "" } else { path })
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> Request {
        let request = Request::new(method, self.url(path));
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    pub(crate) fn send(&self, request: &Request, body: &[u8]) -> Result<Response, StorageError> {
        self.http.send(request, body)
    }

    /// Sends a request that changes nothing, and again where the server failed: some do when content is replaced while they look.
    pub(crate) fn ask(&self, request: &Request, body: &[u8]) -> Result<Response, StorageError> {
        for _ in 1..ASKS {
            let answer = self.send(request, body)?;
            if answer.status != 500 {
                return Ok(answer);
            }
        }
        self.send(request, body)
    }

    pub(crate) fn upload(&self, path: &str, length: Option<u64>) -> Result<Box<dyn Sending>, StorageError> {
        self.http.upload(&self.request("PUT", path), length)
    }

    /// What the server says of a path, and of what is directly in it with a depth of 1. Paths are those of the driver.
    pub(crate) fn look(&self, path: &str, depth: u8) -> Result<Vec<Resource>, StorageError> {
        let mut request = self.request("PROPFIND", path);
        if depth > 0 {
            request.url.push('/');
        }
        let request = request
            .header("depth", depth.to_string())
            .header("content-type", "application/xml; charset=utf-8");
        let mut answer = self.ask(&request, QUESTION.as_bytes())?;
        // Some servers want a slash after a folder's name.
        if matches!(answer.status, 301 | 302 | 307 | 308) && depth == 0 {
            let mut request = request;
            request.url.push('/');
            answer = self.ask(&request, QUESTION.as_bytes())?;
        }
        if answer.status != 207 {
            return Err(meaning("look at", &answer));
        }
        let mut xml = String::new();
        answer.body.take(LIST_MAX).read_to_string(&mut xml)?;
        let mut resources = listing::read(&xml)?;
        // What is elsewhere, or has a name that no path has, is not seen.
        resources.retain_mut(|resource| match resource.path.strip_prefix(&self.root) {
            Some("") => {
                resource.path = "/".to_owned();
                true
            }
            Some(rest) if is_path(rest) => {
                resource.path = rest.to_owned();
                true
            }
            _ => false,
        });
        Ok(resources)
    }
}

/// Whether this is a path of a storage driver.
fn is_path(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let part =
        |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 240 && part.bytes().all(allowed);
    text.len() <= 900
        && text
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(part))
}

/// What the status of an answer means that is no success.
pub(crate) fn meaning(doing: &str, answer: &Response) -> StorageError {
    let retry_after = answer
        .header("retry-after")
        .and_then(|seconds| seconds.parse().ok());
    match answer.status {
        401 | 403 => StorageError::Denied(format!(
            "the server answered {} when asked to {doing} it",
            answer.status
        )),
        404 | 410 => StorageError::NotFound,
        413 => StorageError::Other("it is larger than the server takes".to_owned()),
        423 => StorageError::Busy,
        408 | 429 | 502 | 503 | 504 => StorageError::Unavailable {
            reason: format!("the server answered {}", answer.status),
            retry_after,
        },
        507 => StorageError::NoSpace,
        status => StorageError::Other(format!("the server answered {status} when asked to {doing} it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_authentication_is_base64() {
        for (user, password, text) in [
            ("Aladdin", "open sesame", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ("a", "b", "Basic YTpi"),
            ("a", "bc", "Basic YTpiYw=="),
            ("a", "bcd", "Basic YTpiY2Q="),
        ] {
            assert_eq!(basic(user, password), text);
        }
    }

    #[test]
    fn only_paths_are_paths() {
        assert!(is_path("/a/b.c/_-9"));
        for none in ["", "/", "a", "/a/", "/a//b", "/a/../b", "/a b", "/ä"] {
            assert!(!is_path(none), "{none}");
        }
    }
}
