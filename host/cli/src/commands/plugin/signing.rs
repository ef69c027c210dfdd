//! `transom plugin sign` and `verify`: signatures of artifacts, in cosign's form.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use transom_client::images::{Observer, Unobserved};
use transom_keys::{KeyError, PublicKey, SigningKey};
use transom_plugin::artifact::trust::Demand;
use transom_plugin::artifact::{Policy, Signature, Trust, TrustedKey, signature};

use super::source::{self, Place, Staged, stage};
use crate::arguments::{PluginSign, PluginVerify, Registries, Wanted};
use crate::commands::registry::blocking;
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::handlers;
use crate::installed;
use crate::interrupt::Interrupt;
use crate::show::printable;

/// Signs an artifact where it is. What has signed it already stays.
pub(super) fn sign(command: &PluginSign, as_json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let bytes = fs::read(&command.key).map_err(|source| KeyError::Read {
        path: command.key.clone(),
        source,
    })?;
    let key = SigningKey::parse(&bytes, &command.key.display().to_string())?;
    let place = place(&command.artifact)?;
    blocking(interrupt, async {
        let staged = staged(&place, &command.registries).await?;
        let digest = staged.artifact.digest();
        let has_signed = |signature: &Signature| signature.vouches(digest, key.public());
        let new = !staged.signatures.iter().any(has_signed);
        if new {
            let reference = match &place {
                Place::Registry(name) => name.repository.to_string(),
                _ => staged.name().to_owned(),
            };
            let mut signatures = staged.signatures.clone();
            signatures.push(Signature::new(digest, &reference, &key)?);
            put(&staged, &signatures, &place, &command.registries).await?;
        }
        if as_json {
            return print_json(&json!({
                "digest": digest,
                "tag": signature::tag(digest),
                "alreadySigned": !new,
            }));
        }
        let how = if new { "signed" } else { "was signed already" };
        print(&format!("{how}: {digest}\n{}\n", signature::tag(digest)))
    })
}

/// Says which trusted keys have signed an artifact. It is an error if none has.
pub(super) fn verify(command: &PluginVerify, as_json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let mut policy = match command.key.as_slice() {
        [] => installed::policy(&command.trust)?,
        keys => of_keys(keys)?,
    };
    if policy.keys.is_empty() {
        let text = "there is no key to check with: give --key FILE, or a policy with [[keys]]";
        return Err(Failure::usage(text));
    }
    policy.signatures = Demand::Required;
    let place = place(&command.artifact)?;
    blocking(interrupt, async {
        let staged = staged(&place, &command.registries).await?;
        let digest = staged.artifact.digest();
        let trust = policy.check(digest, staged.name(), &staged.signatures)?;
        let keys = match trust {
            Trust::Signed(keys) => keys,
            Trust::Unsigned => return Err(Failure::new(Kind::Refused, "it is not signed")),
        };
        if as_json {
            return print_json(&json!({
                "digest": digest,
                "keys": keys,
                "signatures": staged.signatures.len(),
            }));
        }
        print(&format!(
            "{digest}\nsigned with {}\n",
            printable(&keys.join(", "))
        ))
    })
}

/// A policy of these keys, each for every plugin.
fn of_keys(files: &[PathBuf]) -> Result<Policy, Failure> {
    let key = |file: &PathBuf| {
        let name = file.display().to_string();
        let pem = fs::read_to_string(file).map_err(|source| KeyError::Read {
            path: file.clone(),
            source,
        })?;
        Ok(TrustedKey {
            key: PublicKey::parse(&pem, &name)?,
            plugins: vec!["*".to_owned()],
            name,
        })
    };
    Ok(Policy {
        signatures: Demand::Required,
        keys: files.iter().map(key).collect::<Result<_, Failure>>()?,
    })
}

/// Where the artifact is. A lone file has no place for signatures.
fn place(text: &std::ffi::OsStr) -> Result<Place, Failure> {
    match Place::parse(text)? {
        Place::Path(path) => Err(Failure::usage(format!(
            "{} is no artifact: signatures are kept beside one, in a registry or a layout; make one with \
             `transom plugin package {0} oci:FOLDER`",
            path.display()
        ))),
        place => Ok(place),
    }
}

async fn staged(place: &Place, registries: &Registries) -> Result<Staged, Failure> {
    stage(place, &Wanted { range: None }, registries, &handlers::host()?).await
}

/// Puts signatures beside an artifact, instead of those that were there.
async fn put(
    staged: &Staged,
    signatures: &[Signature],
    place: &Place,
    registries: &Registries,
) -> Result<(), Failure> {
    let tag = signature::tag(staged.artifact.digest());
    let mut manifest = None;
    for (descriptor, bytes) in signature::package(signatures)? {
        manifest = Some(staged.layout.put_blob(&descriptor.media_type, &bytes)?);
    }
    let Some(manifest) = manifest else { return Ok(()) };
    let Place::Registry(name) = place else {
        return staged.layout.list(manifest, Some(&tag));
    };
    let remote = source::remote(name, registries)?;
    let observer: Arc<dyn Observer> = Arc::new(Unobserved);
    remote
        .push_image(&manifest, &tag, &staged.layout.store, &[], &observer)
        .await?;
    Ok(())
}
