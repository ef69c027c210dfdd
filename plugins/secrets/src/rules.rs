//! What a secret looks like: a literal that starts it, and what must follow.
//!
//! Precision comes before recall: a scanner that cries wolf over every copy of a TLS library is switched off.

use std::borrow::Cow;

use regex::bytes::Regex;
use transom_sdk::Severity;

/// Bytes after the start of a candidate that a rule may look at.
pub(crate) const LOOKAHEAD: usize = 1024;

/// One kind of secret.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// Its name in findings.
    pub(crate) name: Cow<'static, str>,
    /// What it starts with.
    pub(crate) literal: Cow<'static, [u8]>,
    /// How much it matters.
    pub(crate) severity: Severity,
    /// What it is, for a person.
    pub(crate) message: Cow<'static, str>,
    /// What must follow the literal.
    pub(crate) follows: Follows,
}

/// What must follow a rule's literal.
#[derive(Clone, Debug)]
pub(crate) enum Follows {
    /// This many bytes of a class and then none of them.
    Exactly(usize, Class),
    /// At least this many bytes of a class.
    AtLeast(usize, Class),
    /// The rest of a PEM header for a private key, and a first line of the key.
    PrivateKey,
    /// The rest of a token's first part, a dot, and the start of the second.
    Token,
    /// A pattern of the operator's, which begins with the literal itself.
    Pattern(Box<Regex>),
}

/// A kind of bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Class {
    /// Upper-case letters and digits.
    Upper,
    /// Letters and digits.
    Alphanumeric,
    /// Letters, digits, `_` and `-`.
    Url,
}

impl Class {
    fn has(self, byte: u8) -> bool {
        match self {
            Class::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Class::Alphanumeric => byte.is_ascii_alphanumeric(),
            Class::Url => byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-',
        }
    }

    fn run(self, bytes: &[u8]) -> usize {
        bytes.iter().take_while(|byte| self.has(**byte)).count()
    }
}

const fn rule(
    name: &'static str,
    literal: &'static [u8],
    severity: Severity,
    message: &'static str,
    follows: Follows,
) -> Rule {
    Rule {
        name: Cow::Borrowed(name),
        literal: Cow::Borrowed(literal),
        severity,
        message: Cow::Borrowed(message),
        follows,
    }
}

use Class::{Alphanumeric, Upper, Url};
use Follows::{AtLeast, Exactly, Pattern, PrivateKey, Token};
use Severity::{Critical, Warning};

const GITHUB: &str = "a token for GitHub";
const JWT: &str = "a JSON web token";

/// The rules that come with the plugin. Every literal has at least [`SHORTEST`](crate::search::SHORTEST) bytes.
pub(crate) static RULES: [Rule; 19] = [
    rule(
        "private-key",
        b"-----BEGIN ",
        Critical,
        "a private key",
        PrivateKey,
    ),
    rule(
        "aws-access-key",
        b"AKIA",
        Critical,
        "an access key for AWS",
        Exactly(16, Upper),
    ),
    rule(
        "aws-access-key",
        b"ASIA",
        Warning,
        "a temporary access key for AWS",
        Exactly(16, Upper),
    ),
    rule(
        "github-token",
        b"ghp_",
        Critical,
        GITHUB,
        Exactly(36, Alphanumeric),
    ),
    rule(
        "github-token",
        b"gho_",
        Critical,
        GITHUB,
        Exactly(36, Alphanumeric),
    ),
    rule(
        "github-token",
        b"ghu_",
        Critical,
        GITHUB,
        Exactly(36, Alphanumeric),
    ),
    rule(
        "github-token",
        b"ghs_",
        Critical,
        GITHUB,
        Exactly(36, Alphanumeric),
    ),
    rule(
        "github-token",
        b"ghr_",
        Critical,
        GITHUB,
        Exactly(36, Alphanumeric),
    ),
    rule("github-token", b"github_pat_", Critical, GITHUB, AtLeast(60, Url)),
    rule(
        "gitlab-token",
        b"glpat-",
        Critical,
        "a token for GitLab",
        AtLeast(20, Url),
    ),
    rule(
        "slack-token",
        b"xoxb-",
        Critical,
        "a token for Slack",
        AtLeast(24, Url),
    ),
    rule(
        "slack-token",
        b"xoxp-",
        Critical,
        "a token for Slack",
        AtLeast(24, Url),
    ),
    rule(
        "stripe-key",
        b"sk_live_",
        Critical,
        "a live key for Stripe",
        AtLeast(24, Alphanumeric),
    ),
    rule(
        "google-api-key",
        b"AIza",
        Warning,
        "an API key for Google",
        Exactly(35, Url),
    ),
    rule(
        "npm-token",
        b"npm_",
        Critical,
        "a token for npm",
        Exactly(36, Alphanumeric),
    ),
    // The starts of {"alg":, {"typ":, {"kid": and {"cty": in base64.
    rule("json-web-token", b"eyJhbGci", Warning, JWT, Token),
    rule("json-web-token", b"eyJ0eXAi", Warning, JWT, Token),
    rule("json-web-token", b"eyJraWQi", Warning, JWT, Token),
    rule("json-web-token", b"eyJjdHki", Warning, JWT, Token),
];

impl Rule {
    /// Whether `window`, which starts with the literal, is a secret. `before` is the byte before it, if there is one. Only the
    /// first [`LOOKAHEAD`] bytes count, so that the answer does not depend on how the file is cut.
    pub(crate) fn fits(&self, before: Option<u8>, window: &[u8]) -> bool {
        let window = &window[..window.len().min(LOOKAHEAD)];
        let rest = &window[self.literal.len()..];
        let starts_a_word = before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'_');
        match &self.follows {
            &Exactly(count, class) => {
                starts_a_word && class.run(rest) == count && !rest[..count].ends_with(b"EXAMPLE")
            }
            &AtLeast(count, class) => starts_a_word && class.run(rest) >= count,
            PrivateKey => private_key(rest),
            Token => starts_a_word && token(rest),
            Pattern(pattern) => pattern.is_match(window),
        }
    }
}

/// `[KIND ]PRIVATE KEY[ BLOCK]-----`, the end of the line (or an escaped one, as in JSON), and then either a header line or 40
/// characters of base64. Programs hold the first line of a key as text, and only keys hold the second.
fn private_key(rest: &[u8]) -> bool {
    let kind = rest
        .iter()
        .take(24)
        .take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b' ');
    let label = &rest[..kind.count()];
    let label = label.strip_suffix(b" BLOCK").unwrap_or(label);
    if !label.ends_with(b"PRIVATE KEY") {
        return false;
    }
    let after = &rest[rest.iter().take_while(|byte| **byte != b'-').count()..];
    let Some(after) = after.strip_prefix(b"-----") else {
        return false;
    };
    let lines = [&b"\r\n"[..], b"\n", b"\\r\\n", b"\\n"];
    let Some(body) = lines.iter().find_map(|line| after.strip_prefix(*line)) else {
        return false;
    };
    if [&b"Proc-Type:"[..], b"Version:", b"Comment:"]
        .iter()
        .any(|header| body.starts_with(header))
    {
        return true;
    }
    let base64 = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    let body = body.iter().skip_while(|byte| byte.is_ascii_whitespace());
    body.take_while(base64).count() >= 40
}

fn token(rest: &[u8]) -> bool {
    let header = Url.run(rest);
    rest[header..]
        .strip_prefix(b".eyJ")
        .is_some_and(|payload| Url.run(payload) >= 8)
}
