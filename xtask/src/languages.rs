//! Plugins in other languages than Rust: getting their compilers, and building what is under `plugins/` with them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use transom_guests::{Language, Project, Tools};
use transom_oci::{Algorithm, Digest};
use transom_tests::needs::{CLANG, find_program, js_folder, python_folder, target_dir, workspace_dir};

use crate::debian;
use crate::plugins::put;
use crate::python;
use crate::run::{Error, Result, file_error, run_quietly};

/// Downloads included; a server that does not answer must not stop the build for long.
const NPM_MAX: Duration = Duration::from_secs(300);

/// What components are made of, besides the plugin's own folder.
const SHARED: [&str; 3] = ["wit", "sdk", "host/guests/src"];

/// Gets the compilers. What cannot be had is said: plugins in that language are left out, and tests that need it are skipped.
pub(crate) fn get_compilers() {
    for (language, got) in [
        ("C", clang()),
        ("JavaScript", npm()),
        ("Python", python::get("componentize-py")),
    ] {
        match got {
            Ok(()) => println!("compiler for plugins in {language}: there"),
            Err(reason) => println!("compiler for plugins in {language}: missing ({reason})"),
        }
    }
}

/// Where the compilers are that do not come from Debian.
fn tools() -> Tools {
    Tools {
        folders: vec![
            js_folder().join("node_modules/.bin"),
            python_folder("componentize-py").join("bin"),
        ],
    }
}

fn clang() -> Result<(), String> {
    let missing = CLANG.iter().filter(|(file, _)| !Path::new(file).exists());
    let packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    match packages.is_empty() {
        true => Ok(()),
        false => debian::install(&packages)
            .map_err(|reason| format!("{reason}; {}", debian::install_line(&packages))),
    }
}

/// Installs what `sdk/js/package-lock.json` pins, unless just that was installed already.
fn npm() -> Result<(), String> {
    let folder = js_folder();
    let fault = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    let lock = workspace_dir().join("sdk/js/package-lock.json");
    let wanted = fs::read(&lock).map_err(|error| fault(&lock, error))?;
    // Written last, so that an installation that was cut off is done again.
    let installed = folder.join("installed.json");
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if find_program("npm").is_none() {
        debian::install(&["nodejs", "npm"])?;
    }
    println!("installing npm packages: {}", lock.display());
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).map_err(|error| fault(&folder, error))?;
    for name in ["package.json", "package-lock.json"] {
        let from = lock.with_file_name(name);
        fs::copy(&from, folder.join(name)).map_err(|error| fault(&from, error))?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    run_quietly(npm.current_dir(&folder), NPM_MAX)?;
    fs::write(&installed, wanted).map_err(|error| fault(&installed, error))
}

/// Builds every plugin that is not in Rust, unless it was built of the same files already. One of which the compiler is missing is left
/// out, and that is said.
pub(crate) fn build() -> Result<()> {
    get_compilers();
    for folder in folders(&workspace_dir().join("plugins"))? {
        let project = Project::read(&folder).map_err(|error| Error::Other(error.to_string()))?;
        match build_one(&project) {
            Ok(text) => println!("plugin {}: {text}", project.name),
            Err(Fault::Missing(reason)) => println!("plugin {}: left out, {reason}", project.name),
            Err(Fault::Other(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Why a plugin was not built.
enum Fault {
    /// There is no compiler.
    Missing(String),
    /// It does not build.
    Other(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Other(error)
    }
}

fn build_one(project: &Project) -> Result<String, Fault> {
    let out = target_dir().join("plugins").join(&project.name);
    let file = out.join(format!("{}.wasm", project.name));
    let memory = target_dir().join("xtask").join(format!("built-{}", project.name));
    let key = key(&project.folder)?;
    if file.is_file() && fs::read_to_string(&memory).is_ok_and(|built| built == key) {
        return Ok(format!("built already, {}", file.display()));
    }
    let work = target_dir().join("guests/other").join(&project.name);
    let built = transom_guests::build(project, &tools(), &work).map_err(|error| match error {
        transom_guests::Error::Tool { .. } => Fault::Missing(error.to_string()),
        error => Fault::Other(Error::Other(format!("plugin {}: {error}", project.name))),
    })?;
    if !built.warnings.is_empty() {
        println!("{}", built.warnings);
    }
    for folder in [&out, &target_dir().join("xtask")] {
        fs::create_dir_all(folder).map_err(file_error(folder))?;
    }
    put(&file, &built.component).map_err(file_error(&file))?;
    let manifest = project.folder.join("plugin.toml");
    let text = fs::read(&manifest).map_err(file_error(&manifest))?;
    put(&out.join("plugin.toml"), &text).map_err(file_error(&out))?;
    fs::write(&memory, key).map_err(file_error(&memory))?;
    Ok(format!("{} KB, {}", built.component.len() / 1000, file.display()))
}

/// The folders of plugins in other languages, in the order of their names.
fn folders(plugins: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(plugins).map_err(file_error(plugins))?;
    let mut folders: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|folder| Language::of(folder).is_some_and(|language| language != Language::Rust))
        .collect();
    folders.sort();
    Ok(folders)
}

/// A digest of every file that a component is made of.
fn key(plugin: &Path) -> Result<String> {
    let mut folders: Vec<PathBuf> = SHARED.iter().map(|name| workspace_dir().join(name)).collect();
    folders.extend([
        plugin.to_owned(),
        workspace_dir().join("tests/python/componentize-py.txt"),
    ]);
    let mut files = Vec::new();
    while let Some(path) = folders.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).map_err(file_error(&path))?;
            folders.extend(entries.flatten().map(|entry| entry.path()));
        } else {
            files.push(path);
        }
    }
    files.sort();
    let mut all = Vec::new();
    for path in files {
        let bytes = fs::read(&path).map_err(file_error(&path))?;
        all.extend_from_slice(path.to_string_lossy().as_bytes());
        all.extend_from_slice(Digest::of(Algorithm::Sha256, &bytes).to_string().as_bytes());
    }
    Ok(Digest::of(Algorithm::Sha256, &all).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_of_other_languages_are_told_apart() {
        let plugins = tempfile::tempdir().unwrap();
        for (name, file) in [
            ("rust", "Cargo.toml"),
            ("b", "package.json"),
            ("a", "src/a.c"),
            ("notes", "x.md"),
        ] {
            let file = plugins.path().join(name).join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let found = folders(plugins.path()).unwrap();
        assert_eq!(found, [plugins.path().join("a"), plugins.path().join("b")]);
    }

    #[test]
    fn what_changes_in_a_source_changes_the_key() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.c"), "1").unwrap();
        let first = key(folder.path()).unwrap();
        assert_eq!(key(folder.path()).unwrap(), first);
        fs::write(folder.path().join("a.c"), "2").unwrap();
        assert_ne!(key(folder.path()).unwrap(), first);
    }
}
