//! What a check found.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use transom_content::SweepReport;
use transom_oci::Digest;

use crate::limits::FSCK_FINDINGS;
use crate::names::Namespace;

/// Everything that a check found and did.
#[derive(Debug, Default)]
pub struct Report {
    /// What was looked at.
    pub counts: Counts,
    /// How many problems there are of each [kind](Problem::kind).
    pub problems: BTreeMap<&'static str, u64>,
    /// How many of them were repaired.
    pub repaired: u64,
    /// How many are still there.
    pub left: u64,
    /// The problems one by one: the first [`FSCK_FINDINGS`] of them.
    pub findings: Vec<Finding>,
    /// What crashes left in the content store. A daemon removes it when it starts; it is no damage.
    pub leftovers: SweepReport,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records and marks of any kind.
    pub records: u64,
    /// Namespaces.
    pub namespaces: u64,
    /// Images.
    pub images: u64,
    /// Content of namespaces: a blob that two of them have counts twice.
    pub content: u64,
    /// Ingests.
    pub ingests: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Leases.
    pub leases: u64,
    /// Blobs in the content store.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were hashed.
    pub hashed: u64,
}

/// A problem, and what was done about it.
#[derive(Debug)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// What was done.
    pub action: Action,
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// A record that cannot be decoded, or a key of no known form.
    Unreadable {
        /// The key, printable.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Records, but none that says which version they have.
    NoVersion,
    /// A namespace has something, but no record.
    NoNamespace {
        /// The namespace.
        namespace: Namespace,
    },
    /// A namespace has content whose blob is not there.
    MissingBlob {
        /// The namespace.
        namespace: Namespace,
        /// The blob.
        digest: Digest,
    },
    /// A record says another size than the blob has, whose digest is right.
    WrongSize {
        /// The namespace.
        namespace: Namespace,
        /// The blob.
        digest: Digest,
        /// The size in the record.
        recorded: u64,
        /// The blob's.
        actual: u64,
    },
    /// A blob's bytes do not have its digest, or cannot be read.
    DamagedBlob {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// A blob that no namespace has.
    OrphanBlob {
        /// The blob.
        digest: Digest,
        /// Its bytes.
        size: u64,
    },
    /// A namespace has content, but the mark that keeps its blob is missing.
    NoHolder {
        /// The namespace.
        namespace: Namespace,
        /// The blob.
        digest: Digest,
    },
    /// An ingest waits for a blob, but the mark that keeps it is missing.
    NoExpecter {
        /// The namespace.
        namespace: Namespace,
        /// The client's ref.
        reference: String,
    },
    /// A mark or a record that belongs to something which is not there.
    Dangling {
        /// The key, printable.
        key: String,
        /// What is not there.
        missing: String,
    },
    /// An ingest whose bytes, or the blob that it shares, are not there.
    EmptyIngest {
        /// The namespace.
        namespace: Namespace,
        /// The client's ref.
        reference: String,
    },
    /// An ingest in the content store that no record names.
    OrphanIngest {
        /// Its ref in the content store.
        backend: String,
        /// Its bytes.
        size: u64,
    },
    /// A snapshot stands on another, but the mark that says so is missing.
    NoChild {
        /// The namespace.
        namespace: Namespace,
        /// The snapshotter.
        snapshotter: String,
        /// Its key.
        key: String,
    },
    /// A snapshot that its snapshotter does not have.
    MissingFiles {
        /// The namespace.
        namespace: Namespace,
        /// The snapshotter.
        snapshotter: String,
        /// Its key.
        key: String,
    },
    /// A snapshot of a snapshotter that no record names.
    OrphanSnapshot {
        /// The snapshotter.
        snapshotter: String,
        /// Its key there.
        backend: String,
    },
    /// The next number for names elsewhere is one that an ingest or a snapshot has already.
    Sequence {
        /// The next number.
        next: u64,
        /// The highest one in use.
        used: u64,
    },
}

impl Problem {
    /// The kind of problem, for programs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Problem::Unreadable { .. } => "unreadable-record",
            Problem::NoVersion => "no-version",
            Problem::NoNamespace { .. } => "no-namespace",
            Problem::MissingBlob { .. } => "missing-blob",
            Problem::WrongSize { .. } => "wrong-size",
            Problem::DamagedBlob { .. } => "damaged-blob",
            Problem::OrphanBlob { .. } => "orphan-blob",
            Problem::NoHolder { .. } => "no-holder",
            Problem::NoExpecter { .. } => "no-expecter",
            Problem::Dangling { .. } => "dangling-record",
            Problem::EmptyIngest { .. } => "empty-ingest",
            Problem::OrphanIngest { .. } => "orphan-ingest",
            Problem::NoChild { .. } => "no-child",
            Problem::MissingFiles { .. } => "missing-files",
            Problem::OrphanSnapshot { .. } => "orphan-snapshot",
            Problem::Sequence { .. } => "sequence",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Problem::NoChild {
            namespace,
            snapshotter,
            key,
        }
        | Problem::MissingFiles {
            namespace,
            snapshotter,
            key,
        } = self
        {
            write!(f, "snapshot {key} of {snapshotter} in namespace {namespace}: ")?;
        }
        match self {
            Problem::Unreadable { key, reason } => write!(f, "record {key}: {reason}"),
            Problem::NoVersion => write!(
                f,
                "the metadata has no version record: it may be empty, damaged, or another one"
            ),
            Problem::NoNamespace { namespace } => {
                write!(f, "namespace {namespace}: it is used, but not recorded")
            }
            Problem::MissingBlob { namespace, digest } => {
                write!(
                    f,
                    "content {digest} of namespace {namespace}: its blob is missing"
                )
            }
            Problem::WrongSize {
                namespace,
                digest,
                recorded,
                actual,
            } => write!(
                f,
                "content {digest} of namespace {namespace}: recorded with {recorded} bytes, and has {actual}"
            ),
            Problem::DamagedBlob { digest, reason } => write!(f, "blob {digest}: {reason}"),
            Problem::OrphanBlob { digest, size } => {
                write!(f, "blob {digest}: its {size} bytes are in no namespace")
            }
            Problem::NoHolder { namespace, digest } => write!(
                f,
                "content {digest} of namespace {namespace}: nothing says that it keeps its blob"
            ),
            Problem::NoExpecter { namespace, reference } => write!(
                f,
                "ingest {reference} of namespace {namespace}: nothing says that it keeps the blob it shares"
            ),
            Problem::Dangling { key, missing } => write!(f, "record {key}: there is no {missing}"),
            Problem::EmptyIngest { namespace, reference } => {
                write!(f, "ingest {reference} of namespace {namespace}: it has no data")
            }
            Problem::OrphanIngest { backend, size } => {
                write!(f, "ingest {backend}: its {size} bytes are in no namespace")
            }
            Problem::NoChild { .. } => f.write_str("nothing says that it keeps its parent"),
            Problem::MissingFiles { .. } => f.write_str("its files are missing"),
            Problem::OrphanSnapshot { snapshotter, backend } => {
                write!(f, "snapshot {backend} of {snapshotter}: it is in no namespace")
            }
            Problem::Sequence { next, used } => {
                write!(
                    f,
                    "the next number for ingests and snapshots is {next}, but {used} is in use"
                )
            }
        }
    }
}

