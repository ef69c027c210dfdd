//! What must hold of an image before it gets a name, whoever gives it.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use transom_api::images::images_client::ImagesClient;
use transom_api::images::{CreateImageRequest, Image, ListImagesRequest, UpdateImageRequest};
use transom_api::introspection::PluginsRequest;
use transom_api::introspection::introspection_client::IntrospectionClient;
use transom_api::transfer_types::RegistryResolver;
use transom_api::types::Descriptor;
use transom_meta::policy::Policy;
use transomd::config::Config;
use transomd::shutdown::Shutdown;
use transomd::{Daemon, Failure};

use crate::ctr::Ctr;
use crate::registries::{IMPORTED, imported, moved, named, registry, serve};
use crate::rig::{Rig, config, here, refused, sha256};
use crate::transfer_client::{import, transfer, types, unpackable};

fn policy(name: &str, expression: &str) -> Policy {
    Policy {
        name: name.to_owned(),
        plugin: "cel".to_owned(),
        expression: expression.to_owned(),
    }
}

/// A daemon with policies, if the plugin that understands them is built.
async fn rig(policies: Vec<Policy>) -> Option<Rig> {
    let component = transom_tests::needs::plugin("cel")?;
    let folder = component.parent().expect("a folder").to_path_buf();
    let with = |config: &mut Config| {
        config.filters = vec![folder];
        config.admission.policies = policies;
    };
    Some(Rig::with(with).await)
}

fn image(name: &str, annotations: &[(&str, &str)]) -> Image {
    let pairs = annotations
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Image {
        name: name.to_owned(),
        target: Some(Descriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            digest: sha256(b"not here"),
            size: 8,
            annotations: pairs.collect(),
        }),
        ..Image::default()
    }
}

async fn create(rig: &Rig, image: Image) -> Result<(), Status> {
    let request = CreateImageRequest {
        image: Some(image),
        source_date_epoch: None,
    };
    let mut client = ImagesClient::new(rig.channel.clone());
    client.create(here(request)).await.map(drop)
}

async fn update(rig: &Rig, image: Image, paths: &[&str]) -> Result<(), Status> {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = UpdateImageRequest {
        image: Some(image),
        update_mask: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
        source_date_epoch: None,
    };
    let mut client = ImagesClient::new(rig.channel.clone());
    client.update(here(request)).await.map(drop)
}

async fn names(rig: &Rig) -> Vec<String> {
    let mut client = ImagesClient::new(rig.channel.clone());
    let listed = client
        .list(here(ListImagesRequest::default()))
        .await
        .expect("a list");
    listed
        .into_inner()
        .images
        .into_iter()
        .map(|image| image.name)
        .collect()
}

