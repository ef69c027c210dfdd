//! `transom plugin install`, `remove`, `rollback` and `list`: into a folder, or into a daemon while it runs.

use std::path::Path;

use bytes::Bytes;
use serde_json::{Value, json};
use transom_plugin::Host;
use transom_plugin::installed::{Change, Entry, Installed, Lock, New, Pin};

use super::daemon;
use super::source::{Place as Origin, Staged, stage};
use crate::arguments::{Place, PluginFolder, PluginInstall, PluginInstalled, PluginNames, Wanted};
use crate::client::Target;
use crate::client::plugins::{Handover, NAMESPACE};
use crate::commands::registry::blocking;
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::handlers;
use crate::installed;
use crate::interrupt::Interrupt;
use crate::places;
use crate::show::{printable, table};

/// Where plugins are installed.
pub(super) enum Where {
    Folder(Installed),
    Daemon(Target),
}

impl Where {
    /// A folder if one is named; else a daemon if one is named, or listens where daemons do; else the usual folder.
    pub(super) fn new(folder: &PluginFolder, place: &Place) -> Result<Where, Failure> {
        if folder.plugins.is_some() {
            return Ok(Where::Folder(installed::folder(folder)?));
        }
        let target = Target::new(place)?;
        let is_named = Some(&target.address) != places::socket().as_ref();
        if is_named || target.address.exists() {
            return Ok(Where::Daemon(Target {
                namespace: NAMESPACE.to_owned(),
                ..target
            }));
        }
        Ok(Where::Folder(installed::folder(folder)?))
    }
}

/// One plugin to install: where it is, and the digest that it must have.
struct Item {
    from: Origin,
    pinned: Option<Pin>,
}

pub(super) fn install(
    command: &PluginInstall,
    place: &Place,
    as_json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let at = Where::new(&command.folder, place)?;
    if matches!(at, Where::Daemon(_)) && (command.trust.trust.is_some() || command.replace) {
        let text =
            "whom a daemon trusts, and what it replaces, is its own matter: leave out --trust and --replace";
        return Err(Failure::usage(text));
    }
    let host = handlers::host()?;
    let mut items = Vec::new();
    for source in &command.sources {
        items.push(Item {
            from: Origin::parse(source)?,
            pinned: None,
        });
    }
    if let Some(file) = &command.lock {
        items.extend(listed(file)?);
    }
    for item in items {
        let staged = blocking(interrupt, bring(&item, command, &host))?;
        match &at {
            Where::Folder(folder) => into_folder(folder, command, &host, &staged, as_json)?,
            Where::Daemon(target) => daemon::install(target, interrupt, handover(&staged)?, as_json)?,
        }
    }
    Ok(())
}

/// What a lock file lists, by its digests. Files and layouts that it names are looked for where this program is.
fn listed(file: &Path) -> Result<Vec<Item>, Failure> {
    if !file.is_file() {
        let text = format!("{}: there is no such lock file", file.display());
        return Err(Failure::new(Kind::NotFound, text));
    }
    let item = |entry: Entry| {
        let pin = entry.current;
        let from = Origin::parse(pin.source.as_ref()).map_err(|failure| failure.about(&entry.name))?;
        let from = match from {
            Origin::Registry(mut name) => {
                name.digest = Some(pin.digest.clone());
                Origin::Registry(name)
            }
            other => other,
        };
        Ok(Item {
            from,
            pinned: Some(pin),
        })
    };
    Lock::read(file)?.plugins.into_iter().map(item).collect()
}

/// Brings a plugin to hand. What is pinned has the digest that it is pinned to.
async fn bring(item: &Item, command: &PluginInstall, host: &Host) -> Result<Staged, Failure> {
    let none = Wanted { range: None };
    let wanted = if item.pinned.is_some() {
        &none
    } else {
        &command.wanted
    };
    let mut staged = stage(&item.from, wanted, &command.registries, host).await?;
    if let Some(pin) = &item.pinned {
        if pin.digest != *staged.artifact.digest() {
            let found = staged.artifact.digest();
            let text = format!(
                "{}: the lock file demands {}, it is {found}",
                staged.source, pin.digest
            );
            return Err(Failure::new(Kind::Damaged, text));
        }
        staged.source.clone_from(&pin.source);
    }
    Ok(staged)
}

