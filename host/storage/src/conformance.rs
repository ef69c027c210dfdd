//! The conformance suite: what [`StorageDriver`] promises, held against any driver.
//!
//! For tests of drivers, for a check of a store that is configured, and for authors of plugins. Each case works in a folder
//! of its own below [`Options::folder`] and removes it, so that the suite can be run on a store that is in use.
//!
//! `bench` has what the cases share, `cases` the cases by subject.
//!
//! ```
//! use std::sync::Arc;
//! use transom_storage::{Memory, conformance};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() {
//! let memory = Memory::default();
//! let open = conformance::opener(move || {
//!     let memory = memory.clone();
//!     async move { Ok(Arc::new(memory) as Arc<dyn transom_storage::StorageDriver>) }
//! });
//! let report = conformance::run(open, conformance::Options::quick()).await;
//! assert!(report.passed(), "{report}");
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::{Error, Pending, RedirectMethod, StorageDriver, StoragePath};

mod bench;
mod cases;

use bench::Bench;

/// Opens the driver on the same store, as a process does that starts again.
pub type Open = Arc<dyn Fn() -> Pending<'static, Arc<dyn StorageDriver>> + Send + Sync>;

/// Gets a URL with a method: the HTTP status, and the body.
pub type Fetch = Arc<dyn Fn(String, RedirectMethod) -> Pending<'static, (u16, Vec<u8>)> + Send + Sync>;

/// Makes an [`Open`] of a function.
pub fn opener<F, R>(open: F) -> Open
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Result<Arc<dyn StorageDriver>, Error>> + Send + 'static,
{
    Arc::new(move || Box::pin(open()))
}

/// How much the suite does.
#[derive(Clone)]
pub struct Options {
    /// Where it works. The folder must be unused; nothing outside of it is written or deleted.
    pub folder: StoragePath,
    /// How many children a folder gets in the cases about large folders.
    pub children: usize,
    /// Bytes of a piece of an upload in the cases about large ones; three are written. More than the smallest part of
    /// an object store's upload (5 MiB) to be of use there.
    pub piece: usize,
    /// How many calls run at the same time in the cases about races.
    pub tasks: usize,
    /// Gets the URLs of redirects; without it they are only looked at.
    pub fetch: Option<Fetch>,
    /// Only the cases with these names; all if empty.
    pub only: Vec<String>,
}

impl Default for Options {
    /// Everything, in `/transom-conformance`: 10,000 children, pieces of 6 MiB.
    fn default() -> Options {
        Options {
            folder: StoragePath::root()
                .join("transom-conformance")
                .unwrap_or_else(|_| StoragePath::root()),
            children: 10_000,
            piece: 6 << 20,
            tasks: 8,
            fetch: None,
            only: Vec::new(),
        }
    }
}

impl Options {
    /// The same with small numbers: 300 children, pieces of 300 kB.
    #[must_use]
    pub fn quick() -> Options {
        Options {
            children: 300,
            piece: 300_000,
            ..Options::default()
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("folder", &self.folder)
            .field("children", &self.children)
            .field("piece", &self.piece)
            .field("tasks", &self.tasks)
            .field("only", &self.only)
            .finish_non_exhaustive()
    }
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The driver does what it must.
    Passed,
    /// It does not; what was seen.
    Failed(String),
    /// The driver does not say that it can do what the case is about.
    Skipped(&'static str),
}

/// A case and its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseReport {
    /// The name of the case.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of all cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each case, in the order they ran.
    pub cases: Vec<CaseReport>,
}

impl Report {
    /// Whether there is a case, and none failed.
    #[must_use]
    pub fn passed(&self) -> bool {
        !self.cases.is_empty() && self.failures().next().is_none()
    }

    /// The cases that failed.
    pub fn failures(&self) -> impl Iterator<Item = &CaseReport> {
        let failed = |case: &&CaseReport| matches!(case.outcome, Outcome::Failed(_));
        self.cases.iter().filter(failed)
    }
}

impl fmt::Display for Report {
    /// One line for each case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for CaseReport { name, about, outcome } in &self.cases {
            match outcome {
                Outcome::Passed => writeln!(f, "passed   {name}")?,
                Outcome::Skipped(why) => writeln!(f, "skipped  {name}: {why}")?,
                Outcome::Failed(seen) => writeln!(f, "FAILED   {name} ({about}): {seen}")?,
            }
        }
        Ok(())
    }
}

/// The name of each case, and what it is about.
pub fn cases() -> impl Iterator<Item = (&'static str, &'static str)> {
    cases::ALL.iter().map(|case| (case.name, case.about))
}

/// Holds a driver to every case, one after the other.
pub async fn run(open: Open, options: Options) -> Report {
    let mut report = Report::default();
    let only = |name: &str| options.only.is_empty() || options.only.iter().any(|wanted| wanted == name);
    for case in cases::ALL.iter().filter(|case| only(case.name)) {
        let outcome = match Bench::set_up(&open, &options, case.name).await {
            Ok(bench) => bench.hold(case).await,
            Err(failure) => Outcome::Failed(failure.to_string()),
        };
        let (name, about) = (case.name, case.about);
        report.cases.push(CaseReport { name, about, outcome });
    }
    report
}
