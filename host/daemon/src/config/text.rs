//! The commented file of `transomd config default`.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use transom_meta::metadata::Sharing;

use super::{Config, Snapshotter, layers};

pub(super) fn write(config: &Config) -> String {
    let mut out = String::from("# transomd: all settings, with their defaults. Flags win over this file.\n");
    top(&mut out, config);
    socket(&mut out, config);
    log(&mut out, config);
    metadata(&mut out, config);
    snapshots(&mut out, config);
    gc(&mut out, config);
    rest(&mut out, config);
    config.plugins.write(&mut out);
    filters(&mut out, config);
    config.transfer.write(&mut out);
    config.verifiers.write(&mut out);
    config.admission.write(&mut out);
    config.diff.write(&mut out);
    config.processors.write(&mut out);
    layers::write_programs(&config.stream_processors, &mut out);
    out.push_str(CONTENT);
    out.push_str(REGISTRY);
    out
}

/// Blobs are files by default, so that it is a comment altogether.
const CONTENT: &str = "
# Blobs kept by a storage driver; without this, they are files below `root`. See docs/guides/daemon.md.
#[content]
# Bytes of copies below `root`, of what is read and written.
#copies = 10737418240
# Folders that storage drivers are loaded from.
#plugins = []
#[content.driver]
#driver = \"s3\"
#bucket = \"blobs\"
#region = \"eu-central-1\"
";

/// There is no registry by default, so that it is a comment altogether.
const REGISTRY: &str = "
# A registry that runs in the daemon, also with --registry-listen. All keys of the registry's own file are taken below `registry`:
# see docs/guides/registry.md.
#[registry]
# Namespaces whose images can be read, as /v2/<host>/<path>.
#namespaces = [\"k8s.io\"]
# Folders that storage drivers are loaded from.
#plugins = []
# Who may push where, if not everybody: [registry.auth], [registry.policy].
#[registry.http]
#listen = \"127.0.0.1:5000\"
# Without this, files below `root`; or none, if there is nothing but namespaces.
#[registry.storage]
#driver = \"filesystem\"
#rootdirectory = \"/var/lib/registry\"
";

fn top(out: &mut String, config: &Config) {
    set(
        out,
        "Where everything that lasts is kept.",
        "root",
        quoted(config.root.display()),
    );
    set(
        out,
        "Where what is of this run only is kept.",
        "state",
        quoted(config.state.display()),
    );
    let address = quoted(config.socket_path().display());
    let comment = "The socket. Without this line: transom.sock in `state`.";
    if config.address.is_some() {
        set(out, comment, "address", address);
    } else {
        out.push_str(&format!("# {comment}\n#address = {address}\n"));
    }
    set(
        out,
        "Serve a containerd as its content store, differ and snapshotters (proxy plugins) and nothing else: no\n\
         # namespaces, no collecting of garbage. See docs/guides/behind-containerd.md.",
        "proxy_backend",
        config.proxy_backend,
    );
    set(
        out,
        "How long requests may go on after the signal to stop.",
        "shutdown_timeout",
        duration(config.shutdown_timeout),
    );
}

fn socket(out: &mut String, config: &Config) {
    let socket = &config.socket;
    out.push_str("\n[socket]\n");
    maybe(
        out,
        "Its owner. Without this line: the daemon's user.",
        "uid",
        socket.uid,
    );
    maybe(
        out,
        "Its group. Without this line: the daemon's group.",
        "gid",
        socket.gid,
    );
    set(
        out,
        "Its permissions.",
        "mode",
        format!("\"{:04o}\"", socket.mode),
    );
    set(
        out,
        "Users that are served besides root and the daemon's own.",
        "allowed_uids",
        format!("{:?}", socket.allowed_uids),
    );
    set(
        out,
        "Groups whose processes are served.",
        "allowed_gids",
        format!("{:?}", socket.allowed_gids),
    );
}

fn log(out: &mut String, config: &Config) {
    out.push_str("\n[log]\n");
    set(
        out,
        "trace, debug (every request), info, warn or error.",
        "level",
        name(&config.log.level),
    );
    set(out, "text or json.", "format", name(&config.log.format));
}

fn metadata(out: &mut String, config: &Config) {
    let metadata = &config.metadata;
    out.push_str("\n[metadata]\n");
    set(
        out,
        "The key-value store: redb, sled, or memory, which forgets everything at the end.",
        "store",
        quoted(metadata.store),
    );
    let sharing = match metadata.sharing {
        Sharing::Shared => "shared",
        Sharing::Isolated => "isolated",
    };
    set(
        out,
        "shared: a namespace gets a blob that another one has by naming its digest. isolated: it must send all\n\
         # bytes, unless the other one has the label containerd.io/namespace.shareable=true.",
        "sharing",
        quoted(sharing),
    );
    set(
        out,
        "How long content is kept that was ingested without a lease and that nothing has referenced yet.",
        "grace",
        duration(metadata.grace),
    );
    set(
        out,
        "How long an ingest without a lease is kept since it was last opened.",
        "ingest_expiry",
        duration(metadata.ingest_expiry),
    );
}

