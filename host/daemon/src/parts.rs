//! The parts of the daemon, as the introspection service lists them: with containerd's type names, which its clients look for.

use std::time::Duration;

use transom_api::introspection::Plugin;
use transom_api::rpc;
use transom_api::types::Platform;
use transom_meta::metadata::Sharing;
use transom_plugin::manifest::PluginKind;

use crate::config::Config;
use crate::places;

/// A part.
#[derive(Clone, Debug, Default)]
pub struct Part {
    plugin: Plugin,
}

impl Part {
    /// A part of a type, such as `content` for `io.containerd.content.v1`.
    #[must_use]
    pub fn new(kind: &str, id: impl Into<String>) -> Part {
        let plugin = Plugin {
            r#type: format!("io.containerd.{kind}.v1"),
            id: id.into(),
            ..Plugin::default()
        };
        Part { plugin }
    }

    /// A plugin of a kind.
    #[must_use]
    pub fn plugin_of(kind: PluginKind, id: impl Into<String>) -> Part {
        Part::ours(kind.as_str(), id.into())
    }

    /// A filter plugin.
    #[must_use]
    pub fn filter(id: impl Into<String>) -> Part {
        Part::plugin_of(PluginKind::Filter, id)
    }

    /// A processor of layers.
    #[must_use]
    pub fn processor(id: impl Into<String>) -> Part {
        Part::plugin_of(PluginKind::Processor, id)
    }

    /// A registry.
    #[must_use]
    pub fn registry(id: impl Into<String>) -> Part {
        Part::ours("registry", id.into())
    }

    /// A policy for what gets a name.
    #[must_use]
    pub fn admission(id: impl Into<String>) -> Part {
        Part::ours("admission", id.into())
    }

    fn ours(kind: &str, id: String) -> Part {
        let plugin = Plugin {
            r#type: format!("io.transom.{kind}.v1"),
            id,
            ..Plugin::default()
        };
        Part { plugin }
    }

    /// What it cannot do without: types, as in [`Part::new`].
    #[must_use]
    pub fn requires(mut self, kinds: &[&str]) -> Part {
        let types = kinds.iter().map(|kind| format!("io.containerd.{kind}.v1"));
        self.plugin.requires = types.collect();
        self
    }

    /// Something to know about it, such as where it keeps its files.
    #[must_use]
    pub fn exports(mut self, key: &str, value: impl Into<String>) -> Part {
        self.plugin.exports.insert(key.to_owned(), value.into());
        self
    }

    /// Something that it can do.
    #[must_use]
    pub fn can(mut self, capability: &str) -> Part {
        self.plugin.capabilities.push(capability.to_owned());
        self
    }

    /// It works for the platform that the daemon runs on.
    #[must_use]
    pub fn here(mut self) -> Part {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        self.plugin.platforms = vec![Platform {
            os: std::env::consts::OS.to_owned(),
            architecture: architecture.to_owned(),
            ..Platform::default()
        }];
        self
    }

    /// It does not work.
    #[must_use]
    pub fn failed(mut self, status: &tonic::Status) -> Part {
        self.plugin.init_err = Some(rpc::Status {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        });
        self
    }

    /// As a message.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// As a message.
    #[must_use]
    pub fn into_plugin(self) -> Plugin {
        self.plugin
    }
}

/// The parts of a daemon of its own; `loaded` are its plugins and snapshotters.
#[must_use]
pub fn of_daemon(config: &Config, loaded: Vec<Part>) -> Vec<Part> {
    let mut parts = vec![
        content(config),
        metadata(config),
        collector(config),
        Part::new("event", "exchange"),
        Part::new("lease", "manager").requires(&["metadata", "gc"]),
        Part::new("streaming", "manager").requires(&["metadata"]),
        Part::new("transfer", "local").requires(&["lease", "metadata", "differ"]),
        differ().requires(&["metadata"]),
    ];
    for (service, requires) in [
        ("content", ["metadata"].as_slice()),
        ("images", &["metadata", "gc"]),
        ("namespaces", &["metadata"]),
        ("snapshots", &["metadata"]),
        ("leases", &["metadata", "gc"]),
        ("diff", &["differ"]),
    ] {
        parts.push(Part::new("service", format!("{service}-service")).requires(requires));
        parts.push(Part::new("grpc", service).requires(&["service"]));
    }
    parts.push(Part::new("grpc", "events").requires(&["event"]));
    parts.push(Part::new("grpc", "streaming").requires(&["streaming"]));
    parts.push(Part::new("grpc", "transfer").requires(&["transfer", "streaming"]));
    parts.extend(verifiers(config));
    parts.extend(general());
    parts.extend(traces(config));
    parts.extend(loaded);
    parts
}

