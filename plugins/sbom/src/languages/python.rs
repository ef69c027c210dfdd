//! Python: what is installed, and the lock files of Poetry and Pipenv.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::json;
use crate::fields::blocks;
use crate::package::{Kind, Package};

/// `METADATA` and `PKG-INFO`: the first block of them.
pub(super) fn package(text: &str) -> Vec<Package> {
    let package = blocks(text).next().and_then(|block| {
        let mut package = Package::new(Kind::Pypi, block.get("Name")?, block.get("Version")?);
        let licence = block.get("License-Expression").or_else(|| block.get("License"));
        // Some put the whole text there.
        package.licence = licence.filter(|text| text.len() <= 100).map(str::to_owned);
        Some(package)
    });
    package.into_iter().collect()
}

/// `requirements.txt`: lines such as `name[extra]==1.0 ; python_version > "3"`. Others name no version.
pub(super) fn requirements(text: &str) -> Vec<Package> {
    let packages = text.lines().filter_map(|line| {
        let line = line.split(['#', ';']).next()?.trim();
        let (name, version) = line.split_once("==")?;
        let name = name.trim_end_matches('=').split('[').next()?.trim();
        let version = version
            .trim_start_matches('=')
            .split([' ', ',', '\\'])
            .find(|part| !part.is_empty())?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let fits = !name.is_empty() && name.bytes().all(is_name) && !version.contains('*');
        fits.then(|| Package::new(Kind::Pypi, name, version))
    });
    packages.collect()
}

#[derive(Deserialize)]
struct Poetry {
    #[serde(default)]
    package: Vec<PoetryPackage>,
}

#[derive(Deserialize)]
struct PoetryPackage {
    name: String,
    version: String,
}

/// `poetry.lock`.
pub(super) fn poetry_lock(text: &str) -> Result<Vec<Package>, String> {
    let lock: Poetry = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let packages = lock.package.into_iter();
    Ok(packages
        .map(|package| Package::new(Kind::Pypi, package.name, package.version))
        .collect())
}

#[derive(Deserialize)]
struct Pipfile {
    #[serde(default)]
    default: BTreeMap<String, PipfilePackage>,
    #[serde(default)]
    develop: BTreeMap<String, PipfilePackage>,
}

#[derive(Deserialize)]
struct PipfilePackage {
    version: Option<String>,
}

/// `Pipfile.lock`.
pub(super) fn pipfile_lock(text: &str) -> Result<Vec<Package>, String> {
    let lock: Pipfile = json(text)?;
    let all = lock.default.into_iter().chain(lock.develop);
    let packages = all.filter_map(|(name, package)| {
        let version = package.version?;
        Some(Package::new(Kind::Pypi, name, version.trim_start_matches('=')))
    });
    Ok(packages.collect())
}
