//! What a plugin that decrypts may ask of the host: keys that were wrapped for the node. `transom_keys::cipher` has the
//! rest: ciphers at the CPU's speed.
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

#[cfg(test)]
mod tests {
    use super::*;
    use transom_layer::cancel::Cancel;
    use transom_layer::stage::Payload;
    use transom_oci::{Algorithm, Descriptor, Digest};

    /// What skopeo wrapped for `rsa.pem`: see the tests of `transom-keys`.
    const WRAPPED: &[u8] = include_bytes!("../../keys/tests/skopeo/rsa.jwe");
    const RSA: &[u8] = include_bytes!("../../keys/tests/skopeo/rsa.pem");

    fn job(type_url: &str, value: &str) -> Job {
        Job {
            input_media_type: String::new(),
            output_media_type: String::new(),
            descriptor: Descriptor::new("a/b", Digest::of(Algorithm::Sha256, b""), 0),
            payload: Some(Payload {
                type_url: type_url.to_owned(),
                value: value.to_owned().into(),
            }),
            cancel: Cancel::new(),
        }
    }

    #[test]
    fn the_manifest_must_ask_and_the_operator_must_grant() {
        let keys = Keyring::default().with(RSA.to_vec());
        for powers in [
            Powers::new(false, keys.clone()),
            Powers::new(true, Keyring::default()),
        ] {
            let refused = powers.unwrap("jwe", WRAPPED);
            assert!(matches!(refused, Err(Refusal::NotGranted)), "{refused:?}");
        }
        let powers = Powers::new(true, keys);
        assert!(powers.unwrap("jwe", WRAPPED).is_ok());
        let unknown = powers.unwrap("pgp", WRAPPED);
        assert!(
            matches!(unknown, Err(Refusal::Unwrap(UnwrapError::Unsupported(_)))),
            "{unknown:?}"
        );
    }

    #[test]
    fn keys_that_were_sent_along_are_not_for_the_guest() {
        let text = r#"{"DecryptConfig":{"Parameters":{"privkeys":["LS0tLS0="]}}}"#;
        for url in [
            PAYLOAD_TYPE_URL.to_owned(),
            format!("types.example/{PAYLOAD_TYPE_URL}"),
        ] {
            let mut job = job(&url, text);
            let keys = take_keys(&mut job, &Grants::default()).unwrap();
            assert!(job.payload.is_none() && !keys.is_empty());
        }
        let mut other = job("example.com/Other", "x");
        assert!(take_keys(&mut other, &Grants::default()).unwrap().is_empty());
        assert!(other.payload.is_some());
        assert!(take_keys(&mut job(PAYLOAD_TYPE_URL, "x"), &Grants::default()).is_err());
        assert!(takes("io.containerd.ocicrypt.decoder.v1.tar.gzip") && !takes("ocicrypt"));
    }
}
