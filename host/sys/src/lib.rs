//! The system calls Transom needs, behind a trait with a recording fake.
//!
//! Read in this order:
//! 1. [`calls`]: the trait [`Sys`], one method per system call, and the few types they hand out;
//! 2. [`linux`]: [`Linux`], the real calls;
//! 3. [`recorded`]: [`Recorded`], which counts and notes the calls of another implementation and can make any of them
//!    fail, so that code above can be proved without root, without a full disk and without an old kernel;
//! 4. [`umask`] and [`clock`]: the thread's own umask, and what CPU time a thread and the process have used;
//! 5. [`process`]: child processes; [`writeback`]: telling the disk to begin; [`code`]: memory of code that has run;
//! 6. [`mount`](mod@mount): mounts, with a trait and an order of their own.

pub mod calls;
pub mod clock;
pub mod code;
pub mod linux;
pub mod mount;
pub mod process;
pub mod recorded;
pub mod umask;
pub mod writeback;

pub use calls::{DirEntry, Result, Sys, Times};
pub use code::release_code;
pub use linux::Linux;
pub use mount::Mount;
pub use recorded::{Call, Op, Recorded};
pub use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, XattrFlags};
pub use rustix::io::Errno;
pub use umask::PrivateUmask;
pub use writeback::write_back;
