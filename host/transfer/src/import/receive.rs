//! Files of an archive become content as they arrive; the few that say what the archive is stay in memory.

use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use tokio::task::JoinSet;
use transom_diff::Ahead;
use transom_image::limits::{LAYOUT_FILE_BYTES_MAX, LISTING_BYTES_MAX};
use transom_image::source::docker::DockerEntry;
use transom_meta::content::Writer;
use transom_meta::{Caller, Error, Labels, Metadata};
use transom_oci::{Algorithm, Digest};

use super::archive::{self, Feed, Item};
use super::early::Early;
use crate::along::Along;
use crate::bytes::ByteSource;
use crate::document;
use crate::error::TransferError;
use crate::limits;
use crate::progress::{IMPORTING, Progress, ProgressSink};

const LAYOUT: &str = "oci-layout";
const INDEX: &str = "index.json";
const DOCKER: &str = "manifest.json";

/// The only version of layouts there is.
const LAYOUT_VERSION: &str = "1.0.0";

/// A blob that is content now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// What an archive had.
pub(super) struct Received {
    /// The index of a layout, which is content.
    pub(super) index: Option<Stored>,
    /// The images of a docker archive.
    pub(super) docker: Vec<DockerEntry>,
    /// The other files, by name.
    pub(super) files: Files,
    /// Whether the archive had an end.
    pub(super) complete: bool,
    /// What the client still sends is read for as long as this is here.
    _feed: Feed,
}

/// Files by name. Of two with one name the last one counts, as with tar programs.
#[derive(Debug, Default)]
pub(super) struct Files {
    stored: HashMap<String, Stored>,
    small: BTreeMap<String, Bytes>,
    links: HashMap<String, String>,
}

/// A file of an archive.
#[derive(Debug)]
pub(super) enum File {
    /// In the store.
    Stored(Stored),
    /// In memory.
    Small(Bytes),
}

impl Files {
    /// A file by a name that may be a link to it.
    pub(super) fn find(&self, name: &str) -> Option<File> {
        let mut name = archive::clean(name.as_bytes())?;
        for _ in 0..transom_image::limits::ARCHIVE_LINKS_MAX {
            if let Some(stored) = self.stored.get(&name) {
                return Some(File::Stored(stored.clone()));
            }
            if let Some(bytes) = self.small.get(&name) {
                return Some(File::Small(bytes.clone()));
            }
            name = self.links.get(&name)?.clone();
        }
        None
    }

    fn forget(&mut self, name: &str) {
        self.stored.remove(name);
        self.small.remove(name);
        self.links.remove(name);
    }
}

/// Writes what arrives.
pub(super) struct Receiver<'a> {
    metadata: &'a Metadata,
    caller: &'a Caller,
    progress: &'a dyn ProgressSink,
    ahead: Option<Ahead>,
    /// Makes refs of this import its own.
    random: u64,
    numbers: u64,
    files: Files,
    small_bytes: u64,
    listings: BTreeMap<&'static str, Bytes>,
    /// The number of the last file of each name: blobs become content in no order.
    latest: HashMap<String, u64>,
    current: Current,
    commits: JoinSet<Result<Committed, TransferError>>,
    seen: u64,
    told: u64,
}

/// A file that has become content.
struct Committed {
    name: String,
    number: u64,
    stored: Stored,
}

/// The file that is arriving.
enum Current {
    None,
    /// Not wanted, or here already.
    Skip,
    Memory {
        name: String,
        bytes: BytesMut,
    },
    Blob(Box<Blob>),
}

