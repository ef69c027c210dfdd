//! `plugin.toml` inside a component: a custom section at the end of the binary.
//!
//! A section of its own is seen by no other tool and changes nothing that runs, so every tool that carries the component carries
//! all of the plugin, and one digest is of both.

use std::ops::Range;
use std::path::Path;

use crate::component;
use crate::error::LoadError;
use crate::limits::MANIFEST_BYTES_MAX;
use crate::manifest::Manifest;

/// The section's name.
pub const NAME: &str = "transom:plugin.toml";

/// The magic bytes and the version.
const HEADER: usize = 8;

/// The number of custom sections.
const CUSTOM: u8 = 0;

/// The `plugin.toml` in a component, as its text.
///
/// # Errors
///
/// [`LoadError::Invalid`] if there are two, or the binary is cut off; [`LoadError::TooLarge`], [`LoadError::Manifest`].
pub fn text(bytes: &[u8]) -> Result<Option<&str>, LoadError> {
    let mut found = None;
    for section in find(bytes)? {
        if found.is_some() {
            return Err(LoadError::Invalid {
                offset: section.whole.start as u64,
                message: format!("it has two sections {NAME}"),
            });
        }
        found = Some(&bytes[section.data]);
    }
    let Some(data) = found else { return Ok(None) };
    if data.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(LoadError::TooLarge {
            what: "plugin.toml",
            size: data.len() as u64,
            limit: MANIFEST_BYTES_MAX,
        });
    }
    let text = std::str::from_utf8(data).map_err(|_| LoadError::Manifest {
        path: "plugin.toml".into(),
        line: 0,
        message: "it is not UTF-8".into(),
    })?;
    Ok(Some(text))
}

/// The `plugin.toml` in a component, read. `path` is for messages.
///
/// # Errors
///
/// As [`text`], and those of [`Manifest::parse`].
pub fn manifest(bytes: &[u8], path: &Path) -> Result<Option<Manifest>, LoadError> {
    text(bytes)?.map(|text| Manifest::parse(text, path)).transpose()
}

/// The component with this `plugin.toml`, instead of one that it had. The same component and text give the same bytes.
///
/// # Errors
///
/// [`LoadError::NotWasm`], [`LoadError::CoreModule`], [`LoadError::Invalid`] if it is no component; those of
/// [`Manifest::parse`].
pub fn with(component: &[u8], plugin_toml: &str) -> Result<Vec<u8>, LoadError> {
    component::check_kind(component)?;
    Manifest::parse(plugin_toml, Path::new("plugin.toml"))?;
    let mut bytes = without(component)?;
    let mut content = Vec::with_capacity(NAME.len() + plugin_toml.len() + 8);
    push_size(&mut content, NAME.len());
    content.extend(NAME.as_bytes());
    content.extend(plugin_toml.as_bytes());
    bytes.push(CUSTOM);
    push_size(&mut bytes, content.len());
    bytes.extend(content);
    Ok(bytes)
}

/// The component without any `plugin.toml`.
///
/// # Errors
///
/// [`LoadError::Invalid`] if the binary is cut off.
pub fn without(component: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::with_capacity(component.len());
    let mut copied = 0;
    for section in find(component)? {
        bytes.extend(&component[copied..section.whole.start]);
        copied = section.whole.end;
    }
    bytes.extend(&component[copied..]);
    Ok(bytes)
}

/// A section of [`NAME`].
struct Section {
    /// With its number and its size.
    whole: Range<usize>,
    /// What is in it.
    data: Range<usize>,
}

/// All of them at the outermost level. What is inside of other sections is another component's.
fn find(bytes: &[u8]) -> Result<Vec<Section>, LoadError> {
    let mut found = Vec::new();
    let mut at = HEADER.min(bytes.len());
    while at < bytes.len() {
        let cut_off = || LoadError::Invalid {
            offset: at as u64,
            message: "a section does not end within the file".into(),
        };
        let (size, start) = size_at(bytes, at + 1).ok_or_else(cut_off)?;
        let end = start
            .checked_add(size)
            .filter(|end| *end <= bytes.len())
            .ok_or_else(cut_off)?;
        if bytes[at] == CUSTOM
            && let Some((length, name)) = size_at(&bytes[..end], start)
            && bytes[name..end].starts_with(NAME.as_bytes())
            && length == NAME.len()
        {
            found.push(Section {
                whole: at..end,
                data: name + length..end,
            });
        }
        at = end;
    }
    Ok(found)
}

/// A number in LEB128, of 32 bits at most, and where it ends.
fn size_at(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut size = 0u64;
    for (index, byte) in bytes.get(at..)?.iter().take(5).enumerate() {
        size |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let size = u32::try_from(size).ok()?;
            return Some((size as usize, at + index + 1));
        }
    }
    None
}

fn push_size(bytes: &mut Vec<u8>, mut size: usize) {
    while size >= 0x80 {
        bytes.push((size & 0x7f) as u8 | 0x80);
        size >>= 7;
    }
    bytes.push(size as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOML: &str = "name = \"a\"\nversion = \"1.0.0\"\nkind = \"filter\"\nworld = \"transom:filter/label-filter@0.1.0\"\n";

    fn empty() -> Vec<u8> {
        wat::parse_str("(component (core module))").unwrap()
    }

    #[test]
    fn what_was_put_in_is_found_and_taken_out() {
        let plain = empty();
        assert_eq!(text(&plain).unwrap(), None);
        let with_toml = with(&plain, TOML).unwrap();
        assert_eq!(text(&with_toml).unwrap(), Some(TOML));
        component::validate(&with_toml).unwrap();
        assert_eq!(without(&with_toml).unwrap(), plain);
        assert_eq!(with(&with_toml, TOML).unwrap(), with_toml);
        let longer = format!("{TOML}# {}\n", "x".repeat(300));
        assert_eq!(text(&with(&with_toml, &longer).unwrap()).unwrap(), Some(&*longer));
    }

    #[test]
    fn two_of_them_and_a_long_one_are_refused() {
        let once = with(&empty(), TOML).unwrap();
        let mut twice = once.clone();
        twice.extend(&once[empty().len()..]);
        assert!(text(&twice).unwrap_err().to_string().contains("two sections"));
        assert_eq!(without(&twice).unwrap(), empty());
        let long = format!("{TOML}# {}\n", "x".repeat(70_000));
        assert!(matches!(with(&empty(), &long), Err(LoadError::TooLarge { .. })));
        assert!(matches!(
            with(b"\0asm", TOML),
            Err(LoadError::NotWasm | LoadError::Invalid { .. })
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_wrong(tail in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = empty();
            bytes.extend(tail);
            // It answers, and what it finds lies within.
            let _ = text(&bytes);
            if let Ok(stripped) = without(&bytes) {
                prop_assert!(stripped.len() <= bytes.len());
            }
        }
    }
}