fn snapshots(out: &mut String, config: &Config) {
    let snapshots = &config.snapshots;
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    out.push_str("\n[snapshots]\n");
    set(
        out,
        "The snapshotters: overlayfs, native (which copies). One that does not work here is only logged, and listed\n\
         # with its error.",
        "enabled",
        list(snapshots.enabled.iter().map(quoted).collect()),
    );
    set(
        out,
        "With proxy_backend: the snapshotter for a containerd whose proxy plugin has another name.",
        "default",
        quoted(snapshots.default),
    );
    set(
        out,
        "Bring a snapshot's files to the disk before its commit is answered. Without it imports are quicker, and a power cut\n\
         # can leave a snapshot with empty files, as in containerd.",
        "sync",
        snapshots.sync,
    );
    out.push_str("\n[snapshots.overlayfs]\n");
    root(
        out,
        config,
        Snapshotter::Overlayfs,
        snapshots.overlayfs_root.as_deref(),
    );
    let options = &snapshots.overlayfs;
    set(
        out,
        "Further options of every overlay, such as \"volatile\".",
        "mount_options",
        list(options.mount_options.iter().map(quoted).collect()),
    );
    set(
        out,
        "Show the upper folder of each snapshot as the label containerd.io/snapshot/overlay.upperdir.",
        "upperdir_label",
        options.upperdir_label,
    );
    let removal = "Answer a removal before the files are gone.";
    set(out, removal, "async_remove", options.async_remove);
    set(
        out,
        "Let clients change owners file by file where the kernel cannot map ids.",
        "slow_chown",
        options.slow_chown,
    );
    out.push_str("\n[snapshots.native]\n");
    root(out, config, Snapshotter::Native, snapshots.native_root.as_deref());
    set(out, removal, "async_remove", snapshots.native.async_remove);
}

fn root(out: &mut String, config: &Config, snapshotter: Snapshotter, chosen: Option<&Path>) {
    let usual = transom_snapshot::snapshotter_root(&config.root, snapshotter.name());
    match chosen {
        Some(root) => set(out, "Its folder.", "root", quoted(root.display())),
        None => out.push_str(&format!(
            "# Its folder. Without this line: in the `root` above.\n#root = {}\n",
            quoted(usual.display())
        )),
    }
}

fn gc(out: &mut String, config: &Config) {
    let gc = &config.gc;
    out.push_str("\n[gc]\n");
    set(
        out,
        "The share of time that collections may take, 0 to 0.5.",
        "pause_threshold",
        format!("{:?}", gc.pause_threshold),
    );
    set(
        out,
        "Deletions after which a collection is due at once; 0 for never.",
        "deletion_threshold",
        gc.deletion_threshold,
    );
    set(
        out,
        "Changes after which a collection is due at the next interval.",
        "mutation_threshold",
        gc.mutation_threshold,
    );
    set(
        out,
        "From what makes a collection due to the collection.",
        "schedule_delay",
        duration(gc.schedule_delay),
    );
    set(
        out,
        "From the start to the first collection.",
        "startup_delay",
        duration(gc.startup_delay),
    );
}

fn rest(out: &mut String, config: &Config) {
    out.push_str("\n[limits]\n");
    set(
        out,
        "Write streams open at once.",
        "writers",
        config.limits.writers,
    );
    set(
        out,
        "Read streams at once; more wait.",
        "readers",
        config.limits.readers,
    );
    set(
        out,
        "Layers applied and mounts compared at once; more wait.",
        "diffs",
        config.limits.diffs,
    );
    out.push_str("\n[metrics]\n");
    let address = config
        .metrics
        .map(|address| address.to_string())
        .unwrap_or_default();
    set(
        out,
        "Where Prometheus metrics are served over HTTP, such as \"127.0.0.1:9090\"; \"\" for nowhere.",
        "address",
        quoted(address),
    );
    traces(out, config);
}

fn filters(out: &mut String, config: &Config) {
    out.push_str("\n[filters]\n");
    let folders: Vec<String> = config
        .filters
        .iter()
        .map(|folder| quoted(folder.display()))
        .collect();
    set(
        out,
        "Folders that WASM filter plugins are loaded from.",
        "folders",
        format!("[{}]", folders.join(", ")),
    );
}

fn traces(out: &mut String, config: &Config) {
    out.push_str("\n[traces]\n");
    let endpoint = config.traces.endpoint.as_ref().map(ToString::to_string);
    set(
        out,
        "A collector of OpenTelemetry that gets a span for each request, by OTLP over gRPC without TLS, such as\n\
         # \"http://127.0.0.1:4317\"; \"\" for none.",
        "endpoint",
        quoted(endpoint.unwrap_or_default()),
    );
    set(
        out,
        "The share of the traces that begin here, 0 to 1; those that begin with a client go by its choice.",
        "share",
        format!("{:?}", config.traces.share),
    );
}

pub(super) fn set(out: &mut String, comment: &str, key: &str, value: impl Display) {
    out.push_str(&format!("# {comment}\n{key} = {value}\n"));
}

fn maybe(out: &mut String, comment: &str, key: &str, value: Option<impl Display>) {
    match value {
        Some(value) => set(out, comment, key, value),
        None => out.push_str(&format!("# {comment}\n#{key} = 0\n")),
    }
}

pub(super) fn quoted(text: impl Display) -> String {
    toml::Value::String(text.to_string()).to_string()
}

fn name(value: &impl ValueEnum) -> String {
    quoted(
        value
            .to_possible_value()
            .map(|name| name.get_name().to_owned())
            .unwrap_or_default(),
    )
}

/// The largest unit that leaves no rest.
pub(super) fn duration(value: Duration) -> String {
    let nanos = value.as_nanos();
    let units = [
        ("h", 3_600_000_000_000),
        ("m", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1000),
    ];
    let fits = units
        .iter()
        .find(|(_, unit)| nanos > 0 && nanos.is_multiple_of(*unit));
    match fits {
        _ if nanos == 0 => "\"0s\"".to_owned(),
        Some((name, unit)) => format!("\"{}{name}\"", nanos / unit),
        None => format!("\"{nanos}ns\""),
    }
}
