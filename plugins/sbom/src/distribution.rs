//! Which distribution a layer belongs to, by its `os-release`.

use crate::package::Kind;

/// What `os-release` says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Distribution {
    id: String,
    version: String,
    pretty: String,
}

impl Distribution {
    /// Reads the file: `KEY=value` in the manner of a shell.
    pub(crate) fn parse(text: &str) -> Self {
        let mut distribution = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches(['"', '\'']).to_owned();
            match key.trim() {
                "ID" => distribution.id = value,
                "VERSION_ID" => distribution.version = value,
                "PRETTY_NAME" => distribution.pretty = value,
                _ => {}
            }
        }
        distribution
    }

    /// Its name and version, such as `debian-12`.
    pub(crate) fn name(&self) -> Option<String> {
        match (self.id.as_str(), self.version.as_str()) {
            ("", _) => None,
            (id, "") => Some(id.to_owned()),
            (id, version) => Some(format!("{id}-{version}")),
        }
    }

    /// Name and version apart, and in words.
    pub(crate) fn parts(&self) -> Option<(&str, &str, &str)> {
        (!self.id.is_empty()).then_some((self.id.as_str(), self.version.as_str(), self.pretty.as_str()))
    }

    /// The namespace of a package URL. A layer above the first one has no `os-release`; then what most have is taken.
    pub(crate) fn namespace(&self, kind: Kind) -> Option<&str> {
        match kind {
            Kind::Deb | Kind::Apk | Kind::Rpm if !self.id.is_empty() => Some(&self.id),
            Kind::Deb => Some("debian"),
            Kind::Apk => Some("alpine"),
            _ => None,
        }
    }
}
