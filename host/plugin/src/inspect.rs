//! What a component is made of, without running it; also for those that would be refused.

use std::fmt;

use serde::Serialize;
use transom_oci::{Algorithm, Digest};

use crate::artifact::section;
use crate::component;
use crate::limits::COMPONENT_BYTES_MAX;
use crate::world::{self, World};

/// An import that the host will not give.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ForbiddenImport {
    /// The interface.
    pub interface: String,
    /// The function, if one of the component's modules uses one.
    pub function: Option<String>,
    /// How it is reached, outermost caller first, as far as the component has names.
    pub callers: Vec<String>,
}

impl fmt::Display for ForbiddenImport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.interface)?;
        if let Some(function) = &self.function {
            write!(f, " {function}")?;
        }
        match self.callers.as_slice() {
            [] if self.function.is_some() => f.write_str(", which nothing calls"),
            [] => Ok(()),
            callers => write!(f, ", pulled in by {}", callers.join(" → ")),
        }
    }
}

/// What [`inspect`] found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The digest of the bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// What the component imports.
    pub imports: Vec<String>,
    /// Those imports that a plugin of its kind may not use.
    pub forbidden: Vec<ForbiddenImport>,
    /// What it exports.
    pub exports: Vec<String>,
    /// What made it: name and version.
    pub producers: Vec<(String, String)>,
    /// Why it would be refused, most fundamental first; empty if it would be loaded.
    pub problems: Vec<String>,
}

/// Looks at the bytes of a component.
pub fn inspect(bytes: &[u8]) -> Report {
    let mut report = Report {
        digest: Digest::of(Algorithm::Sha256, bytes),
        size: bytes.len() as u64,
        imports: Vec::new(),
        forbidden: Vec::new(),
        exports: Vec::new(),
        producers: Vec::new(),
        problems: Vec::new(),
    };
    if report.size > COMPONENT_BYTES_MAX {
        report
            .problems
            .push(format!("it is larger than {COMPONENT_BYTES_MAX} bytes"));
        return report;
    }
    if let Err(error) = component::check_kind(bytes) {
        report.problems.push(error.to_string());
        return report;
    }
    if let Err(error) = component::validate(bytes) {
        report.problems.push(error.to_string());
    }
    let Ok(names) = component::read(bytes) else {
        return report;
    };
    let world = World::of(&names);
    report.forbidden = world::forbidden(world, &names, bytes);
    report.problems.extend(
        report
            .forbidden
            .iter()
            .map(|import| format!("forbidden import: {import}")),
    );
    for problem in [
        world::check_imports(world, &names),
        world::check_exports(world, &names),
    ] {
        report
            .problems
            .extend(problem.err().map(|error| error.to_string()));
    }
    if let Err(error) = section::text(bytes) {
        report.problems.push(error.to_string());
    }
    report.imports = names.imports;
    report.exports = names.exports;
    report.producers = names.producers;
    report
}
