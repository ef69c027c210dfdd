//! Guests that do what they must not: each ends with its own typed error, soon, with bounded memory, and does no harm to the
//! next job.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/faults.rs"]
mod faults;
#[path = "support/guests.rs"]
mod guests;
#[path = "support/harness.rs"]
mod harness;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use faults::{fault, plugin_error};
use guests::{guest, spy};
use harness::{run, run_with};
use transom_layer::cancel::Cancel;
use transom_layer::pump::PumpError;
use transom_layer::stage::{Handler, Payload};
use transom_oci::media_type::LAYER_TAR;
use transom_plugin::config::Values;
use transom_plugin::{Fault, GuestError, Host, HostConfig, Limits, LoadError};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wit_component::ComponentEncoder;

/// One host for all, so that every test is also the "next job" of the others.
static HOST: LazyLock<Host> = LazyLock::new(|| {
    let limits = Limits {
        memory: 16 << 20,
        cpu: Duration::from_millis(1500),
        stall: Duration::from_millis(300),
        output: 1 << 20,
        ..Limits::default()
    };
    Host::new(HostConfig {
        limits,
        ..HostConfig::default()
    })
    .unwrap()
});

fn handler(name: &str) -> Arc<dyn Handler> {
    HOST.load_bytes(&guest(name), None)
        .unwrap()
        .handler(&Values::new())
        .unwrap()
}

/// As the Diff service and `--payload` hand it on: a key, say. What is for another stage is not shown.
#[test]
fn a_payload_reaches_the_guest_that_it_is_for() {
    let guest = handler("payload");
    let payload = |name: &str, value: &'static [u8]| {
        let type_url = "example.org/key".to_owned();
        let value = bytes::Bytes::from_static(value);
        (name.to_owned(), Payload { type_url, value })
    };
    let given = |payloads: &[(String, Payload)]| {
        let ran = run_with(&guest, LAYER_TAR, b"some input", None, payloads, Cancel::new());
        ran.unwrap().0
    };
    let (mine, other) = (
        payload(guest.name(), b"\0secret"),
        payload("other", b"not for it"),
    );
    assert_eq!(given(&[other.clone(), mine]), b"example.org/key\0secret");
    assert_eq!(given(&[other]), b"");
}

/// Runs a guest that fails, checks that a good one still works, and returns how it failed.
fn fails(name: &str) -> Fault {
    let guest = handler(name);
    let ran = run(&guest, LAYER_TAR, b"some input", None);
    passes();
    fault(&ran).clone()
}

fn passes() {
    let pass = handler("pass");
    let input: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    let (output, _) = run(&pass, LAYER_TAR, &input, None).unwrap();
    assert!(output == input);
}

#[test]
fn a_well_behaved_guest_passes_bytes_through() {
    passes();
}

#[test]
fn endless_loops_are_stopped() {
    assert!(matches!(fails("loop"), Fault::Stall { .. }));
    assert!(matches!(fails("busy"), Fault::Stall { .. }));
    assert!(matches!(fails("chatter"), Fault::Stall { .. }));
}

#[test]
fn cpu_and_wall_time_have_limits_of_their_own() {
    let plugin = HOST.load_bytes(&guest("loop"), None).unwrap();
    let short = Duration::from_millis(50);
    let limits = Limits {
        cpu: short,
        ..plugin.limits().clone()
    };
    let handler = plugin
        .clone()
        .with_limits(limits)
        .handler(&Values::new())
        .unwrap();
    assert_eq!(
        *fault(&run(&handler, LAYER_TAR, b"", None)),
        Fault::Cpu { limit: short }
    );
    let limits = Limits {
        wall: short,
        // Whoever looks at the clock may come late.
        stall: Duration::from_secs(60),
        cpu: Duration::from_secs(60),
        ..plugin.limits().clone()
    };
    let handler = plugin.with_limits(limits).handler(&Values::new()).unwrap();
    assert_eq!(
        *fault(&run(&handler, LAYER_TAR, b"", None)),
        Fault::Wall { limit: short }
    );
}

#[test]
fn memory_is_bounded_and_its_end_is_named() {
    assert_eq!(fails("allocate"), Fault::Memory { limit: 16 << 20 });
}

