//! What is refused of snapshots, and how: class and text of each error.

use std::fmt::Debug;

use transom_meta::snapshots::Snapshots;
use transom_meta::{Caller, Class, Error, Labels, Metadata};

use crate::records::{caller, labels, namespace, refused, texts};
use crate::snapshots::{committed, listed, stage};

const TOO_LONG: &str =
    "info.Labels: label key and value length (5001 bytes) greater than maximum size (4096 bytes), key: k";

/// Two committed snapshots, an active one and a view.
async fn filled() -> (Metadata, Snapshots, tempfile::TempDir) {
    let (metadata, _fake, snapshots, dir) = stage().await;
    let who = caller();
    committed(&snapshots, &who, "base", "", Labels::new()).await;
    committed(&snapshots, &who, "other", "", Labels::new()).await;
    snapshots
        .prepare(&who, "active", "base", Labels::new())
        .await
        .unwrap();
    snapshots.view(&who, "view", "base", Labels::new()).await.unwrap();
    (metadata, snapshots, dir)
}

fn long() -> Labels {
    labels([("k", &*"v".repeat(5000))])
}

#[track_caller]
fn says<T: Debug>(result: Result<T, Error>, class: Class, text: &str) {
    assert_eq!(refused(result), (class, text.to_owned()));
}

#[tokio::test]
async fn snapshotters_are_named() {
    let (metadata, _snapshots, _dir) = filled().await;
    says(
        metadata.snapshots(""),
        Class::InvalidArgument,
        "snapshotter argument missing",
    );
    says(
        metadata.snapshots("foo"),
        Class::InvalidArgument,
        "snapshotter not loaded: foo",
    );
}

#[tokio::test]
async fn what_cannot_be_made() {
    let (_metadata, snapshots, _dir) = filled().await;
    let (who, leased) = (caller(), caller().with_lease("L"));
    let key_missing = "snapshot key must not be empty";
    for (key, parent, class, text) in [
        ("", "", Class::InvalidArgument, key_missing),
        ("active", "", Class::AlreadyExists, "snapshot \"active\""),
        ("base", "none", Class::AlreadyExists, "snapshot \"base\""),
        (
            "new",
            "none",
            Class::NotFound,
            "parent snapshot none does not exist",
        ),
        (
            "new",
            "new",
            Class::NotFound,
            "parent snapshot new does not exist",
        ),
        (
            "new",
            "active",
            Class::InvalidArgument,
            "parent \"active\" is not committed snapshot",
        ),
        (
            "new",
            "view",
            Class::InvalidArgument,
            "parent \"view\" is not committed snapshot",
        ),
    ] {
        says(
            snapshots.prepare(&who, key, parent, Labels::new()).await,
            class,
            text,
        );
        says(
            snapshots.view(&who, key, parent, Labels::new()).await,
            class,
            text,
        );
    }
    says(
        snapshots.prepare(&who, "new", "", long()).await,
        Class::InvalidArgument,
        TOO_LONG,
    );
    says(
        snapshots.prepare(&leased, "new", "", Labels::new()).await,
        Class::NotFound,
        "lease does not exist",
    );
    let endless = "n".repeat(40_000);
    assert_eq!(
        refused(snapshots.view(&who, &endless, "", Labels::new()).await).0,
        Class::InvalidArgument
    );
    assert_eq!(
        listed(&snapshots, &who, &[]).await,
        ["active", "base", "other", "view"]
    );
}

#[tokio::test]
async fn what_cannot_be_committed() {
    let (_metadata, snapshots, _dir) = filled().await;
    let (who, leased) = (caller(), caller().with_lease("L"));
    for (name, key, parent, class, text) in [
        (
            "",
            "active",
            "",
            Class::InvalidArgument,
            "snapshot name must not be empty",
        ),
        ("new", "none", "", Class::NotFound, "snapshot none does not exist"),
        ("base", "none", "", Class::AlreadyExists, "snapshot \"base\""),
        (
            "active",
            "active",
            "",
            Class::AlreadyExists,
            "snapshot \"active\"",
        ),
        (
            "new",
            "view",
            "",
            Class::FailedPrecondition,
            "snapshot \"view\" is not active",
        ),
        (
            "new",
            "base",
            "",
            Class::FailedPrecondition,
            "snapshot \"base\" is not active",
        ),
        (
            "new",
            "active",
            "other",
            Class::InvalidArgument,
            "cannot change parent of active snapshot",
        ),
    ] {
        says(
            snapshots.commit(&who, name, key, parent, Labels::new()).await,
            class,
            text,
        );
    }
    says(
        snapshots.commit(&who, "new", "active", "", long()).await,
        Class::InvalidArgument,
        TOO_LONG,
    );
    says(
        snapshots
            .commit(&leased, "new", "active", "", Labels::new())
            .await,
        Class::NotFound,
        "lease does not exist",
    );
    assert_eq!(
        listed(&snapshots, &who, &[]).await,
        ["active", "base", "other", "view"]
    );
    snapshots.mounts(&who, "active").await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_or_not_in_that_state() {
    let (_metadata, s, _dir) = filled().await;
    let who = caller();
    let gone = "snapshot none does not exist";
    let state = "requested snapshot base not active or view";
    says(s.mounts(&who, "none").await, Class::NotFound, gone);
    says(s.mounts(&who, "base").await, Class::FailedPrecondition, state);
    says(s.usage(&who, "none").await, Class::NotFound, gone);
    says(s.stat(&who, "none").await, Class::NotFound, gone);
    says(s.remove(&who, "none").await, Class::NotFound, gone);
    says(
        s.remove(&who, "base").await,
        Class::FailedPrecondition,
        "cannot remove snapshot with child",
    );
    says(
        s.update(&who, "none", Labels::new(), &[]).await,
        Class::NotFound,
        gone,
    );
    let immutable = "cannot update \"kind\" field on snapshot \"base\"";
    let kind = s.update(&who, "base", Labels::new(), &texts(["kind"])).await;
    says(kind, Class::InvalidArgument, immutable);
    says(
        s.update(&who, "base", long(), &[]).await,
        Class::InvalidArgument,
        TOO_LONG,
    );
    let empty = "snapshot key must not be empty";
    says(
        s.update(&who, "", Labels::new(), &[]).await,
        Class::InvalidArgument,
        empty,
    );
    let elsewhere = Caller::new(namespace("other"));
    says(
        s.stat(&elsewhere, "base").await,
        Class::NotFound,
        "snapshot base does not exist",
    );
}
