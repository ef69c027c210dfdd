//! The socket, the lock, what is unknown, what is too large, what panics, and metrics.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::{Code, Request};
use transom_api::content::content_client::ContentClient;
use transom_api::content::{WriteAction, WriteContentRequest};
use transom_api::images::ListImagesRequest;
use transom_api::images::images_client::ImagesClient;
use transom_api::version::version_client::VersionClient;
use transom_meta::filter::{FilterError, PluginFailure};
use transom_meta::kv::Kind;
use transomd::filters;
use transomd::metrics::Metrics;
use transomd::notify::Notify;
use transomd::shutdown::Shutdown;
use transomd::{Daemon, Failure};

use crate::rig::{Rig, channel, config, here, refused};

#[tokio::test]
async fn a_service_that_is_not_there_is_named() {
    let proxy = Rig::proxy().await;
    let request = here(ListImagesRequest::default());
    assert_eq!(
        refused(ImagesClient::new(proxy.channel.clone()).list(request).await),
        (
            Code::Unimplemented,
            "unknown service containerd.services.images.v1.Images".to_owned()
        )
    );
    let rig = Rig::start().await;
    let mut grpc = tonic::client::Grpc::new(rig.channel.clone());
    let mut call = async |path: &'static str| {
        grpc.ready().await.expect("connected");
        let codec: tonic_prost::ProstCodec<(), ()> = tonic_prost::ProstCodec::default();
        let path = http::uri::PathAndQuery::from_static(path);
        refused(grpc.unary(Request::new(()), path, codec).await)
    };
    assert_eq!(
        call("/containerd.services.images.v1.Images/Zap").await,
        (
            Code::Unimplemented,
            "unknown method Zap for service containerd.services.images.v1.Images".to_owned()
        )
    );
    // Clients of 2.2 and later ask for mounts to be activated first. The code is what they go by: then they mount themselves.
    assert_eq!(
        call("/containerd.services.mounts.v1.Mounts/Activate").await,
        (
            Code::Unimplemented,
            "unknown service containerd.services.mounts.v1.Mounts".to_owned()
        )
    );
    assert_eq!(
        call("/x").await,
        (Code::Unimplemented, "unknown service x".to_owned())
    );
}

#[tokio::test]
async fn messages_may_have_16_mebibytes_and_no_more() {
    let rig = Rig::proxy().await;
    let write = |bytes: usize| {
        let message = WriteContentRequest {
            action: WriteAction::Commit.into(),
            r#ref: "r".to_owned(),
            data: vec![7; bytes].into(),
            ..WriteContentRequest::default()
        };
        let client = ContentClient::new(rig.channel.clone());
        async move {
            let mut client = client.max_encoding_message_size(64 << 20);
            let mut answers = client.write(tokio_stream::once(message)).await?.into_inner();
            answers.message().await
        }
    };
    let answer = write((16 << 20) - 64).await.expect("it fits").expect("an answer");
    assert_eq!(answer.offset, (16 << 20) - 64);
    let (code, text) = refused(write(16 << 20).await);
    assert_eq!(code, Code::ResourceExhausted, "{text}");
}

#[tokio::test]
async fn a_root_has_one_daemon() {
    let rig = Rig::start().await;
    let mut second = config(rig.folder.path());
    second.address = Some(rig.folder.path().join("other.sock"));
    let failure = Daemon::open(second, Shutdown::default())
        .await
        .expect_err("the root is taken");
    let pid = std::process::id();
    assert!(
        matches!(&failure, Failure::Held { pid: Some(held), .. } if *held == pid),
        "{failure:?}"
    );
    assert!(failure.to_string().contains(&format!("(pid {pid})")), "{failure}");
    let folder = rig.stop().await;
    let again = Daemon::open(config(folder.path()), Shutdown::default()).await;
    again.expect("the root is free again");
}

#[tokio::test]
async fn a_socket_has_one_daemon() {
    let rig = Rig::start().await;
    let mut second = config(rig.folder.path());
    second.root = rig.folder.path().join("other");
    let failure = Daemon::open(second, Shutdown::default())
        .await
        .expect_err("the socket is taken");
    let pid = std::process::id();
    assert!(
        matches!(&failure, Failure::Served { pid: Some(held), .. } if *held == pid),
        "{failure:?}"
    );
    ImagesClient::new(rig.channel.clone())
        .list(here(ListImagesRequest::default()))
        .await
        .expect("the first daemon still serves");
}

#[tokio::test]
async fn the_socket_of_a_dead_daemon_is_taken_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(folder.path());
    std::fs::create_dir_all(&config.state).expect("a folder");
    drop(UnixListener::bind(config.socket_path()).expect("a socket"));
    assert!(config.socket_path().exists(), "as after a crash");
    let socket = config.socket_path();
    let daemon = Daemon::open(config, Shutdown::default())
        .await
        .expect("it is taken over");
    let mode = std::fs::metadata(&socket)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    drop(daemon);
    assert!(!socket.exists(), "it is removed at the end");
}

#[tokio::test]
async fn what_is_not_a_socket_is_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = config(folder.path());
    std::fs::create_dir_all(&config.state).expect("a folder");
    std::fs::write(config.socket_path(), "mine").expect("a file");
    let socket = config.socket_path();
    let failure = Daemon::open(config, Shutdown::default())
        .await
        .expect_err("no socket");
    assert!(matches!(failure, Failure::NotASocket { .. }), "{failure:?}");
    assert_eq!(std::fs::read_to_string(socket).expect("still there"), "mine");
}

