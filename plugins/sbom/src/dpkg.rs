//! Debian's `var/lib/dpkg/status`, and the pieces of it that images without dpkg have in `status.d`.

use crate::fields::blocks;
use crate::package::{Kind, Package};

/// The packages that are installed. Those that were removed and left their configuration are not.
pub(crate) fn read(text: &str) -> Vec<Package> {
    let packages = blocks(text).filter_map(|block| {
        let is_installed = block
            .get("Status")
            .is_none_or(|status| status.ends_with(" installed"));
        let mut package = Package::new(Kind::Deb, block.get("Package")?, block.get("Version")?);
        package.architecture = block.get("Architecture").map(str::to_owned);
        // `name (version)`, where the version differs.
        let source = block
            .get("Source")
            .and_then(|source| source.split_whitespace().next());
        package.source = source.map(str::to_owned);
        is_installed.then_some(package)
    });
    packages.collect()
}