#[track_caller]
fn denied(result: Result<(), Status>, texts: &[&str]) {
    let (code, text) = refused(result);
    assert_eq!(code, Code::PermissionDenied, "{text}");
    for part in texts {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn create_and_update_ask_every_policy() {
    let policies = vec![
        policy("named", "name.startsWith(\"registry.test/\")"),
        policy(
            "reviewed",
            "\"reviewed\" in annotations && annotations.reviewed == \"yes\"",
        ),
    ];
    let Some(rig) = rig(policies).await else { return };
    let yes = [("reviewed", "yes")];
    create(&rig, image("registry.test/a:1", &yes))
        .await
        .expect("it holds");
    let text = [
        "image \"elsewhere/a:1\" is refused",
        "policy \"named\" does not hold",
    ];
    denied(create(&rig, image("elsewhere/a:1", &yes)).await, &text);
    let text = [
        "policy \"reviewed\" does not hold",
        "(cel)",
        ": permission denied",
    ];
    denied(create(&rig, image("registry.test/b:1", &[])).await, &text);
    // What the image would be counts, not what the request says.
    let other = image("registry.test/a:1", &[("reviewed", "no")]);
    denied(update(&rig, other.clone(), &["target"]).await, &text);
    denied(update(&rig, other.clone(), &[]).await, &text);
    let labelled = Image {
        labels: BTreeMap::from([("tier".to_owned(), "gold".to_owned())]),
        ..other
    };
    update(&rig, labelled, &["labels"])
        .await
        .expect("the target stays");
    assert_eq!(names(&rig).await, ["registry.test/a:1"]);
    let request = PluginsRequest {
        filters: vec!["type==io.transom.admission.v1".to_owned()],
    };
    let mut client = IntrospectionClient::new(rig.channel.clone());
    let parts = client
        .plugins(here(request))
        .await
        .expect("a list")
        .into_inner()
        .plugins;
    let parts: Vec<_> = parts.iter().map(|part| part.id.as_str()).collect();
    assert_eq!(parts, ["named", "reviewed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_has_no_answer_refuses() {
    let Some(rig) = rig(vec![policy("ours", "labels.tier == \"gold\"")]).await else {
        return;
    };
    denied(
        create(&rig, image("a", &[])).await,
        &["policy \"ours\": ", "tier"],
    );
    assert!(names(&rig).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn imports_pulls_and_tags_ask_about_the_content() {
    let host = transom_oci::Platform::host();
    let expression = format!("platform == \"{host}\" && !name.endsWith(\":bad\") && size > 100");
    let Some(rig) = rig(vec![policy("ours", &expression)]).await else {
        return;
    };
    let (archive, _) = unpackable();
    denied(
        import(&rig, archive, &named("registry.test/whole:1"))
            .await
            .map(drop),
        &["registry.test/whole:1", "policy \"ours\" does not hold"],
    );
    imported(&rig).await;
    let store = |name: &str| types("ImageStore", &named(name));
    transfer(&rig, store(IMPORTED), store("registry.test/x:good"), "")
        .await
        .expect("tagged");
    let tagged = transfer(&rig, store(IMPORTED), store("registry.test/x:bad"), "").await;
    denied(tagged, &["registry.test/x:bad"]);
    let address = serve("", false).await;
    let remote = |tag: &str| registry(&format!("{address}/team/app:{tag}"), RegistryResolver::default());
    for tag in ["good", "bad"] {
        moved(&rig, store(IMPORTED), remote(tag)).await.expect("pushed");
    }
    let pulled = async |tag: &str| {
        let into = format!("{address}/team/app:{tag}");
        moved(&rig, remote(tag), store(&into)).await.map(drop)
    };
    pulled("good").await.expect("pulled");
    denied(pulled("bad").await, &["team/app:bad"]);
    let mut names = names(&rig).await;
    names.sort();
    let pulled = format!("{address}/team/app:good");
    assert_eq!(
        names,
        [
            pulled.as_str(),
            "registry.test/unpacked:1",
            "registry.test/x:good"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ctr_is_told_which_policy_refuses() {
    let Some(rig) = rig(vec![policy("no-latest", "!name.endsWith(\":latest\")")]).await else {
        return;
    };
    let Some(ctr) = Ctr::new(&rig.socket()) else {
        return;
    };
    let archive = rig.folder.path().join("image.tar");
    std::fs::write(&archive, unpackable().0).expect("a file");
    let archive = archive.to_str().expect("UTF-8");
    ctr.good(&["images", "import", "--no-unpack", archive]);
    ctr.good(&["images", "tag", IMPORTED, "registry.test/a:2"]);
    let said = ctr.failed(&["images", "tag", IMPORTED, "registry.test/a:latest"]);
    assert!(said.contains("policy \"no-latest\" does not hold"), "{said}");
}

#[tokio::test]
async fn a_daemon_without_a_policy_that_is_wanted_does_not_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = config(folder.path());
    config.admission.policies = vec![policy("ours", "true")];
    let opened = Daemon::open(config.clone(), Shutdown::default()).await;
    assert!(matches!(opened, Err(Failure::Policy { name, .. }) if name == "ours"));
    config.proxy_backend = true;
    config.root = folder.path().join("other");
    let opened = Daemon::open(config, Shutdown::default()).await;
    assert!(matches!(opened, Err(Failure::NoAdmission)));
}

#[test]
fn the_file_names_plugin_and_expression() {
    let text = "[admission.policies.ours]\nplugin = \"cel\"\nexpression = 'a in b'\n";
    let places = transomd::places::Places::system();
    let config = Config::parse(text, &places).expect("a good file");
    assert_eq!(config.admission.policies, [policy("ours", "a in b")]);
    assert_eq!(Config::parse(&config.to_text(), &places), Ok(config));
}
