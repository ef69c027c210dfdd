//! Where plugins come from: a registry, an OCI layout, a file or a folder, all read into one form.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use transom_client::images::{Observer, Unobserved};
use transom_client::{Reference, Remote};
use transom_oci::{Descriptor, Digest, media_type};
use transom_plugin::Host;
use transom_plugin::artifact::{Artifact, Package, Signature, section, signature};

use super::choose;
use crate::arguments::{Registries, Wanted};
use crate::commands::registry::layout::{Layout, REF_NAME};
use crate::commands::registry::settings;
use crate::failure::{Failure, Kind};
use crate::places;

/// Where an artifact is, or shall be.
#[derive(Debug)]
pub(super) enum Place {
    Registry(Box<Reference>),
    Layout(PathBuf, Option<String>),
    /// A component, or a folder with a plugin.toml.
    Path(PathBuf),
}

impl Place {
    /// What a person typed. What is neither there nor has a host is no name: nobody means `docker.io/library/scan`.
    pub(super) fn parse(text: &OsStr) -> Result<Place, Failure> {
        let path = PathBuf::from(text);
        if let Some((folder, name)) = layout_of(text) {
            return Ok(Place::Layout(folder, name));
        }
        if Layout::is_one(&path) {
            return Ok(Place::Layout(path, None));
        }
        if path.exists() {
            return Ok(Place::Path(path));
        }
        let wrong = || {
            Failure::new(
                Kind::NotFound,
                format!(
                    "{:?} is neither a file nor a folder, and no name in a registry, which begins with a host: HOST/NAME[:TAG]",
                    text.to_string_lossy()
                ),
            )
        };
        let text = text.to_str().ok_or_else(wrong)?;
        let (host, _) = text
            .trim_start_matches("docker://")
            .split_once('/')
            .ok_or_else(wrong)?;
        // Not a path that leads nowhere.
        let is_host = !host.starts_with('.') && (host.contains(['.', ':']) || host == "localhost");
        if !is_host {
            return Err(wrong());
        }
        Ok(Place::Registry(Box::new(text.parse()?)))
    }
}

/// The folder and the name in `oci:FOLDER[:NAME]`.
pub(super) fn layout_of(text: &OsStr) -> Option<(PathBuf, Option<String>)> {
    let rest = text.to_str()?.strip_prefix("oci:")?;
    Some(match rest.split_once(':') {
        Some((folder, name)) => (folder.into(), Some(name.to_owned())),
        None => (rest.into(), None),
    })
}

/// An artifact that is at hand: all of its blobs are in a layout.
pub(super) struct Staged {
    pub(super) artifact: Artifact,
    pub(super) signatures: Vec<Signature>,
    /// The manifest of the signatures.
    pub(super) signed: Option<Descriptor>,
    /// Where it is from, as a lock file has it.
    pub(super) source: String,
    pub(super) layout: Layout,
    _between: Option<TempDir>,
}

impl Staged {
    /// Opens its blobs.
    pub(super) fn opener(&self) -> impl FnMut(&Descriptor) -> io::Result<Box<dyn io::Read>> + use<> {
        opener(&self.layout)
    }

    /// What it is called, for people and for files.
    pub(super) fn name(&self) -> &str {
        self.artifact
            .name()
            .map_or("plugin", |name| name.trim_end_matches(".wasm"))
    }

    /// The tag under which it belongs.
    pub(super) fn tag(&self) -> String {
        let version = self.artifact.version().unwrap_or("latest");
        transom_plugin::installed::resolve::tag(version)
    }
}

fn opener(layout: &Layout) -> impl FnMut(&Descriptor) -> io::Result<Box<dyn io::Read>> + use<> {
    let store = layout.store.clone();
    move |blob: &Descriptor| {
        let blob = store.reader(&blob.digest).map_err(io::Error::other)?;
        Ok(Box::new(blob) as Box<dyn io::Read>)
    }
}

/// Brings an artifact, with its signatures, to hand. What is no artifact yet is packaged by `host`.
pub(super) async fn stage(
    place: &Place,
    wanted: &Wanted,
    registries: &Registries,
    host: &Host,
) -> Result<Staged, Failure> {
    if wanted.range.is_some() && !matches!(place, Place::Registry(name) if is_open(name)) {
        let text = "--range chooses from the tags of a registry: give a name without a tag";
        return Err(Failure::usage(text));
    }
    match place {
        Place::Registry(name) => from_registry(name, wanted, registries).await,
        Place::Layout(folder, name) => from_layout(folder, name.as_deref()),
        Place::Path(path) => from_path(path, host),
    }
}

/// Whether a name leaves open which version is meant.
fn is_open(name: &Reference) -> bool {
    name.tag.is_none() && name.digest.is_none()
}

/// A repository, with the settings of the flags.
pub(super) fn remote(name: &Reference, registries: &Registries) -> Result<Remote, Failure> {
    let registry = name.repository.registry();
    Ok(settings::client(registries, registry)?.remote(&name.repository)?)
}

