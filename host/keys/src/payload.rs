//! Keys that a client of containerd sends along with a layer: the payload of imgcrypt's decoder.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::KeyError;
use crate::keyring::Keyring;

/// The type URL of such a payload.
pub const PAYLOAD_TYPE_URL: &str = "io.containerd.ocicrypt.v1.Payload";

/// JSON, because the type is none of protobuf's. What else is in it is not for keys.
#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "DecryptConfig", default)]
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    /// Lists of base64 by name.
    #[serde(rename = "Parameters", default)]
    parameters: Option<BTreeMap<String, Vec<String>>>,
}

impl Keyring {
    /// The same keyring with the private keys of a payload; it may have none.
    ///
    /// # Errors
    /// [`KeyError::NoKey`] when it is no such payload, or a key in it is protected by a passphrase.
    pub fn with_payload(mut self, value: &[u8]) -> Result<Keyring, KeyError> {
        let wrong = |reason: String| KeyError::NoKey {
            place: "the payload".to_owned(),
            reason,
        };
        let payload: Payload = serde_json::from_slice(value).map_err(|error| wrong(error.to_string()))?;
        let parameters = payload
            .config
            .and_then(|config| config.parameters)
            .unwrap_or_default();
        for key in parameters.get("privkeys").into_iter().flatten() {
            let key = STANDARD
                .decode(key)
                .map_err(|error| wrong(format!("a key in it is not base64: {error}")))?;
            self = self.with(key);
        }
        Ok(self)
    }
}
