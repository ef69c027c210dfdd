//! Keys that stay with the host: master keys, what is derived of them, and messages that are encrypted with that.
//!
//! The form of a token and of a sealed message is in `wit/storage/storage.wit`; why the keys do not enter a guest, in
//! `docs/decisions/0011-storage-plugins.md`.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use transom_storage::factory::Secret;
use wasmtime::component::Resource;

use super::error::OpenError;
use super::powers::{Told, refused};
use crate::limits::DRIVER_SEAL_MAX;
use crate::state::State;
use crate::wit::storage_v0_1::{keys, types};

/// Bytes of a key, of the hash of a context, and of the random part of a token.
const LENGTH: usize = 32;
/// Bytes that say which master key it is.
const ID: usize = 8;
/// Bytes of a token.
const TOKEN: usize = ID + 2 * LENGTH;
/// Bytes of the tag of a message.
const TAG: usize = 16;

/// The master keys of a driver. They are not shown.
#[derive(Clone, Default)]
pub struct Masters(Vec<Master>);

#[derive(Clone)]
struct Master {
    id: [u8; ID],
    root: Prk,
}

/// A key for one content. Only the host sees it.
#[allow(unreachable_pub, reason = "the generated module exports it again")]
pub struct Key {
    token: [u8; TOKEN],
    key: LessSafeKey,
}

/// How many bytes to derive.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl Masters {
    /// Reads master keys: each 32 bytes as 64 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`OpenError::Config`]; the text does not repeat the key.
    pub fn parse(secrets: &[Secret]) -> Result<Masters, OpenError> {
        secrets
            .iter()
            .map(Master::parse)
            .collect::<Result<_, _>>()
            .map(Masters)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn create(&self, context: &str) -> Option<Key> {
        let master = self.0.first()?;
        let mut token = [0; TOKEN];
        token[..ID].copy_from_slice(&master.id);
        token[ID..ID + LENGTH].copy_from_slice(digest(&SHA256, context.as_bytes()).as_ref());
        SystemRandom::new().fill(&mut token[ID + LENGTH..]).ok()?;
        master.key(token)
    }

    fn restore(&self, token: [u8; TOKEN]) -> Option<Key> {
        let master = self.0.iter().find(|master| token.starts_with(&master.id))?;
        master.key(token)
    }
}

impl fmt::Debug for Masters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masters({})", self.0.len())
    }
}

impl Master {
    fn parse(secret: &Secret) -> Result<Master, OpenError> {
        let wrong = || OpenError::Config {
            key: "masterkeys".to_owned(),
            message:
                "a master key is 32 bytes as 64 hexadecimal digits; make one with `openssl rand -hex 32`"
                    .to_owned(),
        };
        let digits = secret.reveal().as_bytes();
        let (pairs, rest) = digits.as_chunks::<2>();
        if pairs.len() != LENGTH || !rest.is_empty() {
            return Err(wrong());
        }
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let mut bytes = [0; LENGTH];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            let (high, low) = (digit(*high).ok_or_else(wrong)?, digit(*low).ok_or_else(wrong)?);
            *byte = (high * 16 + low) as u8;
        }
        let root = Salt::new(HKDF_SHA256, b"transom storage keys 1").extract(&bytes);
        let mut id = [0; ID];
        expand(&root, &[b"id"], &mut id).ok_or_else(wrong)?;
        Ok(Master { id, root })
    }

    fn key(&self, token: [u8; TOKEN]) -> Option<Key> {
        let mut bytes = [0; LENGTH];
        expand(&self.root, &[b"key", &token], &mut bytes)?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).ok()?;
        Some(Key {
            token,
            key: LessSafeKey::new(key),
        })
    }
}

fn expand(root: &Prk, info: &[&[u8]], into: &mut [u8]) -> Option<()> {
    root.expand(info, Bytes(into.len())).ok()?.fill(into).ok()
}

impl Key {
    fn seal(&self, associated: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = Vec::with_capacity(NONCE_LEN + message.len() + TAG);
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(message);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(associated), &mut sealed[NONCE_LEN..])
            .ok()?;
        sealed.extend_from_slice(tag.as_ref());
        Some(sealed)
    }

    fn open(&self, associated: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let (nonce, _) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .key
            .open_within(nonce, Aad::from(associated), &mut sealed, NONCE_LEN..);
        let length = opened.ok()?.len();
        // The message stands at the front now.
        sealed.truncate(length);
        Some(sealed)
    }
}

impl keys::Host for State {
    fn available(&mut self) -> wasmtime::Result<u32> {
        let powers = self.powers()?;
        Ok(match powers.asks_for_keys {
            true => powers.grants.masters.0.len() as u32,
            false => 0,
        })
    }

    fn create(&mut self, context: String) -> Told<Resource<Key>> {
        self.key(|masters| masters.create(&context))
    }

    fn restore(&mut self, token: Vec<u8>) -> Told<Resource<Key>> {
        let Ok(token) = <[u8; TOKEN]>::try_from(token) else {
            return Ok(Err(types::Error::Damaged("this is no token of a key".to_owned())));
        };
        self.key(|masters| masters.restore(token))
    }

