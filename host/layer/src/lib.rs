//! The bytes of a layer: from a blob to the files it holds, and from changed files to a blob.
//!
//! Read in the order in which data flow:
//! [`stage`] (what a step on the way is), [`chain`] (which steps a media type needs), [`native`] and [`exec`] (the steps
//! built in and those in programs of their own; WASM ones are in `transom-plugin`), [`pump`] (all steps of a layer at
//! work at once), [`workers`] (its threads), [`pipe`] and [`buffer`] (what runs between them), [`tar`] (the reader of the plain tar, and the
//! writer), [`apply`] (from tar entries to files). The way back is [`compare`] (the changes between two trees as a tar) and
//! [`compress`]. [`cancel`] stops all of it, [`limits`] says what a layer may cost.

pub mod apply;
pub mod buffer;
pub mod cancel;
pub mod chain;
pub mod compare;
pub mod compress;
pub mod exec;
pub mod limits;
pub mod native;
pub mod pipe;
pub mod pump;
pub mod stage;
pub mod tar;
pub mod workers;
