//! `[content]`: where blobs are kept.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::section::{Faults, Section};

/// Bytes of copies, by default: what a node's images have, more or less.
const COPIES: u64 = 10 << 30;

/// `[content]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// The storage driver that keeps the blobs, with its parameters; none, and they are files below the root.
    pub driver: Option<Map<String, Value>>,
    /// The folders that storage drivers are loaded from.
    pub plugins: Vec<PathBuf>,
    /// With a driver: bytes of blobs of which there are copies below the root.
    pub copies: u64,
}

impl Default for Content {
    fn default() -> Content {
        Content {
            driver: None,
            plugins: Vec::new(),
            copies: COPIES,
        }
    }
}

impl Content {
    pub(super) fn read(&mut self, section: &mut Section<'_>, faults: &mut Faults) {
        section.set("plugins", &mut self.plugins, faults);
        section.set("copies", &mut self.copies, faults);
        if section.has("driver") {
            let driver = section.section("driver", faults);
            let line = driver.line();
            let (_, table) = driver.rest();
            match Map::deserialize(toml::Deserializer::from(table)) {
                Ok(table) => self.driver = Some(table),
                Err(error) => faults.add(line, format!("[content.driver]: {}", error.message())),
            }
        }
        section.end(faults);
    }
}
