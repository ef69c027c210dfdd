//! Running every fuzz target for a while, with the driver that the stable compiler builds.

use transom_tests::needs::workspace_dir;

use crate::plugins;
use crate::run::{Result, cargo, run};
use crate::target;

/// Builds the driver and gives every target so many seconds.
///
/// It is built like the tests, not for speed: that shares what they have built, and arithmetic that overflows is found.
/// What costs most, hashing, inflating and compiling, is optimised in that profile, too.
pub(crate) fn fuzz(name: &str, seconds: u64) -> Result<()> {
    // The built components are the plugin target's best seeds.
    plugins::build(&target::set_up(None)?)?;
    let seconds = seconds.to_string();
    let mut command = cargo();
    command.args(["run", "-p", "transom-fuzz", "--", name, "--seconds", &seconds]);
    run(command.current_dir(workspace_dir()))
}
