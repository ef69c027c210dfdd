//! Clients for tests: quick to try again, and spoken with in the clear.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use transom_client::auth::{CredentialSource, NoCredentials};
use transom_client::{Client, Error, Hosts, Options, Remote, Repository, Retry, Timeouts};
use transom_oci::Descriptor;

use crate::fake::Fake;

/// Settings that lose no time.
pub(crate) fn options() -> Options {
    Options {
        hosts: Hosts {
            plain_http: true,
            ..Hosts::default()
        },
        credentials: Arc::new(NoCredentials),
        retry: quick(),
        timeouts: Timeouts {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(20),
        },
        ..Options::default()
    }
}

/// Three tries without a pause to speak of.
pub(crate) fn quick() -> Retry {
    Retry {
        tries: 3,
        first: Duration::from_millis(1),
        longest: Duration::from_millis(5),
        longest_asked: Duration::from_secs(1),
    }
}

/// A repository of a fake registry.
pub(crate) fn remote(fake: &Fake) -> Remote {
    remote_with(fake, options())
}

pub(crate) fn remote_with(fake: &Fake, options: Options) -> Remote {
    let repository = Repository::new(&fake.address.to_string(), "team/app").unwrap();
    Client::new(options).remote(&repository).unwrap()
}

/// The same with credentials.
pub(crate) fn remote_as(fake: &Fake, credentials: Arc<dyn CredentialSource>) -> Remote {
    let options = Options {
        credentials,
        ..options()
    };
    remote_with(fake, options)
}

/// Bytes that no two places have alike.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// All bytes of a blob.
pub(crate) async fn read(remote: &Remote, descriptor: &Descriptor) -> Result<Bytes, Error> {
    let mut reader = remote.blob(descriptor)?;
    let mut all = Vec::new();
    while let Some(chunk) = reader.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(all.into())
}

/// Reads a blob and compares it. Not by `assert_eq`: it would print both.
pub(crate) async fn same(remote: &Remote, descriptor: &Descriptor, bytes: &[u8]) {
    let found = read(remote, descriptor)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(found == bytes, "{} bytes of {}", found.len(), bytes.len());
}

/// A file of `testdata`.
pub(crate) fn testdata(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/testdata")
        .join(name)
}
