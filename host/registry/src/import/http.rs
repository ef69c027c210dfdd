//! `http`.

use super::work::Work;
use super::{Origin, tree::Node};

pub(super) fn translate(work: &mut Work) {
    listen(work, "http.addr", "http.listen");
    match work.take("http.net") {
        Some(node) if node.as_text().as_deref() != Some("tcp") => {
            let reason = "only TCP is listened on; put a proxy in front for a Unix socket";
            work.note("http.net", &node.origin, reason, true);
        }
        _ => {}
    }
    let host = work.text("http.host");
    work.put_some("http.host", host);
    let relative = work.switch("http.relativeurls");
    work.put_some("http.relative_urls", relative);
    let drain = work.period("http.draintimeout");
    work.put_some("http.drain", drain);
    for header in work.keys("http.headers") {
        let values = work
            .take_in("http.headers", &header)
            .and_then(|node| node.as_texts());
        let values = values.map(|values| values.into_iter().map(toml::Value::from).collect::<Vec<_>>());
        work.put_in("http.headers", &header, values);
    }
    if work.switch("http.http2.disabled") == Some(true) {
        work.put("http.http2", false);
    }
    if work.switch("http.h2c.enabled") == Some(true) {
        work.put("http.h2c", true);
    }
    tls(work);
    debug(work);
}

/// An address in Go's form: `:5000` is every address.
fn listen(work: &mut Work, from: &str, to: &str) {
    let Some(node) = work.take(from) else {
        return;
    };
    let Some((host, port)) = node.as_text().as_deref().and_then(split) else {
        work.note(from, &node.origin, "it must be HOST:PORT", true);
        return;
    };
    let host = match host.as_str() {
        "" => "[::]".to_owned(),
        "localhost" => "127.0.0.1".to_owned(),
        host => {
            let address = host.trim_matches(['[', ']']);
            if address.parse::<std::net::IpAddr>().is_err() {
                let reason = "it must be an IP address: names are not looked up";
                work.note(from, &node.origin, reason, true);
                return;
            }
            host.to_owned()
        }
    };
    work.put(to, format!("{host}:{port}"));
}

fn split(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn tls(work: &mut Work) {
    for key in ["certificate", "key"] {
        let path = work.text(&format!("http.tls.{key}"));
        work.put_some(&format!("http.tls.{key}"), path);
    }
    let Some(node) = work.take("http.tls.clientcas") else {
        return minimum(work);
    };
    match node.as_texts().as_deref() {
        Some([]) => {}
        Some([path]) => {
            work.put("http.tls.client_ca", path.as_str());
            client_auth(work, &node.origin);
        }
        Some([first, ..]) => {
            work.put("http.tls.client_ca", first.as_str());
            let reason = "there is one file of authorities: put all of them into the first one";
            work.note("http.tls.clientcas", &node.origin, reason, true);
            client_auth(work, &node.origin);
        }
        None => work.note(
            "http.tls.clientcas",
            &node.origin,
            "it must be a list of files",
            true,
        ),
    }
    minimum(work);
}

/// Certificates are verified or not asked for.
fn client_auth(work: &mut Work, default: &Origin) {
    let node = work.take("http.tls.clientauth");
    let origin = node.as_ref().map_or(default, |node| &node.origin).clone();
    let mode = node.as_ref().and_then(Node::as_text);
    let required = match mode.as_deref() {
        None | Some("require-and-verify-client-cert") => true,
        Some("verify-client-cert-if-given") => false,
        Some(_) => {
            let reason =
                "certificates that are not verified say nothing: they are required and verified here";
            work.note("http.tls.clientauth", &origin, reason, true);
            true
        }
    };
    work.put("http.tls.client_required", required);
}

fn minimum(work: &mut Work) {
    let Some(node) = work.take("http.tls.minimumtls") else {
        return;
    };
    match node.as_text().as_deref() {
        Some("tls1.2") => {}
        Some("tls1.3") => {
            let reason = "TLS 1.2 is taken, too; it is not broken";
            work.note("http.tls.minimumtls", &node.origin, reason, true);
        }
        _ => {
            let reason = "TLS before 1.2 is broken and not spoken here";
            work.note("http.tls.minimumtls", &node.origin, reason, true);
        }
    }
}

/// The listener for operators is where metrics and health are.
fn debug(work: &mut Work) {
    listen(work, "http.debug.addr", "metrics.listen");
    if let Some(node) = work.take("http.debug.prometheus.enabled")
        && node.as_bool() == Some(false)
    {
        let reason = "where there is [metrics], there are metrics";
        work.note("http.debug.prometheus.enabled", &node.origin, reason, false);
    }
    match work.take("http.debug.prometheus.path") {
        Some(node) if node.as_text().as_deref() != Some("/metrics") => {
            let reason = "metrics are at /metrics: tell Prometheus";
            work.note("http.debug.prometheus.path", &node.origin, reason, true);
        }
        _ => {}
    }
}
