//! Decrypts layers in the form of ocicrypt, which skopeo, nerdctl, buildah and imgcrypt write.
//!
//! `options.rs` reads what the descriptor's annotations say and asks the host for the layer's key; this file decrypts: AES-256 in counter
//! mode, and HMAC-SHA256 over the encrypted bytes, both computed by the host. The code is known only at the end of the layer; an
//! error there throws away whatever was made of it.

mod options;

use std::io::{BufRead, Write};

use transom_sdk::keys::{AesCtr, HmacSha256};
use transom_sdk::media_type::{LAYER_TAR, LAYER_TAR_GZIP, LAYER_TAR_ZSTD};
use transom_sdk::{Error, Info, Job, Outcome, Processor};

use crate::options::Options;

/// What the media type of an encrypted layer ends with.
const SUFFIX: &str = "+encrypted";
/// The type of layers that may not be given away.
const NONDISTRIBUTABLE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

/// The processor. See `plugin.toml`.
#[derive(Debug, Default)]
pub struct Ocicrypt;

impl Processor for Ocicrypt {
    fn describe() -> Info {
        let mut info = Info::new("ocicrypt", env!("CARGO_PKG_VERSION"));
        for base in [LAYER_TAR, NONDISTRIBUTABLE] {
            for returns in [LAYER_TAR, LAYER_TAR_GZIP, LAYER_TAR_ZSTD] {
                let compression = &returns[LAYER_TAR.len()..];
                info = info.converts(format!("{base}{compression}{SUFFIX}"), returns);
            }
        }
        info
    }

    fn run(&mut self, job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error> {
        let Options { key, nonce, hmac } = Options::of(job)?;
        let mut code = HmacSha256::new(&key);
        let mut cipher = AesCtr::new(&key, &nonce).ok_or_else(|| Error::Corrupt {
            offset: None,
            message: "the layer's key has not 32 bytes, or its nonce not 16".to_owned(),
        })?;
        let mut read = 0u64;
        loop {
            let chunk = input.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            code.update(chunk);
            cipher.apply(chunk, |plain| output.write_all(plain))?;
            let length = chunk.len();
            read += length as u64;
            input.consume(length);
        }
        let expected = job.descriptor.size;
        if code.verify(&hmac) {
            Ok(Outcome::default())
        } else if read < expected {
            let message = format!("the encrypted layer ends after {read} of {expected} bytes");
            Err(Error::corrupt_at(read, message))
        } else {
            let message =
                "the layer was changed after it was encrypted: its authentication code (HMAC) is another";
            Err(Error::corrupt_at(read, message))
        }
    }
}

transom_sdk::register_processor!(Ocicrypt);
