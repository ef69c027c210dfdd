//! What can be told of each plugin.

use std::sync::Arc;

use transom_plugin::manifest::PluginKind;

use super::record::{Pin, Record};
use super::set::{Entry, Origin, Set};

/// A plugin, as it is told of.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: PluginKind,
    /// Its version; empty if it could not be loaded from a folder.
    pub version: String,
    /// The component's digest.
    pub digest: String,
    /// The folder that it is from, if it is not installed.
    pub folder: String,
    /// The version that is installed.
    pub installed: Option<Pin>,
    /// The version to go back to.
    pub previous: Option<Pin>,
    /// Why it cannot be used.
    pub error: String,
    /// What it waits for.
    pub pending: String,
    /// The plugin in use.
    pub entry: Option<Arc<Entry>>,
}

/// All plugins, by their names.
pub(super) fn all(set: &Set, record: &Record) -> Vec<View> {
    let mut views: Vec<View> = set.entries.iter().map(|entry| working(entry, set)).collect();
    views.extend(set.broken.iter().map(|broken| View {
        name: broken.name.clone(),
        kind: broken.kind,
        version: String::new(),
        digest: String::new(),
        folder: folder(&broken.origin),
        installed: None,
        previous: None,
        error: broken.error.clone(),
        pending: String::new(),
        entry: None,
    }));
    for view in &mut views {
        let is_installed = view.folder.is_empty();
        let Some(item) = record.find(&view.name).filter(|_| is_installed) else {
            continue;
        };
        view.version.clone_from(&item.current.version);
        view.digest = item.current.component.to_string();
        view.installed = Some(item.current.clone());
        view.previous.clone_from(&item.previous);
    }
    views.sort_by(|one, other| one.name.cmp(&other.name));
    views
}

fn working(entry: &Arc<Entry>, set: &Set) -> View {
    let used = &entry.used;
    let held = set.held.get(used.name());
    let pending = held.map(|error| format!("the next start of the daemon, which will not have it: {error}"));
    View {
        name: used.name().to_owned(),
        kind: used.kind(),
        version: used.version().to_owned(),
        digest: used.digest().to_string(),
        folder: folder(&entry.candidate.origin),
        installed: None,
        previous: None,
        error: String::new(),
        pending: pending.unwrap_or_default(),
        entry: Some(Arc::clone(entry)),
    }
}

fn folder(origin: &Origin) -> String {
    match origin {
        Origin::Folder(path) => path.display().to_string(),
        Origin::Installed => String::new(),
    }
}
