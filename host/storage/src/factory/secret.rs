//! Secrets of a configuration: as text, or in a file of their own.

use std::fmt;
use std::fs::File;
use std::io::Read;

use serde_json::Value;

use crate::limits;

/// A secret. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret of this text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What a table has: a text, or `{ file = "PATH" }`, of which spaces and line ends around the secret do not count.
    pub(super) fn read(value: &Value) -> Result<Secret, String> {
        let form = "it must be text, or { file = \"PATH\" }";
        let table = match value {
            Value::String(text) => return Ok(Secret(text.clone())),
            Value::Object(table) if table.len() == 1 => table,
            _ => return Err(form.to_owned()),
        };
        let path = table.get("file").and_then(Value::as_str).ok_or(form)?;
        let mut text = String::new();
        let read =
            File::open(path).and_then(|file| file.take(limits::SECRET_BYTES + 1).read_to_string(&mut text));
        read.map_err(|error| format!("{path}: {error}"))?;
        if text.len() as u64 > limits::SECRET_BYTES {
            return Err(format!("{path} has more than {} bytes", limits::SECRET_BYTES));
        }
        Ok(Secret(text.trim().to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_text_or_in_a_file_and_is_not_shown() {
        assert_eq!(Secret::read(&json!("hush")).unwrap().reveal(), "hush");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "  hush\n").unwrap();
        let secret = Secret::read(&json!({ "file": file })).unwrap();
        assert_eq!(secret.reveal(), "hush");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        for wrong in [
            json!(1),
            json!({}),
            json!({ "fyle": "x" }),
            json!({ "file": "/nothing/there" }),
        ] {
            Secret::read(&wrong).unwrap_err();
        }
        std::fs::write(&file, "x".repeat(70_000)).unwrap();
        assert!(
            Secret::read(&json!({ "file": file }))
                .unwrap_err()
                .contains("65536")
        );
    }
}
