//! The configuration, read again while the daemon runs.

use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::tempdir;
use tonic::Code;
use transom_api::plugins::{GrantsRequest, ReloadRequest, ReloadResponse};
use transom_tests::needs::{plugin, require_root};
use transomd::config::{Config, LogLevel};
use transomd::reload::{Reloading, compare};

use crate::layers::{Layer, TAR, apply, bind};
use crate::plugins::{client, filter, install, list, processor, processor_with, status, versions};
use crate::program::Program;
use crate::rig::{Rig, refused, sha256};

/// A daemon whose configuration is read from where it is set.
struct Reread {
    rig: Rig,
    next: Arc<Mutex<Result<Config, String>>>,
    config: Config,
}

impl Reread {
    async fn with(change: impl FnOnce(&mut Config)) -> Reread {
        let next = Arc::new(Mutex::new(Err("nothing yet".to_owned())));
        let read = Arc::clone(&next);
        let reloading = Reloading::from(move || read.lock().expect("whole").clone());
        let mut begun = None;
        let rig = Rig::reloading(
            |config| {
                change(config);
                begun = Some(config.clone());
            },
            reloading,
        )
        .await;
        Reread {
            rig,
            next,
            config: begun.expect("it was made"),
        }
    }

    async fn reload(&self, change: impl FnOnce(&mut Config)) -> Result<ReloadResponse, tonic::Status> {
        let mut config = self.config.clone();
        change(&mut config);
        *self.next.lock().expect("whole") = Ok(config);
        Ok(client(&self.rig).reload(ReloadRequest {}).await?.into_inner())
    }
}

fn write(folder: &Path, name: &str, component: &[u8]) {
    std::fs::write(folder.join(name), component).expect("a file");
}

#[tokio::test]
async fn what_a_folder_has_now_is_taken_and_what_is_broken_goes_on() {
    let folder = tempdir().expect("a folder");
    write(folder.path(), "guest.wasm", &processor("pass", "0.1.0"));
    let folders = vec![folder.path().to_path_buf()];
    let daemon = Reread::with(|config| config.processors.folders = folders.clone()).await;
    let rig = &daemon.rig;
    let since = status(rig, "guest").await.since;
    let nothing = daemon.reload(|_| {}).await.expect("reloaded");
    assert_eq!(nothing, ReloadResponse::default());
    assert_eq!(status(rig, "guest").await.since, since, "the same one goes on");

    write(folder.path(), "guest.wasm", b"no wasm");
    let kept = daemon.reload(|_| {}).await.expect("reloaded");
    assert!(kept.problems[0].contains("guest 0.1.0 goes on"), "{kept:?}");
    assert_eq!(
        versions(rig).await,
        [("guest".to_owned(), "0.1.0".to_owned(), true)]
    );

    write(folder.path(), "guest.wasm", &processor("pass", "0.2.0"));
    write(folder.path(), "other.wasm", b"no wasm");
    let taken = daemon.reload(|_| {}).await.expect("reloaded");
    assert!(taken.problems[0].starts_with("other: "), "{taken:?}");
    let all = versions(rig).await;
    let expected = [("guest", "0.2.0", true), ("other", "", false)];
    assert_eq!(
        all,
        expected.map(|(name, version, good)| (name.to_owned(), version.to_owned(), good))
    );

    let gone = daemon
        .reload(|config| config.processors.folders = Vec::new())
        .await;
    assert_eq!(gone.expect("reloaded").changed, ["processors"]);
    assert!(list(rig).await.is_empty());
}

