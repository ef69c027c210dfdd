//! Lists without a filter go another way than those with one: both must be the same.

use transom_api::content::{Info, ListContentRequest, UpdateRequest};
use transom_api::images::images_client::ImagesClient;
use transom_api::images::{CreateImageRequest, Image, ListImagesRequest};
use transom_api::types::Descriptor;

use crate::blobs::{client, put};
use crate::rig::{Rig, here, of};

fn labels(number: usize) -> std::collections::BTreeMap<String, String> {
    let label = |at: usize| (format!("label-{at}"), format!("wert {number} für {at}"));
    (0..number % 4).map(label).collect()
}

async fn images(rig: &Rig, filters: &[&str]) -> Vec<Image> {
    let request = ListImagesRequest {
        filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
    };
    let listed = ImagesClient::new(rig.channel.clone()).list(here(request)).await;
    listed.expect("a list").into_inner().images
}

#[tokio::test]
async fn images_are_the_same_with_and_without_a_filter() {
    let rig = Rig::start().await;
    assert_eq!(images(&rig, &[]).await, []);
    let mut images_client = ImagesClient::new(rig.channel.clone());
    for number in 0..600 {
        let image = Image {
            name: format!("example.org/bild/{number}"),
            labels: labels(number),
            target: Some(Descriptor {
                media_type: ["a/b", "application/vnd.oci.image.index.v1+json"][number % 2].to_owned(),
                digest: crate::rig::sha256(&number.to_le_bytes()),
                size: i64::try_from(number + 1).expect("small") << (number % 50),
                annotations: labels(number / 4),
            }),
            ..Image::default()
        };
        let request = CreateImageRequest {
            image: Some(image),
            // Also before 1970, and without a fraction.
            source_date_epoch: (number % 3 > 0).then(|| prost_types::Timestamp {
                seconds: 1000 - i64::try_from(number).expect("small") * 10,
                nanos: i32::from(number % 3 > 1) * 7,
            }),
        };
        // Another namespace's are not seen.
        let request = if number % 10 == 0 {
            of("other", request)
        } else {
            here(request)
        };
        images_client.create(request).await.expect("an image");
    }
    let all = images(&rig, &[]).await;
    assert_eq!(all.len(), 540);
    assert_eq!(all, images(&rig, &["name!=none"]).await);
}

async fn contents(rig: &Rig, filters: &[&str]) -> Vec<Info> {
    let request = ListContentRequest {
        filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
    };
    let mut pages = client(rig)
        .list(here(request))
        .await
        .expect("a list")
        .into_inner();
    let mut all = Vec::new();
    while let Some(page) = pages.message().await.expect("a page") {
        assert!((1..=100).contains(&page.info.len()), "{}", page.info.len());
        all.extend(page.info);
    }
    all
}

#[tokio::test]
async fn content_is_the_same_with_and_without_a_filter() {
    let rig = Rig::start().await;
    assert_eq!(contents(&rig, &[]).await, []);
    for number in 0..230_usize {
        let digest = put(&rig, &number.to_le_bytes()).await;
        let request = UpdateRequest {
            info: Some(Info {
                digest,
                labels: labels(number),
                ..Info::default()
            }),
            update_mask: None,
        };
        client(&rig).update(here(request)).await.expect("labels");
    }
    let all = contents(&rig, &[]).await;
    assert_eq!(all.len(), 230);
    assert_eq!(all, contents(&rig, &["digest!=none"]).await);
}
