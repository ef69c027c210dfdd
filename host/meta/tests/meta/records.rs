//! What the tests of namespaces, images, leases and events share.

use std::sync::Arc;

use tempfile::TempDir;
use transom_content::Store;
use transom_meta::events::{Envelope, Subscription};
use transom_meta::filter::Plugins;
use transom_meta::images::{NewImage, Target};
use transom_meta::kv::memory::Memory;
use transom_meta::kv::{Kv, Range};
use transom_meta::{Caller, Class, Error, Labels, Metadata, Namespace, Options};
use transom_oci::{Algorithm, Digest};

/// Metadata over a store in memory, and the folder of its blobs.
pub(crate) async fn metadata() -> (Metadata, TempDir) {
    metadata_on(Arc::new(Memory::new())).await
}

pub(crate) async fn metadata_on(kv: Arc<dyn Kv>) -> (Metadata, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Store::open(dir.path().join("content")).unwrap();
    (Metadata::open(kv, blobs, Options::default()).await.unwrap(), dir)
}

pub(crate) fn namespace(name: &str) -> Namespace {
    Namespace::new(name).unwrap()
}

pub(crate) fn caller() -> Caller {
    Caller::new(namespace("testing"))
}

pub(crate) fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Labels {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    pairs.into_iter().map(owned).collect()
}

pub(crate) fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(Algorithm::Sha256, text.as_bytes())
}

/// An image without labels, whose target is named after it.
pub(crate) fn image(name: &str) -> NewImage {
    NewImage {
        name: name.to_owned(),
        labels: Labels::new(),
        target: Some(Target {
            media_type: "application/vnd.containerd.test".to_owned(),
            digest: digest(name).to_string(),
            size: 10,
            annotations: Labels::new(),
        }),
    }
}

/// Class and text of an error, as a client sees them.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> (Class, String) {
    let error = result.unwrap_err();
    (error.class(), error.to_string())
}

/// All keys of the store, printable.
pub(crate) async fn keys(metadata: &Metadata) -> Vec<String> {
    let pairs = metadata.kv().range(&Range::prefix(""), usize::MAX).await.unwrap();
    let text = |pair: &transom_meta::kv::Pair| pair.key.escape_ascii().to_string();
    pairs.iter().map(text).collect()
}

pub(crate) fn subscribe<const N: usize>(metadata: &Metadata, filters: [&str; N]) -> Subscription {
    let events = metadata.events();
    events.subscribe(&texts(filters), &Plugins::default()).unwrap()
}

/// The events that a subscriber was sent until the one with this topic, which `last` makes come.
pub(crate) async fn until(subscription: &mut Subscription, topic: &str) -> Vec<Arc<Envelope>> {
    let mut events = Vec::new();
    loop {
        let event = subscription.next().await.unwrap();
        if event.topic == topic {
            return events;
        }
        events.push(event);
    }
}
