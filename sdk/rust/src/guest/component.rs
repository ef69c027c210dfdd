//! The component: what the host calls, in terms of a processor.

use std::io::Write;
use std::marker::PhantomData;
use std::sync::Once;

use self::bindings::exports::transom::processor::stage;
use self::bindings::transom::common::log as host_log;
use super::streams::{Input, Output};
use crate::Processor;

/// The world's types and functions, generated from `wit/`.
#[allow(missing_docs, reason = "generated; the WIT text has the comments")]
#[allow(missing_debug_implementations, unreachable_pub, reason = "generated")]
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: ["wit/common", "wit/processor"],
        world: "transom:processor/processor",
        generate_all,
        pub_export_macro: true,
    });
}

/// Implements the world's exports by a processor.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

impl<P: Processor> stage::Guest for Component<P> {
    fn describe() -> stage::Info {
        set_up();
        P::describe().into()
    }

    fn run(
        job: stage::Job,
        input: &stage::Reader,
        output: &stage::Writer,
    ) -> Result<stage::Outcome, stage::Error> {
        set_up();
        let mut output = Output::new(output);
        let outcome = P::default().run(&job.into(), &mut Input::new(input), &mut output)?;
        output.flush().map_err(crate::Error::from)?;
        Ok(outcome.into())
    }
}

/// Sends log lines and the message of a panic to the host.
pub(super) fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            host_log::log(host_log::Level::Error, &format!("{panic}"));
        }));
        // It can only fail when the processor's crate has installed a logger of its own, which is then meant.
        if log::set_logger(&HostLog).is_ok() {
            log::set_max_level(log::LevelFilter::Trace);
        }
    });
}

struct HostLog;

impl log::Log for HostLog {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Trace => host_log::Level::Trace,
            log::Level::Debug => host_log::Level::Debug,
            log::Level::Info => host_log::Level::Info,
            log::Level::Warn => host_log::Level::Warn,
            log::Level::Error => host_log::Level::Error,
        };
        host_log::log(level, &record.args().to_string());
    }

    fn flush(&self) {}
}
