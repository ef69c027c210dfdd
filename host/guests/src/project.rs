//! What a folder says of the plugin in it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{self, Error};

/// The languages of plugins, told apart by a file in the folder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Language {
    /// `Cargo.toml`.
    Rust,
    /// C files in `src`, and none of the other files.
    C,
    /// `package.json`.
    JavaScript,
    /// `pyproject.toml`.
    Python,
}

/// The kinds of plugins, as `plugin.toml` has them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A stage in the way of a layer's bytes.
    Processor,
    /// A label filter.
    Filter,
    /// A storage driver.
    Driver,
}

impl Kind {
    /// As `plugin.toml` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Processor => "processor",
            Kind::Filter => "filter",
            Kind::Driver => "driver",
        }
    }
}

/// A media type that a processor accepts, and the one that it returns.
#[derive(Clone, Debug, Deserialize)]
pub struct Conversion {
    /// The one.
    pub accepts: String,
    /// The other.
    pub returns: String,
}

/// The parts of `plugin.toml` that are built into the component. The host reads the rest, and checks all of it.
#[derive(Clone, Debug, Deserialize)]
struct Words {
    name: String,
    version: String,
    kind: Kind,
    #[serde(default)]
    converts: Vec<Conversion>,
    #[serde(default)]
    capabilities: Vec<String>,
}

/// A plugin's source.
#[derive(Clone, Debug)]
pub struct Project {
    /// Where it is.
    pub folder: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// The plugin's name.
    pub name: String,
    /// The plugin's version.
    pub version: String,
    /// What kind of plugin it is.
    pub kind: Kind,
    /// What a processor makes of what.
    pub converts: Vec<Conversion>,
    /// What it asks for.
    pub capabilities: Vec<String>,
}

impl Project {
    /// Looks at a folder.
    ///
    /// # Errors
    ///
    /// [`Error::Manifest`], [`Error::Language`], [`Error::File`].
    pub fn read(folder: &Path) -> Result<Project, Error> {
        let path = folder.join("plugin.toml");
        let text = fs::read_to_string(&path).map_err(error::file(&path))?;
        let words: Words = toml::from_str(&text).map_err(|error| Error::Manifest {
            path,
            reason: error.message().to_owned(),
        })?;
        let language = Language::of(folder).ok_or_else(|| Error::Language {
            folder: folder.to_owned(),
            reason: "there is no Cargo.toml, package.json or pyproject.toml, and no C file in src",
        })?;
        Ok(Project {
            folder: folder.to_owned(),
            language,
            name: words.name,
            version: words.version,
            kind: words.kind,
            converts: words.converts,
            capabilities: words.capabilities,
        })
    }

    /// Whether it asks for a power.
    pub(crate) fn asks_for(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|asked| asked == capability)
    }

    /// The files of its source with one of these extensions, in `src` and below, with their paths from there, sorted.
    pub(crate) fn sources(&self, extensions: &[&str]) -> Result<Vec<PathBuf>, Error> {
        let top = self.folder.join("src");
        let mut found = Vec::new();
        let mut folders = vec![top.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(error::file(&folder))? {
                let path = entry.map_err(error::file(&folder))?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if extension_of(&path).is_some_and(|extension| extensions.contains(&extension)) {
                    found.extend(path.strip_prefix(&top).map(Path::to_owned));
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

impl Language {
    /// What the plugin in a folder is written in.
    pub fn of(folder: &Path) -> Option<Language> {
        let files = [
            ("Cargo.toml", Language::Rust),
            ("package.json", Language::JavaScript),
            ("pyproject.toml", Language::Python),
        ];
        let found = files.into_iter().find(|(file, _)| folder.join(file).is_file());
        found.map(|(_, language)| language).or_else(|| {
            let mut entries = fs::read_dir(folder.join("src")).ok()?.flatten();
            let is_c = entries.any(|entry| extension_of(&entry.path()) == Some("c"));
            is_c.then_some(Language::C)
        })
    }
}

/// The extension of a file's name.
pub(crate) fn extension_of(path: &Path) -> Option<&str> {
    path.extension().and_then(|extension| extension.to_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_told_by_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(
            at("plugin.toml"),
            "name = \"x\"\nversion = \"1.0.0\"\nkind = \"filter\"\n",
        )
        .unwrap();
        assert!(matches!(
            Project::read(folder.path()),
            Err(Error::Language { .. })
        ));
        fs::create_dir_all(at("src/deep")).unwrap();
        fs::write(at("src/b.c"), "").unwrap();
        fs::write(at("src/deep/a.c"), "").unwrap();
        fs::write(at("src/notes"), "").unwrap();
        let project = Project::read(folder.path()).unwrap();
        assert_eq!((project.language, project.kind), (Language::C, Kind::Filter));
        let sources = project.sources(&["c"]).unwrap();
        assert_eq!(sources, [Path::new("b.c"), Path::new("deep/a.c")]);
        for (file, language) in [
            ("pyproject.toml", Language::Python),
            ("package.json", Language::JavaScript),
            ("Cargo.toml", Language::Rust),
        ] {
            fs::write(at(file), "").unwrap();
            assert_eq!(Language::of(folder.path()), Some(language));
        }
    }

    #[test]
    fn a_mistake_in_the_manifest_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("plugin.toml"),
            "name = \"x\"\nkind = \"poem\"\n",
        )
        .unwrap();
        let error = Project::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("plugin.toml: "), "{error}");
        assert!(error.contains("poem"), "{error}");
    }
}
