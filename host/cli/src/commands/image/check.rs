//! `transom image check`: whether everything of an image is there.

use serde_json::{Value, json};
use tonic::Code;
use transom_api::images::Image;
use transom_api::snapshots::StatSnapshotRequest;
use transom_oci::{Digest, chain_ids};

use crate::arguments::ImageCheck;
use crate::client::Client;
use crate::client::image::{Node, State};
use crate::client::snapshot::Snapshots;
use crate::commands::image::document;
use crate::commands::{print, print_json};
use crate::failure::Failure;
use crate::show::{printable, size, table};

/// One manifest of an image.
struct Checked {
    platform: Option<String>,
    manifest: Digest,
    status: &'static str,
    /// Blobs and bytes.
    required: (usize, u64),
    present: (usize, u64),
    missing: Vec<Digest>,
    unreadable: Vec<(Digest, String)>,
    /// `None` if the daemon does not say.
    unpacked: Option<bool>,
}

pub(super) async fn run(client: &Client, command: ImageCheck, json: bool) -> Result<(), Failure> {
    let snapshotter = Snapshots::new(client, command.snapshotter).await?.snapshotter;
    let mut rows = Vec::new();
    for image in client.image_list(command.filters).await? {
        let checked = check(client, &image, &snapshotter).await?;
        if json {
            let mut document = document(&image);
            document["platforms"] = checked.iter().map(Checked::document).collect();
            print_json(&document)?;
        } else if command.quiet {
            if checked.iter().any(|one| one.status == "complete") {
                print(&format!("{}\n", printable(&image.name)))?;
            }
        } else {
            rows.extend(checked.iter().map(|one| one.row(&image.name)));
        }
    }
    if json || command.quiet {
        return Ok(());
    }
    print(&table(
        &["NAME", "PLATFORM", "STATUS", "BLOBS", "SIZE", "UNPACKED"],
        &rows,
    ))
}

async fn check(client: &Client, image: &Image, snapshotter: &str) -> Result<Vec<Checked>, Failure> {
    let tree = client.tree(image).await?;
    let mut all = Vec::new();
    for manifest in tree.manifests() {
        let mut checked = Checked::new(manifest);
        if let Some(config) = &manifest.config {
            checked.unpacked = unpacked(client, snapshotter, &config.rootfs.diff_ids).await?;
        }
        all.push(checked);
    }
    Ok(all)
}

/// Whether the topmost layer is there as a snapshot.
async fn unpacked(client: &Client, snapshotter: &str, diff_ids: &[Digest]) -> Result<Option<bool>, Failure> {
    let Some(top) = chain_ids(diff_ids).pop() else {
        return Ok(None);
    };
    let request = StatSnapshotRequest {
        snapshotter: snapshotter.to_owned(),
        key: top.to_string(),
    };
    match client.snapshots().stat(request).await {
        Ok(_) => Ok(Some(true)),
        Err(status) if status.code() == Code::NotFound => Ok(Some(false)),
        // A daemon without snapshots, or without this snapshotter.
        Err(status) if matches!(status.code(), Code::Unimplemented | Code::InvalidArgument) => Ok(None),
        Err(status) => Err(status.into()),
    }
}

impl Checked {
    fn new(manifest: &Node) -> Checked {
        let mut checked = Checked {
            platform: manifest.platform().map(ToString::to_string),
            manifest: manifest.descriptor.digest.clone(),
            status: "complete",
            required: (0, 0),
            present: (0, 0),
            missing: Vec::new(),
            unreadable: Vec::new(),
            unpacked: None,
        };
        for (digest, node) in manifest.blobs() {
            let bytes = node.descriptor.size;
            let add = |(blobs, sum): (usize, u64)| (blobs + 1, sum.saturating_add(bytes));
            checked.required = add(checked.required);
            match &node.state {
                State::Present => checked.present = add(checked.present),
                State::Missing => checked.missing.push(digest.clone()),
                State::Unreadable(problem) => checked.unreadable.push((digest.clone(), problem.clone())),
            }
        }
        checked.status = if !checked.unreadable.is_empty() {
            "damaged"
        } else if checked.missing.contains(&checked.manifest) {
            // What it needs is not even known.
            "absent"
        } else if !checked.missing.is_empty() {
            "incomplete"
        } else {
            "complete"
        };
        checked
    }

    fn document(&self) -> Value {
        let unreadable: Vec<_> = self
            .unreadable
            .iter()
            .map(|(digest, problem)| json!({ "digest": digest, "problem": problem }))
            .collect();
        json!({
            "platform": self.platform,
            "manifest": self.manifest,
            "status": self.status,
            "blobs": { "required": self.required.0, "present": self.present.0 },
            "bytes": { "required": self.required.1, "present": self.present.1 },
            "missing": self.missing,
            "unreadable": unreadable,
            "unpacked": self.unpacked,
        })
    }

    fn row(&self, name: &str) -> Vec<String> {
        let unpacked = match self.unpacked {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        vec![
            printable(name),
            printable(self.platform.as_deref().unwrap_or("-")),
            self.status.to_owned(),
            format!("{} of {}", self.present.0, self.required.0),
            format!("{} of {}", size(self.present.1), size(self.required.1)),
            unpacked.to_owned(),
        ]
    }
}
