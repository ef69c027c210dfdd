//! Many requests for the same objects at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;
use transom_meta::kv::{self, Kind};
use transom_meta::leases::IMAGES;
use transom_meta::{Caller, Class, Error, Labels, Metadata};

use crate::records::{caller, image, keys, labels, metadata, metadata_on, namespace, texts};

/// Runs `count` tasks at once, and gives what they return.
async fn together<T, F>(count: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for number in 0..count {
        tasks.spawn(task(number));
    }
    tasks.join_all().await
}

async fn set_labels(metadata: Metadata, task: usize) {
    for round in 0..3 {
        let key = format!("task{task}.round{round}");
        let mut change = image("a");
        change.labels = labels([(&key, "done"), ("other", "never")]);
        let path = format!("labels.{key}");
        metadata
            .update_image(&caller(), change, &[path], None)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_tasks_that_label_one_image_none_loses() {
    for kind in Kind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let (metadata, _dir) = metadata_on(kv::open(kind, folder.path()).unwrap()).await;
        metadata.create_image(&caller(), image("a"), None).await.unwrap();
        together(64, |task| set_labels(metadata.clone(), task)).await;
        let labels = metadata.image(&caller(), "a").await.unwrap().labels;
        let wanted = (0..64).flat_map(|task| (0..3).map(move |round| format!("task{task}.round{round}")));
        assert_eq!(
            labels.into_keys().collect::<BTreeSet<_>>(),
            wanted.collect(),
            "{kind}"
        );
    }
}

/// Runs 32 tasks at once, of which one succeeds, and all others fail with this class.
async fn one_does<F>(class: Class, task: impl Fn() -> F)
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    let results = together(32, |_| task()).await;
    assert_eq!(
        results.iter().filter(|result| result.is_ok()).count(),
        1,
        "{results:?}"
    );
    let mut errors = results.iter().flat_map(|result| result.as_ref().err());
    assert!(errors.all(|error| error.class() == class), "{results:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_that_make_or_delete_one_thing_one_does() {
    let (metadata, _dir) = metadata().await;
    for _ in 0..20 {
        let each = || (metadata.clone(), namespace("testing"));
        one_does(Class::AlreadyExists, || {
            let (metadata, _) = each();
            async move { metadata.create_image(&caller(), image("a"), None).await.map(drop) }
        })
        .await;
        one_does(Class::NotFound, || {
            let (metadata, _) = each();
            async move { metadata.delete_image(&caller(), "a", None).await }
        })
        .await;
        one_does(Class::AlreadyExists, || {
            let (metadata, name) = each();
            async move { metadata.create_lease(&name, "l", Labels::new()).await.map(drop) }
        })
        .await;
        one_does(Class::NotFound, || {
            let (metadata, name) = each();
            async move { metadata.delete_lease(&name, "l").await }
        })
        .await;
        one_does(Class::NotFound, || {
            let (metadata, name) = each();
            async move { metadata.delete_namespace(&name).await }
        })
        .await;
    }
}

/// One of: put something into the namespace, take it out, delete the namespace or a lease.
async fn stir(metadata: Metadata, number: usize) {
    let name = namespace("testing");
    let image_name = format!("image{}", number % 5);
    let lease = format!("lease{}", number % 3);
    for round in 0..30 {
        // Each may fail for a good reason; what is there in the end must fit together.
        match (number + round) % 6 {
            0 => drop(metadata.create_image(&caller(), image(&image_name), None).await),
            1 => drop(metadata.create_lease(&name, &lease, Labels::new()).await),
            2 => drop(
                metadata
                    .add_resource(&name, &lease, IMAGES, &format!("r{number}.{round}"))
                    .await,
            ),
            3 => drop(metadata.delete_image(&caller(), &image_name, None).await),
            4 => drop(metadata.delete_lease(&name, &lease).await),
            _ => drop(metadata.delete_namespace(&name).await),
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_left_outside_of_what_was_deleted() {
    for _ in 0..20 {
        let (metadata, _dir) = metadata().await;
        together(24, |number| stir(metadata.clone(), number)).await;
        let keys = keys(&metadata).await;
        let has = |key: &str| keys.iter().any(|other| other == key);
        let inside = |prefix: &str| {
            keys.iter()
                .filter(|key| key.starts_with(prefix))
                .cloned()
                .collect::<Vec<_>>()
        };
        let objects = [inside("i/testing/"), inside("l/testing/"), inside("r/testing/")].concat();
        assert!(objects.is_empty() || has("n/testing"), "{objects:?}");
        for resource in inside("r/testing/") {
            let lease = &resource["r/testing/0006".len()..][.."lease0".len()];
            assert!(has(&format!("l/testing/{lease}")), "{resource}");
        }
        // And nothing was left in a state that stops it.
        let name = namespace("testing");
        for image in metadata.images(&caller(), &[]).await.unwrap() {
            metadata.delete_image(&caller(), &image.name, None).await.unwrap();
        }
        metadata.create_lease(&name, "last", Labels::new()).await.unwrap();
        metadata.delete_namespace(&name).await.unwrap();
        let left = crate::records::keys(&metadata).await;
        assert!(left.iter().all(|key| key == "v" || key == "q"), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_acknowledged_image_outlives_every_deletion_of_its_namespace() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    for round in 0..50 {
        let deleter = tokio::spawn({
            let (metadata, name) = (metadata.clone(), name.clone());
            async move { while metadata.delete_namespace(&name).await.is_ok() {} }
        });
        let image_name = format!("image{round}");
        metadata
            .create_image(&caller(), image(&image_name), None)
            .await
            .unwrap();
        deleter.await.unwrap();
        metadata.image(&caller(), &image_name).await.unwrap();
        assert!(metadata.namespaces().await.unwrap().contains_key(&name));
        metadata.delete_image(&caller(), &image_name, None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn label_changes_of_namespaces_and_many_leases_do_not_get_lost() {
    let (metadata, _dir) = metadata().await;
    let metadata = Arc::new(metadata);
    let name = namespace("testing");
    metadata.create_lease(&name, "l", Labels::new()).await.unwrap();
    let work = |task: usize| {
        let (metadata, name) = (metadata.clone(), name.clone());
        async move {
            let key = format!("k{task}");
            let path = texts([&*format!("labels.{key}")]);
            metadata
                .update_namespace(&name, labels([(&key, "1")]), &path)
                .await
                .unwrap();
            metadata.add_resource(&name, "l", IMAGES, &key).await.unwrap();
            let leased = Caller::new(name).with_lease("l");
            let mut new = image(&format!("expiring{task}"));
            new.labels = labels([("containerd.io/gc.expire", "2040-01-01T00:00:00Z")]);
            metadata.create_image(&leased, new, None).await.unwrap();
        }
    };
    together(64, work).await;
    assert_eq!(metadata.namespace_labels(&name).await.unwrap().len(), 64);
    assert_eq!(metadata.resources(&name, "l").await.unwrap().len(), 128);
    assert_eq!(metadata.images(&caller(), &[]).await.unwrap().len(), 64);
}
