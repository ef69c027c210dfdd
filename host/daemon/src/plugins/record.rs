//! The list of installed plugins: a small file, written in one step, that says which version of each is used, in the order in which
//! layers meet them. `docs/formats/installed-plugins.md` has its form.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use transom_oci::Digest;
use transom_plugin::manifest::PluginKind;

use crate::limits::RECORD_BYTES;

use super::trouble::Trouble;

/// The form that this program writes and reads.
const FORM: u32 = 1;

/// What is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    form: u32,
    /// In the order in which they were installed first.
    pub plugins: Vec<Item>,
}

/// An installed plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: PluginKind,
    /// The version that is used.
    pub current: Pin,
    /// The one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Pin>,
}

/// A version of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The version.
    pub version: String,
    /// The manifest of the artifact.
    pub manifest: Digest,
    /// The component.
    pub component: Digest,
    /// Where it came from.
    pub source: String,
    /// When it was installed, in seconds since 1970.
    pub installed: u64,
    /// Manifests of its signatures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Digest>,
}

impl Pin {
    /// When it was installed.
    #[must_use]
    pub fn at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.installed)
    }

    /// The name of the image that keeps it from being collected.
    #[must_use]
    pub fn image(&self, name: &str) -> String {
        format!("{name}@{}", self.manifest)
    }
}

impl Default for Record {
    fn default() -> Self {
        Record {
            form: FORM,
            plugins: Vec::new(),
        }
    }
}

impl Item {
    /// The versions that are kept, the current one first.
    pub fn pins(&self) -> impl Iterator<Item = &Pin> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
    }
}

impl Record {
    /// Reads it; nothing is installed if it is not there.
    ///
    /// # Errors
    /// [`Trouble::Record`].
    pub fn read(path: &Path) -> Result<Record, Trouble> {
        let failed = |source| Trouble::Record {
            path: path.to_path_buf(),
            source,
        };
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
            Ok(found) if found.len() > RECORD_BYTES => {
                return Err(failed(io::Error::other(format!(
                    "it has more than {RECORD_BYTES} bytes"
                ))));
            }
            _ => fs::read(path).map_err(failed)?,
        };
        let record: Record = serde_json::from_slice(&text).map_err(|error| failed(error.into()))?;
        if record.form != FORM {
            let message = format!("it has the form {}, this program knows {FORM}", record.form);
            return Err(failed(io::Error::other(message)));
        }
        Ok(record)
    }

    /// Writes it, so that after a power cut there is either this one or the one before.
    ///
    /// # Errors
    /// [`Trouble::Record`].
    pub fn write(&self, path: &Path) -> Result<(), Trouble> {
        self.try_write(path).map_err(|source| Trouble::Record {
            path: path.to_path_buf(),
            source,
        })
    }

    fn try_write(&self, path: &Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let new: PathBuf = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        File::open(folder)?.sync_all()
    }

    /// The plugin of a name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Item> {
        self.plugins.iter().find(|item| item.name == name)
    }

    /// The same with a version as the current one; what was current is the one to go back to.
    #[must_use]
    pub fn with(&self, name: &str, kind: PluginKind, pin: Pin) -> Record {
        let mut record = self.clone();
        match record.plugins.iter_mut().find(|item| item.name == name) {
            Some(item) if item.current.manifest == pin.manifest => item.current = pin,
            Some(item) => item.previous = Some(std::mem::replace(&mut item.current, pin)),
            None => record.plugins.push(Item {
                name: name.to_owned(),
                kind,
                current: pin,
                previous: None,
            }),
        }
        record
    }

    /// The same without a plugin.
    #[must_use]
    pub fn without(&self, name: &str) -> Record {
        let mut record = self.clone();
        record.plugins.retain(|item| item.name != name);
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transom_oci::Algorithm;

    const FILTER: PluginKind = PluginKind::Filter;

    fn pin(version: &str) -> Pin {
        let digest = Digest::of(Algorithm::Sha256, version.as_bytes());
        Pin {
            version: version.to_owned(),
            manifest: digest.clone(),
            component: digest,
            source: "x".to_owned(),
            installed: 7,
            signatures: Vec::new(),
        }
    }

    #[test]
    fn the_version_before_is_kept_and_the_order_stays() {
        let record = Record::default()
            .with("b", FILTER, pin("1"))
            .with("a", FILTER, pin("1"))
            .with("b", FILTER, pin("2"));
        let again = record.with("b", FILTER, pin("2"));
        assert_eq!(record, again, "the same version twice changes nothing");
        let names: Vec<&str> = record.plugins.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        let item = record.find("b").expect("it is there");
        let versions: Vec<&str> = item.pins().map(|pin| pin.version.as_str()).collect();
        assert_eq!(versions, ["2", "1"]);
        assert!(record.without("b").find("b").is_none());
    }

    #[test]
    fn it_is_read_as_it_was_written_and_a_newer_form_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/installed.json");
        assert_eq!(Record::read(&path).expect("none is fine"), Record::default());
        let record = Record::default()
            .with("a", FILTER, pin("1"))
            .with("a", FILTER, pin("2"));
        record.write(&path).expect("written");
        assert_eq!(Record::read(&path).expect("read"), record);
        fs::write(&path, r#"{"form":2,"plugins":[]}"#).expect("written");
        let text = Record::read(&path).expect_err("another form").to_string();
        assert!(text.contains("form 2"), "{text}");
    }
}
