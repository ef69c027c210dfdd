//! The document, in one of two forms.

mod cyclonedx;
mod spdx;

use std::io::Write as _;

use transom_sdk::Error;
use transom_sdk::documents::Document;

use crate::collect::Found;

/// The form of the document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    CycloneDx,
    /// With the time that it must name.
    Spdx(String),
}

impl Format {
    /// By the configuration.
    pub(crate) fn new(name: &str, created: String) -> Result<Format, Error> {
        let wrong = |key: &str, message: &str| {
            Err(Error::Config {
                key: key.to_owned(),
                message: message.to_owned(),
            })
        };
        match name {
            "cyclonedx" => Ok(Format::CycloneDx),
            "spdx" if is_time(&created) => Ok(Format::Spdx(created)),
            "spdx" => wrong("created", "must be a time such as 2024-01-31T12:00:00Z"),
            _ => wrong("format", "must be cyclonedx or spdx"),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Format::CycloneDx => "cyclonedx",
            Format::Spdx(_) => "spdx",
        }
    }

    /// Writes the document about a layer.
    pub(crate) fn write(&self, layer: &str, found: &Found) -> Result<(), Error> {
        let (media_type, value) = match self {
            Format::CycloneDx => (
                "application/vnd.cyclonedx+json",
                cyclonedx::document(layer, found),
            ),
            Format::Spdx(created) => ("application/spdx+json", spdx::document(layer, created, found)),
        };
        let packages = found.packages.len().to_string();
        let mut document = Document::new(media_type, &[("dev.transom.sbom.packages", &packages)]);
        serde_json::to_writer(&mut document, &value).map_err(std::io::Error::from)?;
        document.write_all(b"\n")?;
        document.finish()?;
        Ok(())
    }
}

/// `YYYY-MM-DDThh:mm:ssZ`.
fn is_time(text: &str) -> bool {
    let form = b"0000-00-00T00:00:00Z";
    text.len() == form.len()
        && text.bytes().zip(form).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            wanted => byte == *wanted,
        })
}
