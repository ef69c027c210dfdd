//! `plugins.lock`: what is installed, sorted by name.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use transom_oci::Digest;

use super::{InstalledError, New, io_error};
use crate::artifact::Trust;
use crate::limits::{INSTALLED_MAX, LOCK_BYTES_MAX};
use crate::manifest::PluginKind;

/// The form of the file that this program writes and reads.
const FORM: u32 = 1;

/// What stands above it.
const HEAD: &str =
    "# What is installed here. `transom plugin install`, `remove` and `rollback` write this file.\n";

/// What is installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    form: u32,
    /// One for each name, sorted.
    #[serde(default, rename = "plugin")]
    pub plugins: Vec<Entry>,
}

impl Default for Lock {
    fn default() -> Lock {
        Lock {
            form: FORM,
            plugins: Vec::new(),
        }
    }
}

/// An installed plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: PluginKind,
    /// The version that is used.
    #[serde(flatten)]
    pub current: Pin,
    /// The one before, for a roll back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Pin>,
}

impl Entry {
    /// The versions that are kept, the current one first.
    pub fn pins(&self) -> impl Iterator<Item = &Pin> {
        [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
    }
}

/// One version of a plugin, by its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The version.
    pub version: String,
    /// The manifest of the artifact.
    pub digest: Digest,
    /// The component.
    pub component: Digest,
    /// Where it comes from: a name in a registry, a layout or a file.
    pub source: String,
    /// The world that it was built for.
    pub world: String,
    /// The trusted keys with which it was signed.
    #[serde(default, rename = "signed-by", skip_serializing_if = "Vec::is_empty")]
    pub signed_by: Vec<String>,
}

impl Pin {
    pub(super) fn of(new: &New<'_>) -> Pin {
        Pin {
            version: new.version.to_owned(),
            digest: new.artifact.digest().clone(),
            component: new.artifact.component_digest.clone(),
            source: new.source.to_owned(),
            world: new.artifact.world.clone(),
            signed_by: match new.trust {
                Trust::Signed(keys) => keys.clone(),
                Trust::Unsigned => Vec::new(),
            },
        }
    }
}

impl Lock {
    /// Reads a lock file; nothing is installed if there is none.
    ///
    /// # Errors
    ///
    /// [`InstalledError::Wrong`], [`InstalledError::Io`].
    pub fn read(path: &Path) -> Result<Lock, InstalledError> {
        let wrong = |message: String| InstalledError::Wrong {
            path: path.to_owned(),
            message,
        };
        match fs::metadata(path) {
            Ok(found) if found.len() > LOCK_BYTES_MAX => {
                return Err(wrong(format!("it has more than {LOCK_BYTES_MAX} bytes")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lock::default()),
            _ => {}
        }
        let text = fs::read_to_string(path).map_err(|source| io_error(path, source))?;
        Lock::parse(&text).map_err(wrong)
    }

    /// Reads the text of a lock file. The error says what is wrong.
    ///
    /// # Errors
    ///
    /// Where it is no lock file, or one of a newer form.
    pub fn parse(text: &str) -> Result<Lock, String> {
        #[derive(Deserialize)]
        struct Form {
            form: u32,
        }
        let form: Form = toml::from_str(text).map_err(|error| error.to_string())?;
        if form.form != FORM {
            return Err(format!(
                "it has the form {}, this program knows {FORM}: a newer one has written it",
                form.form
            ));
        }
        let mut lock: Lock = toml::from_str(text).map_err(|error| error.to_string())?;
        if lock.plugins.len() > INSTALLED_MAX {
            return Err(format!("it lists more than {INSTALLED_MAX} plugins"));
        }
        lock.plugins.sort_by(|one, other| one.name.cmp(&other.name));
        match lock.plugins.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(format!("it lists {} twice", pair[0].name)),
            None => Ok(lock),
        }
    }

    /// As the file has it.
    pub fn text(&self) -> String {
        // Nothing in it has no form in TOML.
        let text = toml::to_string(self).unwrap_or_default();
        format!("{HEAD}{text}")
    }

    /// The plugin of a name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.plugins.iter().find(|entry| entry.name == name)
    }

    /// Makes a version the current one; what was is the previous one.
    pub(super) fn put(&mut self, name: &str, kind: PluginKind, pin: Pin) {
        match self.plugins.iter_mut().find(|entry| entry.name == name) {
            Some(entry) if entry.current.digest == pin.digest => entry.current = pin,
            Some(entry) => {
                entry.kind = kind;
                entry.previous = Some(std::mem::replace(&mut entry.current, pin));
            }
            None => {
                self.plugins.push(Entry {
                    name: name.to_owned(),
                    kind,
                    current: pin,
                    previous: None,
                });
                self.plugins.sort_by(|one, other| one.name.cmp(&other.name));
            }
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Entry> {
        let at = self.plugins.iter().position(|entry| entry.name == name)?;
        Some(self.plugins.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use transom_oci::Algorithm;

    fn pin(version: &str) -> Pin {
        let digest = Digest::of(Algorithm::Sha256, version.as_bytes());
        Pin {
            version: version.to_owned(),
            digest: digest.clone(),
            component: digest,
            source: "registry.example/a:1".to_owned(),
            world: "transom:filter/label-filter@0.1.0".to_owned(),
            signed_by: vec!["ours".to_owned()],
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_sorted() {
        let mut lock = Lock::default();
        for (name, version) in [("b", "1.0.0"), ("a", "0.1.0"), ("b", "1.1.0")] {
            lock.put(name, PluginKind::Filter, pin(version));
        }
        let text = lock.text();
        assert_eq!(Lock::parse(&text).unwrap(), lock);
        assert!(text.find("name = \"a\"") < text.find("name = \"b\""));
        let entry = lock.find("b").unwrap();
        let versions: Vec<&str> = entry.pins().map(|pin| pin.version.as_str()).collect();
        assert_eq!(versions, ["1.1.0", "1.0.0"]);
        lock.put("b", PluginKind::Filter, pin("1.1.0"));
        assert_eq!(lock.text(), text);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let entry = "[[plugin]]\nname = \"a\"\nkind = \"filter\"\nversion = \"1.0.0\"\nsource = \"x\"\nworld = \"w\"\n";
        let digest = format!("sha256:{}", "0".repeat(64));
        let entry = format!("{entry}digest = \"{digest}\"\ncomponent = \"{digest}\"\n");
        assert_eq!(
            Lock::parse(&format!("form = 1\n{entry}")).unwrap().plugins.len(),
            1
        );
        for (text, says) in [
            (String::new(), "form"),
            ("form = 2\n".to_owned(), "a newer one"),
            (format!("form = 1\n{entry}{entry}"), "twice"),
            (format!("form = 1\n{}", entry.replace(":0", ":x")), "digest"),
        ] {
            let error = Lock::parse(&text).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
