//! Plugins that crash again and again, and what is shown of it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::tempdir;
use tokio_stream::StreamExt;
use tonic::Code;
use transom_plugin::LimitsGiven;
use transom_plugin::breaker::{Clock, Settings};
use transom_storage::{Error, WriteMode};
use transom_tests::needs::require_root;
use transomd::reload::Reloading;

use crate::layers::{Layer, TAR, apply, bind};
use crate::plugins::{filter, install, processor, status};
use crate::plugins_drivers::{odds, open, path};
use crate::rig::{Rig, here, refused};

/// A daemon that suspends after three crashes, for half a minute by a clock that is moved by hand.
struct Suspending {
    rig: Rig,
    passed: Arc<Mutex<Duration>>,
}

impl Suspending {
    async fn start() -> Suspending {
        let passed = Arc::new(Mutex::new(Duration::ZERO));
        let (start, hand) = (Instant::now(), Arc::clone(&passed));
        let reloading = Reloading {
            clock: Clock::new(move || start + *hand.lock().expect("whole")),
            ..Reloading::default()
        };
        let rig = Rig::reloading(
            |config| {
                config.plugins.breaker = Settings {
                    crashes: 3,
                    window: Duration::from_secs(60),
                    pause: Duration::from_secs(30),
                };
                let limits = LimitsGiven {
                    stall: Some(Duration::from_millis(100)),
                    ..LimitsGiven::default()
                };
                config.plugins.limits.insert("guest".to_owned(), limits);
                config.metrics = Some("127.0.0.1:0".parse().expect("an address"));
            },
            reloading,
        )
        .await;
        Suspending { rig, passed }
    }

    fn pass(&self, seconds: u64) {
        *self.passed.lock().expect("whole") += Duration::from_secs(seconds);
    }

    async fn state(&self, name: &str) -> (String, u64) {
        let breaker = status(&self.rig, name).await.breaker.expect("it has one");
        (breaker.state, breaker.trips)
    }

    async fn layer(&self) -> Result<(), (Code, String)> {
        let target = tempdir().expect("a folder");
        let tar = Layer::new().file("f", b"x").end();
        let applied = apply(&self.rig, TAR, &tar, &[bind(target.path())]).await;
        applied
            .map(drop)
            .map_err(|status| (status.code(), status.message().to_owned()))
    }
}