#[test]
fn a_memory_that_is_too_large_from_the_start_is_refused_at_load() {
    match HOST.load_bytes(&guest("born-large"), None) {
        Err(LoadError::Describe(Fault::Memory { limit })) => assert_eq!(limit, 16 << 20),
        Err(LoadError::Compile(message) | LoadError::Types(message)) => {
            assert!(message.contains("memory"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    passes();
}

#[test]
fn output_is_bounded() {
    assert_eq!(fails("write"), Fault::Output { limit: 1 << 20 });
    assert_eq!(fails("write-until-error"), Fault::Output { limit: 1 << 20 });
}

#[test]
fn output_for_nothing_is_a_bomb() {
    let plugin = HOST.load_bytes(&guest("write"), None).unwrap();
    let limits = Limits {
        output: u64::MAX,
        ratio: 10,
        ..plugin.limits().clone()
    };
    let handler = plugin.with_limits(limits).handler(&Values::new()).unwrap();
    let ran = run(&handler, LAYER_TAR, b"x", None);
    assert!(matches!(fault(&ran), Fault::Ratio { limit: 10, .. }), "{ran:?}");
}

#[test]
fn the_stack_is_bounded() {
    assert!(matches!(fails("recurse"), Fault::Stack { .. }));
}

#[test]
fn a_crash_names_its_message_and_functions() {
    let trapped = handler("trap");
    let ran = run(&trapped, LAYER_TAR, b"", None);
    let error = plugin_error(&ran);
    assert_eq!((error.name.as_str(), error.version.as_str()), ("guest", "0.1.0"));
    let Fault::Trap {
        message, backtrace, ..
    } = &error.fault
    else {
        panic!("{error}")
    };
    assert_eq!(message.as_deref(), Some("the sky fell"));
    assert!(backtrace[0].contains("fall"), "{backtrace:?}");
    for part in [
        "guest 0.1.0",
        &error.digest.to_string(),
        &error.layer.to_string(),
        "the sky fell",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(matches!(fails("out-of-bounds"), Fault::Trap { .. }));
    passes();
}

#[test]
fn garbage_is_a_broken_rule() {
    let names = [
        "garbage-variant",
        "garbage-pointer",
        "garbage-text",
        "garbage-list",
        "findings",
        "long-write",
        "keep",
    ];
    for name in names {
        let fault = fails(name);
        assert!(matches!(fault, Fault::Protocol(_)), "{name}: {fault:?}");
    }
}

#[test]
fn a_guests_own_error_keeps_its_case() {
    let expected = GuestError::Corrupt {
        offset: Some(7),
        message: "no good".into(),
    };
    assert_eq!(fails("error"), Fault::Guest(expected));
}

#[test]
fn a_guest_can_be_cancelled_while_it_computes() {
    let plugin = HOST.load_bytes(&guest("loop"), None).unwrap();
    let limits = Limits {
        stall: Duration::from_secs(60),
        cpu: Duration::from_secs(60),
        ..plugin.limits().clone()
    };
    let handler = plugin.with_limits(limits).handler(&Values::new()).unwrap();
    let cancel = Cancel::new();
    let later = cancel.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        later.cancel();
    });
    let ran = run_with(&handler, LAYER_TAR, b"", None, &[], cancel);
    assert!(matches!(ran, Err(PumpError::Cancelled)), "{ran:?}");
    thread.join().unwrap();
}

#[test]
fn a_guest_that_cannot_describe_itself_is_not_loaded() {
    let load = |name: &str| HOST.load_bytes(&guest(name), None).unwrap_err();
    assert!(matches!(
        load("describe-loop"),
        LoadError::Describe(Fault::Cpu { .. } | Fault::Stall { .. })
    ));
    assert!(matches!(
        load("start-loop"),
        LoadError::Describe(Fault::Cpu { .. } | Fault::Stall { .. })
    ));
    assert!(matches!(
        load("describe-trap"),
        LoadError::Describe(Fault::Trap { .. })
    ));
    assert!(matches!(load("describe-name"), LoadError::Info(_)));
}

#[test]
fn a_forbidden_import_is_named_with_who_pulled_it_in() {
    let Err(LoadError::Forbidden(imports)) = HOST.load_bytes(&spy(), None) else {
        panic!("it was loaded")
    };
    assert_eq!(imports.len(), 1);
    assert_eq!(imports[0].interface, "evil:net/sockets@1.0.0");
    assert_eq!(imports[0].function.as_deref(), Some("connect"));
    assert_eq!(imports[0].callers, ["peek"]);
}

/// A program for WASI as compilers make one: its module imports preview 1, and the toolchain's adapter the real interfaces.
fn program_for_wasi() -> Vec<u8> {
    let imports = r#"(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))"#;
    let world = "package test:plain; world guest { include transom:processor/processor@0.1.0; }";
    let encoder = ComponentEncoder::default()
        .adapter(
            WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
            WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
        )
        .unwrap();
    guests::encode(encoder, &guests::module("wasi", imports, world))
}

#[test]
fn a_program_for_wasi_is_refused_with_the_functions_that_want_it() {
    let Err(LoadError::Forbidden(imports)) = HOST.load_bytes(&program_for_wasi(), None) else {
        panic!("it was loaded")
    };
    for import in &imports {
        assert!(import.interface.starts_with("wasi:"), "{import}");
    }
    let wants = |interface: &str, function: &str, by: &str| {
        let mut of = imports.iter().filter(|import| {
            import.interface.starts_with(interface) && import.function.as_deref() == Some(function)
        });
        of.any(|import| import.callers.first().is_some_and(|first| first == by))
    };
    let all: Vec<String> = imports.iter().map(ToString::to_string).collect();
    assert!(
        wants("wasi:random/random@0.2", "get-random-bytes", "seed"),
        "{all:#?}"
    );
    assert!(
        wants("wasi:io/streams@0.2", "[method]output-stream.write", "print"),
        "{all:#?}"
    );
}