struct Blob {
    name: String,
    number: u64,
    size: u64,
    expected: Option<Digest>,
    writer: Writer,
    along: Along,
    chunk: BytesMut,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(
        metadata: &'a Metadata,
        caller: &'a Caller,
        progress: &'a dyn ProgressSink,
        ahead: Option<Ahead>,
    ) -> Receiver<'a> {
        use std::hash::{BuildHasher, Hasher};
        Receiver {
            metadata,
            caller,
            progress,
            ahead,
            // The standard library seeds it from the system.
            random: std::hash::RandomState::new().build_hasher().finish(),
            numbers: 0,
            files: Files::default(),
            small_bytes: 0,
            listings: BTreeMap::new(),
            latest: HashMap::new(),
            current: Current::None,
            commits: JoinSet::new(),
            seen: 0,
            told: 0,
        }
    }

    /// Takes a whole archive. `early` is told what is there.
    pub(super) async fn run(
        mut self,
        source: Box<dyn ByteSource>,
        early: &mut Early<'_>,
    ) -> Result<Received, TransferError> {
        let (feed, mut items) = archive::open(source);
        let complete = loop {
            let item = tokio::select! {
                // A layer can be unpacked as soon as it is content, also while the client sends nothing.
                Some(done) = self.commits.join_next() => {
                    self.committed(done, early).await?;
                    continue;
                }
                item = items.recv() => item.ok_or(TransferError::Panicked { what: "the import" })??,
            };
            match item {
                Item::File { name, size } => self.begin(name, size, early).await?,
                Item::Data(bytes) => self.data(bytes).await?,
                Item::FileEnd => self.end(early).await?,
                Item::Link { name, target } => {
                    self.number(&name);
                    self.files.links.insert(name, target);
                }
                Item::End { complete } => break complete,
            }
        };
        while let Some(done) = self.commits.join_next().await {
            self.committed(done, early).await?;
        }
        self.finish(feed, complete).await
    }

    async fn begin(&mut self, name: String, size: u64, early: &mut Early<'_>) -> Result<(), TransferError> {
        let limit = match name.as_str() {
            LAYOUT => Some(LAYOUT_FILE_BYTES_MAX),
            INDEX | DOCKER => Some(LISTING_BYTES_MAX),
            _ => None,
        };
        if let Some(limit) = limit.filter(|limit| size > *limit) {
            return Err(TransferError::Limit {
                what: format!("the {size} bytes of {name:?} in the archive"),
                limit,
            });
        }
        let expected = digest_of(&name);
        let came = self.latest.contains_key(&name) && !self.files.links.contains_key(&name);
        self.current = if expected.is_some() && came {
            // What came first under this name is what the name says, or the import fails.
            Current::Skip
        } else if limit.is_some() || expected.is_none() && self.fits(size) {
            let bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
            Current::Memory { name, bytes }
        } else {
            self.open(name, size, expected, early).await?
        };
        Ok(())
    }

    /// The number of another file; what came earlier under its name does not count any more.
    fn number(&mut self, name: &str) -> u64 {
        self.numbers += 1;
        self.files.forget(name);
        self.latest.insert(name.to_owned(), self.numbers);
        self.numbers
    }

    /// Whether another small file may be kept in memory.
    fn fits(&self, size: u64) -> bool {
        size <= limits::SMALL_FILE_BYTES && self.small_bytes + size <= limits::SMALL_FILES_BYTES
    }

    async fn open(
        &mut self,
        name: String,
        size: u64,
        expected: Option<Digest>,
        early: &mut Early<'_>,
    ) -> Result<Current, TransferError> {
        let number = self.number(&name);
        let reference = format!("tar-{:016x}-{number}", self.random);
        let opened = self
            .metadata
            .ingest(self.caller, &reference, Some(size), expected.as_ref())
            .await;
        let writer = match (opened, expected.clone()) {
            (Err(Error::AlreadyExists { .. }), Some(digest)) => {
                // The file may be anything: it is not looked at, for the blob is here.
                let size = self.metadata.content_info(self.caller, &digest).await?.size;
                let stored = Stored { digest, size };
                self.arrived(Committed { name, number, stored }, early).await?;
                return Ok(Current::Skip);
            }
            (opened, _) => opened?,
        };
        let shared = writer.status()?.expected.is_some();
        let blob = Blob {
            name,
            number,
            size,
            expected,
            writer,
            along: Along::new(self.ahead.clone()),
            chunk: BytesMut::new(),
        };
        if shared {
            // Another namespace has it, and gives it without its bytes.
            self.commit(blob);
            return Ok(Current::Skip);
        }
        Ok(Current::Blob(Box::new(blob)))
    }

    async fn data(&mut self, bytes: Bytes) -> Result<(), TransferError> {
        self.seen += bytes.len() as u64;
        if self.seen - self.told >= limits::PROGRESS_BYTES {
            self.told = self.seen;
            self.progress.tell(Progress {
                progress: self.seen,
                ..Progress::of_all(IMPORTING)
            });
        }
        match &mut self.current {
            Current::None | Current::Skip => {}
            Current::Memory { bytes: to, .. } => to.extend_from_slice(&bytes),
            Current::Blob(blob) => blob.write(bytes).await?,
        }
        Ok(())
    }

    async fn end(&mut self, early: &mut Early<'_>) -> Result<(), TransferError> {
        match std::mem::replace(&mut self.current, Current::None) {
            Current::None | Current::Skip => Ok(()),
            Current::Memory { name, bytes } => self.keep(name, bytes.freeze(), early).await,
            Current::Blob(mut blob) => {
                blob.flush().await?;
                while self.commits.len() >= limits::COMMITS
                    && let Some(done) = self.commits.join_next().await
                {
                    self.committed(done, early).await?;
                }
                self.commit(*blob);
                Ok(())
            }
        }
    }

    async fn keep(&mut self, name: String, bytes: Bytes, early: &mut Early<'_>) -> Result<(), TransferError> {
        for listing in [LAYOUT, INDEX, DOCKER] {
            if name == listing {
                if listing == INDEX {
                    early.index(&bytes).await?;
                }
                self.listings.insert(listing, bytes);
                return Ok(());
            }
        }
        self.small_bytes += bytes.len() as u64;
        self.number(&name);
        self.files.small.insert(name, bytes);
        Ok(())
    }

    fn commit(&mut self, blob: Blob) {
        self.commits.spawn(async move {
            let Blob {
                name,
                number,
                size,
                expected,
                mut writer,
                mut along,
                ..
            } = blob;
            let committed = writer.commit(Some(size), expected.as_ref(), Labels::new()).await;
            let digest = match committed {
                Ok(record) => {
                    along.committed(&record.digest);
                    record.digest
                }
                // This namespace has it, and now the lease, too.
                Err(Error::AlreadyExists { .. }) => match expected {
                    Some(digest) => digest,
                    None => writer.digest()?,
                },
                Err(Error::Content(transom_content::Error::DigestMismatch { actual, .. })) => {
                    return Err(TransferError::WrongDigest { name, actual });
                }
                Err(error) => return Err(error.into()),
            };
            let stored = Stored { digest, size };
            Ok(Committed { name, number, stored })
        });
    }

    async fn committed(
        &mut self,
        done: Result<Result<Committed, TransferError>, tokio::task::JoinError>,
        early: &mut Early<'_>,
    ) -> Result<(), TransferError> {
        let committed = done.map_err(|_| TransferError::Panicked { what: "a commit" })??;
        self.arrived(committed, early).await
    }

    async fn arrived(&mut self, committed: Committed, early: &mut Early<'_>) -> Result<(), TransferError> {
        let Committed { name, number, stored } = committed;
        early.arrived(self.caller, &stored.digest).await?;
        if self.latest.get(&name) == Some(&number) {
            self.files.stored.insert(name, stored);
        }
        Ok(())
    }

    async fn finish(mut self, feed: Feed, complete: bool) -> Result<Received, TransferError> {
        let format = |reason: String| TransferError::Format { reason };
        let (mut index, mut docker) = (None, Vec::new());
        if let Some(layout) = self.listings.remove(LAYOUT) {
            check_version(&layout)?;
            let bytes = self.listings.remove(INDEX);
            let missing = || format(format!("an OCI layout without {INDEX}"));
            index = Some(
                store(
                    self.metadata,
                    self.caller,
                    bytes.ok_or_else(missing)?,
                    Labels::new(),
                )
                .await?,
            );
        } else if let Some(listing) = self.listings.remove(DOCKER) {
            docker = document::json(&listing, DOCKER)?;
        } else {
            return Err(format(format!("it has neither {LAYOUT} nor {DOCKER}")));
        }
        Ok(Received {
            index,
            docker,
            files: self.files,
            complete,
            _feed: feed,
        })
    }
}

