//! What the tests of several crates share, and the tests that need more than one crate.
//!
//! Read in this order: [`needs`] (what a test may ask of the machine, and how it says that it skips),
//! [`tree`] (a directory as a comparable record), [`sample`] (images made on the spot, with the tree that
//! unpacking them must give), [`versions`] (plugins of other versions), [`scripts`] (programs that are run).
//!
//! This crate is for tests, the demo and benchmarks: unlike the library crates it reads the environment and
//! prints.

pub mod debian;
pub mod moto;
pub mod needs;
pub mod sample;
pub mod scripts;
pub mod tree;
pub mod versions;

pub use needs::{compilers, plugin, require_program, require_root, skip, target_dir};
