//! `[[proxy]]`: which repositories come from where.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use transom_client::Secret;
use transom_client::reference::DEFAULT_REGISTRY;

use super::limits;
use crate::names::RepositoryName;
use crate::settings::{Period, SetupError};

/// One `[[proxy]]`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The first parts of the names of its repositories here, `hub`; empty for all that no other has.
    pub prefix: String,
    /// The other registry: `https://host[:port]`, and after it perhaps the first parts of the names there.
    pub upstream: String,
    /// Who this registry is to the other.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// A file with the password, read when the other registry wants it.
    pub password_file: Option<PathBuf>,
    /// When what nobody uses is forgotten; 0 for never.
    #[serde(default = "ttl")]
    pub ttl: Period,
    /// How long a tag is given out without asking the other registry where it points.
    #[serde(default = "always")]
    pub revalidate: Period,
    /// How long the other registry may send nothing before a request counts as failed.
    #[serde(default = "stall")]
    pub timeout: Period,
    /// A folder as containerd's `certs.d`: authorities, certificates, mirrors, proxies of the other registry.
    pub hosts: Option<PathBuf>,
}

fn ttl() -> Period {
    Period(limits::TTL)
}

fn always() -> Period {
    Period(Duration::ZERO)
}

fn stall() -> Period {
    Period(limits::STALL)
}

/// Where another registry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Whether it is spoken with over TLS.
    pub(super) tls: bool,
    /// Its host, with the port if it is not the usual one.
    pub(super) host: String,
    /// The first parts of names there; may be empty.
    pub(super) path: String,
}

impl Settings {
    /// What is wrong with a setting.
    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>) -> SetupError {
        SetupError::setting(format!("proxy {:?}: {key}", self.prefix), problem)
    }

    /// Checks what can be checked without asking anybody.
    pub(super) fn check(&self) -> Result<Place, SetupError> {
        if !self.prefix.is_empty() {
            RepositoryName::new(&self.prefix).map_err(|error| self.wrong("prefix", error.to_string()))?;
        }
        if self.timeout.0.is_zero() {
            return Err(self.wrong("timeout", "nothing can be had in no time"));
        }
        let passwords = usize::from(self.password.is_some()) + usize::from(self.password_file.is_some());
        match (&self.username, passwords) {
            (None, 0) | (Some(_), 1) => {}
            (None, _) => return Err(self.wrong("username", "there is a password, but nobody whose it is")),
            (Some(_), 0) => {
                return Err(self.wrong("username", "it needs a password or a password_file"));
            }
            (Some(_), _) => return Err(self.wrong("password", "give this or password_file, not both")),
        }
        self.place()
    }

    fn place(&self) -> Result<Place, SetupError> {
        let wrong = |problem: &str| self.wrong("upstream", problem);
        // What was given is not repeated: people put passwords into it.
        let url = Url::parse(&self.upstream)
            .map_err(|_| wrong("it must be an address such as https://registry-1.docker.io"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("give user and password as username and password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("an address of a registry has neither ? nor #"));
        }
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong("it must begin with https:// or http://")),
        };
        let host = url.host_str().unwrap_or_default();
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let path = url.path().trim_matches('/');
        let path = path
            .strip_prefix("v2")
            .filter(|rest| rest.is_empty())
            .unwrap_or(path);
        if !path.is_empty() {
            RepositoryName::new(path).map_err(|error| wrong(&error.to_string()))?;
        }
        let host = match host.as_str() {
            "registry-1.docker.io" | "index.docker.io" => DEFAULT_REGISTRY.to_owned(),
            _ => host,
        };
        let path = path.to_owned();
        Ok(Place { tls, host, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &str) -> Settings {
        let text = format!("prefix = \"hub\"\n{more}");
        crate::settings::parse(&text).unwrap()
    }

    fn of(upstream: &str) -> Result<Place, String> {
        let settings = read(&format!("upstream = \"{upstream}\""));
        settings.check().map_err(|error| error.to_string())
    }

    #[test]
    fn places() {
        let place = |tls, host: &str, path: &str| {
            let (host, path) = (host.to_owned(), path.to_owned());
            Ok(Place { tls, host, path })
        };
        assert_eq!(of("https://registry-1.docker.io"), place(true, "docker.io", ""));
        assert_eq!(of("https://docker.io/"), place(true, "docker.io", ""));
        assert_eq!(
            of("http://127.0.0.1:5000/v2/"),
            place(false, "127.0.0.1:5000", "")
        );
        assert_eq!(of("https://quay.io/team/a"), place(true, "quay.io", "team/a"));
        for wrong in [
            "",
            "quay.io",
            "ftp://quay.io",
            "https://quay.io/A",
            "https://quay.io/a?b=c",
        ] {
            assert!(
                of(wrong).unwrap_err().starts_with("proxy \"hub\": upstream: "),
                "{wrong}"
            );
        }
        let error = of("https://me:s3cret@quay.io").unwrap_err();
        assert!(!error.contains("s3cret") && error.contains("username"), "{error}");
    }

    #[test]
    fn a_login_is_whole_and_not_shown() {
        let with = |more: &str| read(&format!("upstream = \"https://quay.io\"\n{more}"));
        let good = with("username = \"me\"\npassword = \"s3cret\"");
        good.check().unwrap();
        assert!(!format!("{good:?}").contains("s3cret"));
        assert_eq!((good.ttl.0, good.revalidate.0), (limits::TTL, Duration::ZERO));
        for wrong in [
            "username = \"me\"",
            "password = \"a\"",
            "timeout = \"0s\"",
            "username = \"me\"\npassword = \"a\"\npassword_file = \"/b\"",
        ] {
            assert!(with(wrong).check().is_err(), "{wrong}");
        }
    }
}