impl Blob {
    async fn write(&mut self, bytes: Bytes) -> Result<(), TransferError> {
        if self.chunk.is_empty() && bytes.len() >= limits::CHUNK_BYTES / 2 {
            return self.put(bytes).await;
        }
        self.chunk.extend_from_slice(&bytes);
        if self.chunk.len() >= limits::CHUNK_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), TransferError> {
        let chunk = self.chunk.split().freeze();
        self.put(chunk).await
    }

    async fn put(&mut self, bytes: Bytes) -> Result<(), TransferError> {
        self.writer.write(bytes).await?;
        let partial = || self.writer.partial().ok().flatten();
        self.along
            .written(self.writer.status()?.offset, self.size, partial);
        Ok(())
    }
}

/// The digest that a file's name promises.
fn digest_of(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

fn check_version(layout: &[u8]) -> Result<(), TransferError> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        #[serde(default)]
        image_layout_version: String,
    }
    let layout: Layout = document::json(layout, LAYOUT)?;
    if layout.image_layout_version == LAYOUT_VERSION {
        return Ok(());
    }
    Err(TransferError::Format {
        reason: format!(
            "unsupported OCI version {:?}: only {LAYOUT_VERSION} is known",
            layout.image_layout_version
        ),
    })
}

/// Makes bytes content.
pub(crate) async fn store(
    metadata: &Metadata,
    caller: &Caller,
    bytes: Bytes,
    labels: Labels,
) -> Result<Stored, TransferError> {
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let size = bytes.len() as u64;
    let reference = format!("manifest-{digest}");
    let committed = async {
        let mut writer = metadata
            .ingest(caller, &reference, Some(size), Some(&digest))
            .await?;
        if writer.status()?.offset != size {
            writer.truncate().await?;
            writer.write(bytes).await?;
        }
        writer.commit(Some(size), Some(&digest), labels).await.map(|_| ())
    };
    match committed.await {
        Ok(()) | Err(Error::AlreadyExists { .. }) => Ok(Stored { digest, size }),
        Err(error) => Err(error.into()),
    }
}
