//! An implementation that notes what is asked of another one, and fails where a test says so.

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, OFlags, ResolveFlags, Stat, XattrFlags};
use rustix::io::Errno;

use crate::calls::{DirEntry, Result, Sys, Times};
use crate::mount::Pretended;

/// The kinds of calls, one for each method of [`Sys`] and [`MountSys`](crate::mount::MountSys) that is a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "each is the method of Sys or MountSys with the same name"
)]
pub enum Op {
    Openat2,
    Openat,
    Close,
    Mkdirat,
    Mknodat,
    Symlinkat,
    Linkat,
    Unlinkat,
    Rmdirat,
    Readlinkat,
    Fstat,
    Statat,
    Getdents,
    Fchown,
    Fchownat,
    Fchmod,
    Fchmodat,
    Futimens,
    Utimensat,
    Fsetxattr,
    Setxattrat,
    Getxattr,
    Getxattrat,
    Listxattr,
    Read,
    Write,
    Pwrite,
    Ftruncate,
    Fsync,
    Syncfs,
    Mount,
    Propagate,
    Unmount,
    Fsopen,
    Fsconfig,
    FsMessages,
    Fsmount,
    CloneTree,
    MoveMount,
    MapIds,
    UserNamespace,
    Statfs,
    MountInfo,
    LoopFree,
    LoopOpen,
    LoopConfigure,
    LoopSetFile,
    LoopSetStatus,
    LoopSetDirectIo,
    LoopClear,
    Run,
    Pause,
}

/// One call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which call.
    pub op: Op,
    /// The name or path it was given; empty for calls on a descriptor alone. For calls about mounts all that they were
    /// given, as text.
    pub name: Vec<u8>,
    /// How it failed, if it did.
    pub error: Option<Errno>,
}

/// A failure that a test asks for.
#[derive(Debug)]
struct Fault {
    op: Op,
    /// How many calls of that kind still go through before.
    after: usize,
    /// Whether it fails from then on, or once.
    lasting: bool,
    errno: Errno,
}

#[derive(Debug, Default)]
pub(crate) struct Notes {
    calls: Vec<Call>,
    faults: Vec<Fault>,
    user_namespace: Option<bool>,
    ids: Option<(u32, u32)>,
    /// The mounts, where they are pretended.
    pub(crate) pretended: Option<Pretended>,
}

/// Wraps `S`, notes every call and lets a test inject failures. For tests: it keeps every call in memory.
#[derive(Debug, Default)]
pub struct Recorded<S> {
    inner: S,
    notes: Mutex<Notes>,
}

impl<S> Recorded<S> {
    /// Wraps `inner`.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            notes: Mutex::default(),
        }
    }

    pub(crate) fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the call of kind `op` that comes after `after` further ones answer `errno` without being made.
    pub fn fail_once(&self, op: Op, after: usize, errno: Errno) {
        self.notes().faults.push(Fault {
            op,
            after,
            lasting: false,
            errno,
        });
    }

    /// Makes every call of kind `op` answer `errno`, from the one that comes after `after` further ones on.
    pub fn fail_from(&self, op: Op, after: usize, errno: Errno) {
        self.notes().faults.push(Fault {
            op,
            after,
            lasting: true,
            errno,
        });
    }

    /// Answers [`Sys::in_user_namespace`] with `inside`.
    pub fn pretend_user_namespace(&self, inside: bool) {
        self.notes().user_namespace = Some(inside);
    }

    /// Answers [`Sys::effective_ids`] with these; what the kernel does does not change.
    pub fn pretend_ids(&self, uid: u32, gid: u32) {
        self.notes().ids = Some((uid, gid));
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.notes().calls.clone()
    }

    /// How often each kind of call was made so far.
    pub fn counts(&self) -> BTreeMap<Op, usize> {
        let mut counts = BTreeMap::new();
        for call in &self.notes().calls {
            *counts.entry(call.op).or_insert(0) += 1;
        }
        counts
    }

    /// Forgets the calls so far; failures asked for stay.
    pub fn forget(&self) {
        self.notes().calls.clear();
    }

    pub(crate) fn make<T>(&self, op: Op, name: &[u8], call: impl FnOnce(&S) -> Result<T>) -> Result<T> {
        let answer = match self.fault(op) {
            Some(errno) => Err(errno),
            None => call(&self.inner),
        };
        let error = answer.as_ref().err().copied();
        self.notes().calls.push(Call {
            op,
            name: name.to_vec(),
            error,
        });
        answer
    }

    fn fault(&self, op: Op) -> Option<Errno> {
        let mut notes = self.notes();
        let mut errno = None;
        notes.faults.retain_mut(|fault| {
            if fault.op != op {
                return true;
            }
            if fault.after > 0 {
                fault.after -= 1;
                return true;
            }
            errno = Some(fault.errno);
            fault.lasting
        });
        errno
    }
}

