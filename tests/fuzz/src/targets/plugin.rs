//! Any bytes as a component: looked at, and loaded if nothing speaks against it.

use std::sync::OnceLock;

use transom_plugin::{Host, HostConfig, inspect};

use super::shape;

/// A larger component is only looked at: compiling it takes longer than a thousand other tries.
const COMPILED_MAX: usize = 64 << 10;

/// Inspects the bytes, and loads them when they are small and sound.
///
/// # Panics
/// When a component is loaded in which inspection sees a problem.
pub fn plugin(data: &[u8]) -> String {
    static HOST: OnceLock<Host> = OnceLock::new();
    let report = inspect(data);
    let problem = report.problems.first().map(|problem| {
        problem
            .chars()
            .filter(char::is_ascii_alphabetic)
            .take(60)
            .collect()
    });
    if let Some(problem) = problem {
        if data.len() <= COMPILED_MAX {
            let host = HOST.get_or_init(host);
            assert!(
                host.load_bytes(data, None).is_err(),
                "loaded in spite of {problem}"
            );
        }
        return problem;
    }
    if data.len() > COMPILED_MAX {
        return "sound".to_owned();
    }
    match HOST.get_or_init(host).load_bytes(data, None) {
        Ok(plugin) => format!("{} conversions", plugin.info().conversions.len()),
        Err(error) => shape(&error),
    }
}

fn host() -> Host {
    Host::new(HostConfig::default()).expect("the engine starts here")
}
