//! What a plugin that decrypts may ask of the host: keys that were wrapped for the node. `cipher` has the rest: ciphers at the
//! CPU's speed.
//!
//! The two keys of every power: `capabilities = ["keys"]` in the plugin's manifest, and [`Grants::keys`] of the operator. Private keys
//! stay here: also those that a client sends along are taken out of the job before the guest sees it.

use bytes::BytesMut;
use transom_keys::{KeyError, Keyring, PAYLOAD_TYPE_URL, Scheme, UnwrapError};
use transom_layer::stage::Job;
use wasmtime::component::ResourceTable;
use zeroize::Zeroizing;

/// The capability that a processor asks for in its manifest.
pub const CAPABILITY: &str = "keys";

/// By what the ids begin that containerd's clients address their keys to.
const DECODERS: &str = "io.containerd.ocicrypt.decoder.v1";

/// What the operator gives to one processor. Without any of it a plugin gets the layer's bytes and the log.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// The private keys with which layers of the job may be opened.
    pub keys: Keyring,
}

/// What a job may use of it.
#[derive(Default)]
pub(crate) struct Powers {
    asks: bool,
    keys: Keyring,
    pub(crate) table: ResourceTable,
    pub(crate) buffer: BytesMut,
}

impl Powers {
    pub(crate) fn new(asks: bool, keys: Keyring) -> Powers {
        Powers {
            asks,
            keys,
            ..Powers::default()
        }
    }

    /// Opens a wrapped key, if the plugin may have it.
    pub(crate) fn unwrap(&self, scheme: &str, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        if !self.asks || self.keys.is_empty() {
            return Err(Refusal::NotGranted);
        }
        let opened = Scheme::named(scheme).and_then(|scheme| self.keys.unwrap(scheme, wrapped));
        opened.map_err(Refusal::Unwrap)
    }
}

/// Why a guest gets no key.
#[derive(Debug)]
pub(crate) enum Refusal {
    NotGranted,
    Unwrap(UnwrapError),
}

/// Whether a payload under an id is for a plugin that asks for keys, although the id is none of its own.
pub(crate) fn takes(id: &str) -> bool {
    id.starts_with(DECODERS)
}

/// Takes the keys that a client sent along out of the job, to those that the operator grants.
///
/// # Errors
/// What is wrong with the payload.
pub(crate) fn take_keys(job: &mut Job, grants: &Grants) -> Result<Keyring, KeyError> {
    let is_keys = |url: &str| url.rsplit('/').next() == Some(PAYLOAD_TYPE_URL);
    let keys = grants.keys.clone();
    match job.payload.take_if(|payload| is_keys(&payload.type_url)) {
        Some(payload) => keys.with_payload(&payload.value),
        None => Ok(keys),
    }
}
