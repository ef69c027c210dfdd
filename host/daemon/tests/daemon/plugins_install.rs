//! Plugins that are installed, replaced, taken back and removed while layers and lists use them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tempfile::tempdir;
use tonic::Code;
use transom_api::content::InfoRequest;
use transom_api::content::content_client::ContentClient;
use transom_api::images::images_client::ImagesClient;
use transom_api::images::{CreateImageRequest, Image, ListImagesRequest};
use transom_api::introspection::PluginsRequest;
use transom_api::introspection::introspection_client::IntrospectionClient;
use transom_keys::SigningKey;
use transom_layer::cancel::Cancel;
use transom_layer::stage::Job;
use transom_meta::kv::Kind;
use transom_meta::policy::Policy;
use transom_oci::Digest;
use transom_plugin::artifact::{Signature, signature};
use transom_tests::needs::require_root;
use transomd::Failure;

use crate::layers::{Layer, TAR, apply, bind, descriptor};
use crate::plugins::{
    NAMESPACE, filter, install, install_uploaded, list, processor, processor_with, put, remove, roll_back,
    status, upload, versions,
};
use crate::rig::{Rig, here, of, refused, sha256};

fn guest_of(version: &str) -> Vec<(String, String, bool)> {
    vec![("guest".to_owned(), version.to_owned(), true)]
}

/// Applies a small layer, and says what went wrong.
async fn a_layer(rig: &Rig) -> Result<(), String> {
    let target = tempdir().expect("a folder");
    let tar = Layer::new().file("f", b"x").end();
    let applied = apply(rig, TAR, &tar, &[bind(target.path())]).await;
    let applied = applied.map_err(|status| status.message().to_owned())?;
    assert_eq!(applied.digest, sha256(&tar));
    Ok(())
}

#[tokio::test]
async fn a_new_version_takes_over_and_can_be_taken_back() {
    if !require_root() {
        return;
    }
    let rig = Rig::start().await;
    let first = install(&rig, processor("pass", "0.1.0"))
        .await
        .expect("installed");
    assert_eq!(first.replaced, None);
    a_layer(&rig).await.expect("it passes");
    assert_eq!(status(&rig, "guest").await.calls["ok"], 1);
    // The next version is good enough to be loaded, and crashes when it is used.
    let second = install(&rig, processor("trap", "0.2.0"))
        .await
        .expect("installed");
    assert_eq!(second.replaced.expect("the first one").version, "0.1.0");
    let text = a_layer(&rig).await.expect_err("it crashes");
    assert!(text.contains("plugin guest 0.2.0"), "{text}");
    let failed = status(&rig, "guest").await.failures;
    assert_eq!(
        (failed[0].version.as_str(), failed[0].result.as_str()),
        ("0.2.0", "crash")
    );
    assert!(failed[0].message.contains("the sky fell"), "{failed:?}");

    assert_eq!(
        roll_back(&rig, "guest").await.expect("it goes back").version,
        "0.1.0"
    );
    a_layer(&rig).await.expect("it passes again");
    assert_eq!(
        roll_back(&rig, "guest").await.expect("and forth").version,
        "0.2.0"
    );
    roll_back(&rig, "guest").await.expect("and back");

    let request = PluginsRequest {
        filters: vec!["type==io.transom.processor.v1".to_owned()],
    };
    let mut introspection = IntrospectionClient::new(rig.channel.clone());
    let parts = introspection
        .plugins(request.clone())
        .await
        .expect("a list")
        .into_inner();
    assert_eq!(parts.plugins[0].exports["version"], "0.1.0");
    assert_eq!(remove(&rig, "guest").await.expect("removed").version, "0.1.0");
    let parts = introspection.plugins(request).await.expect("a list").into_inner();
    assert!(parts.plugins.is_empty(), "{parts:?}");
    a_layer(&rig).await.expect("nothing is in its way");
    assert_eq!(refused(remove(&rig, "guest").await).0, Code::NotFound);
    assert_eq!(refused(roll_back(&rig, "guest").await).0, Code::NotFound);
}

