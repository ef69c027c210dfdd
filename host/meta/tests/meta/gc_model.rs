//! Graphs at random: what is left is what a naive search finds, before and after something is deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use transom_meta::leases::{CONTENT, IMAGES};
use transom_meta::snapshots::Snapshots;
use transom_meta::{Labels, Metadata};

use crate::content::put;
use crate::gc::{gc, graced, hours, image};
use crate::kv::run;
use crate::records::{caller, digest, keys, namespace};
use crate::snapshots::committed;
use crate::snapshotter::Fake;

/// An object: kind and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Content(u8),
    Image(u8),
    Snapshot(u8),
}

use Name::{Content, Image, Snapshot};

#[derive(Clone, Debug)]
enum Label {
    Root,
    Reference(Name),
    Back(Name),
    /// On a snapshot that was used within a day.
    IfUsed(u8),
    /// When a snapshot was used, in hours from now.
    Used(i64),
}

#[derive(Clone, Debug)]
struct World {
    contents: BTreeMap<u8, Vec<Label>>,
    /// Its target, and whether it has expired.
    images: BTreeMap<u8, (u8, bool, Vec<Label>)>,
    /// Its parent.
    snapshots: BTreeMap<u8, (Option<u8>, Vec<Label>)>,
    /// Whether it is flat, whether it has expired, what it lists.
    leases: BTreeMap<u8, (bool, bool, Vec<Name>)>,
}

const OBJECTS: u8 = 5;

fn name() -> impl Strategy<Value = Name> {
    (0..3, 0..OBJECTS).prop_map(|(kind, number)| match kind {
        0 => Content(number),
        1 => Image(number),
        _ => Snapshot(number),
    })
}

fn all_labels() -> impl Strategy<Value = Vec<Label>> {
    let label = prop_oneof![
        1 => Just(Label::Root),
        8 => name().prop_map(Label::Reference),
        4 => name().prop_map(Label::Back),
        2 => (0..OBJECTS).prop_map(Label::IfUsed),
        2 => prop_oneof![Just(-1), Just(-48)].prop_map(Label::Used),
    ];
    prop::collection::vec(label, 0..3)
}

fn worlds() -> impl Strategy<Value = World> {
    let objects = 0..usize::from(OBJECTS);
    (
        prop::collection::btree_map(0..OBJECTS, all_labels(), objects.clone()),
        prop::collection::btree_map(
            0..OBJECTS,
            (0..OBJECTS, prop::bool::weighted(0.7), all_labels()),
            0..4,
        ),
        prop::collection::btree_map(0..OBJECTS, (prop::option::of(0..OBJECTS), all_labels()), objects),
        prop::collection::btree_map(
            0..3_u8,
            (any::<bool>(), any::<bool>(), prop::collection::vec(name(), 0..3)),
            0..3,
        ),
    )
        .prop_map(|(contents, images, mut snapshots, leases)| {
            // A parent is there before what stands on it.
            let there: BTreeSet<u8> = snapshots.keys().copied().collect();
            for (number, (parent, _)) in &mut snapshots {
                *parent = parent.filter(|parent| parent < number && there.contains(parent));
            }
            World {
                contents,
                images,
                snapshots,
                leases,
            }
        })
}

fn content(number: u8) -> String {
    format!("content {number}")
}

/// Each label needs a key of its own.
fn written(found: &[Label]) -> Labels {
    let mut all = Labels::new();
    for (place, label) in found.iter().enumerate() {
        let kind = |name: &Name| match name {
            Content(number) => (format!("content.{place}"), digest(&content(*number)).to_string()),
            Image(number) => (format!("image/{place}"), format!("image{number}")),
            Snapshot(number) => (format!("snapshot.fake/{place}"), format!("s{number}")),
        };
        let (key, value) = match label {
            Label::Root => ("root".to_owned(), "1".to_owned()),
            Label::Reference(name) => (format!("ref.{}", kind(name).0), kind(name).1),
            Label::Back(name) => (format!("bref.{}", kind(name).0), kind(name).1),
            Label::IfUsed(number) => (
                format!("cond.snapshot.fake/{place}"),
                format!("usedat<24h|s{number}"),
            ),
            Label::Used(ago) => ("cond.value-usedat".to_owned(), hours(*ago)),
        };
        all.append(&mut gc(&[(&key, &value)]));
    }
    all
}

