//! Where everything is on the driver: docker-registry's folders, and three files of our own among them.
//!
//! `docs/formats/registry.md` describes them.

use transom_oci::{Algorithm, Digest};
use transom_storage::{Error, StoragePath};

use crate::names::{RepositoryName, Tag};
use crate::store::{Day, UploadId};

/// The folder of everything, on any driver.
const ROOT: &str = "/docker/registry/v2";

/// The folders that names of repositories can never have: all that is not a repository begins so.
pub(crate) const RESERVED: char = '_';

/// The folder that makes a folder a repository.
pub(crate) const MANIFESTS: &str = "_manifests";

/// The folders of which a repository has at least one when it has content.
pub(crate) const LAYERS_OR_MANIFESTS: &[&str] = &["_layers", MANIFESTS];

/// The folder of uploads in a repository.
pub(crate) const UPLOADS: &str = "_uploads";

/// A path below the root. The error is for names whose parts are too long for a file system.
type Path = Result<StoragePath, Error>;

/// The folder of every repository.
pub(crate) fn repositories() -> Path {
    StoragePath::new(&format!("{ROOT}/repositories"))
}

/// The folder of a part of a repository's name; of all repositories, without one.
pub(crate) fn folder(name: &str) -> Path {
    let top = repositories()?;
    match name.is_empty() {
        true => Ok(top),
        false => top.join(name),
    }
}

/// The folder of a repository.
pub(crate) fn repository(name: &RepositoryName) -> Path {
    StoragePath::new(&format!("{ROOT}/repositories/{name}"))
}

/// The folder of all blobs of an algorithm.
pub(crate) fn blobs(algorithm: Algorithm) -> Path {
    StoragePath::new(&format!("{ROOT}/blobs/{algorithm}"))
}

/// The folder of a blob.
pub(crate) fn blob_folder(digest: &Digest) -> Path {
    let hex = digest.hex();
    blobs(digest.algorithm())?.join(&format!("{}/{hex}", &hex[..2]))
}

/// The bytes of a blob, shared by all repositories.
pub(crate) fn blob(digest: &Digest) -> Path {
    blob_folder(digest)?.join("data")
}

/// The folder of what a repository knows of blobs.
pub(crate) fn layers(name: &RepositoryName) -> Path {
    repository(name)?.join("_layers")
}

/// The folder of what a repository knows of manifests.
pub(crate) fn revisions(name: &RepositoryName) -> Path {
    repository(name)?.join(&format!("{MANIFESTS}/revisions"))
}

/// Ours: the folder of bytes about which the collector decides.
pub(crate) fn all_aside() -> Path {
    StoragePath::new(&format!("{ROOT}/_transom/aside"))
}

/// Ours: bytes about which the collector decides.
pub(crate) fn aside(digest: &Digest) -> Path {
    all_aside()?.join(&parts(digest))
}

/// The folder of what a repository knows of a blob.
pub(crate) fn layer(name: &RepositoryName, digest: &Digest) -> Path {
    repository(name)?.join(&format!("_layers/{}", parts(digest)))
}

/// What makes a blob known in a repository.
pub(crate) fn layer_link(name: &RepositoryName, digest: &Digest) -> Path {
    layer(name, digest)?.join("link")
}

/// The folder of what a repository knows of a manifest.
pub(crate) fn revision(name: &RepositoryName, digest: &Digest) -> Path {
    repository(name)?.join(&format!("{MANIFESTS}/revisions/{}", parts(digest)))
}

/// What makes a manifest known in a repository.
pub(crate) fn revision_link(name: &RepositoryName, digest: &Digest) -> Path {
    revision(name, digest)?.join("link")
}

/// Ours: the media type of a manifest that does not say it itself.
pub(crate) fn media_type(name: &RepositoryName, digest: &Digest) -> Path {
    revision(name, digest)?.join("mediatype")
}

/// The folder of a repository's tags.
pub(crate) fn tags(name: &RepositoryName) -> Path {
    repository(name)?.join(&format!("{MANIFESTS}/tags"))
}

