//! From a core module to a component.

use wit_component::ComponentEncoder;

use crate::error::Error;

/// The component that a core module describes in its custom sections.
///
/// # Errors
///
/// [`Error::Component`] if it describes none, or imports what it does not say.
pub fn of_module(module: &[u8]) -> Result<Vec<u8>, Error> {
    let encoder = ComponentEncoder::default().validate(true).module(module);
    let encoded = encoder.and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| Error::Component(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(matches!(of_module(b"nonsense"), Err(Error::Component(_))));
    }
}
