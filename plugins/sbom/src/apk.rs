//! Alpine's `lib/apk/db/installed`: blocks of lines that begin with a letter and a colon.

use crate::package::{Kind, Package};

/// The packages that are installed.
pub(crate) fn read(text: &str) -> Vec<Package> {
    let letter = |text: &str, letter: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(letter)?.strip_prefix(':').map(str::to_owned))
    };
    let packages = text.split("\n\n").filter_map(|block| {
        let mut package = Package::new(Kind::Apk, letter(block, "P")?, letter(block, "V")?);
        package.architecture = letter(block, "A");
        package.licence = letter(block, "L");
        package.source = letter(block, "o").filter(|origin| *origin != package.name);
        Some(package)
    });
    packages.collect()
}
