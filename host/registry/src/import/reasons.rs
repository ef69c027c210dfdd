//! Why keys of docker-registry have nothing here that they could be translated into.

use super::tree::Node;

/// Keys by what they begin with; the first one that fits counts. Whether it matters stands beside the reason.
const REASONS: [(&str, bool, &str); 35] = [
    (
        "storage.cache",
        false,
        "tags, lists and what a blob is are in an index of this registry's own; there is no cache to configure",
    ),
    (
        "storage.tag.concurrencylimit",
        false,
        "to find the tags of a manifest is one look into the index",
    ),
    (
        "storage.maintenance.uploadpurging.dryrun",
        true,
        "to see what would be deleted, start a garbage collection with a dry run",
    ),
    ("storage.maintenance", true, "there is no such maintenance"),
    ("storage.delete", true, "there is no such setting of deletion"),
    ("storage.redirect", true, "there is no such setting of redirects"),
    (
        "storage",
        true,
        "the storage driver has no such parameter here; see docs/guides/storage-drivers.md",
    ),
    ("auth.htpasswd", true, "there is no such setting of passwords"),
    ("auth.token", true, "there is no such setting of tokens"),
    (
        "middleware.storage",
        true,
        "drivers that stand on others are configured as [storage]; there is none for this",
    ),
    (
        "middleware",
        true,
        "docker-registry's middleware is compiled into it",
    ),
    (
        "http.secret",
        false,
        "nothing that clients carry is signed, so there is no secret that several servers must share",
    ),
    (
        "http.prefix",
        true,
        "the API is at /v2/; let the proxy in front take the prefix away",
    ),
    (
        "http.tls.letsencrypt",
        true,
        "certificates are not fetched here: run an ACME client, whose new files are read as they come",
    ),
    (
        "http.tls.ciphersuites",
        true,
        "the cipher suites are those of rustls, none of which is weak",
    ),
    (
        "http.tls.clientauth",
        false,
        "without clientcas no certificate is asked for",
    ),
    ("http", true, "there is no such setting of the server"),
    ("notifications", true, "there is no such setting of notifications"),
    (
        "redis",
        false,
        "nothing is kept in Redis; the index is this registry's own",
    ),
    ("health.storagedriver", false, "the storage is always looked at"),
    (
        "health",
        true,
        "only the storage is looked at; let the monitoring watch files and other servers",
    ),
    (
        "proxy.exec",
        true,
        "no program is run for credentials; give username and password",
    ),
    (
        "proxy.cachewritetimeout",
        false,
        "a blob is served while it arrives; there is no time after which that ends",
    ),
    (
        "proxy",
        true,
        "there is no such setting of the pull-through cache",
    ),
    ("compatibility", true, "manifests of schema 1 are not taken"),
    (
        "validation.disabled",
        true,
        "what a manifest refers to is always looked for",
    ),
    (
        "validation.enabled",
        false,
        "what a manifest refers to is always looked for",
    ),
    (
        "validation.manifests",
        true,
        "addresses and platforms in manifests are not restricted",
    ),
    ("validation", true, "there is no such check of manifests"),
    (
        "policy.repository.classes",
        true,
        "repositories have no classes here; see [policy] for who may do what where",
    ),
    ("policy", true, "see [policy] for who may do what where"),
    (
        "log.hooks",
        true,
        "no mail is sent by the server; let the monitoring watch its log",
    ),
    (
        "log.fields",
        true,
        "lines have no fields of your own; let what collects them add some",
    ),
    (
        "log.reportcaller",
        false,
        "lines name the part of the program that wrote them",
    ),
    (
        "reporting",
        true,
        "nothing is reported to Bugsnag or New Relic; see [metrics]",
    ),
];

/// Why a key was left, and whether it matters.
pub(super) fn of(path: &str, node: &Node) -> (&'static str, bool) {
    let fits = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let known = REASONS.iter().find(|(prefix, ..)| fits(prefix));
    // What is switched off in docker-registry is not missed.
    let off = node.as_bool() == Some(false);
    match known {
        Some((_, matters, reason)) => (reason, *matters && !off),
        None => (
            "docker-registry has no such key, or only an old version of it",
            true,
        ),
    }
}
