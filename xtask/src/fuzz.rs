//! Running every fuzz target for a while, with the driver that the stable compiler builds.

use transom_tests::needs::workspace_dir;

use crate::run::{Result, cargo, run};

/// Builds the driver and gives every target so many seconds.
///
/// It is built like the tests, not for speed: that shares what they have built, and arithmetic that overflows is found.
/// What costs most, hashing, inflating and compiling, is optimised in that profile, too.
pub(crate) fn fuzz(target: &str, seconds: u64) -> Result<()> {
    let seconds = seconds.to_string();
    let mut command = cargo();
    command.args(["run", "-p", "transom-fuzz", "--", target, "--seconds", &seconds]);
    run(command.current_dir(workspace_dir()))
}