#[tokio::test]
async fn what_is_under_way_ends_with_the_version_that_it_began_with() {
    let rig = Rig::start().await;
    install(&rig, processor("pass", "0.1.0"))
        .await
        .expect("installed");
    let job = Job {
        input_media_type: TAR.to_owned(),
        output_media_type: TAR.to_owned(),
        descriptor: serde_json::from_value(serde_json::json!({
            "mediaType": TAR, "digest": sha256(b"x"), "size": 1
        }))
        .expect("a descriptor"),
        payload: None,
        cancel: Cancel::new(),
    };
    let begin = || {
        let steps = rig.plugins.settings().now().chain.plan(TAR).expect("a plan");
        let step = steps.last().expect("a step");
        assert_eq!(step.handler.name(), "guest");
        step.handler.open(&job)
    };
    let old = begin().expect("it is opened");
    install(&rig, processor("pass", "0.2.0"))
        .await
        .expect("installed");
    let new = begin().expect("it is opened");
    let both = status(&rig, "guest").await;
    assert_eq!(both.plugin.expect("it").version, "0.2.0");
    assert_eq!((both.running, both.draining), (1, 1));
    remove(&rig, "guest").await.expect("removed while it is used");
    drop((old, new));
    install(&rig, processor("pass", "0.3.0"))
        .await
        .expect("installed");
    let after = status(&rig, "guest").await;
    assert_eq!((after.running, after.draining), (0, 0));
}

#[tokio::test]
async fn a_broken_version_replaces_nothing() {
    if !require_root() {
        return;
    }
    let folder = tempdir().expect("a folder");
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "").expect("a file");
    let rig = Rig::with(|config| config.plugins.policy = Some(policy.clone())).await;
    install(&rig, processor("pass", "0.1.0"))
        .await
        .expect("installed");
    let required = "[config.level]\ntype = \"integer\"\nrequired = true\ndoc = \"How much.\"\n";
    for (component, code, part) in [
        (
            processor("describe-trap", "0.1.0"),
            Code::InvalidArgument,
            "cannot describe itself",
        ),
        (crate::guests::spy(), Code::InvalidArgument, "evil:net/sockets"),
        (
            processor_with("pass", "0.4.0", required),
            Code::FailedPrecondition,
            "[processors.config.\"guest\"]",
        ),
        (
            processor_with("pass", "0.4.0", "[limits]\nmemory_mib = 4000\n"),
            Code::InvalidArgument,
            "4000 MiB of memory",
        ),
    ] {
        let (is, text) = refused(install(&rig, component).await);
        assert_eq!(is, code, "{text}");
        assert!(text.contains(part), "{text}");
        assert_eq!(versions(&rig).await, guest_of("0.1.0"));
    }
    let nowhere = sha256(b"nowhere");
    let (code, text) = refused(install_uploaded(&rig, &nowhere, &[]).await);
    assert_eq!(code, Code::NotFound, "{text}");
    assert!(text.contains(NAMESPACE), "{text}");
    let document = put(&rig, b"{}").await;
    assert_eq!(
        refused(install_uploaded(&rig, &document, &[]).await).0,
        Code::InvalidArgument
    );
    assert_eq!(
        refused(install_uploaded(&rig, "x", &[]).await).0,
        Code::InvalidArgument
    );
    let many = vec![nowhere; 17];
    assert_eq!(
        refused(install_uploaded(&rig, &document, &many).await).0,
        Code::ResourceExhausted
    );
    a_layer(&rig).await.expect("the first one goes on");
}

#[tokio::test]
async fn what_must_be_signed_is_let_in_with_a_signature_only() {
    let folder = tempdir().expect("a folder");
    let policy = folder.path().join("policy.toml");
    let (key, public) = key(0);
    let text = format!("signatures = \"required\"\n[[keys]]\nname = \"us\"\npem = '''\n{public}'''\n");
    std::fs::write(&policy, text).expect("a file");
    let root = folder.path().join("root");
    let with = |config: &mut transomd::Config| {
        config.plugins.policy = Some(policy.clone());
        config.root = root.clone();
        config.metadata.store = Kind::Redb;
    };
    let rig = Rig::with(with).await;
    let manifest = upload(&rig, processor("pass", "0.1.0")).await;
    let (code, text) = refused(install_uploaded(&rig, &manifest, &[]).await);
    assert_eq!(code, Code::PermissionDenied, "{text}");
    assert!(text.contains("not signed"), "{text}");
    assert!(list(&rig).await.is_empty());

    let digest: Digest = manifest.parse().expect("a digest");
    let signed = Signature::new(&digest, "here", &key).expect("a signature");
    let mut last = String::new();
    for (_, bytes) in signature::package(&[signed]).expect("an artifact") {
        last = put(&rig, &bytes).await;
    }
    install_uploaded(&rig, &manifest, &[last])
        .await
        .expect("installed");
    assert_eq!(versions(&rig).await, guest_of("0.1.0"));
    rig.stop().await;
    // The signatures are kept with it, and the policy is asked at each start.
    let again = Rig::with(with).await;
    assert_eq!(versions(&again).await, guest_of("0.1.0"));
    again.stop().await;
    let (_, other) = self::key(1);
    let text = format!("signatures = \"required\"\n[[keys]]\nname = \"others\"\npem = '''\n{other}'''\n");
    std::fs::write(&policy, text).expect("a file");
    let stricter = Rig::with(with).await;
    let listed = list(&stricter).await;
    assert!(listed[0].error.contains("by a trusted key"), "{listed:?}");
}

