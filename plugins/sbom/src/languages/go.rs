//! Go modules.

use crate::package::{Kind, Package};

/// `go.mod`: what `require` names, in one line or in brackets.
pub(super) fn go_mod(text: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    let mut in_require = false;
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let required = match line.strip_prefix("require") {
            Some(rest) if rest.trim() == "(" => {
                in_require = true;
                continue;
            }
            Some(rest) if rest.starts_with([' ', '\t']) => rest,
            _ if line == ")" => {
                in_require = false;
                continue;
            }
            _ if in_require => line,
            _ => continue,
        };
        let mut words = required.split_whitespace();
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            packages.push(Package::new(Kind::Golang, name.trim_matches('"'), version));
        }
    }
    packages
}
