//! Composer.

use serde::Deserialize;

use super::json;
use crate::package::{Kind, Package};

/// `installed.json` of Composer 1 is a list by itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Document {
    Packages {
        packages: Vec<Locked>,
        #[serde(default, rename = "packages-dev")]
        development: Vec<Locked>,
    },
    List(Vec<Locked>),
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    #[serde(default)]
    license: Vec<String>,
}

/// `composer.lock` and `installed.json`.
pub(super) fn composer(text: &str) -> Result<Vec<Package>, String> {
    let packages = match json(text)? {
        Document::Packages {
            mut packages,
            development,
        } => {
            packages.extend(development);
            packages
        }
        Document::List(packages) => packages,
    };
    let packages = packages.into_iter().map(|locked| {
        let version = locked.version.strip_prefix('v').unwrap_or(&locked.version);
        let mut package = Package::new(Kind::Composer, locked.name, version);
        package.licence = (!locked.license.is_empty()).then(|| locked.license.join(" OR "));
        package
    });
    Ok(packages.collect())
}