/// What was done about a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Nothing: no repair was asked for.
    None,
    /// Its record was removed.
    RecordRemoved,
    /// Its record was written anew.
    RecordWritten,
    /// The blob or ingest was removed.
    Removed,
    /// The damaged blob was moved, and its records were removed.
    SetAside {
        /// Where it is now.
        path: PathBuf,
    },
    /// It was changed too lately to be removed.
    TooYoung,
    /// Nothing, and it is for a person to decide.
    Left {
        /// Why.
        reason: &'static str,
    },
    /// It was tried in vain.
    Failed {
        /// Why.
        reason: String,
    },
}

impl Action {
    /// Whether the problem is no more.
    #[must_use]
    pub fn repaired(&self) -> bool {
        matches!(
            self,
            Action::RecordRemoved | Action::RecordWritten | Action::Removed | Action::SetAside { .. }
        )
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::None => f.write_str("not repaired"),
            Action::RecordRemoved => f.write_str("removed its record"),
            Action::RecordWritten => f.write_str("wrote its record anew"),
            Action::Removed => f.write_str("removed it"),
            Action::SetAside { path } => {
                write!(f, "moved it to {}, and removed its records", path.display())
            }
            Action::TooYoung => f.write_str("left it: it was changed too lately"),
            Action::Left { reason } => write!(f, "left it: {reason}"),
            Action::Failed { reason } => write!(f, "could not repair it: {reason}"),
        }
    }
}

impl Report {
    /// Whether nothing is wrong any more.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.left == 0
    }

    pub(super) fn note(&mut self, problem: Problem, action: Action) {
        *self.problems.entry(problem.kind()).or_default() += 1;
        if action.repaired() {
            self.repaired += 1;
        } else {
            self.left += 1;
        }
        if self.findings.len() < FSCK_FINDINGS {
            self.findings.push(Finding { problem, action });
        }
    }
}
