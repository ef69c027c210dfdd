//! The packages of programming languages: lock files, and what says that a package is installed.

mod go;
mod javascript;
mod php;
mod python;
mod ruby;
mod rust;

use crate::package::Package;

/// A file that says which packages there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Language {
    /// `package-lock.json` of npm.
    NpmLock,
    /// `yarn.lock` of Yarn 1.
    YarnLock,
    /// `package.json` of a package below `node_modules`.
    NodePackage,
    /// `METADATA` of a wheel, `PKG-INFO` of an egg.
    PythonPackage,
    /// `requirements.txt`, those lines that name one version.
    Requirements,
    /// `poetry.lock`.
    PoetryLock,
    /// `Pipfile.lock`.
    PipfileLock,
    /// `Cargo.lock`.
    CargoLock,
    /// `go.mod`.
    GoMod,
    /// `Gemfile.lock`.
    GemfileLock,
    /// `composer.lock`, and `vendor/composer/installed.json`.
    Composer,
}

impl Language {
    /// By the path of a file.
    pub(crate) fn at(path: &str) -> Option<Language> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Some(match name {
            "package-lock.json" | ".package-lock.json" => Language::NpmLock,
            "yarn.lock" => Language::YarnLock,
            "package.json" if javascript::is_package(folder) => Language::NodePackage,
            "METADATA" if folder.ends_with(".dist-info") => Language::PythonPackage,
            "PKG-INFO" if folder.ends_with(".egg-info") => Language::PythonPackage,
            "requirements.txt" => Language::Requirements,
            "poetry.lock" => Language::PoetryLock,
            "Pipfile.lock" => Language::PipfileLock,
            "Cargo.lock" => Language::CargoLock,
            "go.mod" => Language::GoMod,
            "Gemfile.lock" => Language::GemfileLock,
            "composer.lock" => Language::Composer,
            "installed.json" if folder.ends_with("vendor/composer") => Language::Composer,
            _ => return None,
        })
    }
}

/// The packages that a file names, or why it cannot be read.
pub(crate) fn read(language: Language, text: &str) -> Result<Vec<Package>, String> {
    match language {
        Language::NpmLock => javascript::npm_lock(text),
        Language::YarnLock => Ok(javascript::yarn_lock(text)),
        Language::NodePackage => javascript::package(text),
        Language::PythonPackage => Ok(python::package(text)),
        Language::Requirements => Ok(python::requirements(text)),
        Language::PoetryLock => python::poetry_lock(text),
        Language::PipfileLock => python::pipfile_lock(text),
        Language::CargoLock => rust::cargo_lock(text),
        Language::GoMod => Ok(go::go_mod(text)),
        Language::GemfileLock => Ok(ruby::gemfile_lock(text)),
        Language::Composer => php::composer(text),
    }
}

/// A document in JSON, or what is wrong with it.
fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| error.to_string())
}
