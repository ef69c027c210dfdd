use std::collections::BTreeMap;

use super::*;
use crate::config::Config;

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn imported(yaml: &str, pairs: &[(&str, &str)]) -> Imported {
    import(yaml, &variables(pairs)).unwrap()
}

fn table(imported: &Imported) -> toml::Table {
    toml::from_str(&imported.toml).unwrap()
}

/// The result as the registry reads it.
fn config(imported: &Imported) -> Config {
    Config::parse(&imported.toml).unwrap()
}

/// A value of the result, by its path.
fn at(imported: &Imported, path: &str) -> Option<toml::Value> {
    let root = toml::Value::from(table(imported));
    path.split('.')
        .try_fold(&root, |value, part| match part.parse::<usize>() {
            Ok(index) => value.get(index),
            Err(_) => value.get(part),
        })
        .cloned()
}

/// What was left, of what matters.
fn lost(imported: &Imported) -> Vec<String> {
    let matter = imported.untranslated.iter().filter(|entry| entry.matters);
    matter
        .map(|entry| format!("{}: {}", entry.origin, entry.key))
        .collect()
}

/// Debian's file.
const DEBIAN: &str = "\
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/docker-registry
  delete:
    enabled: true
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
";

#[test]
fn debians_configuration() {
    let imported = imported(DEBIAN, &[]);
    let expected: toml::Table = toml::from_str(
        r#"
        [delete]
        enabled = true
        [http]
        listen = "[::]:5000"
        [http.headers]
        X-Content-Type-Options = ["nosniff"]
        [storage]
        driver = "filesystem"
        rootdirectory = "/var/lib/docker-registry"
        "#,
    )
    .unwrap();
    assert_eq!(table(&imported), expected);
    assert!(config(&imported).delete.enabled);
    assert_eq!(lost(&imported), ["line 4: log.fields.service"]);
    let all: Vec<&str> = imported
        .untranslated
        .iter()
        .map(|entry| entry.key.as_str())
        .collect();
    assert_eq!(
        all,
        [
            "log.fields.service",
            "storage.cache.blobdescriptor",
            "health.storagedriver.enabled",
            "health.storagedriver.interval",
            "health.storagedriver.threshold",
        ]
    );
    assert!(imported.toml.ends_with(
        "# Not translated:\n# line 4: log.fields.service: lines have no fields of your own; let what collects them add some\n"
    ));
}

/// Every key of docker-registry 3 that there is something for.
const EVERYTHING: &str = r#"
version: 0.1
log: {level: warning, formatter: json, accesslog: {disabled: true}}
storage:
  s3:
    accesskey: a
    secretkey: s
    region: eu-central-1
    bucket: images
    chunksize: 5242880
    forcepathstyle: true
    v4auth: true
  delete: {enabled: yes}
  redirect: {disable: true}
  tag: {concurrencylimit: 8}
  maintenance:
    uploadpurging: {enabled: true, age: 168h, interval: 24h, dryrun: false}
    readonly: {enabled: true}
auth:
  token:
    realm: https://auth.example/token
    service: registry
    issuer: auth
    rootcertbundle: /etc/bundle.pem
    jwks: /etc/jwks.json
    signingalgorithms: [RS256, HS256, ES512, ES256K, EdDSA]
    autoredirect: true
http:
  addr: localhost:5000
  net: tcp
  host: https://registry.example
  secret: x
  relativeurls: true
  draintimeout: 60s
  tls:
    certificate: /c
    key: /k
    clientcas: [/ca]
    clientauth: verify-client-cert-if-given
    minimumtls: tls1.2
  debug: {addr: "127.0.0.1:5001", prometheus: {enabled: true, path: /metrics}}
  http2: {disabled: true}
  h2c: {enabled: true}
