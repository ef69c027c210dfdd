//! `transomd`.

mod arguments;

use std::env;
use std::process::ExitCode;

use arguments::{Action, Arguments, ConfigAction};
use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};
use transom_client::Proxies;
use transomd::config::{Config, Limits};
use transomd::limits::SPARE_THREADS;
use transomd::notify::Notify;
use transomd::places::Places;
use transomd::plugins::Live;
use transomd::reload::Reloading;
use transomd::shutdown::Shutdown;
use transomd::{Daemon, limits, log};

/// What went wrong, for people.
type Problem = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("transomd: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Problem> {
    let places = places()?;
    match &arguments.action {
        Some(Action::Config(ConfigAction::Default)) => {
            print!("{}", Config::defaults(&places).to_text());
            Ok(())
        }
        Some(Action::Config(ConfigAction::Check { file })) => {
            let file = file.as_ref().unwrap_or(&places.config);
            arguments::read(file, &places)?;
            println!("{}: good", file.display());
            Ok(())
        }
        None => serve(arguments.clone(), places),
    }
}

/// The configuration of a file, of flags and of the environment.
fn read(arguments: &Arguments, places: &Places) -> Result<Config, String> {
    let mut config = arguments.config(places)?;
    config.transfer.proxies = Proxies::of(|name| env::var(name).ok());
    Ok(config)
}

fn places() -> Result<Places, Problem> {
    if rustix::process::geteuid().is_root() {
        return Ok(Places::system());
    }
    let places = Places::of_user(|name| env::var_os(name));
    places.ok_or_else(|| "HOME is not set; set it, or XDG_DATA_HOME and XDG_CONFIG_HOME".into())
}

fn serve(arguments: Arguments, places: Places) -> Result<(), Problem> {
    let config = read(&arguments, &places)?;
    let registry = config.registry.as_ref();
    let level = log::start(
        &config.log,
        registry.is_some_and(|registry| registry.settings.log.access),
    );
    let notify = Notify::new(env::var_os("NOTIFY_SOCKET").as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(threads(&config.limits))
        .thread_keep_alive(limits::IDLE_THREAD)
        .build()?;
    let served = runtime.block_on(async {
        let shutdown = Shutdown::default();
        stop_on_signals(shutdown.clone())?;
        let hangup = signal(SignalKind::hangup())?;
        let reloading = Reloading {
            log: Some(level),
            policy: Some(places.config.with_file_name("trust.toml")),
            ..Reloading::from(move || read(&arguments, &places))
        };
        let daemon = Daemon::open_with(config, shutdown, reloading).await?;
        tokio::spawn(reload_on_signal(hangup, daemon.plugins().clone()));
        tokio::spawn(forget_the_start());
        daemon.serve(&notify).await?;
        Ok::<_, Problem>(())
    });
    // Writers whose clients have gone bring what they have to the disk.
    runtime.shutdown_timeout(limits::LAST_WRITES);
    served
}

/// Hands back the memory of code that only the start has run.
async fn forget_the_start() {
    tokio::time::sleep(limits::STARTED).await;
    if let Err(error) = transom_sys::release_code() {
        tracing::debug!(%error, "the memory of the start stays");
    }
}

/// Every writer and reader, every diff and what its differ asks the stores, and what only looks something up.
fn threads(limits: &Limits) -> usize {
    limits.writers + limits.readers + 2 * limits.diffs + SPARE_THREADS
}

/// Reads the configuration again at each signal. What became of it is in the log.
async fn reload_on_signal(mut hangup: Signal, plugins: Live) {
    while hangup.recv().await.is_some() {
        drop(plugins.reload().await);
    }
}

/// The first signal to stop lets requests end, the second does not.
fn stop_on_signals(shutdown: Shutdown) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if shutdown.has_begun() {
                tracing::warn!("stopping at once");
                std::process::exit(1);
            }
            shutdown.begin();
        }
    });
    Ok(())
}
