//! Snapshots of a daemon, and their mounts on this machine.

use std::collections::BTreeMap;
use std::path::Path;

use tonic::Code;
use transom_api::namespaces::GetNamespaceRequest;
use transom_api::snapshots::{
    Info, ListSnapshotsRequest, MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest,
    StatSnapshotRequest, UsageRequest, UsageResponse, ViewSnapshotRequest,
};
use transom_api::types;
use transom_sys::mount::{self, Mount};

use super::Client;
use crate::failure::{Failure, Kind};

/// The label of a namespace that names its snapshotter.
const SNAPSHOTTER: &str = "containerd.io/defaults/snapshotter";
/// containerd's own default.
const OVERLAYFS: &str = "overlayfs";

/// The snapshots of one snapshotter.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    pub(crate) client: Client,
    pub(crate) snapshotter: String,
}

impl Snapshots {
    /// Those of the snapshotter that is named, else of the one that the environment, the namespace or containerd names.
    pub(crate) async fn new(client: &Client, named: Option<String>) -> Result<Snapshots, Failure> {
        let variable = || std::env::var("CONTAINERD_SNAPSHOTTER").ok();
        let named = named.or_else(variable).filter(|name| !name.is_empty());
        let snapshotter = match named {
            Some(name) => name,
            None => of_namespace(client).await?,
        };
        Ok(Snapshots {
            client: client.clone(),
            snapshotter,
        })
    }

    /// The same under a lease.
    pub(crate) fn leased(&self, lease: &str) -> Result<Snapshots, Failure> {
        Ok(Snapshots {
            client: self.client.leased(lease)?,
            snapshotter: self.snapshotter.clone(),
        })
    }

    pub(crate) async fn stat(&self, key: &str) -> Result<Info, Failure> {
        self.find(key)
            .await?
            .ok_or_else(|| Failure::new(Kind::NotFound, format!("there is no snapshot {key:?}")))
    }

    /// The snapshot of a key, if there is one.
    pub(crate) async fn find(&self, key: &str) -> Result<Option<Info>, Failure> {
        let request = StatSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
        };
        match self.client.snapshots().stat(request).await {
            Ok(response) => Ok(response.into_inner().info),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// All that one of the filters matches, by key.
    pub(crate) async fn list(&self, filters: Vec<String>) -> Result<Vec<Info>, Failure> {
        let request = ListSnapshotsRequest {
            snapshotter: self.snapshotter.clone(),
            filters,
        };
        let mut pages = self.client.snapshots().list(request).await?.into_inner();
        let mut all = Vec::new();
        while let Some(page) = pages.message().await? {
            all.extend(page.info);
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    pub(crate) async fn usage(&self, key: &str) -> Result<UsageResponse, Failure> {
        let request = UsageRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
        };
        Ok(self.client.snapshots().usage(request).await?.into_inner())
    }

    /// Makes an active snapshot.
    pub(crate) async fn prepare(
        &self,
        key: &str,
        parent: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<Vec<types::Mount>, tonic::Status> {
        let request = PrepareSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels,
        };
        let response = self.client.snapshots().prepare(request).await?;
        Ok(response.into_inner().mounts)
    }

    /// Makes a view.
    pub(crate) async fn view(
        &self,
        key: &str,
        parent: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<Vec<types::Mount>, tonic::Status> {
        let request = ViewSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
            parent: parent.to_owned(),
            labels,
        };
        let response = self.client.snapshots().view(request).await?;
        Ok(response.into_inner().mounts)
    }

    pub(crate) async fn mounts(&self, key: &str) -> Result<Vec<types::Mount>, Failure> {
        let request = MountsRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
        };
        let response = self.client.snapshots().mounts(request).await?;
        Ok(response.into_inner().mounts)
    }

    pub(crate) async fn remove(&self, key: &str) -> Result<(), Failure> {
        let request = RemoveSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            key: key.to_owned(),
        };
        self.client.snapshots().remove(request).await?;
        Ok(())
    }
}

async fn of_namespace(client: &Client) -> Result<String, Failure> {
    let request = GetNamespaceRequest {
        name: client.namespace().to_owned(),
    };
    let namespace = client.namespaces().get(request).await?.into_inner().namespace;
    let named = namespace.and_then(|mut namespace| namespace.labels.remove(SNAPSHOTTER));
    Ok(named.unwrap_or_else(|| OVERLAYFS.to_owned()))
}

/// Mounts on this machine what a daemon gave out.
pub(crate) fn mount_on(mounts: Vec<types::Mount>, target: &Path) -> Result<(), Failure> {
    let mounts: Vec<Mount> = mounts
        .into_iter()
        .map(|mount| Mount {
            kind: mount.r#type,
            source: mount.source,
            target: mount.target,
            options: mount.options,
        })
        .collect();
    mount::mount_all(&mounts, target).map_err(|error| mount_failure(&error))
}

/// What went wrong with a mount.
pub(crate) fn mount_failure(error: &mount::MountError) -> Failure {
    let kind = match error.errno() {
        Some(transom_sys::Errno::PERM | transom_sys::Errno::ACCESS) => Kind::Refused,
        Some(transom_sys::Errno::NOENT) => Kind::NotFound,
        _ => Kind::Other,
    };
    let failure = Failure::new(kind, error.to_string());
    if kind == Kind::Refused {
        return failure.advise("only root may mount");
    }
    failure
}
