//! Bundler.

use crate::package::{Kind, Package};

/// `Gemfile.lock`: below `GEM` and `specs:`, lines with four spaces: `name (1.2.3)`. Those with six are what a gem needs.
pub(super) fn gemfile_lock(text: &str) -> Vec<Package> {
    let mut in_gem = false;
    let mut packages = Vec::new();
    for line in text.lines() {
        if !line.starts_with(' ') {
            in_gem = line.trim() == "GEM";
        }
        let Some(gem) = line
            .strip_prefix("    ")
            .filter(|gem| in_gem && !gem.starts_with(' '))
        else {
            continue;
        };
        let version = gem.trim().strip_suffix(')').and_then(|gem| gem.split_once(" ("));
        packages.extend(version.map(|(name, version)| Package::new(Kind::Gem, name, version)));
    }
    packages
}