fn into_folder(
    folder: &Installed,
    command: &PluginInstall,
    host: &Host,
    staged: &Staged,
    as_json: bool,
) -> Result<(), Failure> {
    let policy = installed::policy(&command.trust)?;
    let admitted = policy
        .admit(host, &staged.artifact, &staged.signatures)
        .map_err(|error| Failure::from(error).about(&staged.source))?;
    let new = New {
        artifact: &staged.artifact,
        name: admitted.plugin.name(),
        version: admitted.plugin.version(),
        source: &staged.source,
        trust: &admitted.trust,
        signatures: &staged.signatures,
        replace: command.replace,
    };
    let change = folder.install(&new, &mut staged.opener())?;
    let digest = staged.artifact.digest();
    if as_json {
        return print_json(&json!({
            "name": new.name,
            "version": new.version,
            "kind": admitted.plugin.kind(),
            "digest": digest,
            "change": match change {
                Change::Installed => "installed",
                Change::Replaced => "replaced",
                Change::Unchanged => "unchanged",
            },
        }));
    }
    let what = match change {
        Change::Installed => "installed",
        Change::Replaced => "installed, in place of another version,",
        Change::Unchanged => "is installed already:",
    };
    print(&format!("{what} {} {}\n{digest}\n", new.name, new.version))
}

/// What a daemon is given.
fn handover(staged: &Staged) -> Result<Handover, Failure> {
    use std::io::Read as _;
    let mut open = staged.opener();
    let mut listed = staged.artifact.blobs.clone();
    listed.push(staged.artifact.descriptor.clone());
    if let Some(signed) = &staged.signed {
        listed.extend(transom_client::images::listed(signed, &staged.layout.store)?);
    }
    let mut blobs = Vec::new();
    for blob in listed {
        let mut bytes = Vec::new();
        let read = open(&blob).and_then(|mut reader| reader.read_to_end(&mut bytes));
        read.map_err(|error| Failure::io(&blob.digest, &error))?;
        blobs.push((blob, Bytes::from(bytes)));
    }
    let signed = staged.signed.iter();
    Ok(Handover {
        blobs,
        manifest: staged.artifact.digest().to_string(),
        signatures: signed.map(|signed| signed.digest.to_string()).collect(),
        source: staged.source.clone(),
    })
}

pub(super) fn remove(
    command: &PluginNames,
    place: &Place,
    as_json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    match Where::new(&command.folder, place)? {
        Where::Daemon(target) => daemon::remove(&target, interrupt, &command.names, as_json),
        Where::Folder(folder) => command.names.iter().try_for_each(|name| {
            let entry = folder.remove(name)?;
            said("removed", &entry, as_json)
        }),
    }
}

pub(super) fn roll_back(
    command: &PluginNames,
    place: &Place,
    as_json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    match Where::new(&command.folder, place)? {
        Where::Daemon(target) => daemon::roll_back(&target, interrupt, &command.names, as_json),
        Where::Folder(folder) => command.names.iter().try_for_each(|name| {
            let entry = folder.roll_back(name)?;
            said("rolled back to", &entry, as_json)
        }),
    }
}

fn said(what: &str, entry: &Entry, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print_json(&document(entry));
    }
    print(&format!(
        "{what} {} {}\n",
        entry.name,
        printable(&entry.current.version)
    ))
}

pub(super) fn list(
    command: &PluginInstalled,
    place: &Place,
    as_json: bool,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let folder = match Where::new(&command.folder, place)? {
        Where::Daemon(target) => return daemon::list(&target, interrupt, as_json),
        Where::Folder(folder) => folder,
    };
    let lock = folder.lock()?;
    if as_json {
        return lock
            .plugins
            .iter()
            .try_for_each(|entry| print_json(&document(entry)));
    }
    let rows: Vec<Vec<String>> = lock.plugins.iter().map(row).collect();
    print(&table(
        &["NAME", "VERSION", "KIND", "SIGNED WITH", "BEFORE", "SOURCE"],
        &rows,
    ))
}

fn row(entry: &Entry) -> Vec<String> {
    let or_none = |text: String| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            printable(&text)
        }
    };
    let previous = entry.previous.as_ref();
    vec![
        printable(&entry.name),
        printable(&entry.current.version),
        entry.kind.as_str().to_owned(),
        or_none(entry.current.signed_by.join(",")),
        or_none(previous.map(|pin| pin.version.clone()).unwrap_or_default()),
        printable(&entry.current.source),
    ]
}

fn document(entry: &Entry) -> Value {
    let pin = |pin: &Pin| {
        json!({
            "version": pin.version,
            "digest": pin.digest,
            "component": pin.component,
            "source": pin.source,
            "world": pin.world,
            "signedBy": pin.signed_by,
        })
    };
    let mut document = pin(&entry.current);
    document["name"] = json!(entry.name);
    document["kind"] = json!(entry.kind);
    document["previous"] = json!(entry.previous.as_ref().map(pin));
    document
}
