//! Built plugins that call themselves another version, for tests of what replaces what.

use std::fs;

use crate::needs::plugin;

/// The version of all plugins here.
const VERSION: &[u8] = b"0.1.0";

/// The component and the `plugin.toml` of a built plugin, in a version of five letters. `None` if it is not built: the test is skipped.
///
/// # Panics
/// If the version has not five letters, or the plugin does not say its own.
#[must_use]
pub fn plugin_in(name: &str, version: &str) -> Option<(Vec<u8>, String)> {
    assert_eq!(version.len(), VERSION.len(), "it takes the place of the other");
    let file = plugin(name)?;
    let manifest = file.with_file_name("plugin.toml");
    let component = fs::read(&file).expect("a component");
    let text = fs::read_to_string(manifest).expect("a file");
    let text = text.replacen("version = \"0.1.0\"", &format!("version = \"{version}\""), 1);
    Some((saying(component, version), text))
}

/// A component that says another version. Those of interfaces, behind an `@`, stay.
fn saying(mut component: Vec<u8>, version: &str) -> Vec<u8> {
    let places: Vec<usize> = component
        .windows(VERSION.len() + 1)
        .enumerate()
        .filter(|(_, bytes)| bytes[0] != b'@' && &bytes[1..] == VERSION)
        .map(|(at, _)| at + 1)
        .collect();
    assert!(!places.is_empty(), "it says no version");
    for at in places {
        component[at..at + version.len()].copy_from_slice(version.as_bytes());
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_interfaces_stay() {
        let said = saying(b"a:b/c@0.1.0 name0.1.0".to_vec(), "9.8.7");
        assert_eq!(said, b"a:b/c@0.1.0 name9.8.7");
    }
}