#[tokio::test]
async fn a_processor_that_crashes_is_suspended_tried_and_let_in_again() {
    if !require_root() {
        return;
    }
    let daemon = Suspending::start().await;
    install(&daemon.rig, processor("trap", "0.1.0"))
        .await
        .expect("installed");
    for _ in 0..3 {
        let (code, text) = daemon.layer().await.expect_err("it crashes");
        assert_eq!(code, Code::Unknown, "{text}");
        assert!(text.contains("the sky fell"), "{text}");
    }
    let (code, text) = daemon.layer().await.expect_err("it is suspended");
    assert_eq!(code, Code::Unavailable, "{text}");
    assert!(text.contains("suspended because it crashed 3 times"), "{text}");
    assert!(text.contains("let try in 30 s"), "{text}");
    let shown = status(&daemon.rig, "guest").await;
    assert_eq!((shown.calls["crash"], shown.calls["suspended"]), (3, 1));
    assert_eq!(shown.failures.len(), 3, "what was refused is no failure");
    let breaker = shown.breaker.expect("it has one");
    assert_eq!(
        (breaker.state.as_str(), breaker.crashes, breaker.limit),
        ("open", 3, 3)
    );
    let metrics = daemon.rig.metrics_text().await;
    for line in [
        "transom_plugin_suspended{plugin=\"guest\"} 1",
        "transom_plugin_suspensions_total{plugin=\"guest\"} 1",
        "transom_plugin_calls_total{plugin=\"guest\",result=\"suspended\"} 1",
        "transom_plugin_calls_total{plugin=\"guest\",result=\"crash\"} 3",
        "transom_plugin_running{plugin=\"guest\"} 0",
        "version=\"0.1.0\"",
        "transom_plugin_bytes_total{plugin=\"guest\",direction=\"written\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    daemon.pass(29);
    assert_eq!(daemon.layer().await.expect_err("not yet").0, Code::Unavailable);
    daemon.pass(1);
    assert_eq!(
        daemon.layer().await.expect_err("it is tried, and crashes").0,
        Code::Unknown
    );
    assert_eq!(daemon.state("guest").await, ("open".to_owned(), 2));
    // Another version begins without a past.
    install(&daemon.rig, processor("pass", "0.2.0"))
        .await
        .expect("installed");
    daemon.layer().await.expect("it works");
    assert_eq!(daemon.state("guest").await, ("closed".to_owned(), 0));
}

#[tokio::test]
async fn a_filter_that_crashes_is_suspended_and_closes_after_one_good_call() {
    let daemon = Suspending::start().await;
    let rig = &daemon.rig;
    install(rig, filter("some", "0.1.0")).await.expect("installed");
    install(rig, filter("more", "0.1.0")).await.expect("installed");
    let ask = async |filter: &str| {
        let request = transom_api::images::ListImagesRequest {
            filters: vec![filter.to_owned()],
        };
        let mut client = transom_api::images::images_client::ImagesClient::new(rig.channel.clone());
        client.list(here(request)).await.map(drop)
    };
    for _ in 0..3 {
        assert_eq!(refused(ask("wasm.some==Trap").await).0, Code::Unknown);
    }
    let (code, text) = refused(ask("wasm.some==all").await);
    assert_eq!(code, Code::Unavailable, "{text}");
    assert!(text.contains("suspended"), "{text}");
    ask("wasm.more==all").await.expect("others go on");
    assert_eq!(daemon.state("some").await, ("open".to_owned(), 1));
    daemon.pass(30);
    ask("wasm.some==all").await.expect("it is tried, and works");
    assert_eq!(daemon.state("some").await, ("closed".to_owned(), 1));
    // What somebody typed wrongly is not the plugin's fault.
    for _ in 0..5 {
        assert_eq!(refused(ask("wasm.some==Refuse").await).0, Code::InvalidArgument);
    }
    assert_eq!(daemon.state("some").await, ("closed".to_owned(), 1));
}

#[tokio::test]
async fn a_storage_driver_that_crashes_is_suspended_and_let_in_by_the_first_bytes_of_a_reader() {
    let daemon = Suspending::start().await;
    let rig = &daemon.rig;
    install(rig, odds("0.1.0", &[])).await.expect("installed");
    let driver = open(rig, &serde_json::json!({ "driver": "odds" }));
    let (trap, fine) = (path("/trap"), path("/fine"));
    for _ in 0..2 {
        let error = driver.get(&trap, 10).await.expect_err("it crashes");
        assert!(error.to_string().contains("the sky fell"), "{error}");
    }
    let mut reader = driver.read(&trap, 0).await.expect("it begins well");
    reader.next().await.expect("an answer").expect_err("it crashes");
    let refused = driver.get(&fine, 10).await.expect_err("it is suspended");
    let text = refused.to_string();
    assert!(text.contains("suspended because it crashed 3 times"), "{text}");
    let Error::Unavailable { retry_after, .. } = refused else {
        panic!("{text}");
    };
    assert_eq!(retry_after, Some(Duration::from_secs(30)));
    let shown = status(rig, "odds").await;
    assert_eq!((shown.calls["crash"], shown.calls["suspended"]), (3, 1));
    let subjects: Vec<&str> = shown
        .failures
        .iter()
        .map(|failed| failed.subject.as_str())
        .collect();
    assert_eq!(subjects, ["/trap"; 3]);
    let metrics = rig.metrics_text().await;
    for line in [
        "transom_plugin_suspended{plugin=\"odds\"} 1",
        "transom_plugin_calls_total{plugin=\"odds\",result=\"crash\"} 3",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    daemon.pass(30);
    let mut reader = driver.read(&fine, 0).await.expect("it is let try");
    assert_eq!(daemon.state("odds").await.0, "trying");
    driver.stat(&fine).await.expect_err("one at a time");
    reader.next().await.expect("bytes").expect("good ones");
    assert_eq!(daemon.state("odds").await, ("closed".to_owned(), 1));
    driver.get(&fine, 10).await.expect("all are let in");
    let writer = driver.writer(&fine, WriteMode::Create).await;
    let mut writer = writer.expect("a writer");
    for part in ["eight", "een"] {
        writer.write(part.into()).await.expect("written");
    }
    drop(writer);
    let metrics = rig.metrics_text().await;
    // 10 of a reader, 5 of a call; what crashed gave none, and who is dropped has had what it had.
    for line in [
        "transom_plugin_bytes_total{plugin=\"odds\",direction=\"read\"} 15",
        "transom_plugin_bytes_total{plugin=\"odds\",direction=\"written\"} 8",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn a_plugin_that_loops_and_floods_the_log_is_stopped_and_suspended() {
    if !require_root() {
        return;
    }
    let daemon = Suspending::start().await;
    install(&daemon.rig, processor("chatter", "0.1.0"))
        .await
        .expect("installed");
    for _ in 0..3 {
        let (code, text) = daemon.layer().await.expect_err("it is stopped");
        assert_eq!(code, Code::ResourceExhausted, "{text}");
        assert!(text.contains("without reading or writing"), "{text}");
    }
    assert_eq!(
        daemon.layer().await.expect_err("it is suspended").0,
        Code::Unavailable
    );
    let shown = status(&daemon.rig, "guest").await;
    assert_eq!((shown.calls["limit"], shown.running), (3, 0));
    assert!(shown.dropped_lines > 0, "{shown:?}");
    let metrics = daemon.rig.metrics_text().await;
    let line = format!(
        "transom_plugin_dropped_log_lines_total{{plugin=\"guest\"}} {}",
        shown.dropped_lines
    );
    assert!(metrics.contains(&line), "{line} in {metrics}");
}