    fn is_for(&mut self, token: Vec<u8>, context: String) -> wasmtime::Result<bool> {
        let hash = token.get(ID..ID + LENGTH);
        Ok(token.len() == TOKEN && hash == Some(digest(&SHA256, context.as_bytes()).as_ref()))
    }
}

impl State {
    fn key(&mut self, make: impl FnOnce(&Masters) -> Option<Key>) -> Told<Resource<Key>> {
        let powers = self.powers()?;
        let masters = &powers.grants.masters;
        if masters.is_empty() || !powers.asks_for_keys {
            return Ok(Err(refused(
                "use keys",
                "keys",
                "masterkeys = { file = \"PATH\" }",
            )));
        }
        match make(masters) {
            Some(key) => Ok(Ok(powers.table.push(key)?)),
            None => Ok(Err(types::Error::Denied(
                "the content was encrypted with a master key that is not among masterkeys".to_owned(),
            ))),
        }
    }
}

impl keys::HostKey for State {
    fn token(&mut self, key: Resource<Key>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.powers()?.table.get(&key)?.token.to_vec())
    }

    fn seal(&mut self, key: Resource<Key>, associated: Vec<u8>, message: Vec<u8>) -> Told<Vec<u8>> {
        if message.len() > DRIVER_SEAL_MAX {
            return Err(wasmtime::Error::msg(format!(
                "it sealed {} bytes at once",
                message.len()
            )));
        }
        let sealed = self.powers()?.table.get(&key)?.seal(&associated, &message);
        Ok(sealed.ok_or_else(|| types::Error::Other("the message cannot be encrypted".to_owned())))
    }

    fn open(&mut self, key: Resource<Key>, associated: Vec<u8>, sealed: Vec<u8>) -> Told<Vec<u8>> {
        let opened = self.powers()?.table.get(&key)?.open(&associated, sealed);
        let damaged = || types::Error::Damaged("it is not what was encrypted".to_owned());
        Ok(opened.ok_or_else(damaged))
    }

    fn drop(&mut self, key: Resource<Key>) -> wasmtime::Result<()> {
        self.powers()?.table.delete(key)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masters(keys: &[&str]) -> Masters {
        let secrets: Vec<Secret> = keys.iter().map(|key| Secret::new(*key)).collect();
        Masters::parse(&secrets).unwrap()
    }

    const ONE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const TWO: &str = "FF0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F";

    #[test]
    fn a_message_opens_with_its_key_and_its_place_only() {
        let masters = masters(&[ONE]);
        let key = masters.create("library/debian").unwrap();
        let sealed = key.seal(b"first", b"hello").unwrap();
        assert_eq!(sealed.len(), NONCE_LEN + 5 + TAG);
        assert_ne!(key.seal(b"first", b"hello").unwrap(), sealed, "the nonce is new");
        let again = masters.restore(key.token).unwrap();
        assert_eq!(again.open(b"first", sealed.clone()).unwrap(), b"hello");
        assert!(again.open(b"second", sealed.clone()).is_none());
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 1;
            assert!(again.open(b"first", flipped).is_none(), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert!(again.open(b"first", sealed[..length].to_vec()).is_none());
        }
        let other = masters.create("library/debian").unwrap();
        assert!(other.open(b"first", sealed).is_none());
    }

    #[test]
    fn older_keys_still_open() {
        let old = masters(&[ONE]);
        let key = old.create("").unwrap();
        let sealed = key.seal(b"", b"hello").unwrap();
        let both = masters(&[TWO, ONE]);
        assert_eq!(
            both.restore(key.token).unwrap().open(b"", sealed).unwrap(),
            b"hello"
        );
        assert!(masters(&[TWO]).restore(key.token).is_none());
        assert_ne!(both.create("").unwrap().token[..ID], key.token[..ID]);
    }

    #[test]
    fn keys_of_two_contexts_differ_and_so_do_two_of_one() {
        let masters = masters(&[ONE]);
        let a = masters.create("a").unwrap();
        let mut token = a.token;
        token[ID] ^= 1;
        let b = masters.restore(token).unwrap();
        assert!(b.open(b"", a.seal(b"", b"hello").unwrap()).is_none());
    }

    /// The derivation is what stands in files: it must never change.
    #[test]
    fn the_derivation_stays_what_it_is() {
        let master = &masters(&[ONE]).0[0];
        let key = master.key([7; TOKEN]).unwrap();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let mut message = *b"hello";
        let tag = key
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut message)
            .unwrap();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            (hex(&master.id), hex(&message), hex(tag.as_ref())),
            (
                "53934942ec080535".to_owned(),
                "131a3bcc72".to_owned(),
                "37a63be2c60b6cd9fe29dffd914a73c6".to_owned()
            )
        );
    }

    #[test]
    fn what_is_no_master_key_is_refused_without_repeating_it() {
        for wrong in [
            "",
            "00",
            &ONE[1..],
            &format!("{ONE}00"),
            &ONE.replace('0', "g"),
            &ONE.replace('0', "é"),
        ] {
            let error = Masters::parse(&[Secret::new(wrong)]).unwrap_err().to_string();
            assert!(error.contains("openssl rand -hex 32"), "{error}");
            assert!(wrong.len() < 10 || !error.contains(wrong), "{error}");
        }
    }
}
