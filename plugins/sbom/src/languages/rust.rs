//! Cargo.

use serde::Deserialize;

use crate::package::{Kind, Package};

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
}

/// `Cargo.lock`.
pub(super) fn cargo_lock(text: &str) -> Result<Vec<Package>, String> {
    let lock: Lock = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let packages = lock.package.into_iter();
    Ok(packages
        .map(|package| Package::new(Kind::Cargo, package.name, package.version))
        .collect())
}
