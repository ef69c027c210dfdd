//! `transom:storage@0.1`.

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Result, Store};

pub(crate) use self::bindings::exports::transom::storage::driver as exported;
use self::bindings::exports::transom::storage::plugin;
pub(crate) use self::bindings::transom::storage::{clock, driver, http, keys, random, settings, types};
use crate::error::GuestError;
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
        path: ["../../wit/common", "../../wit/storage"],
        world: "transom:storage/storage-driver",
        imports: { default: trappable },
        with: {
            "transom:common/types": crate::wit::v0_1::common_interfaces::types,
            "transom:common/log": crate::wit::v0_1::common_interfaces::log,
            "transom:storage/driver.reader": crate::storage::inner::InnerReader,
            "transom:storage/driver.writer": crate::storage::inner::InnerWriter,
            "transom:storage/driver.entries": crate::storage::inner::InnerEntries,
            "transom:storage/http.response": crate::storage::http::Response,
            "transom:storage/http.upload": crate::storage::http::Upload,
            "transom:storage/keys.key": crate::storage::keys::Key,
            "transom:storage/settings.secret": crate::storage::powers::SecretName,
        },
    });
}

/// A component whose imports are resolved and whose exports are found.
#[derive(Clone)]
pub(crate) struct Ready {
    pre: bindings::StorageDriverPre<State>,
}

/// An instance of it.
pub(crate) struct Instance {
    exports: bindings::StorageDriver,
}

impl Ready {
    pub(crate) fn new(linker: &Linker<State>, component: &Component) -> Result<Self> {
        Ok(Self {
            pre: bindings::StorageDriverPre::new(linker.instantiate_pre(component)?)?,
        })
    }

    pub(crate) fn instantiate(&self, store: &mut Store<State>) -> Result<Instance> {
        let exports = self.pre.instantiate(&mut *store)?;
        store.data_mut().started = true;
        Ok(Instance { exports })
    }
}

impl Instance {
    /// Name and version.
    pub(crate) fn describe(&self, store: &mut Store<State>) -> Result<(String, String)> {
        let info = self.exports.transom_storage_plugin().call_describe(store)?;
        Ok((info.name, info.version))
    }

    pub(crate) fn open(&self, store: &mut Store<State>) -> Result<std::result::Result<(), GuestError>> {
        let opened = self.exports.transom_storage_plugin().call_open(store)?;
        Ok(opened.map_err(|error| match error {
            plugin::OpenError::Config(error) => GuestError::Config {
                key: error.key,
                message: error.message,
            },
            plugin::OpenError::Other(text) => GuestError::Other(text),
        }))
    }

    /// The driver's own calls.
    pub(crate) fn driver(&self) -> &exported::Guest {
        self.exports.transom_storage_driver()
    }
}

/// Defines what the guest imports, but for what all plugins share.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.instance("transom:storage/types@0.1.0")?;
    settings::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    clock::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    random::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    keys::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    http::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    driver::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}