impl World {
    async fn build(&self, metadata: &Metadata, snapshots: &Snapshots) {
        for (number, found) in &self.contents {
            put(metadata, &caller(), &content(*number), written(found))
                .await
                .unwrap();
        }
        for (number, (target, expired, found)) in &self.images {
            let mut all = written(found);
            if *expired {
                all.append(&mut gc(&[("expire", &hours(-1))]));
            }
            image(
                metadata,
                &format!("image{number}"),
                &digest(&content(*target)),
                all,
            )
            .await;
        }
        for (number, (parent, found)) in &self.snapshots {
            let parent = parent.map(|parent| format!("s{parent}")).unwrap_or_default();
            committed(
                snapshots,
                &caller(),
                &format!("s{number}"),
                &parent,
                written(found),
            )
            .await;
        }
        let ns = namespace("testing");
        for (number, (flat, expired, listed)) in &self.leases {
            let mut all = Labels::new();
            if *flat {
                all.append(&mut gc(&[("flat", "1")]));
            }
            if *expired {
                all.append(&mut gc(&[("expire", &hours(-1))]));
            }
            let id = format!("lease{number}");
            metadata.create_lease(&ns, &id, all).await.unwrap();
            for name in listed {
                let (kind, what) = match name {
                    Content(number) => (CONTENT, digest(&content(*number)).to_string()),
                    Image(number) => (IMAGES, format!("image{number}")),
                    Snapshot(number) => ("snapshots/fake", format!("s{number}")),
                };
                metadata.add_resource(&ns, &id, kind, &what).await.unwrap();
            }
        }
    }

    fn labels(&self, name: Name) -> &[Label] {
        let found = match name {
            Content(number) => self.contents.get(&number),
            Image(number) => self.images.get(&number).map(|(_, _, found)| found),
            Snapshot(number) => self.snapshots.get(&number).map(|(_, found)| found),
        };
        found.map_or(&[], Vec::as_slice)
    }

    fn there(&self) -> BTreeSet<Name> {
        let contents = self.contents.keys().map(|number| Content(*number));
        let images = self.images.keys().map(|number| Image(*number));
        let snapshots = self.snapshots.keys().map(|number| Snapshot(*number));
        contents.chain(images).chain(snapshots).collect()
    }

    /// What is kept whatever refers to it, flat or not.
    fn roots(&self) -> BTreeSet<(Name, bool)> {
        let mut roots = BTreeSet::new();
        for name in self.there() {
            let labelled = self.labels(name).iter().any(|label| matches!(label, Label::Root));
            let image = matches!(name, Image(number) if !self.images[&number].1);
            if image || labelled && !matches!(name, Image(_)) {
                roots.insert((name, false));
            }
        }
        for (flat, expired, listed) in self.leases.values() {
            if !expired {
                roots.extend(listed.iter().map(|name| (*name, *flat)));
            }
        }
        roots
    }

    /// What this object keeps, if it is kept like that.
    fn keeps(&self, name: Name, flat: bool) -> Vec<(Name, bool)> {
        let mut kept = Vec::new();
        match name {
            Image(number) => kept.extend(
                self.images
                    .get(&number)
                    .map(|(target, ..)| (Content(*target), flat)),
            ),
            Snapshot(number) => {
                let parent = self.snapshots.get(&number).and_then(|(parent, _)| *parent);
                kept.extend(parent.map(|parent| (Snapshot(parent), flat)));
            }
            Content(_) => {}
        }
        for label in self.labels(name).iter().filter(|_| !flat) {
            match label {
                Label::Reference(other) => kept.push((*other, false)),
                Label::IfUsed(number) if !matches!(name, Snapshot(_)) && self.is_used(*number) => {
                    kept.push((Snapshot(*number), false));
                }
                _ => {}
            }
        }
        kept
    }