/// Those who are asked before an image is pulled, or gets a name.
fn verifiers(config: &Config) -> impl Iterator<Item = Part> {
    let verifiers = &config.verifiers;
    let programs = verifiers.bin_dir.as_ref().map(|folder| {
        let part = Part::new("image-verifier", "bindir");
        part.exports("bin_dir", folder.display().to_string())
    });
    let policies = verifiers.policies.iter();
    let policies = policies.map(|policy| {
        let part = Part::new("image-verifier", format!("policy-{}", policy.name));
        part.exports("plugin", policy.plugin.as_str())
            .exports("expression", policy.expression.as_str())
    });
    let admission = config.admission.policies.iter().map(|policy| {
        let part = Part::admission(policy.name.as_str());
        part.exports("plugin", policy.plugin.as_str())
            .exports("expression", policy.expression.as_str())
    });
    programs.into_iter().chain(policies).chain(admission)
}

/// The parts of what works behind a containerd, with its plugins and snapshotters.
#[must_use]
pub fn of_proxy(config: &Config, loaded: Vec<Part>) -> Vec<Part> {
    let mut parts = vec![content(config).can("proxy-backend"), differ()];
    parts.push(Part::new("grpc", "content").requires(&["content"]));
    parts.push(Part::new("service", "diff-service").requires(&["differ"]));
    parts.push(Part::new("grpc", "diff").requires(&["service"]));
    parts.push(Part::new("grpc", "snapshots"));
    parts.extend(general());
    parts.extend(traces(config));
    parts.extend(loaded);
    parts
}

fn differ() -> Part {
    Part::new("differ", transom_diff::WALKING).here()
}

fn general() -> [Part; 3] {
    ["introspection", "version", "healthcheck"].map(|service| Part::new("grpc", service))
}

/// The sender of traces, where there is a collector.
fn traces(config: &Config) -> Option<Part> {
    let endpoint = config.traces.endpoint.as_ref()?;
    let part = Part::new("tracing.processor", "otlp").exports("Endpoint", endpoint.to_string());
    Some(part.exports("Share", config.traces.share.to_string()))
}

fn content(config: &Config) -> Part {
    let root = transom_content::content_root(&config.root);
    let part = Part::new("content", "content")
        .here()
        .exports("root", root.display().to_string());
    let driver = config.content.driver.as_ref();
    match driver.and_then(|table| table.get("driver")?.as_str()) {
        Some(driver) => part.exports("Driver", driver),
        None => part,
    }
}

/// By containerd's names for its settings, and where its work can be seen.
fn collector(config: &Config) -> Part {
    let gc = &config.gc;
    let part = Part::new("gc", "scheduler")
        .requires(&["metadata"])
        .exports("PauseThreshold", gc.pause_threshold.to_string())
        .exports("DeletionThreshold", gc.deletion_threshold.to_string())
        .exports("MutationThreshold", gc.mutation_threshold.to_string())
        .exports("ScheduleDelay", go_text(gc.schedule_delay))
        .exports("StartupDelay", go_text(gc.startup_delay));
    match config.metrics {
        Some(address) => part.exports("MetricsAddress", address.to_string()),
        None => part,
    }
}

/// Near enough to how Go writes a time span that it can be read as one.
fn go_text(span: Duration) -> String {
    if span.is_zero() {
        return "0s".to_owned();
    }
    format!("{span:?}")
}

fn metadata(config: &Config) -> Part {
    let sharing = match config.metadata.sharing {
        Sharing::Shared => "shared",
        Sharing::Isolated => "isolated",
    };
    let root = places::metadata(&config.root);
    Part::new("metadata", config.metadata.store.name())
        .requires(&["content", "event"])
        .exports("policy", sharing)
        .exports("root", root.display().to_string())
}
