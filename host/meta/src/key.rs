//! The keys: one letter for the kind, the namespace, then the name, which may hold any character because it is last.
//!
//! `docs/formats/metadata.md` has the same table with examples.
//!
//! | key | record |
//! |---|---|
//! | `v` | the version of all this |
//! | `n/<namespace>` | a namespace |
//! | `i/<namespace>/<image>` | an image |
//! | `c/<namespace>/<digest>` | content of a namespace |
//! | `b/<digest>/<namespace>` | empty: which namespaces have the blob |
//! | `g/<namespace>/<ref>` | an ingest |
//! | `e/<digest>/<namespace>/<ref>` | empty: an ingest that needs no bytes, because the blob is here |
//! | `l/<namespace>/<lease>` | a lease |
//! | `r/<namespace>/<length of lease, 4 hex digits><lease><type>/<id>` | empty: a resource of a lease |
//! | `s/<namespace>/<snapshotter>/<key>` | a snapshot |
//! | `k/<namespace>/<snapshotter>/<length of parent, 4 hex digits><parent>/<key>` | empty: a snapshot that stands on another |
//! | `y/<namespace>/<digest>` | until when content without a reference is kept |
//! | `p/<snapshotter>/…` | what a snapshotter keeps for itself; see `docs/formats/snapshots.md` |
//! | `q` | the next number for backend keys |

use bytes::Bytes;
use transom_oci::Digest;

use crate::kv::Range;
use crate::names::Namespace;

/// The key of the version record.
pub(crate) const VERSION: &[u8] = b"v";
/// The key of the sequence.
pub(crate) const SEQUENCE: &[u8] = b"q";

/// A kind of record that lies under a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    Content,
    Ingest,
    Lease,
    Snapshot,
    Grace,
}

impl Kind {
    pub(crate) const fn letter(self) -> char {
        match self {
            Kind::Image => 'i',
            Kind::Content => 'c',
            Kind::Ingest => 'g',
            Kind::Lease => 'l',
            Kind::Snapshot => 's',
            Kind::Grace => 'y',
        }
    }
}

/// The key of an object in a namespace.
pub(crate) fn of(kind: Kind, namespace: &Namespace, name: &str) -> Bytes {
    format!("{}/{namespace}/{name}", kind.letter()).into()
}

/// All objects of a kind in a namespace.
pub(crate) fn all(kind: Kind, namespace: &Namespace) -> Range {
    Range::prefix(of(kind, namespace, ""))
}

/// All objects of a kind in all namespaces.
pub(crate) fn everywhere(kind: Kind) -> Range {
    Range::prefix(format!("{}/", kind.letter()))
}

/// Namespace and name of a key made by [`of`].
pub(crate) fn parse(key: &[u8]) -> Option<(Namespace, &str)> {
    let (namespace, name) = split(key)?;
    Some((Namespace::new(namespace).ok()?, name))
}

/// The name of a key made by [`of`], for lists of one namespace.
pub(crate) fn name(key: &[u8]) -> Option<&str> {
    split(key).map(|(_, name)| name)
}

fn split(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.get(2..)?.split_once('/')
}

/// Whether the key is that of an image.
pub(crate) fn is_image(key: &[u8]) -> bool {
    key.starts_with(b"i/")
}

/// The key of a namespace.
pub(crate) fn namespace(namespace: &Namespace) -> Bytes {
    format!("n/{namespace}").into()
}

/// All namespaces.
pub(crate) fn namespaces() -> Range {
    Range::prefix("n/")
}

/// The name of a namespace from its key.
pub(crate) fn parse_namespace(key: &[u8]) -> Option<Namespace> {
    Namespace::new(std::str::from_utf8(key).ok()?.strip_prefix("n/")?).ok()
}

/// The key that says that a namespace has a blob.
pub(crate) fn holder(digest: &Digest, namespace: &Namespace) -> Bytes {
    format!("b/{digest}/{namespace}").into()
}

/// The namespaces that have a blob.
pub(crate) fn holders(digest: &Digest) -> Range {
    Range::prefix(format!("b/{digest}/"))
}

