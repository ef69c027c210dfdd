//! What a stranger can hand in, handed in at random: functions from any bytes to an outcome, which panic when something
//! happens that must not.
//!
//! Read in this order: [`targets`] (what is tried), [`seeds`] (what mutation begins with), [`mutate`] (what it does).
//! `main.rs` drives them for a while, without coverage; `libfuzzer/` beside this folder's `src` has the same targets for
//! `cargo fuzz`.

pub mod mutate;
pub mod seeds;
pub mod targets;
