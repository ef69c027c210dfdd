//! Plugins for a running daemon: guests in versions, as artifacts in its content store, and a client of what it does with them.

use tonic::transport::Channel;
use tonic::{Code, Status};
use transom_api::content::content_client::ContentClient;
use transom_api::content::{WriteAction, WriteContentRequest};
use transom_api::plugins::plugins_client::PluginsClient;
use transom_api::plugins::{
    InstallRequest, InstallResponse, ListRequest, Plugin, PluginStatus, RemoveRequest, RollbackRequest,
    StatusRequest,
};
use transom_plugin::Manifest;
use transom_plugin::artifact::{Package, section};

use crate::filter_guest::filter_guest;
use crate::guests::guest;
use crate::rig::{Rig, of, sha256};

/// Where artifacts are.
pub(crate) const NAMESPACE: &str = "plugins.transom";

/// What the guests for layers convert.
pub(crate) const CONVERTS: &str = "converts = [{ accepts = \"application/vnd.oci.image.layer.v1.tar\", returns = \"application/vnd.oci.image.layer.v1.tar\" }]\n";

/// A guest for layers, which calls itself `guest`, in a version of five letters.
pub(crate) fn processor(name: &str, version: &str) -> Vec<u8> {
    processor_with(name, version, "")
}

/// The same, with more in its `plugin.toml`.
pub(crate) fn processor_with(name: &str, version: &str, more: &str) -> Vec<u8> {
    let component = versioned(guest(name), "guest", version);
    let text = format!(
        "name = \"guest\"\nversion = \"{version}\"\nkind = \"processor\"\nworld = \"transom:processor/processor@0.1.0\"\n{CONVERTS}{more}"
    );
    section::with(&component, &text).expect("a component")
}

/// The filter of the tests, under a name of four letters.
pub(crate) fn filter(name: &str, version: &str) -> Vec<u8> {
    versioned(filter_guest(name), name, version)
}

/// Says another version: guests have it behind their name.
fn versioned(mut component: Vec<u8>, name: &str, version: &str) -> Vec<u8> {
    let said = format!("{name}0.1.0");
    let mut at = component.windows(said.len());
    let at = at
        .position(|window| window == said.as_bytes())
        .expect("it says so")
        + name.len();
    component[at..at + 5].copy_from_slice(version.as_bytes());
    component
}

pub(crate) fn client(rig: &Rig) -> PluginsClient<Channel> {
    PluginsClient::new(rig.channel.clone())
}

/// Puts bytes where artifacts are.
pub(crate) async fn put(rig: &Rig, bytes: &[u8]) -> String {
    let digest = sha256(bytes);
    let write = WriteContentRequest {
        action: WriteAction::Commit.into(),
        r#ref: format!("upload-{digest}"),
        total: i64::try_from(bytes.len()).expect("small"),
        expected: digest.clone(),
        data: bytes.to_vec().into(),
        ..WriteContentRequest::default()
    };
    let limit = transom_api::limits::MESSAGE_BYTES;
    let mut client = ContentClient::new(rig.channel.clone()).max_encoding_message_size(limit);
    let written = client.write(of(NAMESPACE, tokio_stream::once(write))).await;
    let ended = match written {
        Ok(answers) => answers.into_inner().message().await.map(drop),
        Err(status) => Err(status),
    };
    match ended {
        Err(status) if status.code() != Code::AlreadyExists => panic!("{status}"),
        _ => digest,
    }
}

/// Puts a component where artifacts are, as one, and gives the digest of its manifest.
pub(crate) async fn upload(rig: &Rig, component: Vec<u8>) -> String {
    let manifest = Manifest::parse(
        &format!("name = \"any\"\nversion = \"0.1.0\"\nkind = \"processor\"\nworld = \"w\"\n{CONVERTS}"),
        std::path::Path::new("plugin.toml"),
    );
    let package = Package::new(component, &manifest.expect("a manifest")).expect("an artifact");
    for (_, bytes) in package.blobs() {
        put(rig, bytes).await;
    }
    package.descriptor().digest.to_string()
}

/// Uploads a component and installs it.
pub(crate) async fn install(rig: &Rig, component: Vec<u8>) -> Result<InstallResponse, Status> {
    let manifest = upload(rig, component).await;
    install_uploaded(rig, &manifest, &[]).await
}

pub(crate) async fn install_uploaded(
    rig: &Rig,
    manifest: &str,
    signatures: &[String],
) -> Result<InstallResponse, Status> {
    let request = InstallRequest {
        manifest: manifest.to_owned(),
        source: "a test".to_owned(),
        signatures: signatures.to_vec(),
    };
    Ok(client(rig).install(request).await?.into_inner())
}

pub(crate) async fn remove(rig: &Rig, name: &str) -> Result<Plugin, Status> {
    let request = RemoveRequest {
        name: name.to_owned(),
    };
    let removed = client(rig).remove(request).await?.into_inner();
    Ok(removed.plugin.expect("a plugin"))
}

pub(crate) async fn roll_back(rig: &Rig, name: &str) -> Result<Plugin, Status> {
    let request = RollbackRequest {
        name: name.to_owned(),
    };
    let back = client(rig).rollback(request).await?.into_inner();
    Ok(back.plugin.expect("a plugin"))
}

pub(crate) async fn list(rig: &Rig) -> Vec<Plugin> {
    let listed = client(rig).list(ListRequest {}).await.expect("a list");
    listed.into_inner().plugins
}

/// Name, version and error of all plugins.
pub(crate) async fn versions(rig: &Rig) -> Vec<(String, String, bool)> {
    let listed = list(rig).await.into_iter();
    listed
        .map(|plugin| (plugin.name, plugin.version, plugin.error.is_empty()))
        .collect()
}

pub(crate) async fn status(rig: &Rig, name: &str) -> PluginStatus {
    let request = StatusRequest {
        name: name.to_owned(),
    };
    let mut listed = client(rig).status(request).await.expect("a status").into_inner();
    assert_eq!(listed.plugins.len(), 1, "{listed:?}");
    listed.plugins.remove(0)
}