/// Two keys of P-256, for tests alone.
const KEYS: [&str; 2] = [
    "-----BEGIN PRIVATE KEY-----\n\
     MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgByMvk9xGF8EyR/Pe\n\
     oYjx4jrMwNTVMz+jz3TTPKE9POOhRANCAASrTUi5UlOUitSEOXahjZaMaGqPFnzC\n\
     zfhOgvA78Ak6LWRFGg6FW4TLbvvuLnTAe2FtOQGnzJPQRWaK5DU7wbaN\n\
     -----END PRIVATE KEY-----\n",
    "-----BEGIN PRIVATE KEY-----\n\
     MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6zQMZy2itHeOe+f+\n\
     9KrKeHenzbCf93memIlCeW7P3EyhRANCAAQ472nAygicZkkdqt1QxE3Cad4tZidk\n\
     jan3pYWSdBObr7KVypGyNF+eGvaN16NHrI7y/FksfgAK6l/sAUeYOdwa\n\
     -----END PRIVATE KEY-----\n",
];

/// A key, and its public part as PEM.
fn key(number: usize) -> (SigningKey, String) {
    let key = SigningKey::parse(KEYS[number].as_bytes(), "a test").expect("a key");
    let public = key.public().pem().expect("it is written");
    (key, public)
}

