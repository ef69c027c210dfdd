//! A content-addressed blob store in containerd's on-disk layout.
//!
//! Read the files in the order data flows through them: [`store`] (the front door), `lock` (one writer per
//! ref), `ingest` (opening and resuming), `memory` (small ones, without a folder), [`writer`] (append, hash, commit), `steps` (the named points of a
//! commit), [`read`] (blobs and verified reads), [`walk`] and [`status`] (listing), [`verify`] (re-hashing what is
//! there), [`sweep`] (what a crash left). A store may be [on a remote](remote), of whose blobs it has `copies`. `inner` is what they share. Beside them: `layout` (names on disk), `folder` (one ingest folder
//! by its handle), `flush` (one sync for many), [`timestamp`], [`limits`], [`error`].
//!
//! `docs/formats/content.md` describes every file on disk, and where this store and containerd's differ.
//!
//! ```no_run
//! use transom_content::{IngestOptions, Store};
//! # fn main() -> Result<(), transom_content::Error> {
//! let store = Store::open(transom_content::content_root("/var/lib/transom"))?;
//! let mut writer = store.ingest("my-ref", IngestOptions::default())?;
//! writer.write(b"hello")?;
//! let blob = writer.commit(None, None)?;
//! assert_eq!(store.info(&blob.digest)?.size, 5);
//! # Ok(())
//! # }
//! ```

mod copies;
pub mod error;
mod flush;
mod folder;
mod ingest;
mod inner;
mod layout;
pub mod limits;
mod lock;
mod memory;
pub mod read;
pub mod remote;
pub mod status;
mod steps;
pub mod store;
pub mod sweep;
pub mod timestamp;
pub mod verify;
pub mod walk;
pub mod writer;

pub use error::Error;
pub use ingest::IngestOptions;
pub use layout::content_root;
pub use read::{Blob, Partial, VerifyingReader};
pub use remote::Remote;
pub use status::{Status, Statuses};
pub use steps::{Observer, Step};
pub use store::{Info, Store};
pub use sweep::{Action, Found, Reason, SweepReport};
pub use verify::{Checked, Damage, Verify};
pub use walk::Walk;
pub use writer::Writer;
