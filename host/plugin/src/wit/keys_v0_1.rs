//! `transom:keys@0.1`.

use bytes::Bytes;
use transom_keys::UnwrapError;
use transom_keys::cipher::{AesCtr, HmacSha256};
use wasmtime::component::{HasSelf, Linker, LinkerInstance, Resource, ResourceType, WasmList};
use wasmtime::{AsContextMut, Result, StoreContextMut};

use self::bindings::transom::keys::unwrap;
use crate::decrypt::{Powers, Refusal};
use crate::grants;
use crate::limits::CIPHER_BYTES_MAX;
use crate::state::State;

mod bindings {
    #![allow(
        missing_docs,
        unreachable_pub,
        missing_debug_implementations,
        dead_code,
        reason = "generated"
    )]
    #![allow(clippy::all, clippy::allow_attributes_without_reason, reason = "generated")]
    wasmtime::component::bindgen!({
        path: "../../wit/keys",
        world: "transom:keys/decryptor",
        imports: { default: trappable },
        with: {
            "transom:keys/cipher.aes-ctr": transom_keys::cipher::AesCtr,
            "transom:keys/cipher.hmac-sha256": transom_keys::cipher::HmacSha256,
        },
    });
}

/// Defines what the guest imports. The ciphers by hand, because a hand-written function sees the guest's memory in place.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    unwrap::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    let mut cipher = linker.instance("transom:keys/cipher@0.1.0")?;
    add_aes_ctr(&mut cipher)?;
    add_hmac(&mut cipher)
}

fn add_aes_ctr(cipher: &mut LinkerInstance<'_, State>) -> Result<()> {
    cipher.resource(
        "aes-ctr",
        ResourceType::host::<AesCtr>(),
        |mut store: StoreContextMut<'_, State>, handle| {
            let powers = store.data_mut().decrypting()?;
            powers.table.delete(Resource::<AesCtr>::new_own(handle))?;
            Ok(())
        },
    )?;
    cipher.func_wrap(
        "[static]aes-ctr.begin",
        |mut store: StoreContextMut<'_, State>, (key, counter): (Vec<u8>, Vec<u8>)| {
            let Some(cipher) = AesCtr::begin(&key, &counter) else {
                return Ok((None,));
            };
            let handle = store.data_mut().decrypting()?.table.push(cipher)?;
            Ok((Some(handle),))
        },
    )?;
    cipher.func_wrap(
        "[method]aes-ctr.apply",
        |mut store: StoreContextMut<'_, State>, (cipher, bytes): (Resource<AesCtr>, WasmList<u8>)| {
            apply(&mut store, &cipher, &bytes).map(|bytes| (bytes,))
        },
    )
}

fn add_hmac(cipher: &mut LinkerInstance<'_, State>) -> Result<()> {
    cipher.resource(
        "hmac-sha256",
        ResourceType::host::<HmacSha256>(),
        |mut store: StoreContextMut<'_, State>, handle| {
            let powers = store.data_mut().decrypting()?;
            powers.table.delete(Resource::<HmacSha256>::new_own(handle))?;
            Ok(())
        },
    )?;
    cipher.func_wrap(
        "[constructor]hmac-sha256",
        |mut store: StoreContextMut<'_, State>, (key,): (Vec<u8>,)| {
            let mac = HmacSha256::begin(&key);
            Ok((store.data_mut().decrypting()?.table.push(mac)?,))
        },
    )?;
    cipher.func_wrap(
        "[method]hmac-sha256.update",
        |mut store: StoreContextMut<'_, State>, (mac, bytes): (Resource<HmacSha256>, WasmList<u8>)| {
            update(&mut store, &mac, &bytes)
        },
    )?;
    cipher.func_wrap(
        "[static]hmac-sha256.verify",
        |mut store: StoreContextMut<'_, State>, (mac, tag): (Resource<HmacSha256>, Vec<u8>)| {
            let mac = store.data_mut().decrypting()?.table.delete(mac)?;
            Ok((mac.verify(&tag),))
        },
    )
}

fn apply(
    store: &mut StoreContextMut<'_, State>,
    cipher: &Resource<AesCtr>,
    bytes: &WasmList<u8>,
) -> Result<Bytes> {
    let mut powers = taken(store, bytes.len())?;
    let Powers { table, buffer, .. } = &mut *powers;
    let applied = table
        .get_mut(cipher)?
        .apply(bytes.as_le_slice(store.as_context_mut()), buffer);
    store.data_mut().decrypt = Some(powers);
    applied.ok_or_else(|| wasmtime::Error::msg("the counter of the cipher has come round"))
}

fn update(
    store: &mut StoreContextMut<'_, State>,
    mac: &Resource<HmacSha256>,
    bytes: &WasmList<u8>,
) -> Result<()> {
    let mut powers = taken(store, bytes.len())?;
    powers
        .table
        .get_mut(mac)?
        .update(bytes.as_le_slice(store.as_context_mut()));
    store.data_mut().decrypt = Some(powers);
    Ok(())
}

/// The powers, taken out of the store while bytes are looked at that are a view into it. After an error the job is over.
fn taken(store: &mut StoreContextMut<'_, State>, length: usize) -> Result<Box<Powers>> {
    if length > CIPHER_BYTES_MAX {
        return Err(wasmtime::Error::msg(format!(
            "it gave {length} bytes to a cipher at once, the limit is {CIPHER_BYTES_MAX}"
        )));
    }
    store.data_mut().decrypting()?;
    let powers = store.data_mut().decrypt.take();
    powers.ok_or_else(|| wasmtime::Error::msg("nothing is being decrypted"))
}

impl unwrap::Host for State {
    fn unwrap(
        &mut self,
        scheme: String,
        wrapped: Vec<u8>,
    ) -> Result<std::result::Result<Vec<u8>, unwrap::UnwrapError>> {
        let opened = self.decrypting()?.unwrap(&scheme, &wrapped);
        let plugin = self.log.plugin();
        Ok(opened
            .map(|opened| opened.to_vec())
            .map_err(|refusal| told(plugin, refusal)))
    }
}

/// A refusal in the interface's words.
fn told(plugin: &str, refusal: Refusal) -> unwrap::UnwrapError {
    match refusal {
        Refusal::NotGranted => unwrap::UnwrapError::Denied(format!(
            "the plugin has no private keys: its plugin.toml must have \"keys\" in capabilities, and the operator must grant some \
             (--decryption-key FILE, or in the daemon's configuration [processors.keys] {} = [\"/etc/transom/keys\"])",
            grants::key(plugin)
        )),
        Refusal::Unwrap(error) => {
            let text = error.to_string();
            match error {
                UnwrapError::Unsupported(_) => unwrap::UnwrapError::Unsupported(text),
                UnwrapError::Malformed(_) => unwrap::UnwrapError::Malformed(text),
                UnwrapError::NoKey { .. } => unwrap::UnwrapError::NoKey(text),
                UnwrapError::Keys(_) => unwrap::UnwrapError::Unavailable(text),
            }
        }
    }
}
