//! Who is believed, by handshakes in memory.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection};
use transom_tls::{Believe, authorities_of_machine, believing, provider};

/// The keys of the registry's tests.
fn file(name: &str) -> PathBuf {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../registry/tests/registry/keys");
    keys.join(name)
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(name)).unwrap()
}

/// The authority of the server's certificate.
fn its_authority() -> Believe {
    let mut roots = RootCertStore::empty();
    roots.add(certificate("tls-ca.crt")).unwrap();
    Believe::Authorities(roots)
}

/// A server with the certificate for 127.0.0.1, and this key.
fn server(key: &str) -> ServerConnection {
    let key = PrivateKeyDer::from_pem_file(file(key)).unwrap();
    let key = provider().key_provider.load_private_key(key).unwrap();
    let certified = CertifiedKey::new(vec![certificate("tls-server.crt")], key);
    let config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    ServerConnection::new(Arc::new(config)).unwrap()
}

/// What a client thinks of it.
fn greet(whom: Believe, name: &str, mut server: ServerConnection) -> Result<(), Error> {
    let config = believing(whom).unwrap().with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    while client.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets().unwrap();
        }
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

#[test]
fn an_authority_vouches_for_a_name() {
    let good = || server("tls-server.pem");
    greet(its_authority(), "127.0.0.1", good()).unwrap();
    let of_machine = Believe::Authorities(authorities_of_machine());
    let stranger = greet(of_machine, "127.0.0.1", good()).unwrap_err();
    let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
    assert_eq!(stranger, unknown);
    let other = greet(its_authority(), "registry.example", good()).unwrap_err();
    assert!(other.to_string().contains("registry.example"), "{other}");
}

#[test]
fn anyone_is_believed_who_has_the_key_of_the_certificate() {
    for name in ["127.0.0.1", "registry.example"] {
        greet(Believe::Anyone, name, server("tls-server.pem")).unwrap();
    }
    let thief = greet(Believe::Anyone, "127.0.0.1", server("tls-other.pem")).unwrap_err();
    let wrong = Error::InvalidCertificate(CertificateError::BadSignature);
    assert_eq!(thief, wrong);
}
