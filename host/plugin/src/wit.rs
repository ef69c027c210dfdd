//! One adapter for each version of the interface; behind them there are only this crate's and `transom-layer`'s words.

pub(crate) mod artifacts_v0_1;
pub(crate) mod filter_v0_1;
pub(crate) mod keys_v0_1;
pub(crate) mod storage_v0_1;
pub(crate) mod v0_1;
