//! `log`, `proxy`, `catalog`, `tags`, `validation`.

use super::work::Work;

pub(super) fn translate(work: &mut Work) {
    log(work);
    proxy(work);
    let page = work.integer("catalog.maxentries");
    work.put_some("limits.catalog_page", page);
    let page = work.integer("tags.maxtags");
    work.put_some("limits.tags_page", page);
    platforms(work);
}

/// Which manifests of an index must be here: all, none, or those of some platforms.
fn platforms(work: &mut Work) {
    let key = "validation.manifests.indexes.platforms";
    let Some(node) = work.take(key) else {
        return;
    };
    match node.as_text().as_deref() {
        Some("all") => {}
        Some("none") => work.put("manifests.sparse_indexes", true),
        _ => {
            let reason = "all manifests of an index must be here, or, with manifests.sparse_indexes, any";
            work.note(key, &node.origin, reason, true);
        }
    }
}

fn log(work: &mut Work) {
    // `loglevel` is what it was called at first.
    for key in ["loglevel", "log.level"] {
        let Some(node) = work.take(key) else {
            continue;
        };
        let level = match node.as_text().unwrap_or_default().to_lowercase().as_str() {
            "panic" | "fatal" | "error" => "error",
            "warn" | "warning" => "warn",
            "info" => "info",
            "debug" => "debug",
            "trace" => "trace",
            _ => {
                let reason = "it must be error, warn, info, debug or trace";
                work.note(key, &node.origin, reason, true);
                continue;
            }
        };
        work.put("log.level", level);
    }
    if let Some(node) = work.take("log.formatter") {
        let format = match node.as_text().as_deref() {
            Some("text") => "text",
            Some("json") => "json",
            _ => {
                let reason = "lines are written as text or as JSON: JSON is chosen";
                work.note("log.formatter", &node.origin, reason, true);
                "json"
            }
        };
        work.put("log.format", format);
    }
    if let Some(disabled) = work.switch("log.accesslog.disabled") {
        work.put("log.access", !disabled);
    }
}

/// docker-registry has one upstream, for all names.
fn proxy(work: &mut Work) {
    let Some(url) = work.text("proxy.remoteurl") else {
        return;
    };
    let mut proxy = toml::Table::new();
    proxy.insert("prefix".to_owned(), "".into());
    proxy.insert("upstream".to_owned(), url.into());
    for key in ["username", "password"] {
        if let Some(text) = work.text(&format!("proxy.{key}")) {
            proxy.insert(key.to_owned(), text.into());
        }
    }
    if let Some(ttl) = work.period("proxy.ttl") {
        proxy.insert("ttl".to_owned(), ttl.into());
    }
    work.put("proxy", vec![toml::Value::from(proxy)]);
}
