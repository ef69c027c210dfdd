//! `transom plugin new`: a plugin that builds, passes its tests and does something small, to be changed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::arguments::{Language, PluginNew, TemplateKind};
use crate::commands::{print, print_json};
use crate::failure::Failure;

/// A file of a template: where it goes, and what is in it.
type File = (&'static str, &'static str);

const IGNORED: File = (".gitignore", include_str!("templates/gitignore"));

/// What a language needs beside the source.
fn files_of_language(language: Language) -> &'static [File] {
    match language {
        Language::Rust => &[("Cargo.toml", include_str!("templates/Cargo.toml"))],
        Language::C => &[],
        Language::Js => &[("package.json", include_str!("templates/js/package.json"))],
        Language::Python => &[
            ("pyproject.toml", include_str!("templates/python/pyproject.toml")),
            (
                "requirements.txt",
                include_str!("templates/python/requirements.txt"),
            ),
        ],
    }
}

/// What a kind needs in every language.
fn files_of_kind(kind: TemplateKind) -> &'static [File] {
    match kind {
        TemplateKind::Processor => &[
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
        // The cases of drivers are those of the conformance suite.
        TemplateKind::Storage => &[("plugin.toml", include_str!("templates/storage/plugin.toml"))],
        TemplateKind::Filter => &[
            ("plugin.toml", include_str!("templates/filter/plugin.toml")),
            (
                "cases/by-size/case.toml",
                include_str!("templates/filter/case.toml"),
            ),
        ],
    }
}

fn source(language: Language, kind: TemplateKind) -> File {
    use TemplateKind::{Filter, Processor, Storage};
    match (language, kind) {
        (Language::Rust, Processor) => ("src/lib.rs", include_str!("templates/processor/lib.rs")),
        (Language::Rust, Storage) => ("src/lib.rs", include_str!("templates/storage/lib.rs")),
        (Language::Rust, Filter) => ("src/lib.rs", include_str!("templates/filter/lib.rs")),
        (Language::C, Processor) => ("src/plugin.c", include_str!("templates/c/processor.c")),
        (Language::C, Storage) => ("src/plugin.c", include_str!("templates/c/storage.c")),
        (Language::C, Filter) => ("src/plugin.c", include_str!("templates/c/filter.c")),
        (Language::Js, Processor) => ("src/plugin.js", include_str!("templates/js/processor.js")),
        (Language::Js, Storage) => ("src/plugin.js", include_str!("templates/js/storage.js")),
        (Language::Js, Filter) => ("src/plugin.js", include_str!("templates/js/filter.js")),
        (Language::Python, Processor) => ("src/plugin.py", include_str!("templates/python/processor.py")),
        (Language::Python, Storage) => ("src/plugin.py", include_str!("templates/python/storage.py")),
        (Language::Python, Filter) => ("src/plugin.py", include_str!("templates/python/filter.py")),
    }
}

pub(super) fn run(command: &PluginNew, as_json: bool) -> Result<(), Failure> {
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
        Some(_) if command.lang != Language::Rust => {
            return Err(Failure::usage(
                "--sdk is for Rust: the other languages' are in this command",
            ));
        }
        Some(path) => sdk_path(path)?,
        None => format!("{:?}", env!("CARGO_PKG_VERSION")),
    };
    let source = source(command.lang, command.kind);
    let files = files_of_language(command.lang)
        .iter()
        .chain(files_of_kind(command.kind));
    for (place, text) in files.chain([&IGNORED, &source]) {
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
        "{0} is a plugin of the kind {1}. Next:\n  cd {0}\n{2}  transom plugin build\n  transom plugin test\n  transom plugin check target/plugin/{name}\n",
        folder.display(),
        command.kind.as_str(),
        first_steps(command.lang),
    ))
}

/// What comes before the first build.
fn first_steps(language: Language) -> &'static str {
    match language {
        Language::Rust => "  cargo test\n",
        Language::C => {
            "  sudo apt-get install --no-install-recommends clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32\n"
        }
        Language::Js => "  npm install\n",
        Language::Python => "  python3 -m venv .venv && .venv/bin/pip install -r requirements.txt\n",
    }
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