#[tokio::test]
async fn the_service_manager_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    let shutdown = Shutdown::default();
    let config = config(folder.path());
    let socket = config.socket_path();
    let daemon = Daemon::open(config, shutdown.clone()).await.expect("it opens");
    let notify = Notify::new(Some(path.as_os_str())).expect("a path");
    let served = tokio::spawn(async move { daemon.serve(&notify).await });
    channel(&socket).await;
    shutdown.begin();
    served.await.expect("no panic").expect("a good end");
    let mut told = Vec::new();
    manager.set_nonblocking(true).expect("a socket");
    let mut buffer = [0; 64];
    while let Ok(length) = manager.recv(&mut buffer) {
        told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    assert_eq!(told, ["READY=1", "STOPPING=1"]);
}

#[tokio::test]
async fn requests_are_counted() {
    let rig = Rig::with(|config| config.metrics = Some("127.0.0.1:0".parse().expect("an address"))).await;
    VersionClient::new(rig.channel.clone())
        .version(())
        .await
        .expect("an answer");
    refused(
        ImagesClient::new(rig.channel.clone())
            .list(Request::new(ListImagesRequest::default()))
            .await,
    );
    let get = async |path: &str| {
        let mut stream = tokio::net::TcpStream::connect(rig.metrics.expect("an address"))
            .await
            .expect("connected");
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("text");
        answer
    };
    let answer = get("/metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    for line in [
        "transom_rpc_total{method=\"containerd.services.version.v1.Version/Version\",code=\"OK\"} 1",
        "transom_rpc_total{method=\"containerd.services.images.v1.Images/List\",code=\"FAILED_PRECONDITION\"} 1",
        "transom_rpc_latency_seconds_count{method=\"containerd.services.version.v1.Version/Version\"} 1",
        "transom_ingested_bytes_total 0",
        "transom_kv_flushes_total ",
        "transom_kv_flush_seconds_total ",
        "transom_gc_runs_total ",
        "transom_gc_pause_seconds_total ",
    ] {
        assert!(answer.contains(line), "{line} in {answer}");
    }
    assert!(get("/").await.starts_with("HTTP/1.1 404"));
}

#[test]
fn calls_of_plugins_are_counted_and_traps_told_apart() {
    let metrics = Metrics::default();
    let failed = |failure| FilterError::Plugin {
        plugin: "semver".to_owned(),
        failure,
        reason: "…".to_owned(),
    };
    let half = Duration::from_millis(500);
    let counted = |error: Option<FilterError>| {
        let calls = metrics.calls_of_plugins();
        calls.ended("semver", half, filters::result(error.as_ref()));
    };
    counted(None);
    counted(None);
    counted(Some(failed(PluginFailure::Crash)));
    counted(Some(failed(PluginFailure::Limit)));
    let text = metrics.text().expect("a text");
    for line in [
        "transom_plugin_calls_total{plugin=\"semver\",result=\"ok\"} 2",
        "transom_plugin_calls_total{plugin=\"semver\",result=\"crash\"} 1",
        "transom_plugin_calls_total{plugin=\"semver\",result=\"limit\"} 1",
        "transom_plugin_seconds_total{plugin=\"semver\"} 2.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

/// A daemon that answers whoever it may not must still say so in words.
#[tokio::test]
async fn a_user_that_is_not_allowed_is_told() {
    if !transom_tests::needs::require_root() {
        return;
    }
    let rig = Rig::with(|config| config.socket.mode = 0o666).await;
    std::fs::set_permissions(rig.folder.path(), std::fs::Permissions::from_mode(0o755)).expect("a folder");
    let Some(ctr) = transom_tests::needs::require_program("ctr") else {
        return;
    };
    let asked = |uid: u32| {
        use std::os::unix::process::CommandExt;
        let (ctr, socket) = (ctr.clone(), rig.socket());
        tokio::task::spawn_blocking(move || {
            let mut command = std::process::Command::new(ctr);
            command.arg("-a").arg(socket).arg("version").uid(uid).gid(uid);
            let output = command.output().expect("ctr runs");
            (
                output.status.success(),
                String::from_utf8_lossy(&output.stderr).into_owned(),
            )
        })
    };
    let (good, text) = asked(65534).await.expect("no panic");
    assert!(
        !good && text.contains("this user may not use the daemon"),
        "{text}"
    );
    let (good, text) = asked(0).await.expect("no panic");
    assert!(good, "{text}");
}

#[tokio::test]
async fn a_root_is_not_taken_for_the_other_use() {
    for proxied in [false, true] {
        let rig = Rig::with(|config| {
            config.metadata.store = Kind::Redb;
            config.proxy_backend = proxied;
        })
        .await;
        let folder = rig.stop().await;
        let open = |proxied| {
            let mut config = config(folder.path());
            config.metadata.store = Kind::Redb;
            config.proxy_backend = proxied;
            Daemon::open(config, Shutdown::default())
        };
        let refused = open(!proxied).await.expect_err("a root of another use");
        let text = refused.to_string();
        assert!(
            matches!(refused, Failure::OtherUse { proxied: was, .. } if was == proxied),
            "{text}"
        );
        open(proxied).await.expect("the use that it had");
    }
}
