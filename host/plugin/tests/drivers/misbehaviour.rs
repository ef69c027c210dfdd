//! A plugin that does what it must not: one call is lost, with an error that says who and what, and the next one works.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use transom_plugin::storage::{Grants, Masters};
use transom_plugin::{DriverError, Fault, Host, HostConfig, Limits};
use transom_storage::decorators::{Call, Intercepted, Interceptor};
use transom_storage::factory::Secret;
use transom_storage::{Error, Memory, Pending, StorageDriver, WriteMode};
use transom_tests::needs;

use crate::driver_guest::{TEXT, driver_guest};
use crate::support::{KEY, path, read};

/// A host with limits that are met soon.
static HOST: LazyLock<Host> = LazyLock::new(|| {
    let limits = Limits {
        memory: 16 << 20,
        cpu: Duration::from_millis(300),
        ..Limits::default()
    };
    Host::new(HostConfig {
        limits,
        ..HostConfig::default()
    })
    .unwrap()
});

static DRIVER: LazyLock<Arc<dyn StorageDriver>> = LazyLock::new(|| {
    let plugin = HOST.load_driver_bytes(&driver_guest(TEXT), None).unwrap();
    plugin.open(Grants::default()).unwrap()
});

/// How the plugin failed, after which the next call must work.
async fn fault<T: std::fmt::Debug>(done: Result<T, Error>) -> Fault {
    let error = done.expect_err("this must fail");
    let text = error.to_string();
    assert!(
        text.starts_with("odds: cannot ") && text.contains("plugin odds 0.1.0 (sha256:"),
        "{text}"
    );
    let fault = DriverError::of(&error).expect("a plugin's error").fault.clone();
    assert_eq!(
        DRIVER.get(&path("/fine"), 10).await.unwrap(),
        "hello",
        "after {fault}"
    );
    fault
}

