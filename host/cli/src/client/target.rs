//! Which daemon, and which namespace: by flags, else by the environment, else by default.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::arguments::Place;
use crate::failure::Failure;
use crate::places;

/// The namespace if nobody names one; containerd's.
const NAMESPACE: &str = "default";

/// A daemon's socket, and the namespace to work in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: PathBuf,
    pub(crate) namespace: String,
}

impl Target {
    /// What flags and environment say.
    pub(crate) fn new(place: &Place) -> Result<Target, Failure> {
        if place.root.is_some() {
            return Err(Failure::usage(
                "this works on a daemon; --root is for content and fsck, which work on a folder",
            ));
        }
        Target::of(place.address.clone(), place.namespace.clone(), |name| {
            std::env::var_os(name)
        })
    }

    fn of(
        address: Option<PathBuf>,
        namespace: Option<String>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Target, Failure> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let named = || variable("TRANSOM_ADDRESS").or_else(|| variable("CONTAINERD_ADDRESS"));
        let address = address
            .or_else(|| named().map(PathBuf::from))
            .or_else(places::socket)
            .ok_or_else(|| Failure::usage("no socket: HOME is not set; name one with --address SOCKET"))?;
        let namespace = match namespace {
            Some(namespace) => namespace,
            None => match variable("CONTAINERD_NAMESPACE").map(OsString::into_string) {
                Some(Ok(namespace)) => namespace,
                Some(Err(bad)) => {
                    return Err(Failure::usage(format!(
                        "{bad:?} cannot be the name of a namespace"
                    )));
                }
                None => NAMESPACE.to_owned(),
            },
        };
        // The form that other programs of containerd's take.
        let address = match address.to_str().and_then(|text| text.strip_prefix("unix://")) {
            Some(path) => path.into(),
            None => address,
        };
        Ok(Target { address, namespace })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_win_over_the_environment() {
        let all = |name: &str| Some(OsString::from(format!("/{name}")));
        let target = Target::of(Some("unix:///a".into()), Some(String::new()), all).unwrap();
        assert_eq!((target.address, target.namespace.as_str()), ("/a".into(), ""));
        let target = Target::of(None, None, all).unwrap();
        assert_eq!(target.address, PathBuf::from("/TRANSOM_ADDRESS"));
        assert_eq!(target.namespace, "/CONTAINERD_NAMESPACE");
    }

    #[test]
    fn containerds_names_are_known_and_empty_ones_are_none() {
        let containerd = |name: &str| {
            let value = if name == "CONTAINERD_ADDRESS" {
                "/c.sock"
            } else {
                ""
            };
            Some(value.into())
        };
        let target = Target::of(None, None, containerd).unwrap();
        assert_eq!(
            (target.address, target.namespace.as_str()),
            ("/c.sock".into(), "default")
        );
    }
}
