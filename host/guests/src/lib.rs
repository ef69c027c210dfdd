//! From the source of a plugin to its component.
//!
//! ```text
//! folder → what plugin.toml says → world of just what it may import ─┬▶ bindings (C) ─────▶ clang ─▶ module ─▶ component
//!                                                                    └▶ SDK + its source ─▶ componentize-qjs or -py ─▶ mended ─▶ component
//! ```
//!
//! Read in that order: [`project`] (what is in the folder), [`world`] (its WIT), [`stage`] (the folder in which it is built), [`c`],
//! [`javascript`], [`python`], [`mend`] (what these two leave to be done), [`glue`] (where), [`component`] (from a module to a component),
//! [`tools`] (the programs of others), [`error`].
//!
//! Rust needs none of this but [`component`]: cargo builds the module, and the bindings are in `transom-sdk`.

pub mod component;
pub mod error;
pub mod project;
pub mod tools;

mod c;
mod glue;
mod javascript;
mod mend;
mod python;
mod stage;
mod world;

use std::path::Path;

pub use error::Error;
pub use project::{Kind, Language, Project};
pub use tools::Tools;

/// What `rustc` is told when it builds a plugin in Rust: to begin with half a mebibyte of memory besides stack and data, so that most jobs
/// need no more (`transom-sdk`'s allocator begins with it). Memory that is not touched costs nothing.
pub const RUST_FLAGS: &str = "-Clink-arg=--initial-heap=524288";

/// A component, and what the compiler had to say though it made it.
#[derive(Clone, Debug)]
pub struct Built {
    /// The component.
    pub component: Vec<u8>,
    /// Warnings, as the compiler printed them; empty if there were none.
    pub warnings: String,
}

/// Builds a project in C, JavaScript or Python. Everything that comes about on the way is left in `work`, which is emptied first.
///
/// # Errors
///
/// [`Error::Tool`] if a compiler is missing, [`Error::Failed`] with what it said, [`Error::Language`] for Rust.
pub fn build(project: &Project, tools: &Tools, work: &Path) -> Result<Built, Error> {
    match project.language {
        Language::C => c::build(project, tools, work),
        Language::JavaScript => javascript::build(project, tools, work),
        Language::Python => python::build(project, tools, work),
        Language::Rust => Err(Error::Language {
            folder: project.folder.clone(),
            reason: "Rust is built by cargo",
        }),
    }
}
