//! What an operator grants to a driver: the second of the two keys. The first is the plugin's manifest.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use reqwest::Url;
use transom_storage::StorageDriver;
use transom_storage::factory::Secret;

use super::error::OpenError;
pub use super::keys::Masters;
use crate::config::Values;

/// What the operator gives to one driver. Without any of it a plugin can only compute.
#[derive(Clone, Default)]
pub struct Grants {
    /// The configuration, as the manifest declares it.
    pub config: Values,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Secret>,
    /// The servers that it may reach.
    pub hosts: Hosts,
    /// The master keys of which its keys are derived; the first one makes new ones.
    pub masters: Masters,
    /// The driver that it stands on.
    pub inner: Option<Arc<dyn StorageDriver>>,
    /// How many instances may work at the same time; [`crate::limits::DRIVER_INSTANCES`] if not said.
    pub instances: Option<usize>,
}

impl Grants {
    /// The same text without any secret that was granted.
    pub(super) fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets.values().map(Secret::reveal) {
            if !secret.is_empty() && text.contains(secret) {
                text = text.replace(secret, "[secret]");
            }
        }
        text
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants")
            .field("config", &self.config)
            .field("secrets", &self.secrets)
            .field("hosts", &self.hosts)
            .field("masters", &self.masters)
            .field("inner", &self.inner)
            .field("instances", &self.instances)
            .finish()
    }
}

/// Servers, each by scheme, name and port. No wildcards: what is reached is written down.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<Url>);

impl Hosts {
    /// Reads a list such as `https://dav.example.com` and `http://127.0.0.1:8080`.
    ///
    /// # Errors
    ///
    /// [`OpenError::Config`] for what is not a scheme, a name and perhaps a port.
    pub fn parse(texts: &[String]) -> Result<Hosts, OpenError> {
        let host = |text: &String| {
            let url = Url::parse(text).ok().filter(|url| {
                matches!(url.scheme(), "https" | "http")
                    && matches!(url.path(), "" | "/")
                    && url.query().is_none()
                    && url.fragment().is_none()
                    && url.username().is_empty()
                    && url.password().is_none()
            });
            url.ok_or_else(|| OpenError::Config {
                key: "hosts".to_owned(),
                message: format!(
                    "{text:?} is no server: it must be like https://dav.example.com or http://10.0.0.1:8080"
                ),
            })
        };
        texts.iter().map(host).collect::<Result<_, _>>().map(Hosts)
    }

    /// Whether a URL is on one of them. The error is the line that would grant it.
    pub(super) fn check(&self, url: &Url) -> Result<(), String> {
        if self.0.iter().any(|host| host.origin() == url.origin()) {
            return Ok(());
        }
        let granted = self.0.iter().map(|host| host.origin().ascii_serialization());
        let all: Vec<String> = granted
            .chain([url.origin().ascii_serialization()])
            .map(|host| format!("{host:?}"))
            .collect();
        Err(format!("hosts = [{}]", all.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_scheme_a_name_and_a_port() {
        let hosts = Hosts::parse(&["https://a.example".into(), "http://127.0.0.1:8080/".into()]).unwrap();
        let check = |url: &str| hosts.check(&Url::parse(url).unwrap());
        check("https://a.example/x?y").unwrap();
        check("https://a.example:443/").unwrap();
        check("http://127.0.0.1:8080/x").unwrap();
        for other in [
            "http://a.example/",
            "https://a.example:444/",
            "https://b.a.example/",
            "https://a.example.evil.example/",
            "http://127.0.0.1/",
            "http://127.0.0.1:80801/".trim_end_matches("1/"),
        ] {
            let allowed = check(other);
            assert_eq!(allowed.is_ok(), other == "http://127.0.0.1:8080", "{other}");
        }
        let line = check("https://evil.example/x").unwrap_err();
        assert_eq!(
            line,
            "hosts = [\"https://a.example\", \"http://127.0.0.1:8080\", \"https://evil.example\"]"
        );
        for wrong in [
            "a.example",
            "ftp://a.example",
            "https://a.example/x",
            "https://u@a.example",
            "*",
        ] {
            Hosts::parse(&[wrong.to_owned()]).unwrap_err();
        }
    }

    #[test]
    fn secrets_are_taken_out_of_texts() {
        let mut grants = Grants::default();
        grants.secrets.insert("password".into(), Secret::new("hush"));
        assert_eq!(grants.redact("401 for root:hush"), "401 for root:[secret]");
        assert!(!format!("{grants:?}").contains("hush"));
    }
}
