//! A guest with an expression that it has understood.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::ResourceAny;

use super::Inner;
use crate::error::Fault;
use crate::stage;
use crate::state::State;
use crate::wit::filter_v0_1::{self, Batch};

/// A guest with an expression that it has understood. After a fault of its own it must not be called again: drop it.
pub(super) struct Instance {
    store: Store<State>,
    exports: filter_v0_1::Instance,
    matcher: ResourceAny,
    expression: Arc<str>,
}

impl Instance {
    /// Starts a guest and lets it understand an expression.
    pub(super) fn new(filter: &Inner, expression: &Arc<str>) -> Result<Instance, Fault> {
        let mut store = filter.store();
        let ticking = filter.shared.ticker.tick();
        let started = filter.ready.instantiate(&mut store).and_then(|exports| {
            let compiled = exports.compile(&mut store, expression)?;
            Ok((exports, compiled))
        });
        drop(ticking);
        match started {
            Err(error) => Err(stage::fault_of(&error, store.data_mut(), &filter.limits)),
            Ok((_, Err(error))) => {
                store.data_mut().log.finish();
                Err(Fault::Guest(error))
            }
            Ok((exports, Ok(matcher))) => Ok(Instance {
                store,
                exports,
                matcher,
                expression: Arc::clone(expression),
            }),
        }
    }

    /// Whether this is the expression.
    pub(super) fn knows(&self, expression: &str) -> bool {
        *self.expression == *expression
    }

    /// Asks which records of a batch match: bits.
    pub(super) fn matches(&mut self, filter: &Inner, batch: &Batch) -> Result<Vec<u8>, Fault> {
        self.store.data_mut().begin_again(filter.log());
        let ticking = filter.shared.ticker.tick();
        let answer = self.exports.matches(&mut self.store, self.matcher, batch);
        drop(ticking);
        match answer {
            Err(error) => Err(stage::fault_of(&error, self.store.data_mut(), &filter.limits)),
            Ok(answer) => {
                self.store.data_mut().log.finish();
                answer.map_err(Fault::Guest)
            }
        }
    }
}
