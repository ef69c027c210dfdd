//! `transom plugin new`: a plugin that builds, passes its tests and does something small, to be changed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::arguments::{Language, PluginNew, TemplateKind};
use crate::commands::{print, print_json};
use crate::failure::Failure;

/// A file of a template: where it goes, and what is in it.
type File = (&'static str, &'static str);

const SHARED: [File; 2] = [
    ("Cargo.toml", include_str!("templates/Cargo.toml")),
    (".gitignore", include_str!("templates/gitignore")),
];

fn files(kind: TemplateKind) -> &'static [File] {
    match kind {
        TemplateKind::Processor => &[
            ("src/lib.rs", include_str!("templates/processor/lib.rs")),
            ("plugin.toml", include_str!("templates/processor/plugin.toml")),
            (
                "cases/two-files/case.toml",
                include_str!("templates/processor/case.toml"),
            ),
            (
                "cases/two-files/expect.toml",
                include_str!("templates/processor/expect.toml"),
            ),
        ],
        TemplateKind::Storage => &[
            ("src/lib.rs", include_str!("templates/storage/lib.rs")),
            ("plugin.toml", include_str!("templates/storage/plugin.toml")),
        ],
        TemplateKind::Filter => &[
            ("src/lib.rs", include_str!("templates/filter/lib.rs")),
            ("plugin.toml", include_str!("templates/filter/plugin.toml")),
        ],
    }
}

pub(super) fn run(command: &PluginNew, as_json: bool) -> Result<(), Failure> {
    let Language::Rust = command.lang;
    let name = &command.name;
    check(name)?;
    let folder = command.folder.clone().unwrap_or_else(|| PathBuf::from(name));
    if folder.exists() {
        let text = format!(
            "{} is there already; a plugin is made in a new folder",
            folder.display()
        );
        return Err(Failure::usage(text));
    }
    let sdk = match &command.sdk {
        Some(path) => sdk_path(path)?,
        None => format!("{:?}", env!("CARGO_PKG_VERSION")),
    };
    for (place, text) in SHARED.iter().chain(files(command.kind)) {
        let text = text
            .replace("{name}", name)
            .replace("{type}", &type_of(name))
            .replace("{sdk}", &sdk);
        write(&folder.join(place), &text)?;
    }
    if as_json {
        return print_json(&json!({ "name": name, "folder": folder.display().to_string() }));
    }
    print(&format!(
        "{0} is a plugin of the kind {1}. Next:\n  cd {0}\n  cargo test\n  transom plugin build\n{2}  transom plugin check target/plugin/{name}\n",
        folder.display(),
        command.kind.as_str(),
        // The suite of drivers is `transom driver check`.
        match command.kind {
            TemplateKind::Processor => "  transom plugin test\n",
            TemplateKind::Storage | TemplateKind::Filter => "",
        },
    ))
}

/// The rule that the interfaces have for names.
fn check(name: &str) -> Result<(), Failure> {
    let good = name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    match good {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "a plugin's name has lower-case letters, digits and `-`, and begins with a letter: {name:?} does not"
        ))),
    }
}

/// The name as a type of Rust has it.
fn type_of(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(word).collect()
}

/// The dependency on an SDK in a folder.
fn sdk_path(path: &Path) -> Result<String, Failure> {
    let manifest = path.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).map_err(|error| Failure::io(manifest.display(), &error))?;
    if !text.contains("name = \"transom-sdk\"") {
        let text = format!("{} is not the folder of transom-sdk", path.display());
        return Err(Failure::usage(text));
    }
    let absolute = path
        .canonicalize()
        .map_err(|error| Failure::io(path.display(), &error))?;
    Ok(format!("{{ path = {:?} }}", absolute.display().to_string()))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io(path.display(), &error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_types_and_odd_ones_are_refused() {
        assert_eq!(type_of("my-scan2"), "MyScan2");
        assert_eq!(type_of("a--b"), "AB");
        for bad in ["", "Scan", "2scan", "my_scan", "../up"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check("my-scan").is_ok());
    }
}
