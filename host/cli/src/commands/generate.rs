//! What is made from the definitions of the command line: completion scripts and manual pages.

use clap::CommandFactory;

use super::print;
use crate::arguments::{Arguments, Completion, Man};
use crate::failure::Failure;

pub(crate) fn completion(command: &Completion) -> Result<(), Failure> {
    let mut definition = Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut definition, "transom", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// One page for each command, named `transom-content-ls.1` and so on.
pub(crate) fn man(command: &Man) -> Result<(), Failure> {
    clap_mangen::generate_to(Arguments::command(), &command.folder)
        .map_err(|error| Failure::io(command.folder.display(), &error))
}