#[tokio::test]
async fn a_restart_comes_up_with_what_was_installed() {
    let folder = tempdir().expect("a folder");
    let with = |config: &mut transomd::Config| {
        config.root = folder.path().join("root");
        config.metadata.store = Kind::Redb;
    };
    let rig = Rig::with(with).await;
    install(&rig, filter("some", "0.1.0")).await.expect("installed");
    let first = upload(&rig, processor("pass", "0.1.0")).await;
    install_uploaded(&rig, &first, &[]).await.expect("installed");
    install(&rig, processor("pass", "0.2.0"))
        .await
        .expect("installed");
    install(&rig, processor("pass", "0.3.0"))
        .await
        .expect("installed");
    rig.stop().await;

    let rig = Rig::with(with).await;
    let listed = list(&rig).await;
    let shown: Vec<_> = listed
        .iter()
        .map(|plugin| {
            (
                plugin.name.as_str(),
                plugin.version.as_str(),
                plugin.kind.as_str(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [("guest", "0.3.0", "processor"), ("some", "0.1.0", "filter")]
    );
    assert!(
        listed
            .iter()
            .all(|plugin| plugin.installed && plugin.error.is_empty())
    );
    assert_eq!(listed[0].source, "a test");
    assert_eq!(
        roll_back(&rig, "guest").await.expect("it is kept").version,
        "0.2.0"
    );
    // What is kept survives a collection, and what is not goes.
    collect(&rig).await;
    let mut content = ContentClient::new(rig.channel.clone());
    let mut info = async |digest: &str| {
        let request = InfoRequest {
            digest: digest.to_owned(),
        };
        content.info(of(NAMESPACE, request)).await.map(drop)
    };
    assert_eq!(
        refused(info(&first).await).0,
        Code::NotFound,
        "it is two versions old"
    );
    for plugin in list(&rig).await {
        info(&plugin.manifest).await.expect("the manifest is kept");
        info(&plugin.digest).await.expect("the component is kept");
    }
    rig.stop().await;
    let rig = Rig::with(with).await;
    assert_eq!(
        roll_back(&rig, "guest").await.expect("it is kept").version,
        "0.3.0"
    );
}

/// Has garbage collected, by taking away a lease and waiting for what it kept.
async fn collect(rig: &Rig) {
    use transom_api::leases::leases_client::LeasesClient;
    use transom_api::leases::{CreateRequest, DeleteRequest};
    let mut leases = LeasesClient::new(rig.channel.clone());
    let create = CreateRequest {
        id: "a".to_owned(),
        ..CreateRequest::default()
    };
    leases.create(here(create)).await.expect("a lease");
    let delete = DeleteRequest {
        id: "a".to_owned(),
        sync: true,
    };
    leases.delete(here(delete)).await.expect("collected");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_go_on_while_versions_come_and_go() {
    if !require_root() {
        return;
    }
    let rig = Arc::new(Rig::with(|config| config.limits.diffs = 64).await);
    install(&rig, processor("pass", "0.1.0"))
        .await
        .expect("installed");
    // All of them ask for the same blob.
    a_layer(&rig).await.expect("it passes");
    let jobs: Vec<_> = (0..64)
        .map(|_| {
            let rig = Arc::clone(&rig);
            tokio::spawn(async move {
                for _ in 0..2 {
                    a_layer(&rig).await?;
                }
                Ok::<_, String>(())
            })
        })
        .collect();
    for round in 2..8 {
        let version = format!("0.{round}.0");
        install(&rig, processor("pass", &version))
            .await
            .expect("installed");
        let broken = install(&rig, processor("describe-trap", "0.1.0")).await;
        assert_eq!(refused(broken).0, Code::InvalidArgument);
    }
    for job in jobs {
        job.await.expect("no panic").expect("no layer fails");
    }
    let status = status(&rig, "guest").await;
    assert_eq!(status.calls.get("ok"), Some(&129), "{status:?}");
    assert_eq!((status.running, status.draining), (0, 0));
}

async fn images(rig: &Rig, filter: &str) -> Result<usize, tonic::Status> {
    let request = ListImagesRequest {
        filters: vec![filter.to_owned()],
    };
    let listed = ImagesClient::new(rig.channel.clone()).list(here(request)).await?;
    Ok(listed.into_inner().images.len())
}

#[tokio::test]
async fn filters_come_and_go_and_a_policy_keeps_its_own() {
    let rig = Rig::start().await;
    for name in ["a", "b"] {
        let image = Image {
            name: name.to_owned(),
            target: Some(descriptor("m", b"x")),
            labels: BTreeMap::new(),
            ..Image::default()
        };
        let request = CreateImageRequest {
            image: Some(image),
            source_date_epoch: None,
        };
        let mut client = ImagesClient::new(rig.channel.clone());
        client.create(here(request)).await.expect("an image");
    }
    let all = "wasm.some==all";
    assert_eq!(refused(images(&rig, all).await).0, Code::InvalidArgument);
    install(&rig, filter("some", "0.1.0")).await.expect("installed");
    assert_eq!(images(&rig, all).await.expect("a list"), 2);
    assert_eq!(images(&rig, "wasm.some==first").await.expect("a list"), 1);
    install(&rig, filter("some", "0.2.0")).await.expect("installed");
    assert_eq!(images(&rig, all).await.expect("a list"), 2);
    let calls = status(&rig, "some").await.calls;
    assert!(calls["ok"] >= 3, "{calls:?}");
    install(&rig, filter("more", "0.1.0")).await.expect("installed");
    let (code, text) = refused(roll_back(&rig, "more").await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    remove(&rig, "some").await.expect("removed");
    assert_eq!(refused(images(&rig, all).await).0, Code::InvalidArgument);
    assert_eq!(images(&rig, "wasm.more==all").await.expect("a list"), 2);
}

#[tokio::test]
async fn a_filter_that_a_policy_asks_cannot_be_removed() {
    let folder = tempdir().expect("a folder");
    let policy = |expression: &str| Policy {
        name: "ours".to_owned(),
        plugin: "some".to_owned(),
        expression: expression.to_owned(),
    };
    let root = folder.path().join("root");
    let with = |config: &mut transomd::Config| {
        config.root = root.clone();
        config.metadata.store = Kind::Redb;
    };
    let rig = Rig::with(with).await;
    install(&rig, filter("some", "0.1.0")).await.expect("installed");
    rig.stop().await;
    let rig = Rig::with(|config| {
        with(config);
        config.verifiers.policies = vec![policy("all")];
    })
    .await;
    let (code, text) = refused(remove(&rig, "some").await);
    assert_eq!(code, Code::FailedPrecondition, "{text}");
    assert!(text.contains("the policy \"ours\""), "{text}");
    assert_eq!(list(&rig).await.len(), 1);
    install(&rig, filter("some", "0.2.0"))
        .await
        .expect("one that still understands it");
    rig.stop().await;
    // A policy that cannot be asked lets no daemon start.
    let mut config = crate::rig::config(folder.path());
    with(&mut config);
    config.verifiers.policies = vec![policy("Refused")];
    let opened = transomd::Daemon::open(config, transomd::shutdown::Shutdown::default()).await;
    assert!(matches!(opened, Err(Failure::Policy { .. })), "{opened:?}");
}
