//! Label filters: how many records a second of one core's time.

use std::path::Path;
use std::process::Command;

use transom_tests::needs::{target_dir, workspace_dir};

use super::report::heading;
use crate::run::{Result, cargo, run};

/// What is asked, and by which filter. The first is the one with a wanted figure: 500,000 records a second.
const EXPRESSIONS: [(&str, &str); 4] = [
    ("semver", "labels.version >= 1.2"),
    ("semver", "labels.version ~ ^1.2 || ^2, != 2.1.3"),
    ("cel", "size > 1000000"),
    ("cel", r#""version" in labels && labels.version.startsWith("1.")"#),
];

/// Matches pages of records of content, as lists do, in the release build of the host.
pub(crate) fn bench(plugins: &Path, runs: usize) -> Result<()> {
    run(cargo()
        .args([
            "build",
            "--release",
            "-p",
            "transom-plugin",
            "--example",
            "filters",
        ])
        .current_dir(workspace_dir()))?;
    heading("Label filters: records a second of one core (wanted of semver: 500,000)");
    for (plugin, expression) in EXPRESSIONS {
        for _ in 0..runs {
            let mut filters = Command::new(target_dir().join("release/examples/filters"));
            run(filters.arg(plugins.join(plugin)).arg(expression))?;
        }
    }
    Ok(())
}
