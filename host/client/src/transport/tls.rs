//! Whom to believe, and who we are, in TLS: rustls with ring.

use std::sync::{Arc, OnceLock};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::hosts::{Host, Identity};

/// The settings of TLS for a host. `foreign`: for other hosts that it redirects to, which do not get our certificates.
pub(crate) fn config(host: &Host, foreign: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if host.skip_verify {
        let verifier = Arc::new(Anyone(Arc::clone(&provider)));
        builder.dangerous().with_custom_certificate_verifier(verifier)
    } else {
        builder.with_root_certificates(roots(host)?)
    };
    let mut config = if foreign || host.identities.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_resolver(Arc::new(Ours::new(&host.identities, &provider)?))
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(host: &Host) -> Result<RootCertStore, rustls::Error> {
    // Read once: it takes some ten milliseconds, and every host needs them.
    static SYSTEM: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    let system = SYSTEM.get_or_init(|| rustls_native_certs::load_native_certs().certs);
    let mut roots = RootCertStore::empty();
    // A certificate of the system that cannot be read is left out: what it signed is then refused.
    roots.add_parsable_certificates(system.iter().cloned());
    for authorities in &host.authorities {
        for certificate in &authorities.certificates {
            roots.add(certificate.clone()).map_err(|error| {
                rustls::Error::General(format!("{}: {error}", authorities.path().display()))
            })?;
        }
    }
    Ok(roots)
}

/// Our certificates; the first that can sign as the server wants is shown.
#[derive(Debug)]
struct Ours(Vec<Arc<CertifiedKey>>);

impl Ours {
    fn new(identities: &[Identity], provider: &CryptoProvider) -> Result<Ours, rustls::Error> {
        let key = |identity: &Identity| {
            CertifiedKey::from_der(identity.chain.clone(), identity.key.clone_key(), provider)
                .map(Arc::new)
                .map_err(|error| rustls::Error::General(format!("{}: {error}", identity.path().display())))
        };
        identities.iter().map(key).collect::<Result<_, _>>().map(Ours)
    }
}

impl ResolvesClientCert for Ours {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        self.0.iter().find(fits).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Takes any certificate, as `skip_verify` says.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