/// Digest and namespace of a key made by [`holder`].
pub(crate) fn parse_holder(key: &[u8]) -> Option<(Digest, Namespace)> {
    let (digest, namespace) = std::str::from_utf8(key)
        .ok()?
        .strip_prefix("b/")?
        .rsplit_once('/')?;
    Some((digest.parse().ok()?, Namespace::new(namespace).ok()?))
}

/// The key that says that an ingest waits to be given a blob that is here.
pub(crate) fn expecter(digest: &str, namespace: &Namespace, reference: &str) -> Bytes {
    format!("e/{digest}/{namespace}/{reference}").into()
}

/// The ingests that wait to be given a blob.
pub(crate) fn expecters(digest: &Digest) -> Range {
    Range::prefix(format!("e/{digest}/"))
}

/// The key of a snapshot.
pub(crate) fn snapshot(namespace: &Namespace, snapshotter: &str, name: &str) -> Bytes {
    format!("s/{namespace}/{snapshotter}/{name}").into()
}

/// All snapshots of a snapshotter in a namespace.
pub(crate) fn snapshots(namespace: &Namespace, snapshotter: &str) -> Range {
    Range::prefix(snapshot(namespace, snapshotter, ""))
}

/// Namespace, snapshotter and key of a key made by [`snapshot`].
pub(crate) fn parse_snapshot(key: &[u8]) -> Option<(Namespace, &str, &str)> {
    let (namespace, rest) = parse(key)?;
    let (snapshotter, name) = rest.split_once('/')?;
    Some((namespace, snapshotter, name))
}

/// The key that says that a snapshot stands on another.
pub(crate) fn child(namespace: &Namespace, snapshotter: &str, parent: &str, name: &str) -> Bytes {
    format!("k/{namespace}/{snapshotter}/{:04x}{parent}/{name}", parent.len()).into()
}

/// The snapshots that stand on one.
pub(crate) fn children(namespace: &Namespace, snapshotter: &str, parent: &str) -> Range {
    Range::prefix(child(namespace, snapshotter, parent, ""))
}

/// Namespace, snapshotter, parent and key of a key made by [`child`].
pub(crate) fn parse_child(key: &[u8]) -> Option<(Namespace, &str, &str, &str)> {
    let (namespace, snapshotter, rest) = parse_snapshot(key)?;
    let length = usize::from_str_radix(rest.get(..4)?, 16).ok()?;
    let (parent, name) = rest.get(4..)?.split_at_checked(length)?;
    Some((namespace, snapshotter, parent, name.strip_prefix('/')?))
}

/// The key of a resource of a lease; `kind` is `content`, `images`, `ingests` or `snapshots/<snapshotter>`.
pub(crate) fn resource(namespace: &Namespace, lease: &str, kind: &str, id: &str) -> Bytes {
    format!("r/{namespace}/{:04x}{lease}{kind}/{id}", lease.len()).into()
}

/// All resources of a lease.
pub(crate) fn resources(namespace: &Namespace, lease: &str) -> Range {
    Range::prefix(format!("r/{namespace}/{:04x}{lease}", lease.len()))
}

/// All resources of all leases of a namespace.
pub(crate) fn all_resources(namespace: &Namespace) -> Range {
    Range::prefix(format!("r/{namespace}/"))
}

/// Namespace, lease, kind and id of a key made by [`resource`].
pub(crate) fn parse_resource(key: &[u8]) -> Option<(Namespace, &str, &str, &str)> {
    let (namespace, rest) = parse(key)?;
    let length = usize::from_str_radix(rest.get(..4)?, 16).ok()?;
    let (lease, rest) = rest.get(4..)?.split_at_checked(length)?;
    let kind = if rest.starts_with("snapshots/") {
        let end = rest.match_indices('/').nth(1)?.0;
        &rest[..end]
    } else {
        rest.split_once('/')?.0
    };
    Some((namespace, lease, kind, &rest[kind.len() + 1..]))
}
