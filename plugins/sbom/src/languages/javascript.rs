//! npm and Yarn.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::json;
use crate::package::{Kind, Package};

/// Deeper trees of dependencies do not occur; npm itself flattens them.
const DEPTH_MAX: usize = 64;

#[derive(Deserialize)]
struct Lock {
    /// Since version 2: by the folder that each is installed in.
    #[serde(default)]
    packages: BTreeMap<String, Locked>,
    /// Before: by name, and in each those that it has for itself.
    #[serde(default)]
    dependencies: BTreeMap<String, Dependency>,
}

#[derive(Deserialize)]
struct Locked {
    name: Option<String>,
    version: Option<String>,
    license: Option<Value>,
    #[serde(default)]
    link: bool,
}

#[derive(Deserialize)]
struct Dependency {
    version: Option<String>,
    #[serde(default)]
    dependencies: BTreeMap<String, Dependency>,
}

/// `package-lock.json`.
pub(super) fn npm_lock(text: &str) -> Result<Vec<Package>, String> {
    let lock: Lock = json(text)?;
    let mut packages = Vec::new();
    for (place, locked) in &lock.packages {
        let Some((_, name)) = place.rsplit_once("node_modules/") else {
            continue;
        };
        let name = locked.name.as_deref().unwrap_or(name);
        if let Some(version) = locked.version.as_ref().filter(|_| !locked.link) {
            let mut package = Package::new(Kind::Npm, name, version);
            package.licence = locked.license.as_ref().and_then(licence);
            packages.push(package);
        }
    }
    if lock.packages.is_empty() {
        collect(&lock.dependencies, 0, &mut packages);
    }
    Ok(packages)
}

fn collect(dependencies: &BTreeMap<String, Dependency>, depth: usize, packages: &mut Vec<Package>) {
    for (name, dependency) in dependencies.iter().filter(|_| depth < DEPTH_MAX) {
        // A version may also be the address of a file.
        let version = dependency.version.as_ref();
        if let Some(version) =
            version.filter(|version| version.starts_with(|first: char| first.is_ascii_digit()))
        {
            packages.push(Package::new(Kind::Npm, name, version));
        }
        collect(&dependency.dependencies, depth + 1, packages);
    }
}

/// `yarn.lock` of Yarn 1: `"name@range", name@range:`, and `  version "1.2.3"` below it. That of later versions is YAML and
/// close enough to be read the same way.
pub(super) fn yarn_lock(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut name = None;
    for line in text.lines() {
        if !line.starts_with([' ', '#']) && line.ends_with(':') {
            name = yarn_name(line);
            continue;
        }
        let Some(version) = line.strip_prefix("  version") else {
            continue;
        };
        let version = version.trim_start_matches([':', ' ']).trim().trim_matches('"');
        if let Some(name) = name.take().filter(|_| version != "0.0.0-use.local") {
            packages.push(Package::new(Kind::Npm, name, version));
        }
    }
    packages
}

/// The name in `"@scope/name@npm:^1.0.0", …`.
fn yarn_name(line: &str) -> Option<&str> {
    let first = line
        .trim_end_matches(':')
        .split(',')
        .next()?
        .trim()
        .trim_matches('"');
    let at = first.get(1..)?.find('@')? + 1;
    Some(&first[..at])
}

/// Whether a folder is that of a package: `…/node_modules/name` or `…/node_modules/@scope/name`.
pub(super) fn is_package(folder: &str) -> bool {
    let Some((before, name)) = folder.rsplit_once("node_modules/") else {
        return false;
    };
    let is_below = before.is_empty() || before.ends_with('/');
    let scoped = name.starts_with('@') && name.matches('/').count() == 1;
    is_below && !name.is_empty() && (scoped || !name.contains('/'))
}

#[derive(Deserialize)]
struct Manifest {
    name: Option<String>,
    version: Option<String>,
    license: Option<Value>,
}

/// `package.json` of a package that is installed.
pub(super) fn package(text: &str) -> Result<Vec<Package>, String> {
    let manifest: Manifest = json(text)?;
    let (Some(name), Some(version)) = (manifest.name, manifest.version) else {
        return Ok(Vec::new());
    };
    let mut package = Package::new(Kind::Npm, name, version);
    package.licence = manifest.license.as_ref().and_then(licence);
    Ok(vec![package])
}

/// A licence is a text, or in old packages an object.
fn licence(value: &Value) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("type")?.as_str());
    text.map(str::to_owned)
}
