//! What went wrong in a run that failed.

use transom_layer::pump::PumpError;
use transom_layer::stage::StageError;
use transom_plugin::{Fault, PluginError};

use crate::harness::Ran;

/// The plugin's error in a failed run.
pub(crate) fn plugin_error(ran: &Ran) -> &PluginError {
    match ran {
        Err(PumpError::Stage {
            source: StageError::Plugin(error),
            ..
        }) => error.downcast_ref().expect("a plugin's error"),
        Err(other) => panic!("not a plugin's error: {other:?}"),
        Ok((output, outcome)) => panic!("it went well: {} bytes, {outcome:?}", output.len()),
    }
}

/// The fault in a failed run.
pub(crate) fn fault(ran: &Ran) -> &Fault {
    &plugin_error(ran).fault
}
