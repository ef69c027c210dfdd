//! The binary of a component, as far as the checks need it: what it imports, exports and is made of.

mod callers;

use wasmparser::{Encoding, Parser, Payload};

use crate::error::LoadError;
use crate::limits::COMPONENT_ITEMS_MAX;

pub(crate) use callers::Callers;

/// What a component shows to the outside.
#[derive(Debug, Default)]
pub(crate) struct Component {
    /// Names of what it imports.
    pub(crate) imports: Vec<String>,
    /// Names of what it exports.
    pub(crate) exports: Vec<String>,
    /// What made it, by the `producers` section of its first module: name and version.
    pub(crate) producers: Vec<(String, String)>,
}

/// Tells what the bytes are by their header, and that they are a component.
pub(crate) fn check_kind(bytes: &[u8]) -> Result<(), LoadError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm);
    }
    match Parser::new(0).parse_all(bytes).next() {
        Some(Ok(Payload::Version {
            encoding: Encoding::Component,
            ..
        })) => Ok(()),
        Some(Ok(Payload::Version {
            encoding: Encoding::Module,
            ..
        })) => Err(LoadError::CoreModule),
        Some(Err(error)) => Err(invalid(&error)),
        _ => Err(LoadError::NotWasm),
    }
}

/// Validates the whole binary, by the features that the engine has.
pub(crate) fn validate(bytes: &[u8]) -> Result<(), LoadError> {
    let features = wasmparser::WasmFeatures::WASM2 | wasmparser::WasmFeatures::COMPONENT_MODEL;
    let features = features | wasmparser::WasmFeatures::EXTENDED_CONST | wasmparser::WasmFeatures::TAIL_CALL;
    let features = features | wasmparser::WasmFeatures::MULTI_MEMORY;
    wasmparser::Validator::new_with_features(features)
        .validate_all(bytes)
        .map(|_| ())
        .map_err(|error| invalid(&error))
}

/// Reads names from the outermost level. Nothing here relies on the binary being valid.
pub(crate) fn read(bytes: &[u8]) -> Result<Component, LoadError> {
    let mut component = Component::default();
    let mut depth = 0u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| invalid(&error))? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    push(
                        &mut component.imports,
                        import.map_err(|error| invalid(&error))?.name.name,
                    )?;
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    push(
                        &mut component.exports,
                        export.map_err(|error| invalid(&error))?.name.name,
                    )?;
                }
            }
            Payload::CustomSection(section) if component.producers.is_empty() => {
                if let wasmparser::KnownCustom::Producers(fields) = section.as_known() {
                    component.producers = producers(fields);
                }
            }
            _ => {}
        }
    }
    Ok(component)
}

fn push(names: &mut Vec<String>, name: &str) -> Result<(), LoadError> {
    if names.len() == COMPONENT_ITEMS_MAX {
        let message = format!("more than {COMPONENT_ITEMS_MAX} imports or exports");
        return Err(LoadError::Invalid { offset: 0, message });
    }
    names.push(name.to_owned());
    Ok(())
}

/// The section is a courtesy: what cannot be read is left out.
fn producers(fields: wasmparser::ProducersSectionReader<'_>) -> Vec<(String, String)> {
    let values = fields
        .into_iter()
        .flatten()
        .flat_map(|field| field.values.into_iter().flatten());
    values
        .take(16)
        .map(|value| (value.name.to_owned(), value.version.to_owned()))
        .collect()
}

pub(crate) fn invalid(error: &wasmparser::BinaryReaderError) -> LoadError {
    LoadError::Invalid {
        offset: error.offset() as u64,
        message: error.message().to_owned(),
    }
}
