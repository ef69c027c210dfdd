//! Platforms, normalised and matched as containerd's platforms package does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and CPU that an image is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// CPU architecture by its Go name (`amd64`, `arm64`, …).
    pub architecture: String,
    /// Operating system by its Go name.
    pub os: String,
    /// Version of the operating system; Windows images have it.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features the operating system must have.
    #[serde(
        default,
        rename = "os.features",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::descriptor::null_as_default"
    )]
    pub os_features: Vec<String>,
    /// Variant of the architecture (`v7`, `v8`, `v3`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid platform {text:?}: want <os>/<architecture>[/<variant>], such as linux/arm64/v8")]
pub struct PlatformError {
    /// What was given.
    pub text: String,
}

impl Platform {
    /// A platform from its parts, normalised.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Platform {
        Platform {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.filter(|variant| !variant.is_empty()).map(str::to_owned),
            ..Platform::default()
        }
        .normalised()
    }

    /// The platform this program runs on.
    pub fn host() -> Platform {
        Platform::new(std::env::consts::OS, std::env::consts::ARCH, None)
    }

    /// The same platform under its canonical names: `x86_64` becomes `amd64`, `arm64/v8` becomes `arm64`.
    pub fn normalised(mut self) -> Platform {
        self.os = self.os.to_ascii_lowercase();
        if self.os == "macos" {
            self.os = "darwin".into();
        }
        let variant = self
            .variant
            .take()
            .map(|variant| variant.to_ascii_lowercase())
            .unwrap_or_default();
        let (architecture, variant) = canonical(&self.architecture.to_ascii_lowercase(), &variant);
        self.architecture = architecture;
        self.variant = Some(variant).filter(|variant| !variant.is_empty());
        self
    }

    /// How well an image for `candidate` serves this platform: `None` not at all, else lower is better. An
    /// `arm/v7` machine takes `v7`, then `v6`, then `v5`; `amd64/v3` takes `v3`, `v2`, then the base;
    /// `arm64` takes 32-bit arm after its own.
    pub fn rank(&self, candidate: &Platform) -> Option<usize> {
        let (want, have) = (self.clone().normalised(), candidate.clone().normalised());
        if want.os != have.os || want.os_version.is_some() && want.os_version != have.os_version {
            return None;
        }
        let have = (have.architecture.as_str(), have.variant.as_deref().unwrap_or(""));
        accepted(&want)
            .iter()
            .position(|(architecture, variant)| (architecture.as_str(), variant.as_str()) == have)
    }
}

fn canonical(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386" | "x86", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        ("loongarch64", variant) => ("loong64", variant),
        ("powerpc64le", variant) => ("ppc64le", variant),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

/// What a platform can run, best first.
fn accepted(want: &Platform) -> Vec<(String, String)> {
    let variant = want.variant.as_deref().unwrap_or("");
    let numbered = |architecture: &str, from: u32, to: u32| {
        (to..=from)
            .rev()
            .map(|n| (architecture.to_owned(), format!("v{n}")))
            .collect::<Vec<_>>()
    };
    let number = variant
        .strip_prefix('v')
        .and_then(|digits| digits.parse::<u32>().ok())
        .filter(|n| *n < 16);
    let own = (want.architecture.clone(), variant.to_owned());
    let mut all = match (want.architecture.as_str(), number) {
        ("amd64", Some(n)) => [numbered("amd64", n, 2), vec![("amd64".into(), String::new())]].concat(),
        ("arm", Some(n)) => numbered("arm", n, 5),
        ("arm64", _) if variant.is_empty() => {
            [vec![("arm64".to_owned(), String::new())], numbered("arm", 8, 5)].concat()
        }
        _ => Vec::new(),
    };
    // Also where a variant is none that the rules above know, such as `arm/v0`.
    if !all.contains(&own) {
        all.insert(0, own);
    }
    all
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant
            .as_ref()
            .map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Platform, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let ok = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        match parts.as_slice() {
            [os, architecture] if parts.iter().all(ok) => Ok(Platform::new(os, architecture, None)),
            [os, architecture, variant] if parts.iter().all(ok) => {
                Ok(Platform::new(os, architecture, Some(variant)))
            }
            _ => Err(PlatformError {
                text: text.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_normalised() {
        for (text, want) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/aarch64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
        ] {
            assert_eq!(platform(text).to_string(), want);
        }
        for text in ["", "linux", "linux/", "a/b/c/d", "linux/a b"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_nearest_variant_ranks_first() {
        let v7 = platform("linux/arm/v7");
        assert_eq!(v7.rank(&platform("linux/arm/v7")), Some(0));
        assert_eq!(v7.rank(&platform("linux/arm/v5")), Some(2));
        assert_eq!(v7.rank(&platform("linux/arm/v8")), None);
        assert_eq!(platform("linux/amd64/v3").rank(&platform("linux/amd64")), Some(2));
        assert_eq!(platform("linux/amd64").rank(&platform("linux/amd64/v3")), None);
        assert!(platform("linux/arm64").rank(&platform("linux/arm/v7")).is_some());
        assert_eq!(platform("linux/amd64").rank(&platform("windows/amd64")), None);
    }

    #[test]
    fn every_platform_suits_itself_first() {
        for text in [
            "linux/arm/v0",
            "linux/arm/v99",
            "linux/amd64/v02",
            "linux/arm64/v9",
            "a/b/c",
            "linux/amd64",
        ] {
            assert_eq!(platform(text).rank(&platform(text)), Some(0), "{text}");
        }
    }
}
