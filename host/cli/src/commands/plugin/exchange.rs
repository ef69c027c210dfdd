//! `transom plugin package`, `push` and `pull`: plugins as artifacts, between folders, files, layouts and registries.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use transom_client::Reference;
use transom_client::images::{Observer, Unobserved};
use transom_oci::Digest;
use transom_plugin::artifact::{section, signature};

use super::source::{self, Place, Staged, layout_of, stage};
use crate::arguments::{PluginPackage, PluginPull, PluginPush, Wanted};
use crate::commands::registry::blocking;
use crate::commands::registry::layout::Layout;
use crate::commands::{print, print_json};
use crate::failure::Failure;
use crate::handlers;
use crate::interrupt::Interrupt;
use crate::show::printable;

/// Makes one file of a plugin, or an artifact in a layout.
pub(super) fn package(command: &PluginPackage, as_json: bool) -> Result<(), Failure> {
    let host = handlers::host()?;
    let package = source::package(&command.plugin, &host)?;
    let loaded = host.load_any(package.component(), None)?;
    let (name, version) = (loaded.name(), loaded.version());
    let digest = &package.descriptor().digest;
    let out = match command.out.as_deref().map(layout_of) {
        Some(Some((folder, tag))) => {
            let layout = Layout::open(&folder)?;
            let manifest = source::store(&layout, &package)?;
            let tag = tag.unwrap_or_else(|| transom_plugin::installed::resolve::tag(version));
            layout.list(manifest, Some(&tag))?;
            format!("oci:{}:{tag}", folder.display())
        }
        Some(None) | None => {
            let file = command.out.as_ref().map(PathBuf::from);
            let file = file.unwrap_or_else(|| format!("{name}.wasm").into());
            write(&file, package.component())?;
            file.display().to_string()
        }
    };
    said("packaged", name, version, digest, &out, as_json)
}

/// Pushes a plugin, and its signatures if it has some.
pub(super) fn push(command: &PluginPush, as_json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let place = Place::parse(&command.source)?;
    if matches!(place, Place::Registry(_)) {
        let text = "from a registry to a registry: `transom image copy docker://… docker://…` does that";
        return Err(Failure::usage(text));
    }
    let mut to: Reference = command.name.parse()?;
    if to.digest.is_some() {
        return Err(Failure::usage(
            "push under a tag: the digest follows from the bytes",
        ));
    }
    let host = handlers::host()?;
    blocking(interrupt, async {
        let any = Wanted { range: None };
        let staged = stage(&place, &any, &command.registries, &host).await?;
        let remote = source::remote(&to, &command.registries)?;
        let tag = to.tag.get_or_insert_with(|| staged.tag()).clone();
        let observer: Arc<dyn Observer> = Arc::new(Unobserved);
        let store = &staged.layout.store;
        let manifest = &staged.artifact.descriptor;
        remote.push_image(manifest, &tag, store, &[], &observer).await?;
        if let Some(signed) = &staged.signed {
            let tag = signature::tag(&manifest.digest);
            remote.push_image(signed, &tag, store, &[], &observer).await?;
        }
        told("pushed", &staged, &to.to_string(), as_json)
    })
}

/// Pulls a plugin. Signatures come with it into a layout; nothing is run.
pub(super) fn pull(command: &PluginPull, as_json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let name: Reference = command.name.parse()?;
    let host = handlers::host()?;
    let staged = blocking(
        interrupt,
        stage(
            &Place::Registry(Box::new(name)),
            &command.wanted,
            &command.registries,
            &host,
        ),
    )?;
    let out = match command.out.as_ref() {
        None => into_file(&staged, Path::new(&format!("{}.wasm", staged.name())))?,
        Some(out) => match layout_of(out) {
            Some((folder, tag)) => into_layout(&staged, &folder, tag)?,
            None if is_file_name(out) => into_file(&staged, Path::new(out))?,
            None => into_folder(&staged, Path::new(out))?,
        },
    };
    told("pulled", &staged, &out, as_json)
}

/// Whether a file is meant, not a folder.
fn is_file_name(out: &OsString) -> bool {
    let path = Path::new(out);
    !path.is_dir() && path.extension().is_some_and(|extension| extension == "wasm")
}

fn into_file(staged: &Staged, file: &Path) -> Result<String, Failure> {
    write(file, &staged.artifact.component)?;
    Ok(file.display().to_string())
}

/// The component, and beside it the plugin.toml that it carries: what a person may look at and change.
fn into_folder(staged: &Staged, folder: &Path) -> Result<String, Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::io(folder.display(), &error))?;
    let component = &staged.artifact.component;
    let file = match &staged.artifact.manifest {
        Some(manifest) => manifest.component.clone(),
        None => None,
    };
    let file = file.unwrap_or_else(|| format!("{}.wasm", staged.name()));
    write(&folder.join(file), component)?;
    if let Some(text) = section::text(component)? {
        write(&folder.join("plugin.toml"), text.as_bytes())?;
    }
    Ok(folder.display().to_string())
}

fn into_layout(staged: &Staged, folder: &Path, tag: Option<String>) -> Result<String, Failure> {
    let layout = Layout::open(folder)?;
    let tag = tag.unwrap_or_else(|| staged.tag());
    copy(staged, &layout)?;
    layout.list(staged.artifact.descriptor.clone(), Some(&tag))?;
    if let Some(signed) = &staged.signed {
        let tag = signature::tag(staged.artifact.digest());
        layout.list(signed.clone(), Some(&tag))?;
    }
    Ok(format!("oci:{}:{tag}", folder.display()))
}

/// Copies all blobs: those of the artifact, then those of its signatures.
fn copy(staged: &Staged, layout: &Layout) -> Result<(), Failure> {
    use std::io::Read as _;
    let mut blobs = staged.artifact.blobs.clone();
    blobs.push(staged.artifact.descriptor.clone());
    if let Some(signed) = &staged.signed {
        blobs.extend(transom_client::images::listed(signed, &staged.layout.store)?);
    }
    for blob in blobs {
        let mut bytes = Vec::new();
        let reader = staged.layout.store.reader(&blob.digest)?;
        let read = reader.verifying().with_size(blob.size).read_to_end(&mut bytes);
        read.map_err(|error| Failure::io(&blob.digest, &error))?;
        layout.put_blob(&blob.media_type, &bytes)?;
    }
    Ok(())
}

/// Writes a file in one step: what loads it meanwhile has the old or the new one.
fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |error: std::io::Error| Failure::io(file.display(), &error);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut new = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    new.write_all(bytes).map_err(failed)?;
    new.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
        .map_err(failed)?;
    new.persist(file).map_err(|error| failed(error.error))?;
    Ok(())
}

fn told(what: &str, staged: &Staged, place: &str, as_json: bool) -> Result<(), Failure> {
    let artifact = &staged.artifact;
    let version = artifact.version().unwrap_or("without a version");
    said(what, staged.name(), version, artifact.digest(), place, as_json)
}

fn said(
    what: &str,
    name: &str,
    version: &str,
    digest: &Digest,
    place: &str,
    as_json: bool,
) -> Result<(), Failure> {
    if as_json {
        return print_json(&json!({
            "name": name,
            "version": version,
            "digest": digest,
            "place": place,
        }));
    }
    let (name, version, place) = (printable(name), printable(version), printable(place));
    print(&format!("{what} {name} {version}: {place}\n{digest}\n"))
}
