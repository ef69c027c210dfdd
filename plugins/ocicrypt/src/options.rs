//! What is needed to decrypt a layer, of its descriptor's annotations.
//!
//! One annotation has what everybody may know: the cipher and the code over the encrypted bytes. Others, one for each way to wrap a
//! key, have what is wrapped for each recipient: the layer's key and the nonce. Adding a recipient changes no byte of the layer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use transom_sdk::keys::{self, UnwrapError};
use transom_sdk::{Error, Job};

/// The annotation that everybody may read.
const PUBLIC: &str = "org.opencontainers.image.enc.pubopts";
/// What the names of the others begin with; the way to wrap follows.
const WRAPPED: &str = "org.opencontainers.image.enc.keys.";
/// The one cipher that there is.
const CIPHER: &str = "AES_256_CTR_HMAC_SHA256";
/// Recipients of a layer. Each may cost an operation with each of the host's keys.
const RECIPIENTS_MAX: usize = 64;

/// Everything that is needed.
pub(crate) struct Options {
    /// Of the cipher and of the code: 32 bytes.
    pub(crate) key: Vec<u8>,
    /// The first counter block: 16 bytes.
    pub(crate) nonce: Vec<u8>,
    /// The code over all encrypted bytes.
    pub(crate) hmac: Vec<u8>,
}

#[derive(Deserialize)]
struct Public {
    cipher: String,
    /// Base64.
    hmac: Option<String>,
    #[serde(default, rename = "cipheroptions")]
    options: Option<CipherOptions>,
}

#[derive(Deserialize)]
struct Private {
    /// Base64.
    symkey: String,
    #[serde(default, rename = "cipheroptions")]
    options: Option<CipherOptions>,
}

#[derive(Default, Deserialize)]
struct CipherOptions {
    /// Base64.
    nonce: Option<String>,
}

impl Options {
    /// Reads the annotations, and asks the host for the key.
    pub(crate) fn of(job: &Job) -> Result<Options, Error> {
        let annotations = &job.descriptor.annotations;
        let text = annotations.get(PUBLIC).ok_or_else(|| {
            malformed(format!(
                "the layer's descriptor has no annotation {PUBLIC}, so nothing says how to decrypt it"
            ))
        })?;
        let public: Public = json(PUBLIC, &decode(PUBLIC, text)?)?;
        if public.cipher != CIPHER {
            let cipher: String = public.cipher.chars().take(64).collect();
            return Err(Error::Unsupported(format!(
                "the cipher {cipher:?}; {CIPHER} is the one that is known"
            )));
        }
        let hmac = public.hmac.filter(|hmac| !hmac.is_empty()).ok_or_else(|| {
            malformed(
                "the layer has no authentication code (HMAC), so nobody can tell whether it was changed",
            )
        })?;
        let private: Private = json("the unwrapped key", &unwrapped(job)?)?;
        let nonce = [public.options, private.options]
            .into_iter()
            .flatten()
            .find_map(|options| options.nonce)
            .ok_or_else(|| malformed("the layer's key comes without a nonce"))?;
        Ok(Options {
            key: decode("symkey", &private.symkey)?,
            nonce: decode("nonce", &nonce)?,
            hmac: decode("hmac", &hmac)?,
        })
    }
}

/// The first of the wrapped keys that the host can open. If it can open none, the answer that says most.
fn unwrapped(job: &Job) -> Result<Vec<u8>, Error> {
    let mut answers = Vec::new();
    let mut tried = 0;
    for (name, list) in &job.descriptor.annotations {
        let Some(scheme) = name.strip_prefix(WRAPPED) else {
            continue;
        };
        for wrapped in list.split(',').filter(|wrapped| !wrapped.is_empty()) {
            tried += 1;
            if tried > RECIPIENTS_MAX {
                return Err(Error::Limit(format!(
                    "the layer is encrypted for more than {RECIPIENTS_MAX} recipients"
                )));
            }
            match keys::unwrap(scheme, &decode(name, wrapped)?) {
                Ok(opened) => return Ok(opened),
                Err(error) => answers.push(error),
            }
        }
    }
    // That a key is missing is what can be helped; that some scheme is not known matters if there is no other.
    let weight = |error: &UnwrapError| match error {
        UnwrapError::Denied(_) => 0,
        UnwrapError::Unavailable(_) => 1,
        UnwrapError::Malformed(_) => 2,
        UnwrapError::NoKey(_) => 3,
        UnwrapError::Unsupported(_) => 4,
    };
    match answers.into_iter().min_by_key(weight) {
        Some(UnwrapError::NoKey(text)) => Err(Error::Denied(format!(
            "the layer is encrypted for somebody else: {text}"
        ))),
        Some(error) => Err(error.into()),
        None => Err(malformed(format!(
            "the layer's descriptor has no annotation {WRAPPED}…, so nobody has its key"
        ))),
    }
}

fn json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Error> {
    // What serde says may repeat a text of the key.
    serde_json::from_slice(bytes).map_err(|error| {
        malformed(format!(
            "{what} is not the JSON that it should be, at column {}",
            error.column()
        ))
    })
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, Error> {
    STANDARD
        .decode(text)
        .map_err(|error| malformed(format!("{what} is not base64: {error}")))
}

fn malformed(message: impl Into<String>) -> Error {
    Error::Corrupt {
        offset: None,
        message: message.into(),
    }
}
