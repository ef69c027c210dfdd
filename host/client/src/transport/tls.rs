//! Whom to believe, and who we are, in TLS.

use std::sync::{Arc, OnceLock};

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};
use transom_tls::{Believe, authorities_of_machine, believing, provider};

use crate::hosts::{Host, Identity};

/// The settings of TLS for a host. `foreign`: for other hosts that it redirects to, which do not get our certificates.
pub(crate) fn config(host: &Host, foreign: bool) -> Result<ClientConfig, rustls::Error> {
    let builder = believing(match host.skip_verify {
        true => Believe::Anyone,
        false => Believe::Authorities(roots(host)?),
    })?;
    let mut config = if foreign || host.identities.is_empty() {
        builder.with_no_client_auth()
    } else {
        builder.with_client_cert_resolver(Arc::new(Ours::new(&host.identities, &provider())?))
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn roots(host: &Host) -> Result<RootCertStore, rustls::Error> {
    // Read once: it takes some ten milliseconds, and every host needs them.
    static SYSTEM: OnceLock<RootCertStore> = OnceLock::new();
    let mut roots = SYSTEM.get_or_init(authorities_of_machine).clone();
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
