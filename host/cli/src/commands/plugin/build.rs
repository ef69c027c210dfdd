//! `transom plugin build`: the project in a folder, by the compiler of its language, and the component that becomes of it.

use std::fs;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use transom_guests::{Language, Project, Tools, component};
use transom_plugin::Manifest;

use super::check;
use crate::arguments::PluginBuild;
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::show::size;

/// What guests are compiled for.
const TARGET: &str = "wasm32-unknown-unknown";

pub(super) fn run(command: &PluginBuild, as_json: bool) -> Result<(), Failure> {
    let folder = &command.folder;
    let manifest_path = folder.join("plugin.toml");
    let text =
        fs::read_to_string(&manifest_path).map_err(|error| Failure::io(manifest_path.display(), &error))?;
    let manifest = Manifest::parse(&text, &manifest_path)?;
    let component = make(folder)?;
    let out = command
        .out
        .clone()
        .unwrap_or_else(|| folder.join("target/plugin").join(&manifest.name));
    fs::create_dir_all(&out).map_err(|error| Failure::io(out.display(), &error))?;
    let name = manifest
        .component
        .clone()
        .unwrap_or_else(|| format!("{}.wasm", manifest.name));
    put(&out.join(&name), &component)?;
    put(&out.join("plugin.toml"), text.as_bytes())?;
    // What would not be loaded is said here, and not by whoever gets it.
    check::load(&out, manifest.kind)?;
    if as_json {
        return print_json(&json!({
            "name": manifest.name,
            "folder": out.display().to_string(),
            "size": component.len(),
        }));
    }
    print(&format!(
        "{}  {}\n",
        out.join(name).display(),
        size(component.len() as u64)
    ))
}

/// The component of the project in a folder. Messages of compilers go to stderr.
fn make(folder: &Path) -> Result<Vec<u8>, Failure> {
    let project = Project::read(folder)?;
    if project.language == Language::Rust {
        let core = compile(folder)?;
        let module = fs::read(&core).map_err(|error| Failure::io(core.display(), &error))?;
        let text = "does it call register_processor!, or the like?";
        return component::of_module(&module).map_err(|error| Failure::from(error).about(text));
    }
    let built = transom_guests::build(&project, &Tools::default(), &folder.join("target/build"))?;
    if !built.warnings.is_empty() {
        eprintln!("{}", built.warnings);
    }
    Ok(built.component)
}

/// Runs cargo, whose messages go to stderr, and gives the module that it made.
fn compile(folder: &Path) -> Result<PathBuf, Failure> {
    let mut child = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        // In place of flags meant for programs of this machine.
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", transom_guests::RUST_FLAGS)
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| {
            Failure::io(
                "cannot start cargo, which comes with Rust (https://rustup.rs)",
                &error,
            )
        })?;
    let mut module = None;
    if let Some(stdout) = child.stdout.take() {
        for line in std::io::BufReader::new(stdout).lines().map_while(Result::ok) {
            module = module_of(&line).or(module);
        }
    }
    let status = child.wait().map_err(|error| Failure::io("cargo", &error))?;
    if !status.success() {
        let text = format!("cargo build failed; if it lacks the target, type `rustup target add {TARGET}`");
        return Err(Failure::new(Kind::Other, text));
    }
    module.ok_or_else(|| {
        let text = format!(
            "{} makes no module: [lib] in Cargo.toml needs crate-type = [\"cdylib\", \"rlib\"]",
            folder.display()
        );
        Failure::usage(text)
    })
}

/// The module that a message of cargo is about, if it is about one.
fn module_of(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let kinds = message["target"]["kind"].as_array()?;
    let is_module = message["reason"] == "compiler-artifact" && kinds.iter().any(|kind| kind == "cdylib");
    let mut files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let file = files.find(|file| file.ends_with(".wasm"))?;
    is_module.then(|| PathBuf::from(file))
}

/// Replaces a file in one step.
fn put(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io(path.display(), &error);
    let new = path.with_extension("new");
    fs::write(&new, bytes).map_err(failed)?;
    fs::rename(new, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_found_in_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["cdylib","rlib"]},"filenames":["/t/a.wasm","/t/liba.rlib"]}"#;
        assert_eq!(module_of(line), Some(PathBuf::from("/t/a.wasm")));
        for other in [
            r#"{"reason":"compiler-artifact","target":{"kind":["lib"]},"filenames":["/t/a.rlib"]}"#,
            r#"{"reason":"build-finished","success":true}"#,
            "no JSON",
        ] {
            assert_eq!(module_of(other), None);
        }
    }
}
