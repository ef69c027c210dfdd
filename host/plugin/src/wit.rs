//! One adapter for each version of the interface; behind them there are only this crate's and `transom-layer`'s words.

pub(crate) mod v0_1;
