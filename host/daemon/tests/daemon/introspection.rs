//! What the daemon says of itself.

use tonic::Code;
use transom_api::health::HealthCheckRequest;
use transom_api::health::health_check_response::ServingStatus;
use transom_api::health::health_client::HealthClient;
use transom_api::introspection::introspection_client::IntrospectionClient;
use transom_api::introspection::{Plugin, PluginInfoRequest, PluginsRequest};
use transom_api::version::version_client::VersionClient;

use crate::rig::{Rig, refused};

async fn plugins(rig: &Rig, filters: &[&str]) -> Vec<Plugin> {
    let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
    let listed = IntrospectionClient::new(rig.channel.clone())
        .plugins(PluginsRequest { filters })
        .await;
    listed.expect("the filters are right").into_inner().plugins
}

#[tokio::test]
async fn every_part_is_listed_once() {
    let rig = Rig::start().await;
    let all = plugins(&rig, &[]).await;
    let mut names: Vec<String> = all
        .iter()
        .map(|plugin| format!("{}.{}", plugin.r#type, plugin.id))
        .collect();
    for part in [
        "io.containerd.content.v1.content",
        "io.containerd.metadata.v1.memory",
        "io.containerd.gc.v1.scheduler",
        "io.containerd.event.v1.exchange",
        "io.containerd.lease.v1.manager",
        "io.containerd.streaming.v1.manager",
        "io.containerd.snapshotter.v1.native",
        "io.containerd.snapshotter.v1.overlayfs",
        "io.containerd.service.v1.snapshots-service",
        "io.containerd.service.v1.images-service",
        "io.containerd.grpc.v1.leases",
        "io.containerd.grpc.v1.healthcheck",
    ] {
        assert!(names.iter().any(|name| name == part), "{part} in {names:?}");
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{names:?}");
    for plugin in all {
        // Which mounts an overlay to see whether it can.
        let may_fail = plugin.id == "overlayfs" && !rustix::process::geteuid().is_root();
        assert!(may_fail || plugin.init_err.is_none(), "{plugin:?}");
        for required in plugin.requires {
            let prefix = format!("{required}.");
            assert!(
                names.iter().any(|name| name.starts_with(&prefix)),
                "{} needs {required}",
                plugin.id
            );
        }
    }
}

#[tokio::test]
async fn snapshotters_say_where_and_what_they_can() {
    if !transom_tests::needs::require_root() {
        return;
    }
    let rig = Rig::start().await;
    // As the Go client asks before it unpacks.
    let found = plugins(&rig, &["type==io.containerd.snapshotter.v1, id==overlayfs"]).await;
    assert_eq!((found.len(), found[0].platforms.len()), (1, 1));
    assert!(found[0].capabilities.contains(&"rebase".to_owned()), "{found:?}");
    assert!(found[0].exports["root"].ends_with("/root/io.containerd.snapshotter.v1.overlayfs"));
}

#[tokio::test]
async fn plugins_are_filtered_by_type_and_id() {
    let rig = Rig::start().await;
    let one = plugins(&rig, &["type==io.containerd.content.v1, id==content"]).await;
    assert_eq!(one.len(), 1);
    assert_eq!(one[0].platforms.len(), 1);
    assert!(one[0].exports["root"].ends_with("/root/io.containerd.content.v1.content"));
    let two = plugins(&rig, &["id==content"]).await;
    assert_eq!(two.len(), 2, "the store and its service");
    let request = PluginsRequest {
        filters: vec!["id=x".to_owned()],
    };
    let (code, text) = refused(
        IntrospectionClient::new(rig.channel.clone())
            .plugins(request)
            .await,
    );
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.ends_with(": invalid argument"), "{text}");
}

#[tokio::test]
async fn one_plugin_can_be_asked_for() {
    let rig = Rig::start().await;
    let mut client = IntrospectionClient::new(rig.channel.clone());
    let request = |id: &str| PluginInfoRequest {
        r#type: "io.containerd.gc.v1".to_owned(),
        id: id.to_owned(),
        options: None,
    };
    let found = client
        .plugin_info(request("scheduler"))
        .await
        .expect("it is there")
        .into_inner();
    assert_eq!(found.plugin.expect("a plugin").id, "scheduler");
    assert_eq!(
        refused(client.plugin_info(request("none")).await),
        (
            Code::NotFound,
            "plugin io.containerd.gc.v1.none: not found".to_owned()
        )
    );
}

#[tokio::test]
async fn the_uuid_is_the_same_after_a_restart() {
    let rig = Rig::start().await;
    let ask = async |rig: &Rig| {
        let mut client = IntrospectionClient::new(rig.channel.clone());
        client.server(()).await.expect("an answer").into_inner()
    };
    let first = ask(&rig).await;
    assert_eq!(first.pid, u64::from(std::process::id()));
    assert_ne!(first.pidns, 0);
    assert_eq!(first.uuid.len(), 36);
    assert_eq!(first.uuid.as_bytes()[14], b'4', "a random UUID: {}", first.uuid);
    let folder = rig.stop().await;
    let root = folder.path().join("root");
    let again = Rig::with(|config| config.root = root).await;
    assert_eq!(ask(&again).await.uuid, first.uuid);
    let other = Rig::start().await;
    assert_ne!(ask(&other).await.uuid, first.uuid);
}

#[tokio::test]
async fn version_and_health_need_no_namespace() {
    let rig = Rig::start().await;
    let version = VersionClient::new(rig.channel.clone())
        .version(())
        .await
        .expect("an answer");
    assert!(version.into_inner().version.starts_with("transom-"));
    let mut health = HealthClient::new(rig.channel.clone());
    let check = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    for service in ["", "containerd.services.images.v1.Images"] {
        let answer = health
            .check(check(service))
            .await
            .expect("an answer")
            .into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    assert_eq!(refused(health.check(check("x.Y")).await).0, Code::NotFound);
    let mut watch = health.watch(check("")).await.expect("a stream").into_inner();
    let first = watch.message().await.expect("whole").expect("an answer");
    assert_eq!(first.status(), ServingStatus::Serving);
    rig.shutdown.begin();
    let second = watch.message().await.expect("whole").expect("a change");
    assert_eq!(second.status(), ServingStatus::NotServing);
}

#[tokio::test]
async fn behind_a_containerd_only_content_and_snapshots_are_served() {
    let rig = Rig::proxy().await;
    let types: Vec<String> = plugins(&rig, &[])
        .await
        .into_iter()
        .map(|plugin| plugin.r#type)
        .collect();
    assert!(types.iter().any(|kind| kind == "io.containerd.content.v1"));
    assert!(
        !types.iter().any(|kind| kind == "io.containerd.metadata.v1"),
        "{types:?}"
    );
}
