//! The plugins of a registry that is served by the command, looked for again at a signal.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use transom_tests::versions::plugin_in;

use crate::driver::KEY;
use crate::driver_guest::{TEXT, driver_guest};
use crate::filter_guest;
use crate::image::RawImage;
use crate::registry_serve::{EMPTY, ask};
use crate::support::{REFUSED, run, transom};

/// A registry with a plugin, and what it logs.
struct Logged {
    child: Child,
    address: String,
    metrics: String,
    log: Lines<BufReader<ChildStderr>>,
}

impl Logged {
    fn start(config: &Path, plugin: &Path) -> Logged {
        let mut child = transom(["--json", "registry", "serve", "--listen", "127.0.0.1:0"])
            .args(["--metrics-listen", "127.0.0.1:0", "--config"])
            .arg(config)
            .arg("--plugin")
            .arg(plugin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let served: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| served[name].as_str().unwrap().to_owned();
        Logged {
            address: address("address"),
            metrics: address("metrics"),
            log: BufReader::new(child.stderr.take().unwrap()).lines(),
            child,
        }
    }

    /// Has the plugins read again, and gives what the log says of it.
    fn reload(&mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
        self.said("read again")
    }

    /// The next line of the log with these words.
    fn said(&mut self, words: &str) -> String {
        let mut lines = self.log.by_ref().map_while(Result::ok);
        lines.find(|line| line.contains(words)).unwrap()
    }

    fn has_counted(&self, lines: &[&str]) {
        let metrics = ask(&self.metrics, "GET /metrics");
        for line in lines {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        drop(self.child.kill());
    }
}

#[test]
fn drivers_are_read_again_at_a_signal_and_a_broken_one_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("encrypt");
    fs::create_dir(&plugin).unwrap();
    let component = plugin.join("encrypt.wasm");
    let write = |version: &str| {
        let (bytes, text) = plugin_in("encrypt", version)?;
        fs::write(&component, bytes).unwrap();
        fs::write(plugin.join("plugin.toml"), text).unwrap();
        Some(())
    };
    if write("0.1.0").is_none() {
        return;
    }
    let config = folder.path().join("registry.toml");
    let text = format!(
        "[storage]\ndriver = \"encrypt\"\nmasterkeys = \"{KEY}\"\n[storage.inner]\ndriver = \"filesystem\"\nrootdirectory = {:?}\n",
        folder.path().join("storage")
    );
    fs::write(&config, text).unwrap();
    let mut registry = Logged::start(&config, &plugin);
    let address = registry.address.clone();
    let made = ask(&address, &format!("POST /v2/a/blobs/uploads/?digest={EMPTY}"));
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    write("0.2.0").unwrap();
    let said = registry.reload();
    assert!(said.contains("encrypt 0.2.0"), "{said}");
    let there = || ask(&address, &format!("GET /v2/a/blobs/{EMPTY}")).starts_with("HTTP/1.1 200");
    assert!(there());
    fs::write(&component, b"\0asm").unwrap();
    let said = registry.reload();
    assert!(said.contains("all go on as they were"), "{said}");
    assert!(there());
    registry.stop();
}

#[test]
fn a_driver_that_crashes_is_suspended_until_another_version_comes() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = folder.path().join("odds.wasm");
    // Content of a registry is below `/docker`.
    let falls = TEXT.replace(
        "(i32.const 116)) (then (call $fall))",
        "(i32.const 100)) (then (call $fall))",
    );
    assert_ne!(falls, TEXT);
    fs::write(&plugin, driver_guest(&falls)).unwrap();
    let config = folder.path().join("registry.toml");
    let text = "[storage]\ndriver = \"odds\"\n[plugins.breaker]\ncrashes = 3\npause = \"1h\"\n";
    fs::write(&config, text).unwrap();
    let mut registry = Logged::start(&config, &plugin);
    let address = registry.address.clone();
    let pull = || ask(&address, "GET /v2/a/manifests/v1");
    for _ in 0..3 {
        let crashed = pull();
        assert!(crashed.starts_with("HTTP/1.1 500"), "{crashed}");
        let said = registry.said("has crashed");
        assert!(said.contains("odds") && said.contains("the sky fell"), "{said}");
    }
    let refused = pull();
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    let lines = refused.to_ascii_lowercase();
    let wait = lines.lines().find_map(|line| line.strip_prefix("retry-after: "));
    let wait: u64 = wait.unwrap().parse().unwrap();
    // What is left of the hour.
    assert!((3000..=3600).contains(&wait), "{refused}");
    registry.has_counted(&[
        "transom_plugin_suspended{plugin=\"odds\"} 1",
        "transom_plugin_suspensions_total{plugin=\"odds\"} 1",
        "transom_plugin_calls_total{plugin=\"odds\",result=\"crash\"} 3",
        "transom_plugin_calls_total{plugin=\"odds\",result=\"suspended\"} 1",
    ]);
    // Nothing is new: it stays suspended.
    registry.reload();
    assert!(pull().starts_with("HTTP/1.1 503"));
    fs::write(&plugin, driver_guest(&TEXT.replace("odds0.1.0", "odds0.2.0"))).unwrap();
    let said = registry.reload();
    assert!(said.contains("odds 0.2.0"), "{said}");
    // It says `hello` where there should be a digest.
    let answered = pull();
    assert!(answered.starts_with("HTTP/1.1 500"), "{answered}");
    registry.has_counted(&[
        "transom_plugin_suspended{plugin=\"odds\"} 0",
        "transom_plugin_bytes_total{plugin=\"odds\",direction=\"read\"} 5",
        "transom_plugin_bytes_total{plugin=\"odds\",direction=\"written\"} 0",
    ]);
    registry.stop();
}

#[test]
fn policies_are_asked_of_the_filter_that_is_there_at_the_signal() {
    let folder = tempfile::tempdir().unwrap();
    let image = RawImage::plain(&folder.path().join("image"));
    let plugin = folder.path().join("some");
    fs::create_dir(&plugin).unwrap();
    let manifest = "name = \"some\"\nversion = \"0.1.0\"\nkind = \"filter\"\nworld = \"transom:filter/label-filter@0.1.0\"\n";
    fs::write(plugin.join("plugin.toml"), manifest).unwrap();
    let text = filter_guest::text("some");
    let write = |bytes: &[u8]| fs::write(plugin.join("some.wasm"), bytes).unwrap();
    write(&filter_guest::component(&text, ""));
    let config = folder.path().join("registry.toml");
    let policy = "[storage]\ndriver = \"inmemory\"\n[admission.policies.ours]\nplugin = \"some\"\nexpression = \"a\"\n";
    fs::write(&config, policy).unwrap();
    let mut registry = Logged::start(&config, &plugin);
    let (source, target) = (
        format!("oci:{}", image.layout.display()),
        format!("docker://{}/a/b:v1", registry.address),
    );
    let push = || run(["image", "copy", &source, &target]);
    push().ok();
    // One that crashes where the other lets all in.
    let crashes = text.replacen(
        "(local.get $letter) (i32.const 116)",
        "(local.get $letter) (i32.const 97)",
        1,
    );
    write(&filter_guest::component(&crashes, ""));
    registry.reload();
    push().fails(REFUSED, &["policy \"ours\": ", "the sky fell"]);
    write(b"\0asm");
    let said = registry.reload();
    assert!(said.contains("all go on as they were"), "{said}");
    push().fails(REFUSED, &["the sky fell"]);
    registry.stop();
}