/// The folder of a tag.
pub(crate) fn tag(name: &RepositoryName, tag: &Tag) -> Path {
    tags(name)?.join(tag.as_str())
}

/// What a tag points at.
pub(crate) fn tag_link(name: &RepositoryName, tag: &Tag) -> Path {
    self::tag(name, tag)?.join("current/link")
}

/// What a tag points at or once pointed at.
pub(crate) fn tag_index_link(name: &RepositoryName, tag: &Tag, digest: &Digest) -> Path {
    self::tag(name, tag)?.join(&format!("index/{}/link", parts(digest)))
}

/// Ours: the folder of the manifests that are about another one.
pub(crate) fn referrers(name: &RepositoryName, subject: &Digest) -> Path {
    repository(name)?.join(&format!("{MANIFESTS}/referrers/{}", parts(subject)))
}

/// Ours: what makes a manifest known as one about another one.
pub(crate) fn referrer(name: &RepositoryName, subject: &Digest, digest: &Digest) -> Path {
    referrers(name, subject)?.join(&parts(digest))
}

/// The folder of a repository's uploads.
pub(crate) fn uploads(name: &RepositoryName) -> Path {
    repository(name)?.join(UPLOADS)
}

/// Ours: the folder of the uploads that were begun on a day. docker-registry has a folder for each upload.
pub(crate) fn upload_day(name: &RepositoryName, day: Day) -> Path {
    uploads(name)?.join(&day.to_string())
}

/// Ours: the bytes of an upload.
pub(crate) fn upload(name: &RepositoryName, id: UploadId) -> Path {
    upload_day(name, Day::of(id.begun()))?.join(&id.to_string())
}

fn parts(digest: &Digest) -> String {
    format!("{}/{}", digest.algorithm(), digest.hex())
}

/// The digest that the last two parts of a path are.
pub(crate) fn digest_of(folder: &StoragePath) -> Option<Digest> {
    let algorithm = folder.parent()?;
    format!("{}:{}", algorithm.name(), folder.name()).parse().ok()
}

/// The digest of the blob whose bytes are at a path.
pub(crate) fn digest_of_blob(data: &StoragePath) -> Option<Digest> {
    let folder = data.parent()?;
    let algorithm = folder.parent()?.parent()?;
    format!("{}:{}", algorithm.name(), folder.name()).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_docker_registry() {
        let name = RepositoryName::new("library/debian").unwrap();
        let (tag, hex) = (Tag::new("12").unwrap(), "ab".repeat(32));
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        let repository = "/docker/registry/v2/repositories/library/debian";
        for (path, want) in [
            (
                blob(&digest),
                format!("/docker/registry/v2/blobs/sha256/ab/{hex}/data"),
            ),
            (
                layer_link(&name, &digest),
                format!("{repository}/_layers/sha256/{hex}/link"),
            ),
            (
                revision_link(&name, &digest),
                format!("{repository}/_manifests/revisions/sha256/{hex}/link"),
            ),
            (
                tag_link(&name, &tag),
                format!("{repository}/_manifests/tags/12/current/link"),
            ),
            (
                tag_index_link(&name, &tag, &digest),
                format!("{repository}/_manifests/tags/12/index/sha256/{hex}/link"),
            ),
        ] {
            assert_eq!(path.unwrap().as_str(), want);
        }
        let folder = blob_folder(&digest).unwrap();
        assert_eq!(
            digest_of(&referrer(&name, &digest, &digest).unwrap()),
            Some(digest)
        );
        assert_eq!(digest_of(&folder.parent().unwrap()), None);
    }

    #[test]
    fn the_longest_names_have_a_path() {
        let name = RepositoryName::new(&["a".repeat(127), "b".repeat(127)].join("/")).unwrap();
        let digest: Digest = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
        assert!(referrer(&name, &digest, &digest).is_ok());
        let part = RepositoryName::new(&"a".repeat(255)).unwrap();
        assert!(matches!(repository(&part), Err(Error::InvalidPath { .. })));
    }
}
