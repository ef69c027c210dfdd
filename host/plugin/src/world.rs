//! What a plugin of each kind may import and must export, and what a difference in versions means.

use std::fmt;

use semver::Version;

use crate::component::{Callers, Component};
use crate::error::LoadError;
use crate::inspect::ForbiddenImport;
use crate::manifest::PluginKind;

/// What this host offers to one kind of plugin.
#[derive(Debug)]
pub(crate) struct World {
    /// Its name, as manifests have it.
    pub(crate) name: &'static str,
    /// The interface that such a plugin exports, without its version.
    export: &'static str,
    /// The interfaces that it may import, without their versions.
    allowed: &'static [&'static str],
}

/// The world of processors.
pub(crate) const PROCESSOR: World = World {
    name: "transom:processor/processor@0.1.0",
    export: "transom:processor/stage",
    allowed: &[
        "transom:common/types",
        "transom:common/io",
        "transom:common/log",
        "transom:keys/unwrap",
        "transom:keys/cipher",
        "transom:artifacts/documents",
    ],
};

/// The world of label filters.
pub(crate) const FILTER: World = World {
    name: "transom:filter/label-filter@0.1.0",
    export: "transom:filter/matching",
    allowed: &["transom:common/types", "transom:common/log"],
};

/// The world of storage drivers.
pub(crate) const STORAGE: World = World {
    name: "transom:storage/storage-driver@0.1.0",
    export: "transom:storage/plugin",
    allowed: &[
        "transom:common/types",
        "transom:common/log",
        "transom:storage/types",
        "transom:storage/settings",
        "transom:storage/clock",
        "transom:storage/random",
        "transom:storage/keys",
        "transom:storage/http",
        "transom:storage/driver",
    ],
};

/// The newest version that this host has of each interface.
const OFFERED: Version = Version::new(0, 1, 0);

/// A component and the host are of different ages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VersionMismatch {
    /// The interface, without a version.
    pub interface: String,
    /// The version that the component was built for.
    pub component: String,
    /// The newest version that the host has.
    pub host: String,
    /// Whether it is the host that has to be updated.
    pub host_is_older: bool,
}

impl fmt::Display for VersionMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interface,
            component,
            host,
            host_is_older,
        } = self;
        write!(
            f,
            "the component was built for {interface} {component}, this host has {host}: "
        )?;
        f.write_str(if *host_is_older {
            "update the host"
        } else {
            "rebuild the plugin with a newer SDK"
        })
    }
}

impl World {
    /// The world that a component seems to be made for: that of which it has the export, else that of processors.
    pub(crate) fn of(component: &Component) -> &'static World {
        let mut others = [&FILTER, &STORAGE].into_iter();
        others
            .find(|world| world.is_exported(component))
            .unwrap_or(&PROCESSOR)
    }

    /// The kind of plugins that are made for it.
    pub(crate) fn kind(&self) -> PluginKind {
        match self.export {
            export if export == FILTER.export => PluginKind::Filter,
            export if export == STORAGE.export => PluginKind::Driver,
            _ => PluginKind::Processor,
        }
    }

    fn is_exported(&self, component: &Component) -> bool {
        let mut exports = component.exports.iter();
        exports.any(|name| split(name).0 == self.export)
    }
}

/// Tells a sound plugin of another kind, of which the imports would say less.
pub(crate) fn check_kind(world: &World, component: &Component) -> Result<(), LoadError> {
    let mut others = [&PROCESSOR, &FILTER, &STORAGE]
        .into_iter()
        .filter(|other| other.name != world.name);
    if others.any(|other| other.is_exported(component)) {
        check_exports(world, component)
    } else {
        Ok(())
    }
}

/// Imports that are not allowed, each function with who pulled it in.
pub(crate) fn forbidden(world: &World, component: &Component, bytes: &[u8]) -> Vec<ForbiddenImport> {
    let names: Vec<&String> = component
        .imports
        .iter()
        .filter(|name| !world.allowed.contains(&split(name).0))
        .collect();
    if names.is_empty() {
        return Vec::new();
    }
    let callers = Callers::read(bytes);
    let mut forbidden = Vec::new();
    for name in names {
        let functions = callers.functions(name);
        if functions.is_empty() {
            forbidden.push(ForbiddenImport {
                interface: name.clone(),
                function: None,
                callers: Vec::new(),
            });
        }
        for function in functions {
            let path = callers.path(name, &function);
            forbidden.push(ForbiddenImport {
                interface: name.clone(),
                function: Some(function),
                callers: path,
            });
        }
    }
    forbidden
}

/// The first import that the host has in another version only.
pub(crate) fn check_imports(world: &World, component: &Component) -> Result<(), LoadError> {
    for name in &component.imports {
        let (interface, version) = split(name);
        if world.allowed.contains(&interface) {
            check_version(interface, version)?;
        }
    }
    Ok(())
}

/// The export that makes it a plugin of its kind.
pub(crate) fn check_exports(world: &World, component: &Component) -> Result<(), LoadError> {
    let mut mismatch = None;
    for name in &component.exports {
        let (interface, version) = split(name);
        if interface == world.export {
            match check_version(interface, version) {
                Ok(()) => return Ok(()),
                Err(error) => mismatch = Some(error),
            }
        }
    }
    Err(mismatch.unwrap_or_else(|| LoadError::MissingExport {
        wanted: format!("{}@{OFFERED}", world.export),
        found: component.exports.clone(),
    }))
}

/// Checks the world that a manifest names.
pub(crate) fn check_world(world: &World, named: &str) -> Result<(), LoadError> {
    let (name, version) = split(named);
    if name != split(world.name).0 {
        return Err(LoadError::MissingExport {
            wanted: world.name.into(),
            found: vec![named.to_owned()],
        });
    }
    check_version(name, version)
}

/// Within a major (before 1.0: a minor) a host runs what was built for its own version or an older one.
fn check_version(interface: &str, version: Option<&str>) -> Result<(), LoadError> {
    let mismatch = |host_is_older| {
        LoadError::Version(VersionMismatch {
            interface: interface.to_owned(),
            component: version.unwrap_or("without a version").to_owned(),
            host: OFFERED.to_string(),
            host_is_older,
        })
    };
    let Some(asked) = version.and_then(|version| Version::parse(version).ok()) else {
        return Err(mismatch(false));
    };
    let same_major = if OFFERED.major == 0 {
        asked.major == 0 && asked.minor == OFFERED.minor
    } else {
        asked.major == OFFERED.major
    };
    if same_major && asked <= OFFERED {
        Ok(())
    } else {
        Err(mismatch(asked > OFFERED))
    }
}

/// An interface's name and its version.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(version: Option<&str>) -> String {
        check_version("transom:common/io", version)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_older_side_is_named() {
        assert!(check_version("transom:common/io", Some("0.1.0")).is_ok());
        assert!(says(Some("0.1.1")).ends_with("update the host"));
        assert!(says(Some("0.2.0")).ends_with("update the host"));
        assert!(says(Some("1.0.0")).ends_with("update the host"));
        assert!(says(Some("0.0.9")).ends_with("newer SDK"));
        assert!(says(None).contains("without a version"));
    }
}
