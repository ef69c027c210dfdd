//! A package, wherever it was found.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::distribution::Distribution;

/// Where packages of a kind come from.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Deb,
    Apk,
    Rpm,
    Npm,
    Pypi,
    Cargo,
    Gem,
    Composer,
    Golang,
}

impl Kind {
    /// The type of a package URL.
    fn as_str(self) -> &'static str {
        match self {
            Kind::Deb => "deb",
            Kind::Apk => "apk",
            Kind::Rpm => "rpm",
            Kind::Npm => "npm",
            Kind::Pypi => "pypi",
            Kind::Cargo => "cargo",
            Kind::Gem => "gem",
            Kind::Composer => "composer",
            Kind::Golang => "golang",
        }
    }

    /// Whether it belongs to a distribution, by which its URL is told apart from another's.
    fn is_system(self) -> bool {
        matches!(self, Kind::Deb | Kind::Apk | Kind::Rpm)
    }
}

/// A package.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Package {
    pub(crate) kind: Kind,
    /// As its own system writes it: `@scope/name`, `github.com/owner/module`.
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: Option<String>,
    /// The number in front of a version of rpm; for Debian it is in the version.
    pub(crate) epoch: Option<u32>,
    /// As the package says it, which is often no SPDX expression.
    pub(crate) licence: Option<String>,
    /// The source package, if it has another name.
    pub(crate) source: Option<String>,
    /// The files that say that it is there.
    pub(crate) places: BTreeSet<String>,
}

impl Package {
    /// One of which nothing else is known.
    pub(crate) fn new(kind: Kind, name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            version: version.into(),
            architecture: None,
            epoch: None,
            licence: None,
            source: None,
            places: BTreeSet::new(),
        }
    }

    /// The package URL (purl), by which it is known everywhere.
    pub(crate) fn url(&self, distribution: &Distribution) -> String {
        let mut url = format!("pkg:{}", self.kind.as_str());
        let name = match self.kind {
            Kind::Pypi => self.name.to_lowercase().replace('_', "-"),
            Kind::Deb | Kind::Apk | Kind::Composer => self.name.to_lowercase(),
            _ => self.name.clone(),
        };
        if let Some(namespace) = distribution.namespace(self.kind) {
            url.push('/');
            encode(&mut url, namespace);
        }
        for part in name.split('/') {
            url.push('/');
            encode(&mut url, part);
        }
        if !self.version.is_empty() {
            url.push('@');
            encode(&mut url, &self.version);
        }
        let mut separator = '?';
        let mut qualify = |key: &str, value: &str| {
            url.push(separator);
            let _ = write!(url, "{key}=");
            encode(&mut url, value);
            separator = '&';
        };
        if let Some(architecture) = &self.architecture {
            qualify("arch", architecture);
        }
        if let Some(name) = distribution.name().filter(|_| self.kind.is_system()) {
            qualify("distro", &name);
        }
        if let Some(epoch) = self.epoch.filter(|epoch| *epoch > 0) {
            qualify("epoch", &epoch.to_string());
        }
        url
    }
}

/// Percent encoding, of everything that is not sure to stand for itself.
fn encode(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b':') {
            url.push(char::from(byte));
        } else {
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_as_the_specification_has_them() {
        let debian = Distribution::parse("ID=debian\nVERSION_ID=\"12\"\n");
        let none = Distribution::default();
        let mut bash = Package::new(Kind::Deb, "bash", "5.2.15-2+b2");
        bash.architecture = Some("amd64".to_owned());
        assert_eq!(
            bash.url(&debian),
            "pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64&distro=debian-12"
        );
        assert_eq!(bash.url(&none), "pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64");
        let mut curl = Package::new(Kind::Rpm, "curl", "7.50.3-1.fc25");
        curl.epoch = Some(2);
        let fedora = Distribution::parse("ID=fedora\nVERSION_ID=25\n");
        assert_eq!(
            curl.url(&fedora),
            "pkg:rpm/fedora/curl@7.50.3-1.fc25?distro=fedora-25&epoch=2"
        );
        let of = |kind, name, version| Package::new(kind, name, version).url(&debian);
        assert_eq!(
            of(Kind::Npm, "@babel/core", "7.0.0"),
            "pkg:npm/%40babel/core@7.0.0"
        );
        assert_eq!(of(Kind::Pypi, "Flask_Login", "1.0"), "pkg:pypi/flask-login@1.0");
        assert_eq!(
            of(Kind::Golang, "golang.org/x/net", "v0.1.0"),
            "pkg:golang/golang.org/x/net@v0.1.0"
        );
        assert_eq!(of(Kind::Cargo, "serde", ""), "pkg:cargo/serde");
    }
}
