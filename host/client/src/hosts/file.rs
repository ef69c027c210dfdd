//! `hosts.toml`, as containerd reads it; what containerd passes over in silence is a mistake here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use toml::Spanned;
use toml::de::DeValue;

use super::table::{self, File, Table, Value};
use super::{Authorities, Capabilities, Host, Hosts, Identity, Scheme};
use crate::{Error, Secret};

/// The keys that a host may have, at the top of the file and below `[host."…"]`.
const KEYS: &str = "capabilities, ca, client, skip_verify, header, override_path, dial_timeout, proxy";

/// The hosts in the order of the file, then `server`, then (without `server`) the registry itself.
pub(super) fn parse(path: &Path, text: &str, registry: &str, hosts: &Hosts) -> Result<Vec<Host>, Error> {
    let file = File { path, text };
    let mut top = Table::parse(&file)?;
    let mirrors = top.tables("host")?;
    let server = top.string("server")?;
    let mut all = Vec::new();
    for (name, table) in mirrors {
        all.push(host(hosts, registry, Some(&name), table)?);
    }
    all.push(host(hosts, registry, server.as_ref(), top)?);
    Ok(all)
}

/// One host; without a name it is the registry's own.
fn host(
    hosts: &Hosts,
    registry: &str,
    name: Option<&Spanned<String>>,
    mut table: Table<'_>,
) -> Result<Host, Error> {
    let file = table.file;
    let override_path = table.boolean("override_path")?.unwrap_or(false);
    let mut host = hosts.usual(registry);
    if let Some(name) = name {
        let (scheme, authority, path) = address(file, name, override_path)?;
        if authority != host.authority {
            host.mirror_of = (authority != registry).then(|| registry.to_owned());
        }
        (host.scheme, host.authority, host.path) = (scheme, authority, path);
        host.skip_verify = hosts.skip_verify;
    }
    if let Some(value) = table.take("capabilities") {
        host.capabilities = capabilities(file, value)?;
    }
    if let Some(value) = table.take("ca") {
        let paths = table::texts(file, "ca", value)?;
        let read = |path: &Spanned<String>| {
            named(
                file,
                path.span().start,
                Authorities::read(&file.beside(path.get_ref())),
            )
        };
        host.authorities = paths.iter().map(read).collect::<Result<_, _>>()?;
        host.secured();
    }
    if let Some(value) = table.take("client") {
        host.identities = identities(file, value)?;
        host.secured();
    }
    if let Some(skip) = table.boolean("skip_verify")? {
        host.skip_verify = skip;
        // Without certificates to look at it only makes sense over TLS, which containerd then tries first.
        if host.scheme == Scheme::Http && super::port(&host.authority) != Some(80) {
            host.scheme = Scheme::Either;
        }
    }
    if let Some(value) = table.take("header") {
        host.headers
            .extend(headers(table::table(file, "header", value)?)?);
    }
    if let Some(text) = table.string("dial_timeout")? {
        let time = duration(text.get_ref());
        let reason = "want a time such as \"1s\", \"500ms\" or \"1m30s\"";
        host.dial_timeout = Some(time.ok_or_else(|| file.mistake(text.span().start, reason))?);
    }
    if let Some(text) = table.string("proxy")? {
        host.proxy = Some(proxy(file, &text)?);
    }
    match table.entries().first() {
        None => Ok(host),
        Some((key, _)) => Err(file.mistake(
            key.span().start,
            format!("unknown key {:?}: want {KEYS}", key.get_ref()),
        )),
    }
}

/// Scheme, host and path of the API, from `https://mirror.example:5000/path`.
fn address(
    file: &File<'_>,
    name: &Spanned<String>,
    override_path: bool,
) -> Result<(Scheme, String, String), Error> {
    let wrong = |reason: &str| {
        let text = format!("{:?} is not a host: {reason}", name.get_ref());
        file.mistake(name.span().start, text)
    };
    let text = name.get_ref();
    if text.contains('@') {
        // Not repeated.
        let reason = "a host has no user and password: they belong into config.json";
        return Err(file.mistake(name.span().start, reason));
    }
    let whole = if text.contains("://") {
        text.clone()
    } else {
        format!("https://{text}")
    };
    let uri: Uri = whole
        .parse()
        .map_err(|_| wrong("want https://name or http://name, maybe with :port and /path"))?;
    let scheme = match uri.scheme_str() {
        Some("https") => Scheme::Https,
        Some("http") => Scheme::Http,
        _ => return Err(wrong("it begins with https:// or http://")),
    };
    let authority = uri
        .authority()
        .map(http::uri::Authority::as_str)
        .unwrap_or_default();
    if authority.is_empty() {
        return Err(wrong("the name is missing"));
    }
    if uri.query().is_some() {
        return Err(wrong("it has no query"));
    }
    let mut path = uri.path().trim_end_matches('/').to_owned();
    if !override_path && !path.ends_with("/v2") {
        path.push_str("/v2");
    }
    Ok((scheme, authority.to_owned(), path))
}