    fn is_used(&self, number: u8) -> bool {
        // The last one is the one that is written.
        let used = self
            .labels(Snapshot(number))
            .iter()
            .rev()
            .find_map(|label| match label {
                Label::Used(ago) => Some(*ago),
                _ => None,
            });
        used == Some(-1)
    }

    /// Again and again through everything, until nothing comes in any more.
    fn reachable(&self) -> BTreeSet<Name> {
        let mut found = self.roots();
        loop {
            let mut more = found.clone();
            for (name, flat) in &found {
                more.extend(self.keeps(*name, *flat));
            }
            for name in self.there() {
                let backs = self.labels(name).iter().any(|label| {
                    matches!(label, Label::Back(other) if found.contains(&(*other, true)) || found.contains(&(*other, false)))
                });
                if backs {
                    more.insert((name, false));
                }
            }
            if more == found {
                let there = self.there();
                let names = found.into_iter().map(|(name, _)| name);
                return names.filter(|name| there.contains(name)).collect();
            }
            found = more;
        }
    }

    fn remove(&mut self, gone: impl Fn(&Name) -> bool) {
        self.contents.retain(|number, _| !gone(&Content(*number)));
        self.images.retain(|number, _| !gone(&Image(*number)));
        self.snapshots.retain(|number, _| !gone(&Snapshot(*number)));
    }
}

async fn found(metadata: &Metadata, fake: &Fake) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    let keys = keys(metadata).await;
    let blobs: BTreeSet<_> = metadata
        .blobs()
        .walk()
        .unwrap()
        .map(|info| info.unwrap().digest)
        .collect();
    for number in 0..OBJECTS {
        let digest = digest(&content(number));
        let there = keys.contains(&format!("c/testing/{digest}"));
        assert_eq!(blobs.contains(&digest), there, "blob of content {number}");
        if there {
            found.insert(Content(number));
        }
        if keys.contains(&format!("i/testing/image{number}")) {
            found.insert(Image(number));
        }
        let snapshot = format!("s{number}");
        let there = keys.contains(&format!("s/testing/fake/{snapshot}"));
        assert_eq!(fake.names().contains(&snapshot), there, "files of {snapshot}");
        if there {
            found.insert(Snapshot(number));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_left_is_what_can_be_reached(mut world in worlds(), images in any::<u8>(), leases in any::<u8>()) {
        run(async {
            let (metadata, _dir) = graced(Duration::ZERO).await;
            let fake = Arc::new(Fake::new("fake"));
            metadata.add_snapshotter(fake.clone()).await.unwrap();
            world.build(&metadata, &metadata.snapshots("fake").unwrap()).await;
            metadata.collect().await.unwrap();
            let wanted = world.reachable();
            prop_assert_eq!(found(&metadata, &fake).await, wanted.clone());

            world.remove(|name| !wanted.contains(name));
            world.leases.retain(|_, (_, expired, _)| !*expired);
            for number in world.images.keys().copied().filter(|number| images >> number & 1 == 1).collect::<Vec<_>>() {
                world.images.remove(&number);
                metadata.delete_image(&caller(), &format!("image{number}"), None).await.unwrap();
            }
            for number in world.leases.keys().copied().filter(|number| leases >> number & 1 == 1).collect::<Vec<_>>() {
                world.leases.remove(&number);
                metadata.delete_lease(&namespace("testing"), &format!("lease{number}")).await.unwrap();
            }
            metadata.collect().await.unwrap();
            prop_assert_eq!(found(&metadata, &fake).await, world.reachable());
            Ok(())
        })?;
    }
}