/// The rule that the plugin broke.
async fn rule<T: std::fmt::Debug>(done: Result<T, Error>) -> String {
    match fault(done).await {
        Fault::Protocol(rule) => rule,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_crash_a_loop_and_a_hunger_cost_one_call_each() {
    match fault(DRIVER.get(&path("/trap"), 10).await).await {
        Fault::Trap { message, .. } => assert_eq!(message.as_deref(), Some("the sky fell")),
        other => panic!("{other}"),
    }
    let looped = fault(DRIVER.get(&path("/loop"), 10).await).await;
    assert!(
        matches!(looped, Fault::Cpu { .. } | Fault::Stall { .. }),
        "{looped}"
    );
    let chatty = fault(DRIVER.get(&path("/chatter"), 10).await).await;
    assert!(
        matches!(chatty, Fault::Cpu { .. } | Fault::Stall { .. }),
        "{chatty}"
    );
    let greedy = rule(DRIVER.get(&path("/all-handles"), 10).await).await;
    assert!(greedy.contains("handle"), "{greedy}");
    let hungry = fault(DRIVER.get(&path("/memory"), 10).await).await;
    assert!(matches!(hungry, Fault::Memory { .. }), "{hungry}");
    let deep = fault(DRIVER.get(&path("/recursion"), 10).await).await;
    assert!(matches!(deep, Fault::Stack { .. }), "{deep}");
}

#[tokio::test]
async fn bytes_are_as_many_as_were_said() {
    assert_eq!(read(&**DRIVER, "/fine").await.unwrap().len(), 10);
    assert!(
        rule(read(&**DRIVER, "/short").await)
            .await
            .contains("5 bytes before")
    );
    assert!(
        rule(read(&**DRIVER, "/more").await)
            .await
            .contains("more bytes than it said")
    );
    assert!(
        rule(read(&**DRIVER, "/huge").await)
            .await
            .contains("300000 bytes at once")
    );
    assert!(matches!(
        fault(read(&**DRIVER, "/trap").await).await,
        Fault::Trap { .. }
    ));
    assert!(
        rule(DRIVER.read(&path("/offset"), 5).await)
            .await
            .contains("from 5 on of 0 bytes")
    );
    assert!(
        rule(DRIVER.get(&path("/big"), 10).await)
            .await
            .contains("100 bytes where 10 are allowed")
    );
}

#[tokio::test]
async fn entries_are_in_their_folder_and_in_order() {
    assert_eq!(DRIVER.list(&path("/fine")).await.unwrap(), []);
    for (folder, expected) in [
        ("/o", "wrong order"),
        ("/e", "wrong order"),
        ("/x", "which is not in /x"),
        ("/n", "named no path"),
    ] {
        let listed = rule(DRIVER.list(&path(folder)).await).await;
        assert!(listed.contains(expected), "{folder}: {listed}");
        let mut walk = DRIVER.walk(&path(folder), None).await.unwrap();
        let ended = loop {
            match walk.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{folder} ends well"),
                Err(error) => break error,
            }
        };
        assert!(
            walk.next().await.unwrap().is_none(),
            "a walk goes on after its error"
        );
        let walked = rule::<()>(Err(ended)).await;
        assert!(walked.contains(expected), "{folder}: {walked}");
    }
    assert!(
        rule(DRIVER.stat(&path("/path")).await)
            .await
            .contains("answered for /y/a")
    );
    assert!(
        rule(DRIVER.stat(&path("/z")).await)
            .await
            .contains("2000000000 nanoseconds")
    );
}

#[tokio::test]
async fn after_a_crash_a_writer_is_interrupted() {
    let mut writer = DRIVER.writer(&path("/trap"), WriteMode::Create).await.unwrap();
    let crashed = fault(writer.write(Bytes::from_static(b"x")).await).await;
    assert!(matches!(crashed, Fault::Trap { .. }), "{crashed}");
    let again = writer.write(Bytes::from_static(b"x")).await;
    assert!(matches!(again, Err(Error::Interrupted { .. })), "{again:?}");
    let commit = writer.commit().await;
    assert!(matches!(commit, Err(Error::Interrupted { .. })), "{commit:?}");
}

/// Many at a time, each of which crashes: there are always instances for those that do not.
#[tokio::test(flavor = "multi_thread")]
async fn crashes_do_not_use_up_the_instances() {
    let calls: Vec<_> = (0..200)
        .map(|number| {
            tokio::spawn(async move {
                match number % 2 {
                    0 => DRIVER
                        .get(&path("/trap"), 10)
                        .await
                        .map(drop)
                        .unwrap_err()
                        .to_string(),
                    _ => String::from_utf8(DRIVER.get(&path("/fine"), 10).await.unwrap().to_vec()).unwrap(),
                }
            })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        let said = call.await.unwrap();
        assert!(
            said.contains(if number % 2 == 0 { "the sky fell" } else { "hello" }),
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_goes_on_without_harm() {
    for _ in 0..20 {
        let dropped_path = path("/loop");
        let mut dropped = DRIVER.get(&dropped_path, 10);
        // Begun, and no more.
        let begun = tokio::time::timeout(Duration::ZERO, &mut dropped).await;
        assert!(begun.is_err());
        drop(dropped);
        assert_eq!(DRIVER.get(&path("/fine"), 10).await.unwrap(), "hello");
    }
}

/// A store that never answers.
#[derive(Debug)]
struct Silent;

impl Interceptor for Silent {
    fn once<'a, T: Send + 'a>(&'a self, _: Call<'a>, _: Pending<'a, T>) -> Pending<'a, T> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn a_store_below_that_never_answers_is_not_waited_for() {
    let Some(file) = needs::plugin("encrypt") else {
        return;
    };
    let limits = Limits {
        wall: Duration::from_millis(200),
        ..Limits::default()
    };
    let host = Host::new(HostConfig {
        limits,
        ..HostConfig::default()
    })
    .unwrap();
    let plugin = host.load_driver(file.parent().unwrap()).unwrap();
    let grants = Grants {
        inner: Some(Arc::new(Intercepted::new(
            Arc::new(Memory::default()),
            Arc::new(Silent),
        ))),
        masters: Masters::parse(&[Secret::new(KEY)]).unwrap(),
        ..Grants::default()
    };
    let driver = plugin.open(grants).unwrap();
    for _ in 0..2 {
        let error = driver.stat(&path("/a")).await.unwrap_err();
        let fault = &DriverError::of(&error).expect("the plugin's error").fault;
        assert!(matches!(fault, Fault::Wall { .. }), "{fault}");
    }
}