fn capabilities(file: &File<'_>, value: Value<'_>) -> Result<Capabilities, Error> {
    let mut found = Capabilities {
        pull: false,
        resolve: false,
        push: false,
    };
    let names = table::texts(file, "capabilities", value)?;
    if names.is_empty() {
        return Ok(Capabilities::ALL);
    }
    for name in names {
        match name.get_ref().to_ascii_lowercase().as_str() {
            "pull" => found.pull = true,
            "resolve" => found.resolve = true,
            "push" => found.push = true,
            other => {
                let reason = format!("unknown capability {other:?}: want pull, resolve or push");
                return Err(file.mistake(name.span().start, reason));
            }
        }
    }
    Ok(found)
}

/// A path, a list of paths, or a list of pairs of paths; an empty second path is none.
fn identities(file: &File<'_>, value: Value<'_>) -> Result<Vec<Identity>, Error> {
    let at = value.span().start;
    let read = |certificate: &str, key: Option<PathBuf>, at: usize| {
        named(
            file,
            at,
            Identity::read(&file.beside(certificate), key.as_deref()),
        )
    };
    let values = match value.into_inner() {
        DeValue::String(path) => return Ok(vec![read(&path, None, at)?]),
        DeValue::Array(values) => values,
        _ => return Err(file.mistake(at, "client is a path, or a list of paths or of pairs of paths")),
    };
    let mut found = Vec::new();
    for value in values {
        let at = value.span().start;
        let paths = table::texts(file, "client", value)?;
        let identity = match paths.as_slice() {
            [certificate] => read(certificate.get_ref(), None, at)?,
            [certificate, key] => {
                let key = Some(key.get_ref()).filter(|key| !key.is_empty());
                read(certificate.get_ref(), key.map(|key| file.beside(key)), at)?
            }
            _ => return Err(file.mistake(at, "a pair of paths has a certificate and a key")),
        };
        found.push(identity);
    }
    Ok(found)
}

fn headers(table: Table<'_>) -> Result<HeaderMap, Error> {
    let file = table.file;
    let mut headers = HeaderMap::new();
    for (key, value) in table.entries() {
        let name = HeaderName::from_bytes(key.get_ref().as_bytes());
        let name = name.map_err(|_| {
            file.mistake(
                key.span().start,
                format!("{:?} is not a header's name", key.get_ref()),
            )
        })?;
        for text in table::texts(file, key.get_ref(), value)? {
            // Not repeated: it may be a secret.
            let mut value = HeaderValue::from_str(text.get_ref())
                .map_err(|_| file.mistake(text.span().start, "not the value of a header"))?;
            value.set_sensitive(true);
            headers.append(name.clone(), value);
        }
    }
    Ok(headers)
}

fn proxy(file: &File<'_>, text: &Spanned<String>) -> Result<Secret, Error> {
    let url = reqwest::Url::parse(text.get_ref()).ok();
    let fits = url.is_some_and(|url| {
        matches!(url.scheme(), "http" | "https" | "socks5" | "socks5h")
            && url.has_host()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if fits {
        Ok(Secret::new(text.get_ref().as_str()))
    } else {
        let reason =
            "want a proxy such as \"http://proxy:8080\": http, https, socks5 or socks5h, and no path";
        Err(file.mistake(text.span().start, reason))
    }
}

/// Go's durations, as far as anybody waits for a connection: `300ms`, `1.5s`, `1m30s`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (amount, tail) = rest.split_at(number);
        let (unit, seconds) = [
            ("ms", 0.001),
            ("us", 0.000_001),
            ("µs", 0.000_001),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ]
        .into_iter()
        .find(|(unit, _)| tail.starts_with(unit))?;
        let amount: f64 = amount.parse().ok()?;
        total += Duration::try_from_secs_f64(amount * seconds).ok()?;
        rest = &tail[unit.len()..];
    }
    (total > Duration::ZERO).then_some(total)
}

/// A mistake in a file that this one names, at the line that names it.
fn named<T>(file: &File<'_>, at: usize, result: Result<T, Error>) -> Result<T, Error> {
    result.map_err(|error| file.mistake(at, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gos() {
        for (text, millis) in [
            ("300ms", 300),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "5", "s", "1x", "-1s", "0s", "1e9s", "1..2s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
