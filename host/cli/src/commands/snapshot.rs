//! `transom snapshot`: the folders that layers are unpacked into.

mod tree;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};
use transom_api::snapshots::{CommitSnapshotRequest, Info, Kind, UpdateSnapshotRequest};
use transom_api::types::Mount;
use transom_content::timestamp;

use super::{each, print, print_json};
use crate::arguments::{Place, Snapshot, SnapshotList, SnapshotMake, Snapshots as Command};
use crate::client::snapshot::{Snapshots, mount_on};
use crate::client::{self, Labels, ROOT, Target, labels, time};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::show::{count, printable, size, table};

pub(crate) fn run(command: Command, place: &Place, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    client::run(&Target::new(place)?, interrupt, async |client| {
        let snapshots = Snapshots::new(client, command.keeper.snapshotter).await?;
        match command.command {
            Snapshot::Ls(command) => list(&snapshots, command, json).await,
            Snapshot::Tree => tree::run(&snapshots, json).await,
            Snapshot::Info { key } => show(&snapshots.stat(&key).await?, json),
            Snapshot::Usage { keys } => usage(&snapshots, keys, json).await,
            Snapshot::Prepare(command) => make(&snapshots, &command, Kind::Active, json).await,
            Snapshot::View(command) => make(&snapshots, &command, Kind::View, json).await,
            Snapshot::Commit { name, key } => commit(&snapshots, name, key, json).await,
            Snapshot::Mounts { key, target } => {
                let mounts = snapshots.mounts(&key).await?;
                show_mounts(&mounts, target.as_deref(), json)
            }
            Snapshot::Label { key, labels } => label(&snapshots, key, &labels, json).await,
            Snapshot::Rm { keys } => remove(&snapshots, &keys, json).await,
        }
    })
}

fn kind(info: &Info) -> &'static str {
    match info.kind() {
        Kind::Unknown => "unknown",
        Kind::View => "view",
        Kind::Active => "active",
        Kind::Committed => "committed",
    }
}

/// The record of a snapshot for programs.
fn document(info: &Info) -> Value {
    json!({
        "key": info.name,
        "parent": info.parent,
        "kind": kind(info),
        "created": time::text(info.created_at.as_ref()),
        "updated": time::text(info.updated_at.as_ref()),
        "labels": info.labels,
    })
}

/// A name, or `-` for none.
fn or_dash(name: &str) -> String {
    if name.is_empty() {
        "-".to_owned()
    } else {
        printable(name)
    }
}

async fn list(snapshots: &Snapshots, command: SnapshotList, json: bool) -> Result<(), Failure> {
    let all = snapshots.list(command.filters).await?;
    if json {
        return all.iter().try_for_each(|info| print_json(&document(info)));
    }
    if command.quiet {
        let keys = all.iter().map(|info| format!("{}\n", printable(&info.name)));
        return print(&keys.collect::<String>());
    }
    let rows: Vec<_> = all
        .iter()
        .map(|info| {
            vec![
                printable(&info.name),
                or_dash(&info.parent),
                kind(info).to_owned(),
                time::age(info.created_at.as_ref()),
                labels::text(&info.labels),
            ]
        })
        .collect();
    print(&table(&["KEY", "PARENT", "KIND", "AGE", "LABELS"], &rows))
}

fn show(info: &Info, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&document(info));
    }
    let mut text = format!("{}\n", printable(&info.name));
    let mut line = |name: &str, value: &str| text.push_str(&format!("  {name:<8} {value}\n"));
    line("kind", kind(info));
    line("parent", &or_dash(&info.parent));
    line("labels", &labels::text(&info.labels));
    line(
        "created",
        &time::text(info.created_at.as_ref()).unwrap_or_default(),
    );
    line(
        "updated",
        &time::text(info.updated_at.as_ref()).unwrap_or_default(),
    );
    print(&text)
}

async fn usage(snapshots: &Snapshots, keys: Vec<String>, json: bool) -> Result<(), Failure> {
    let keys = if keys.is_empty() {
        let all = snapshots.list(Vec::new()).await?;
        all.into_iter().map(|info| info.name).collect()
    } else {
        keys
    };
    let mut rows = Vec::new();
    each(&keys, async |key| {
        let usage = snapshots.usage(key).await?;
        if json {
            return print_json(&json!({ "key": key, "size": usage.size, "inodes": usage.inodes }));
        }
        let number = |value: i64| u64::try_from(value).unwrap_or_default();
        rows.push(vec![
            printable(key),
            size(number(usage.size)),
            count(number(usage.inodes)),
        ]);
        Ok(())
    })
    .await?;
    if json {
        return Ok(());
    }
    print(&table(&["KEY", "SIZE", "INODES"], &rows))
}

