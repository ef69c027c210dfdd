//! Filter plugins in the daemon.

use std::collections::BTreeMap;

use tonic::Code;
use transom_api::images::images_client::ImagesClient;
use transom_api::images::{CreateImageRequest, Image, ListImagesRequest};
use transom_api::introspection::PluginsRequest;
use transom_api::introspection::introspection_client::IntrospectionClient;
use transom_api::types::Descriptor;

use crate::rig::{Rig, here, refused, sha256};

async fn list(rig: &Rig, filter: &str) -> Result<Vec<String>, tonic::Status> {
    let request = ListImagesRequest {
        filters: vec![filter.to_owned()],
    };
    let listed = ImagesClient::new(rig.channel.clone()).list(here(request)).await?;
    Ok(listed
        .into_inner()
        .images
        .into_iter()
        .map(|image| image.name)
        .collect())
}

#[tokio::test]
async fn an_image_is_found_by_a_range_of_versions() {
    let Some(component) = transom_tests::needs::plugin("semver") else {
        return;
    };
    let plugins = tempfile::tempdir().expect("a temporary folder");
    let file = component.file_name().expect("a file");
    std::fs::copy(&component, plugins.path().join(file)).expect("a copy");
    let rig = Rig::with(|config| config.filters = vec![plugins.path().to_path_buf()]).await;
    let mut client = ImagesClient::new(rig.channel.clone());
    for (name, version) in [("a", "1.1.0"), ("b", "1.2.3"), ("c", "2.0.0")] {
        let image = Image {
            name: name.to_owned(),
            labels: BTreeMap::from([("version".to_owned(), version.to_owned())]),
            target: Some(Descriptor {
                media_type: "m".to_owned(),
                digest: sha256(b"a"),
                size: 1,
                annotations: BTreeMap::new(),
            }),
            ..Image::default()
        };
        let request = CreateImageRequest {
            image: Some(image),
            source_date_epoch: None,
        };
        client.create(here(request)).await.expect("an image");
    }
    let at_least = "wasm.semver==\"labels.version >= 1.2\"";
    assert_eq!(list(&rig, at_least).await.expect("a list"), ["b", "c"]);
    assert_eq!(
        list(&rig, &format!("{at_least},name!=c")).await.expect("a list"),
        ["b"]
    );
    let others = at_least.replace("==\"", "!=\"");
    assert_eq!(list(&rig, &others).await.expect("a list"), ["a"]);
    let (code, text) = refused(list(&rig, "wasm.semver==\"labels.version >>> 1\"").await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("semver"), "{text}");
    let request = PluginsRequest {
        filters: vec!["type==io.transom.filter.v1".to_owned()],
    };
    let listed = IntrospectionClient::new(rig.channel.clone())
        .plugins(request)
        .await;
    let listed = listed.expect("a list").into_inner().plugins;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].id.as_str(), &listed[0].init_err), ("semver", &None));
}

#[tokio::test]
async fn an_unknown_plugin_is_named() {
    let rig = Rig::start().await;
    let (code, text) = refused(list(&rig, "wasm.none==x").await);
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("none"), "{text}");
}

#[tokio::test]
async fn a_plugin_that_cannot_be_used_is_listed_with_its_error() {
    let plugins = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(plugins.path().join("broken.wasm"), "no wasm").expect("a file");
    let missing = plugins.path().join("missing");
    let folders = vec![plugins.path().to_path_buf(), missing];
    let rig = Rig::with(|config| config.filters = folders).await;
    let request = PluginsRequest {
        filters: vec!["type==io.transom.filter.v1".to_owned()],
    };
    let listed = IntrospectionClient::new(rig.channel.clone())
        .plugins(request)
        .await;
    let mut listed = listed
        .expect("the daemon serves all the same")
        .into_inner()
        .plugins;
    listed.sort_by(|a, b| a.id.cmp(&b.id));
    let ids: Vec<&str> = listed.iter().map(|plugin| plugin.id.as_str()).collect();
    assert_eq!(ids, ["broken", "missing"]);
    for plugin in listed {
        let error = plugin.init_err.expect("it does not work");
        assert!(!error.message.is_empty() && error.code != 0, "{error:?}");
    }
}