#[tokio::test]
async fn a_file_with_mistakes_changes_nothing() {
    let daemon = Reread::with(|_| {}).await;
    let rig = &daemon.rig;
    let required = "[config.level]\ntype = \"integer\"\ndefault = 1\ndoc = \"How much.\"\n";
    install(rig, processor_with("pass", "0.1.0", required))
        .await
        .expect("installed");
    let (code, text) = refused(client(rig).reload(ReloadRequest {}).await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("nothing yet; nothing was changed"), "{text}");
    // What is right by itself, and not fit for a plugin that works.
    let told = |value: &str| {
        let text = format!("[processors.config.guest]\nlevel = {value}\n");
        let places = transomd::places::Places::system();
        Config::parse(&text, &places)
            .expect("a right file")
            .processors
            .config
    };
    let (code, text) = refused(
        daemon
            .reload(|config| {
                config.log.level = LogLevel::Trace;
                config.processors.config = told("\"high\"");
            })
            .await,
    );
    assert_eq!(code, Code::InvalidArgument, "{text}");
    assert!(
        text.contains("guest: ") && text.contains("a whole number"),
        "{text}"
    );
    assert_eq!(
        versions(rig).await,
        [("guest".to_owned(), "0.1.0".to_owned(), true)]
    );
    let good = daemon.reload(|config| config.processors.config = told("3")).await;
    assert_eq!(
        good.expect("reloaded").changed,
        ["processors"],
        "the level was not taken either"
    );
    let policy = |config: &mut Config| config.plugins.policy = Some("/nonexistent".into());
    let (code, text) = refused(daemon.reload(policy).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(text.contains("/nonexistent"), "{text}");
}

#[tokio::test]
async fn limits_take_effect_and_what_needs_a_restart_is_named() {
    if !require_root() {
        return;
    }
    let daemon = Reread::with(|_| {}).await;
    let rig = &daemon.rig;
    install(rig, processor("pass", "0.1.0")).await.expect("installed");
    install(rig, processor("allocate", "0.2.0"))
        .await
        .expect("installed");
    install(rig, filter("some", "0.1.0")).await.expect("installed");
    let target = tempdir().expect("a folder");
    let tar = Layer::new().file("f", &[7; 5000]).end();
    let (_, text) = refused(apply(rig, TAR, &tar, &[bind(target.path())]).await);
    assert!(text.contains("67108864 bytes of memory"), "{text}");
    let places = transomd::places::Places::system();
    let limits = "[plugins.limits.guest]\nmemory_mib = 16\n[plugins.breaker]\ncrashes = 0\n";
    let limits = Config::parse(limits, &places).expect("a right file").plugins;
    let reloaded = daemon
        .reload(|config| {
            config.plugins = limits;
            config.diff.output.bytes = 4096;
            config.limits.diffs = 3;
            config.metadata.grace = std::time::Duration::ZERO;
        })
        .await
        .expect("reloaded");
    assert_eq!(reloaded.changed, ["diff.max_layer_size", "plugins"]);
    assert_eq!(reloaded.restart, ["metadata", "limits"]);
    let small = Layer::new().end();
    let (_, text) = refused(apply(rig, TAR, &small, &[bind(target.path())]).await);
    assert!(text.contains("16777216 bytes of memory"), "{text}");
    crate::plugins::roll_back(rig, "guest")
        .await
        .expect("the version that passes");
    let (_, text) = refused(apply(rig, TAR, &tar, &[bind(target.path())]).await);
    assert!(text.contains("limit of 4096 bytes"), "{text}");
    assert_eq!(status(rig, "guest").await.breaker.expect("it").limit, 0);
    let again = daemon
        .reload(|config| config.limits.diffs = 3)
        .await
        .expect("reloaded");
    assert_eq!(again.restart, ["limits"], "it is named as long as it waits");
    assert_eq!(again.changed, ["diff.max_layer_size", "plugins"], "they go back");
}

#[test]
fn every_setting_is_in_force_at_once_or_named() {
    let places = transomd::places::Places::system();
    let running = Config::defaults(&places);
    let text = "root = \"/r\"\nstate = \"/s\"\naddress = \"/a\"\nproxy_backend = true\nshutdown_timeout = \"1s\"\n[socket]\nuid = 1\n[log]\n\
                level = \"warn\"\nformat = \"json\"\n[metadata]\ngrace = \"1s\"\n[snapshots]\nsync = false\n[gc]\nmutation_threshold = 1\n\
                [limits]\ndiffs = 1\n[metrics]\naddress = \"127.0.0.1:1\"\n[traces]\nshare = 0.5\n[filters]\nfolders = [\"/f\"]\n\
                [transfer]\nmax_concurrent_downloads = 1\n[verifiers]\nmax_verifiers = 1\n[admission.policies.a]\nplugin = \"b\"\nexpression = \"c\"\n[diff]\ncontent_address = \"/c\"\nsync_fs = true\n\
                [processors]\nfolders = [\"/p\"]\n[registry]\nnamespaces = [\"a\"]\n[plugins.breaker]\ncrashes = 1\n";
    let read = Config::parse(text, &places).expect("a right file");
    let compared = compare(&running, &read);
    let live = [
        "log.level",
        "diff.sync_fs",
        "plugins",
        "filters",
        "processors",
        "verifiers",
        "admission",
    ];
    assert_eq!(compared.changed, live);
    let fixed = [
        "root",
        "state",
        "address",
        "proxy_backend",
        "shutdown_timeout",
        "socket",
        "log.format",
        "metadata",
        "snapshots",
        "gc",
        "limits",
        "metrics",
        "traces",
        "transfer",
        "diff.content_address",
        "registry",
    ];
    assert_eq!(compared.restart, fixed);
    let rest = compare(&compared.effective, &read);
    assert_eq!((rest.changed, rest.restart.len()), (Vec::new(), fixed.len()));
}

#[tokio::test]
async fn what_is_granted_is_shown_with_the_line_that_is_missing() {
    let Some(sealed) = plugin("ocicrypt") else { return };
    let folder = sealed.parent().expect("a folder").to_path_buf();
    let daemon = Reread::with(|config| config.processors.folders = vec![folder]).await;
    let ask = async || {
        let request = GrantsRequest {
            name: "ocicrypt".to_owned(),
        };
        let mut answer = client(&daemon.rig)
            .grants(request)
            .await
            .expect("an answer")
            .into_inner();
        answer.plugins.remove(0).grants.remove(0)
    };
    let missing = ask().await;
    assert!(missing.asked && !missing.granted, "{missing:?}");
    assert!(
        missing.add.contains("[processors.keys]\nocicrypt = "),
        "{missing:?}"
    );
    let keys = tempdir().expect("a folder");
    let path = keys.path().to_path_buf();
    let reloaded = daemon
        .reload(|config| {
            config.processors.keys.insert("ocicrypt".to_owned(), vec![path]);
        })
        .await;
    assert_eq!(reloaded.expect("reloaded").changed, ["processors"]);
    let granted = ask().await;
    assert!(granted.granted && granted.add.is_empty(), "{granted:?}");
    assert_eq!(granted.what, keys.path().display().to_string());
    let unknown = GrantsRequest {
        name: "none".to_owned(),
    };
    assert_eq!(
        refused(client(&daemon.rig).grants(unknown).await).0,
        Code::NotFound
    );
}

#[tokio::test]
async fn behind_a_containerd_nothing_is_installed_and_folders_are_reloaded() {
    let folder = tempdir().expect("a folder");
    write(folder.path(), "guest.wasm", &processor("pass", "0.1.0"));
    let folders = vec![folder.path().to_path_buf()];
    let daemon = Reread::with(|config| {
        config.proxy_backend = true;
        config.processors.folders = folders;
    })
    .await;
    let (code, text) = refused(crate::plugins::install_uploaded(&daemon.rig, &sha256(b"x"), &[]).await);
    assert_eq!(code, Code::FailedPrecondition);
    assert!(text.contains("--proxy-backend"), "{text}");
    write(folder.path(), "guest.wasm", &processor("pass", "0.2.0"));
    daemon.reload(|_| {}).await.expect("reloaded");
    assert_eq!(
        versions(&daemon.rig).await,
        [("guest".to_owned(), "0.2.0".to_owned(), true)]
    );
}

/// The program, by the signal: with a good file, with mistakes, and with connections that are not dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_has_the_file_read_again() {
    let folder = tempdir().expect("a folder");
    let file = folder.path().join("config.toml");
    let text = |level: &str, rest: &str| {
        let text = format!("{rest}\n[log]\nlevel = {level:?}\nformat = \"json\"\n");
        std::fs::write(&file, text).expect("a file");
    };
    text("info", "");
    let name = file.to_string_lossy().into_owned();
    let program = Program::in_folder(folder, &["--config", &name]);
    let pid = rustix::process::Pid::from_child(&program.child);
    let hang_up = || rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
    let channel = crate::rig::channel(&program.socket()).await;
    let mut version = transom_api::version::version_client::VersionClient::new(channel);
    version.version(()).await.expect("a version");
    text("debug", "");
    hang_up();
    program.until("log.level");
    version.version(()).await.expect("the connection is there");
    // It is logged only because the level is another one now.
    program.until("answered");
    text("loud", "rot = 1");
    hang_up();
    program.until("line 1: unknown key `rot`");
    text("warn", "shutdown_timeout = \"7s\"");
    hang_up();
    program.until("needs a restart");
    version.version(()).await.expect("the connection is there");
    let (_, log) = program.stop();
    assert!(log.contains("shutdown_timeout"), "{log}");
}