impl<S: Sys> Sys for Recorded<S> {
    fn openat2(
        &self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        mode: u32,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd> {
        self.make(Op::Openat2, path, |sys| {
            sys.openat2(dir, path, flags, mode, resolve)
        })
    }

    fn openat(&self, dir: BorrowedFd<'_>, name: &[u8], flags: OFlags, mode: u32) -> Result<OwnedFd> {
        self.make(Op::Openat, name, |sys| sys.openat(dir, name, flags, mode))
    }

    fn close(&self, fd: OwnedFd) {
        // A close cannot be made to fail here: the descriptor is gone either way.
        self.notes().calls.push(Call {
            op: Op::Close,
            name: Vec::new(),
            error: None,
        });
        self.inner.close(fd);
    }

    fn mkdirat(&self, dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<()> {
        self.make(Op::Mkdirat, name, |sys| sys.mkdirat(dir, name, mode))
    }

    fn mknodat(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        kind: FileType,
        mode: u32,
        device: (u32, u32),
    ) -> Result<()> {
        self.make(Op::Mknodat, name, |sys| {
            sys.mknodat(dir, name, kind, mode, device)
        })
    }

    fn symlinkat(&self, target: &[u8], dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        self.make(Op::Symlinkat, name, |sys| sys.symlinkat(target, dir, name))
    }

    fn linkat(&self, old_dir: BorrowedFd<'_>, old: &[u8], new_dir: BorrowedFd<'_>, new: &[u8]) -> Result<()> {
        self.make(Op::Linkat, new, |sys| sys.linkat(old_dir, old, new_dir, new))
    }

    fn unlinkat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        self.make(Op::Unlinkat, name, |sys| sys.unlinkat(dir, name))
    }

    fn rmdirat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        self.make(Op::Rmdirat, name, |sys| sys.rmdirat(dir, name))
    }

    fn readlinkat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>> {
        self.make(Op::Readlinkat, name, |sys| sys.readlinkat(dir, name))
    }

    fn fstat(&self, fd: BorrowedFd<'_>) -> Result<Stat> {
        self.make(Op::Fstat, b"", |sys| sys.fstat(fd))
    }

    fn statat(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Stat> {
        self.make(Op::Statat, name, |sys| sys.statat(dir, name))
    }

    fn getdents(&self, dir: BorrowedFd<'_>, entries: &mut Vec<DirEntry>) -> Result<bool> {
        self.make(Op::Getdents, b"", |sys| sys.getdents(dir, entries))
    }

    fn fchown(&self, fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
        self.make(Op::Fchown, b"", |sys| sys.fchown(fd, uid, gid))
    }

    fn fchownat(&self, dir: BorrowedFd<'_>, name: &[u8], uid: u32, gid: u32) -> Result<()> {
        self.make(Op::Fchownat, name, |sys| sys.fchownat(dir, name, uid, gid))
    }

    fn fchmod(&self, fd: BorrowedFd<'_>, mode: u32) -> Result<()> {
        self.make(Op::Fchmod, b"", |sys| sys.fchmod(fd, mode))
    }

    fn fchmodat(&self, dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<()> {
        self.make(Op::Fchmodat, name, |sys| sys.fchmodat(dir, name, mode))
    }

    fn futimens(&self, fd: BorrowedFd<'_>, times: Times) -> Result<()> {
        self.make(Op::Futimens, b"", |sys| sys.futimens(fd, times))
    }

    fn utimensat(&self, dir: BorrowedFd<'_>, name: &[u8], times: Times) -> Result<()> {
        self.make(Op::Utimensat, name, |sys| sys.utimensat(dir, name, times))
    }

    fn fsetxattr(&self, fd: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: XattrFlags) -> Result<()> {
        self.make(Op::Fsetxattr, key, |sys| sys.fsetxattr(fd, key, value, flags))
    }

    fn setxattrat(&self, dir: BorrowedFd<'_>, name: &[u8], key: &[u8], value: &[u8]) -> Result<()> {
        self.make(Op::Setxattrat, name, |sys| sys.setxattrat(dir, name, key, value))
    }

    fn getxattr(&self, fd: BorrowedFd<'_>, key: &[u8]) -> Result<Vec<u8>> {
        self.make(Op::Getxattr, key, |sys| sys.getxattr(fd, key))
    }

    fn getxattrat(&self, dir: BorrowedFd<'_>, name: &[u8], key: &[u8]) -> Result<Vec<u8>> {
        self.make(Op::Getxattrat, name, |sys| sys.getxattrat(dir, name, key))
    }

    fn listxattr(&self, fd: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
        self.make(Op::Listxattr, b"", |sys| sys.listxattr(fd))
    }

    fn read(&self, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
        self.make(Op::Read, b"", |sys| sys.read(fd, buffer))
    }

    fn write(&self, fd: BorrowedFd<'_>, data: &[u8]) -> Result<usize> {
        self.make(Op::Write, b"", |sys| sys.write(fd, data))
    }

    fn pwrite(&self, fd: BorrowedFd<'_>, data: &[u8], offset: u64) -> Result<usize> {
        self.make(Op::Pwrite, b"", |sys| sys.pwrite(fd, data, offset))
    }

    fn ftruncate(&self, fd: BorrowedFd<'_>, length: u64) -> Result<()> {
        self.make(Op::Ftruncate, b"", |sys| sys.ftruncate(fd, length))
    }

    fn fsync(&self, fd: BorrowedFd<'_>) -> Result<()> {
        self.make(Op::Fsync, b"", |sys| sys.fsync(fd))
    }

    fn syncfs(&self, fd: BorrowedFd<'_>) -> Result<()> {
        self.make(Op::Syncfs, b"", |sys| sys.syncfs(fd))
    }

    fn effective_ids(&self) -> (u32, u32) {
        self.notes().ids.unwrap_or_else(|| self.inner.effective_ids())
    }

    fn in_user_namespace(&self) -> bool {
        self.notes()
            .user_namespace
            .unwrap_or_else(|| self.inner.in_user_namespace())
    }
}
