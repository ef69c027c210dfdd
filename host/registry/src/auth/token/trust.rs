//! The keys that are trusted, and which of them a token must be signed by.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert, spki_for_anchor};

use super::jws::Header;
use super::keys::Key;
use super::{Settings, jwk};
use crate::auth::limits;
use crate::settings::{Mistake, SetupError};
use crate::watched::Watched;

/// The two files of keys.
#[derive(Debug)]
pub(super) struct Trust {
    jwks: Option<Watched<HashMap<String, Key>>>,
    bundle: Option<Watched<Bundle>>,
}

/// Certificates and public keys.
#[derive(Default)]
struct Bundle {
    keys: HashMap<String, Key>,
    certificates: Vec<CertificateDer<'static>>,
    authorities: Vec<TrustAnchor<'static>>,
}

impl Trust {
    pub(super) fn open(settings: &Settings, every: Duration) -> Result<Trust, SetupError> {
        let (jwks, certificates) = (settings.jwks.as_deref(), settings.certificates.as_deref());
        if jwks.is_none() && certificates.is_none() {
            let problem = "it needs a key to check tokens with: set jwks or certificates";
            return Err(SetupError::setting("auth.token", problem));
        }
        let open_jwks = |path: &Path| {
            Watched::open(path, limits::KEYS_BYTES, every, |text| {
                jwk::parse(text).map(|named| named.into_iter().collect())
            })
        };
        let open_bundle = |path: &Path| Watched::open(path, limits::KEYS_BYTES, every, Bundle::parse);
        Ok(Trust {
            jwks: jwks.map(open_jwks).transpose()?,
            bundle: certificates.map(open_bundle).transpose()?,
        })
    }

    pub(super) fn problem(&self) -> Option<String> {
        let jwks = self.jwks.as_ref().and_then(Watched::problem);
        jwks.or_else(|| self.bundle.as_ref().and_then(Watched::problem))
    }

    /// Changes when the keys do.
    pub(super) fn generation(&self) -> [u8; 16] {
        let jwks = self.jwks.as_ref().map_or(0, Watched::generation);
        let bundle = self.bundle.as_ref().map_or(0, Watched::generation);
        (u128::from(jwks) << 64 | u128::from(bundle)).to_be_bytes()
    }

    /// The key that a token with this header must be signed by. If it came with certificates, they must lead to it; else it names
    /// one of the keys here.
    pub(super) fn key(&self, header: &Header, now: SystemTime) -> Result<Key, String> {
        let bundle = self.bundle.as_ref().map(Watched::get);
        if let Some(chain) = header.chain() {
            let key = bundle.and_then(|bundle| bundle.certified(chain, now));
            return key.ok_or_else(|| "the token's certificates are not trusted".to_owned());
        }
        let id = header
            .key_id()
            .ok_or("the token does not say by which key it is signed")?;
        let jwks = self.jwks.as_ref().map(Watched::get);
        let listed = jwks.and_then(|keys| keys.get(id).cloned());
        listed
            .or_else(|| bundle.and_then(|bundle| bundle.keys.get(id).cloned()))
            .ok_or_else(|| "the token is signed by a key that is not trusted".to_owned())
    }
}

impl Bundle {
    fn parse(text: &str) -> Result<Bundle, Vec<Mistake>> {
        let wrong = |message: String| vec![Mistake { line: 1, message }];
        let mut bundle = Bundle::default();
        let mut infos = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let certificate = certificate.map_err(|error| wrong(format!("PEM: {error:?}")))?;
            let authority = anchor_from_trusted_cert(&certificate)
                .map_err(|error| wrong(format!("a certificate cannot be read: {error}")))?
                .to_owned();
            infos.push(spki_for_anchor(&authority).to_vec());
            bundle.authorities.push(authority);
            bundle.certificates.push(certificate);
        }
        for key in SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes()) {
            infos.push(key.map_err(|error| wrong(format!("PEM: {error:?}")))?.to_vec());
        }
        for info in infos {
            match Key::of_info(&info) {
                Some(key) => bundle.keys.extend(key.ids().map(|id| (id, key.clone()))),
                None => tracing::warn!("a key of a kind that is not known here is left out"),
            }
        }
        if bundle.keys.is_empty() && bundle.authorities.is_empty() {
            return Err(wrong(
                "there is neither a certificate nor a public key in it".to_owned(),
            ));
        }
        Ok(bundle)
    }

    /// The key of the first certificate, if the chain leads to an authority, or if that certificate is itself in the bundle.
    fn certified(&self, chain: &[String], now: SystemTime) -> Option<Key> {
        if chain.is_empty() || chain.len() > limits::CHAIN {
            return None;
        }
        let decode = |text: &String| STANDARD.decode(text).map(CertificateDer::from).ok();
        let chain: Vec<CertificateDer<'static>> = chain.iter().map(decode).collect::<Option<_>>()?;
        let (leaf, between) = chain.split_first()?;
        if self.certificates.contains(leaf) {
            let anchor = anchor_from_trusted_cert(leaf).ok()?;
            return Key::of_info(&spki_for_anchor(&anchor));
        }
        let certificate = EndEntityCert::try_from(leaf).ok()?;
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).ok()?);
        // What a certificate may be used for is not said in terms of tokens: either common use will do.
        let leads = |usage: KeyUsage| {
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            let path =
                certificate.verify_for_usage(algorithms, &self.authorities, between, now, usage, None, None);
            path.is_ok()
        };
        let trusted = leads(KeyUsage::client_auth()) || leads(KeyUsage::server_auth());
        trusted.then(|| Key::of_info(&certificate.subject_public_key_info()))?
    }
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bundle").finish_non_exhaustive()
    }
}