async fn from_registry(
    name: &Reference,
    wanted: &Wanted,
    registries: &Registries,
) -> Result<Staged, Failure> {
    let remote = remote(name, registries)?;
    let (image, source) = if is_open(name) {
        let (image, tag) = choose::newest(&remote, wanted.range.as_deref()).await?;
        (image, format!("{}:{tag}", name.repository))
    } else {
        (remote.resolve(&name.target()).await?, name.to_string())
    };
    if media_type::is_index(&image.media_type) {
        return Err(Failure::new(
            Kind::Refused,
            format!("{source} is an index of several images, not a plugin"),
        ));
    }
    let between = between()?;
    let layout = Layout::open(between.path())?;
    let observer: Arc<dyn Observer> = Arc::new(Unobserved);
    remote.fetch_image(&image, &layout.store, &observer).await?;
    let signed = match remote.resolve(&signature::tag(&image.digest)).await {
        Ok(signed) => {
            remote.fetch_image(&signed, &layout.store, &observer).await?;
            Some(signed)
        }
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    read(layout, &image.digest, signed, source, Some(between))
}

fn from_layout(folder: &Path, name: Option<&str>) -> Result<Staged, Failure> {
    if !Layout::is_one(folder) {
        let text = format!("{} is no OCI layout: it has no oci-layout", folder.display());
        return Err(Failure::new(Kind::NotFound, text));
    }
    let layout = Layout::open(folder)?;
    let index = layout.index()?;
    let called = |entry: &Descriptor| entry.annotations.get(REF_NAME).cloned().unwrap_or_default();
    let of_name = |entry: &&Descriptor| {
        let own = called(entry);
        match name {
            Some(name) => own == name,
            None => !(own.starts_with("sha256-") && own.ends_with(".sig")),
        }
    };
    let found: Vec<&Descriptor> = index.manifests.iter().filter(of_name).collect();
    let [found] = found.as_slice() else {
        let names: Vec<String> = found.iter().map(|entry| called(entry)).collect();
        let shown = folder.display();
        return Err(match (names.is_empty(), name) {
            (true, Some(name)) => Failure::new(Kind::NotFound, format!("{shown} has no artifact {name:?}")),
            (true, None) => Failure::new(Kind::NotFound, format!("{shown} has no artifact")),
            (false, _) => Failure::usage(format!(
                "{shown} has several artifacts: name one, as in oci:FOLDER:NAME ({})",
                names.join(", ")
            )),
        });
    };
    let tag = signature::tag(&found.digest);
    let signed = index.manifests.iter().find(|entry| called(entry) == tag).cloned();
    let digest = found.digest.clone();
    let source = format!("oci:{}", folder.display());
    let source = name.map_or_else(|| source.clone(), |name| format!("{source}:{name}"));
    read(layout, &digest, signed, source, None)
}

fn from_path(path: &Path, host: &Host) -> Result<Staged, Failure> {
    let package = package(path, host)?;
    let between = between()?;
    let layout = Layout::open(between.path())?;
    store(&layout, &package)?;
    let digest = package.descriptor().digest.clone();
    read(layout, &digest, None, path.display().to_string(), Some(between))
}

/// The artifact of a component, or of a folder with a plugin.toml. It would be loaded: that is tried.
pub(super) fn package(path: &Path, host: &Host) -> Result<Package, Failure> {
    let about = |failure: Failure| failure.about(path.display());
    let loaded = host.load_any_path(path).map_err(|error| about(error.into()))?;
    let component = super::component_path(path)?;
    let component = std::fs::read(&component).map_err(|error| Failure::io(component.display(), &error))?;
    let component = match plugin_toml(path)? {
        Some(text) => section::with(&component, &text)?,
        None => component,
    };
    Ok(Package::new(component, loaded.manifest())?)
}

/// The `plugin.toml` that counts for a path, unless it is inside the component.
fn plugin_toml(path: &Path) -> Result<Option<String>, Failure> {
    let file = if path.is_dir() {
        path.join("plugin.toml")
    } else {
        path.with_file_name("plugin.toml")
    };
    if !file.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&file).map_err(|error| Failure::io(file.display(), &error))?;
    // Beside a component it counts only if it names that one, as for loading.
    let folder = path.parent().unwrap_or(Path::new("."));
    let names_it = path.is_dir() || super::component_path(folder)?.file_name() == path.file_name();
    Ok(names_it.then_some(text))
}

/// Stores the blobs of an artifact.
pub(super) fn store(layout: &Layout, package: &Package) -> Result<Descriptor, Failure> {
    for (descriptor, bytes) in package.blobs() {
        layout.put_blob(&descriptor.media_type, bytes)?;
    }
    Ok(package.descriptor().clone())
}

fn read(
    layout: Layout,
    digest: &Digest,
    signed: Option<Descriptor>,
    source: String,
    between: Option<TempDir>,
) -> Result<Staged, Failure> {
    let about = |failure: Failure| failure.about(&source);
    let artifact = Artifact::read(&manifest(&layout, digest)?, Some(digest), &mut opener(&layout))
        .map_err(|error| about(error.into()))?;
    let signatures = match &signed {
        None => Vec::new(),
        Some(signed) => {
            let bytes = manifest(&layout, &signed.digest)?;
            signature::read(&bytes, Some(&signed.digest), &mut opener(&layout))
                .map_err(|error| about(error.into()))?
        }
    };
    Ok(Staged {
        artifact,
        signatures,
        signed,
        source,
        layout,
        _between: between,
    })
}

/// A manifest of a layout. Its digest is checked by who reads it.
fn manifest(layout: &Layout, digest: &Digest) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let limit = transom_oci::limits::MANIFEST_BYTES_MAX;
    let mut bytes = Vec::new();
    layout
        .store
        .reader(digest)?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::io(digest, &error))?;
    Ok(bytes)
}

/// A folder for what is on its way.
fn between() -> Result<TempDir, Failure> {
    let folder = places::temporary();
    let made = tempfile::Builder::new().prefix("transom-").tempdir_in(&folder);
    made.map_err(|error| Failure::io(folder.display(), &error))
}
