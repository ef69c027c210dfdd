//! Pushes to a registry that keeps what comes, and in which order.

use transom_meta::Class;
use transom_oci::media_type;
use transom_transfer::{ImageStore, Platforms, Registry};

use crate::fake::{Fake, Fault};
use crate::pulls::{client, registry};
use crate::stage::{Sample, Stage, any_name, archive, caller, digest, index, layout, named, refused};

async fn push(stage: &Stage, image: &str, to: &Registry) -> Result<(), transom_transfer::TransferError> {
    let (who, image) = (caller(), ImageStore::named(image));
    stage.transfers.push(&who, &image, to, stage.told.clone()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pushed_from_its_leaves_to_its_name() {
    let stage = Stage::new().await;
    let fake = Fake::start().await;
    let sample = Sample::new("linux/amd64", &["a", "b"]);
    stage
        .import(&archive(&sample, "import.test/any:v1"), &any_name())
        .await
        .unwrap();
    push(&stage, "import.test/any:v1", &registry(&fake, &client(3), "v2"))
        .await
        .unwrap();
    let blobs = fake.shelf.blobs.lock().unwrap().clone();
    for blob in sample.layers.iter().chain([&sample.config]) {
        assert_eq!(blobs[digest(blob).as_str()], *blob);
    }
    let (kind, manifest) = fake.shelf.manifests.lock().unwrap()["team/app/v2"].clone();
    assert_eq!(
        (kind.as_str(), &*manifest),
        (media_type::MANIFEST, &*sample.manifest)
    );
    let lines = fake.lines();
    assert!(
        lines.last().unwrap().starts_with("PUT /v2/team/app/manifests/v2"),
        "{lines:?}"
    );
    let told = stage.told.names("complete");
    assert!(
        told.contains(&format!("layer-{}", digest(&sample.layers[0]))),
        "{told:?}"
    );
    assert_eq!(stage.told.names("pushed content"), ["import.test/any:v1"]);
    // What is there is not sent again.
    push(&stage, "import.test/any:v1", &registry(&fake, &client(3), "v3"))
        .await
        .unwrap();
    let uploads = fake
        .lines()
        .iter()
        .filter(|line| line.starts_with("POST "))
        .count();
    assert_eq!(uploads, 3);
    assert_eq!(stage.told.names("already exists").len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_comes_after_all_that_it_lists() {
    let stage = Stage::new().await;
    let fake = Fake::start().await;
    let samples = ["linux/amd64", "linux/arm64"].map(|platform| Sample::new(platform, &[platform]));
    let inner = index(&samples.each_ref().map(Sample::with_platform));
    let outer = crate::stage::descriptor(media_type::INDEX, &inner);
    let mut blobs: Vec<&[u8]> = samples.iter().flat_map(Sample::blobs).collect();
    blobs.push(&inner);
    let root = index(&[named(outer, "import.test/any:all")]);
    stage.import(&layout(&blobs, &root), &any_name()).await.unwrap();
    push(&stage, "import.test/any:all", &registry(&fake, &client(3), "all"))
        .await
        .unwrap();
    let puts: Vec<String> = fake
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("PUT ") && line.contains("/manifests/"))
        .collect();
    assert_eq!(puts.len(), 3);
    assert!(puts[2].ends_with("/manifests/all"), "{puts:?}");
    assert_eq!(fake.shelf.blobs.lock().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_one_platform_can_be_pushed_as_an_image() {
    let stage = Stage::new().await;
    let fake = Fake::start().await;
    let samples = ["linux/amd64", "linux/arm64"].map(|platform| Sample::new(platform, &[platform]));
    let inner = index(&samples.each_ref().map(Sample::with_platform));
    let outer = crate::stage::descriptor(media_type::INDEX, &inner);
    let mut blobs: Vec<&[u8]> = samples.iter().flat_map(Sample::blobs).collect();
    blobs.push(&inner);
    let root = index(&[named(outer, "import.test/any:all")]);
    stage.import(&layout(&blobs, &root), &any_name()).await.unwrap();
    let wanted = |platform: &str| ImageStore {
        platforms: Platforms(vec![platform.parse().unwrap()]),
        ..ImageStore::named("import.test/any:all")
    };
    let to = registry(&fake, &client(3), "arm");
    let (who, arm) = (caller(), wanted("linux/arm64"));
    stage
        .transfers
        .push(&who, &arm, &to, stage.told.clone())
        .await
        .unwrap();
    let (kind, bytes) = fake.shelf.manifests.lock().unwrap()["team/app/arm"].clone();
    assert_eq!(
        (kind.as_str(), &*bytes),
        (media_type::MANIFEST, &*samples[1].manifest)
    );
    assert_eq!(fake.shelf.blobs.lock().unwrap().len(), 2);
    let none = wanted("linux/s390x");
    let pushed = stage.transfers.push(&who, &none, &to, stage.told.clone()).await;
    assert_eq!(refused(pushed).0, Class::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_are_taken_from_where_they_came() {
    let stage = Stage::new().await;
    let fake = Fake::start().await;
    let sample = Sample::new("linux/amd64", &["a"]);
    crate::pulls::offer(&fake, &sample, "v1");
    let client = client(3);
    let who = caller();
    let into = ImageStore::named("app:v1");
    let from = registry(&fake, &client, "v1");
    stage
        .transfers
        .pull(&who, &from, &into, stage.told.clone())
        .await
        .unwrap();
    fake.shelf.blobs.lock().unwrap().clear();
    fake.plan(|_| Fault::None);
    let to = Registry::new(client, &format!("{}/other/app:v1", fake.address)).unwrap();
    push(&stage, "app:v1", &to).await.unwrap();
    let mounts = fake.seen().into_iter().filter_map(|seen| seen.parameter("from"));
    assert_eq!(mounts.collect::<Vec<_>>(), ["team/app", "team/app"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_or_not_whole_is_not_pushed() {
    let stage = Stage::new().await;
    let fake = Fake::start().await;
    let to = registry(&fake, &client(1), "v1");
    assert_eq!(refused(push(&stage, "none", &to).await).0, Class::NotFound);
    let sample = Sample::new("linux/amd64", &["a"]);
    stage
        .import(&archive(&sample, "import.test/any:v1"), &any_name())
        .await
        .unwrap();
    stage
        .metadata
        .content_delete(&caller(), &digest(&sample.layers[0]))
        .await
        .unwrap();
    assert_eq!(
        refused(push(&stage, "import.test/any:v1", &to).await).0,
        Class::NotFound
    );
    assert!(fake.shelf.manifests.lock().unwrap().is_empty());
}