notifications:
  events: {includereferences: true}
  endpoints:
    - name: a/b
      url: https://hook.example/
      headers: {Authorization: [Bearer x]}
      timeout: 500ms
      threshold: 5
      backoff: 1000000000
      ignoredmediatypes: [application/octet-stream]
      ignore: {mediatypes: [a/b], actions: [pull]}
    - {name: off, url: http://off/, disabled: true}
    - {name: off, url: http://off/}
proxy: {remoteurl: https://registry-1.docker.io, username: u, password: p, ttl: 168h}
catalog: {maxentries: 500}
tags: {maxtags: 100}
validation: {manifests: {indexes: {platforms: none}}}
"#;

#[test]
fn every_key_that_there_is_something_for() {
    let imported = imported(EVERYTHING, &[]);
    let expected: toml::Table = toml::from_str(
        r#"
        read_only = true
        state = "/var/lib/transom/registry"
        [auth.token]
        realm = "https://auth.example/token"
        service = "registry"
        issuer = "auth"
        certificates = "/etc/bundle.pem"
        jwks = "/etc/jwks.json"
        algorithms = ["RS256", "ES512", "EdDSA"]
        redirect = "/auth/token"
        [delete]
        enabled = true
        uploads_after = "168h"
        uploads_every = "24h"
        [http]
        listen = "127.0.0.1:5000"
        host = "https://registry.example"
        relative_urls = true
        drain = "1m"
        http2 = false
        h2c = true
        redirect = false
        [http.tls]
        certificate = "/c"
        key = "/k"
        client_ca = "/ca"
        client_required = false
        [limits]
        catalog_page = 500
        tags_page = 100
        [log]
        level = "warn"
        format = "json"
        access = false
        [manifests]
        sparse_indexes = true
        [metrics]
        listen = "127.0.0.1:5001"
        [[notifications]]
        name = "a-b"
        url = "https://hook.example/"
        timeout = "500ms"
        threshold = 5
        backoff = "1s"
        include_references = true
        [notifications.headers]
        Authorization = ["Bearer x"]
        [notifications.ignore]
        media_types = ["application/octet-stream", "a/b"]
        actions = ["pull"]
        [[notifications]]
        name = "off"
        url = "http://off/"
        disabled = true
        include_references = true
        [[notifications]]
        name = "endpoint-2"
        url = "http://off/"
        include_references = true
        [[proxy]]
        prefix = ""
        upstream = "https://registry-1.docker.io"
        username = "u"
        password = "p"
        ttl = "168h"
        [storage]
        driver = "s3"
        accesskey = "a"
        secretkey = "s"
        region = "eu-central-1"
        bucket = "images"
        chunksize = 5242880
        forcepathstyle = true
        "#,
    )
    .unwrap();
    assert_eq!(table(&imported), expected);
    assert_eq!(
        lost(&imported),
        [
            "line 12: storage.s3.v4auth",
            "line 26: auth.token.signingalgorithms",
            "line 26: auth.token.signingalgorithms",
            "line 47: notifications.endpoints.0.name",
            "line 56: notifications.endpoints.2.name",
        ]
    );
}

/// Keys that there is nothing for; each must be listed.
const NOTHING: &str = r#"
version: 0.1
loglevel: debug
log:
  formatter: logstash
  reportcaller: true
  hooks: [{type: mail, levels: [panic], options: {smtp: {addr: m}, from: f, to: [t]}}]
storage:
  gcs: {bucket: b, magic: 1}
  maintenance: {uploadpurging: {enabled: false, dryrun: true}}
middleware:
  registry: [{name: r}]
  storage: [{name: cloudfront, options: {baseurl: u, privatekey: k}}]
http:
  addr: registry.example:5000
  net: unix
  prefix: /p/
  tls:
    clientcas: [/a, /b]
    clientauth: request-client-cert
    minimumtls: tls1.0
    ciphersuites: [TLS_AES_128_GCM_SHA256]
    letsencrypt: {cachefile: c, email: e, hosts: [h]}
  debug: {addr: 1, prometheus: {path: /m}}
redis: {addrs: ["r:6379"], tls: {certificate: c}}
health: {file: [{file: /f, interval: 10s}], tcp: [{addr: "a:1"}]}
proxy: {remoteurl: https://u, exec: {command: c}, ttl: x}
validation: {disabled: true, manifests: {urls: {allow: [a]}, indexes: {platforms: list, platformlist: [{os: linux}]}}}
policy: {repository: {classes: [image]}}
compatibility: {schema1: {enabled: true}}
reporting: {bugsnag: {apikey: k}}
catalog: {maxentries: many}
nonsense: {a: 1, b: {}}
"#;

#[test]
fn every_key_that_there_is_nothing_for_is_listed() {
    let imported = imported(NOTHING, &[]);
    let listed: Vec<&str> = imported
        .untranslated
        .iter()
        .map(|entry| entry.key.as_str())
        .collect();
    for key in [
        "log.formatter",
        "log.reportcaller",
        "log.hooks.0.type",
        "log.hooks.0.levels",
        "log.hooks.0.options.smtp.addr",
        "log.hooks.0.options.to",
        "storage.gcs.magic",
        "storage.maintenance.uploadpurging.dryrun",
        "middleware.registry.0.name",
        "middleware.storage.0.options.baseurl",
        "http.addr",
        "http.net",
        "http.prefix",
        "http.tls.clientcas",
        "http.tls.clientauth",
        "http.tls.minimumtls",
        "http.tls.ciphersuites",
        "http.tls.letsencrypt.hosts",
        "http.debug.addr",
        "http.debug.prometheus.path",
        "redis.addrs",
        "redis.tls.certificate",
        "health.file.0.file",
        "health.tcp.0.addr",
        "proxy.exec.command",
        "proxy.ttl",
        "validation.disabled",
        "validation.manifests.urls.allow",
        "validation.manifests.indexes.platforms",
        "validation.manifests.indexes.platformlist.0.os",
        "policy.repository.classes",
        "compatibility.schema1.enabled",
        "reporting.bugsnag.apikey",
        "catalog.maxentries",
        "nonsense.a",
    ] {
        assert!(listed.contains(&key), "{key} is not in {listed:#?}");
    }
    assert_eq!(at(&imported, "log.level"), Some("debug".into()));
    assert_eq!(at(&imported, "delete.uploads_after"), Some("0s".into()));
    assert_eq!(at(&imported, "http.tls.client_ca"), Some("/a".into()));
    assert_eq!(at(&imported, "http.tls.client_required"), Some(true.into()));
    assert_eq!(at(&imported, "delete.enabled"), Some(false.into()));
    assert!(
        imported
            .untranslated
            .is_sorted_by_key(|entry| entry.origin.clone())
    );
}

#[test]
fn variables_lie_over_the_file() {
    let imported = imported(
        DEBIAN,
        &[
            ("PATH", "/bin"),
            ("REGISTRY_CONFIGURATION_PATH", "/etc/x"),
            ("REGISTRY_AUTH", "htpasswd"),
            ("REGISTRY_AUTH_HTPASSWD_REALM", "Registry Realm"),
            ("REGISTRY_AUTH_HTPASSWD_PATH", "/auth/htpasswd"),
            ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/elsewhere"),
            ("REGISTRY_STORAGE_DELETE_ENABLED", "false"),
            ("REGISTRY_HTTP_ADDR", "0.0.0.0:5050"),
            ("REGISTRY_HTTP_TLS_CERTIFICATE", "/c"),
            ("REGISTRY_HTTP_TLS_KEY", "/k"),
            ("REGISTRY_HTTP_HEADERS_X-CONTENT-TYPE-OPTIONS", "[a, b]"),
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_NAME", "hook"),
            ("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL", "http://hook/"),
            ("REGISTRY_NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES", "true"),
            ("REGISTRY_LOG_LEVEL", "debug"),
            ("REGISTRY_FOO_BAR", "1"),
            ("REGISTRY__X", "1"),
        ],
    );
    let htpasswd = config(&imported).auth.htpasswd.unwrap();
    assert_eq!(htpasswd.realm, "Registry Realm");
    assert_eq!(htpasswd.path.to_str(), Some("/auth/htpasswd"));
    assert_eq!(at(&imported, "storage.rootdirectory"), Some("/elsewhere".into()));
    assert_eq!(at(&imported, "delete.enabled"), Some(false.into()));
    assert_eq!(at(&imported, "http.listen"), Some("0.0.0.0:5050".into()));
    assert_eq!(at(&imported, "http.tls.certificate"), Some("/c".into()));
    assert_eq!(
        at(&imported, "http.headers.X-Content-Type-Options.1"),
        Some("b".into())
    );
    assert_eq!(at(&imported, "notifications.0.url"), Some("http://hook/".into()));
    assert_eq!(
        at(&imported, "notifications.0.include_references"),
        Some(true.into())
    );
    assert_eq!(at(&imported, "log.level"), Some("debug".into()));
    assert_eq!(
        lost(&imported),
        [
            "line 4: log.fields.service",
            "REGISTRY_FOO_BAR: foo.bar",
            "REGISTRY__X: .x"
        ]
    );
}

#[test]
fn the_result_is_a_configuration() {
    let imported = imported(EVERYTHING, &[]);
    let config = config(&imported);
    let proxy = &config.proxy[0];
    assert_eq!(
        (proxy.prefix.as_str(), proxy.username.as_deref()),
        ("", Some("u"))
    );
    assert_eq!(proxy.ttl.0.as_secs(), 168 * 3600);
    assert_eq!(config.notifications.len(), 3);
    assert!(config.auth.token.is_some() && config.policy.is_none() && config.read_only);
    assert!(!config.tls().unwrap().clients.unwrap().required);
    assert_eq!(config.headers().unwrap(), []);
}

#[test]
fn variables_alone_are_a_configuration() {
    let imported = imported(
        "",
        &[("REGISTRY_STORAGE", "inmemory"), ("REGISTRY_HTTP_ADDR", ":80")],
    );
    assert_eq!(at(&imported, "storage.driver"), Some("inmemory".into()));
    assert_eq!(at(&imported, "http.listen"), Some("[::]:80".into()));
    assert_eq!(imported.untranslated, []);
    let imported = self::imported(
        "storage: filesystem\nauth:\n  htpasswd:\n    realm: r\n    path: p",
        &[],
    );
    assert_eq!(at(&imported, "storage.driver"), Some("filesystem".into()));
}

#[test]
fn who_was_not_let_in_by_everybody_is_not_let_in_by_mistake() {
    let imported = imported("version: 0.1\nauth: {silly: {realm: r, service: s}}\n", &[]);
    assert_eq!(lost(&imported), ["line 2: auth.silly"]);
    assert!(imported.toml.contains("[policy]\nfile = "));
}

#[test]
fn anchors_and_merges_are_followed() {
    let yaml = "version: 0.1\nx-base: &base {url: http://a/, timeout: 1s}\nnotifications:\n  endpoints:\n    - {<<: *base, name: a, timeout: 2s}\n";
    let imported = imported(yaml, &[]);
    assert_eq!(at(&imported, "notifications.0.url"), Some("http://a/".into()));
    assert_eq!(at(&imported, "notifications.0.timeout"), Some("2s".into()));
}

#[test]
fn what_cannot_be_translated_at_all_is_an_error() {
    let wrong = |yaml: &str, pairs: &[(&str, &str)]| import(yaml, &variables(pairs)).unwrap_err().to_string();
    assert_eq!(wrong("\nversion: 0.2\n", &[]), "line 2: the version must be 0.1");
    assert!(wrong("version: 0.1\nhttp: [\n", &[]).starts_with("line "));
    assert!(wrong("- a\n", &[]).contains("no configuration"));
    assert!(wrong("a: 1\n---\nb: 1\n", &[]).contains("second document"));
    assert_eq!(
        wrong("version: 0.1\nstorage: {s3: {}, gcs: {}}", &[]),
        "there must be exactly one storage driver; there are s3, gcs"
    );
    assert_eq!(
        wrong("version: 0.1\nauth: {token: {}, htpasswd: {}}", &[]),
        "there must be exactly one way of authentication; there are token, htpasswd"
    );
    assert!(wrong("", &[("REGISTRY_HTTP_ADDR", "[")]).starts_with("REGISTRY_HTTP_ADDR: this is no YAML"));
    assert!(wrong("", &[("REGISTRY_NOTIFICATIONS_ENDPOINTS_3_URL", "x")]).contains("3 is not the number"));
    assert!(wrong(&" ".repeat(FILE_BYTES + 1), &[]).contains("more than"));
    let laughs: String = (1..40).fold("a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned(), |text, number| {
        let last = format!("*a{}", number - 1);
        text + &format!("a{number}: &a{number} [{}]\n", [last.as_str(); 8].join(","))
    });
    assert!(wrong(&laughs, &[]).contains("alias"));
}
