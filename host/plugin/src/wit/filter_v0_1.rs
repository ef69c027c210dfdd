//! `transom:filter@0.1`.

use wasmtime::Store;
use wasmtime::component::{Component, Linker, ResourceAny};

pub(crate) use self::bindings::exports::transom::filter::matching::{
    Batch, Facts, Instant, Pair, Pairs, Span,
};
use crate::error::GuestError;
use crate::filter::FilterInfo;
use crate::state::State;

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        missing_debug_implementations,
        reason = "generated"
    )]
    #![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
    wasmtime::component::bindgen!({
        path: ["../../wit/common", "../../wit/filter"],
        world: "transom:filter/label-filter",
        with: {
            "transom:common/types": crate::wit::v0_1::common_interfaces::types,
            "transom:common/log": crate::wit::v0_1::common_interfaces::log,
        },
    });
}

/// A component whose imports are resolved and whose exports are found.
#[derive(Clone)]
pub(crate) struct Ready {
    pre: bindings::LabelFilterPre<State>,
}

/// An instance of it.
pub(crate) struct Instance {
    exports: bindings::LabelFilter,
}

impl Ready {
    pub(crate) fn new(linker: &Linker<State>, component: &Component) -> wasmtime::Result<Self> {
        Ok(Self {
            pre: bindings::LabelFilterPre::new(linker.instantiate_pre(component)?)?,
        })
    }

    pub(crate) fn instantiate(&self, store: &mut Store<State>) -> wasmtime::Result<Instance> {
        let exports = self.pre.instantiate(&mut *store)?;
        store.data_mut().started = true;
        Ok(Instance { exports })
    }
}

impl Instance {
    pub(crate) fn describe(&self, store: &mut Store<State>) -> wasmtime::Result<FilterInfo> {
        let info = self.exports.transom_filter_matching().call_describe(store)?;
        Ok(FilterInfo {
            name: info.name,
            version: info.version,
            example: info.example,
        })
    }

    pub(crate) fn compile(
        &self,
        store: &mut Store<State>,
        expression: &str,
    ) -> wasmtime::Result<Result<ResourceAny, GuestError>> {
        let matching = self.exports.transom_filter_matching();
        let compiled = matching.call_compile(store, expression)?;
        Ok(compiled.map_err(GuestError::from))
    }

    pub(crate) fn matches(
        &self,
        store: &mut Store<State>,
        matcher: ResourceAny,
        batch: &Batch,
    ) -> wasmtime::Result<Result<Vec<u8>, GuestError>> {
        let matching = self.exports.transom_filter_matching();
        let answer = matching.matcher().call_matches(store, matcher, batch)?;
        Ok(answer.map_err(GuestError::from))
    }
}