/// What a person makes by hand is kept until it is removed by hand, as with `ctr`.
fn rooted(mut labels: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let now = timestamp::format(SystemTime::now());
    labels.entry(ROOT.to_owned()).or_insert(now);
    labels
}

async fn make(snapshots: &Snapshots, command: &SnapshotMake, kind: Kind, json: bool) -> Result<(), Failure> {
    let labels = rooted(Labels::parse(&command.label)?.values);
    let parent = command.parent.as_deref().unwrap_or_default();
    let mounts = match kind {
        Kind::View => snapshots.view(&command.key, parent, labels).await?,
        _ => snapshots.prepare(&command.key, parent, labels).await?,
    };
    if json {
        print_json(&json!({ "key": command.key, "mounts": documents(&mounts) }))?;
    }
    if let Some(target) = &command.target {
        // The snapshot stays: it is there now, whatever the mount says.
        return mount_on(mounts, target);
    }
    if json {
        return Ok(());
    }
    show_mounts(&mounts, None, false)
}

fn documents(mounts: &[Mount]) -> Vec<Value> {
    let document = |mount: &Mount| {
        json!({
            "type": mount.r#type,
            "source": mount.source,
            "target": mount.target,
            "options": mount.options,
        })
    };
    mounts.iter().map(document).collect()
}

/// Mounts as they are, or as commands for a shell.
fn show_mounts(mounts: &[Mount], target: Option<&Path>, json: bool) -> Result<(), Failure> {
    if json {
        return documents(mounts).iter().try_for_each(print_json);
    }
    let mut text = String::new();
    for mount in mounts {
        let options = mount.options.join(",");
        match target {
            None => text.push_str(&printable(&format!(
                "{} {} {options}",
                mount.r#type, mount.source
            ))),
            Some(target) => {
                let target = match mount.target.as_str() {
                    "" => target.to_owned(),
                    below => target.join(below),
                };
                text.push_str(&format!(
                    "mount -t {} {} {} -o {}",
                    quoted(&mount.r#type),
                    quoted(&mount.source),
                    quoted(&target.display().to_string()),
                    quoted(&options)
                ));
            }
        }
        text.push('\n');
    }
    print(&text)
}

/// A word for a shell: as it is where that is safe, else in single quotes.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

async fn commit(snapshots: &Snapshots, name: String, key: String, json: bool) -> Result<(), Failure> {
    let request = CommitSnapshotRequest {
        snapshotter: snapshots.snapshotter.clone(),
        name: name.clone(),
        key,
        labels: rooted(BTreeMap::new()),
        ..CommitSnapshotRequest::default()
    };
    snapshots.client.snapshots().commit(request).await?;
    said(&name, "committed", json)
}

async fn label(snapshots: &Snapshots, key: String, typed: &[String], json: bool) -> Result<(), Failure> {
    let info = if typed.is_empty() {
        snapshots.stat(&key).await?
    } else {
        let labels = Labels::parse(typed)?;
        let request = UpdateSnapshotRequest {
            snapshotter: snapshots.snapshotter.clone(),
            info: Some(Info {
                name: key,
                labels: labels.values,
                ..Info::default()
            }),
            update_mask: Some(labels.mask),
        };
        let response = snapshots.client.snapshots().update(request).await?;
        response
            .into_inner()
            .info
            .ok_or_else(|| Failure::silent("the snapshot"))?
    };
    if json {
        return print_json(&document(&info));
    }
    print(&format!(
        "{} {}\n",
        printable(&info.name),
        labels::text(&info.labels)
    ))
}

async fn remove(snapshots: &Snapshots, keys: &[String], json: bool) -> Result<(), Failure> {
    each(keys, async |key| {
        snapshots.remove(key).await?;
        said(key, "removed", json)
    })
    .await
}

fn said(key: &str, what: &str, json: bool) -> Result<(), Failure> {
    if json {
        return print_json(&json!({ what: key }));
    }
    print(&format!("{}\n", printable(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        for (word, want) in [
            ("/a/b_c-1.2", "/a/b_c-1.2"),
            ("lowerdir=/a:/b,index=off", "lowerdir=/a:/b,index=off"),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(x)", "'$(x)'"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(quoted(word), want);
        }
    }
}
