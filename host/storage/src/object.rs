//! Object stores (S3, Google, Azure) by the `object_store` crate.
//!
//! [`ObjectDriver`] is the driver, `upload` its writer, `list` its lists and walks, `errors` what its errors mean; `s3`, `gcs`
//! and `azure` open it by docker-registry's parameters, over the TLS of `http`.
//!
//! Content is an object at the driver's root and the path, as docker-registry's driver keeps it. What was written and
//! closed but not committed is described by an object `PATH=upload`, which no path leads to: the parts that the store
//! has, and the bytes that do not fill a part. So parts are all of one size, and nobody has to list uploads.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, RetryConfig};
use tokio_stream::StreamExt;

use crate::driver::{
    Capabilities, Condition, Pending, Redirect, RedirectMethod, StorageDriver, WriteMode, Writer,
};
use crate::reader::{Chunks, Exactly};
use crate::walk::{TreeWalk, Walk};
use crate::{Entry, Error, Kind, Reader, StoragePath, limits};

pub mod azure;
mod errors;
pub mod gcs;
mod http;
mod list;
pub mod s3;
mod upload;

use errors::failed;
pub use http::client_builder;
use upload::ObjectWriter;

/// What the name of an object that describes an upload ends with.
const UPLOAD: &str = "=upload";

/// An object store as a driver. A clone is another handle of the same store.
#[derive(Clone)]
pub struct ObjectDriver {
    name: &'static str,
    objects: Arc<dyn ObjectStore>,
    parts: Arc<dyn MultipartStore>,
    signer: Option<Arc<dyn Signer>>,
    root: Path,
    part_bytes: usize,
    walk_keys: usize,
}

impl ObjectDriver {
    /// A driver of `store` that keeps everything below `root`, a path in the store, and uploads in parts of `part_bytes`.
    ///
    /// # Errors
    /// [`Error::InvalidPath`] if `root` is no path for objects.
    pub fn new<S>(
        name: &'static str,
        store: Arc<S>,
        root: &str,
        part_bytes: usize,
    ) -> Result<ObjectDriver, Error>
    where
        S: ObjectStore + MultipartStore,
    {
        let root = Path::parse(root).map_err(|_| Error::invalid_path(root, "objects cannot be there"))?;
        Ok(ObjectDriver {
            name,
            parts: Arc::clone(&store) as Arc<dyn MultipartStore>,
            objects: store,
            signer: None,
            root,
            part_bytes: part_bytes.max(1),
            walk_keys: limits::WALK_KEYS,
        })
    }

    /// The same driver, which also gives URLs.
    #[must_use]
    pub fn with_signer(self, signer: Arc<dyn Signer>) -> ObjectDriver {
        ObjectDriver {
            signer: Some(signer),
            ..self
        }
    }

    /// The same driver, with walks that hold so many keys at most before they go folder by folder, in place of
    /// [`limits::WALK_KEYS`].
    #[must_use]
    pub fn with_walk_keys(self, walk_keys: usize) -> ObjectDriver {
        ObjectDriver { walk_keys, ..self }
    }

    /// The key of a path.
    fn key(&self, path: &StoragePath) -> Path {
        path.parts().fold(self.root.clone(), Path::join)
    }

    /// The path of a key, if a path leads to it.
    fn path(&self, key: &Path) -> Option<StoragePath> {
        let rest = key.as_ref().strip_prefix(self.root.as_ref())?;
        StoragePath::new(&format!("/{}", rest.trim_start_matches('/'))).ok()
    }

    async fn head(&self, path: &StoragePath) -> Result<ObjectMeta, Error> {
        let head = self.objects.head(&self.key(path)).await;
        head.map_err(failed(self.name, "look at", path))
    }

    async fn open(&self, path: &StoragePath, offset: u64) -> Result<Reader, Error> {
        path.not_root()?;
        let options = GetOptions {
            range: (offset > 0).then_some(GetRange::Offset(offset)),
            ..GetOptions::default()
        };
        let got = match self.objects.get_opts(&self.key(path), options).await {
            Ok(got) => got,
            // Stores refuse a range from the end on, and say nothing of the size.
            Err(_) if offset > 0 => return self.open_end(path, offset).await,
            Err(error) => return Err(failed(self.name, "read", path)(error)),
        };
        let entry = entry(path.clone(), &got.meta);
        let (name, of) = (self.name, path.clone());
        let chunks: Chunks = Box::pin(
            got.into_stream()
                .map(move |chunk| chunk.map_err(failed(name, "read", &of))),
        );
        let rest = entry.size().saturating_sub(offset);
        let chunks = Exactly::new(chunks, self.name.into(), path.clone(), rest);
        Ok(Reader::from_chunks(entry, offset, Box::pin(chunks)))
    }

    /// A read that the store refused: from the end on, beyond it, or for another reason.
    async fn open_end(&self, path: &StoragePath, offset: u64) -> Result<Reader, Error> {
        let entry = entry(path.clone(), &self.head(path).await?);
        let size = entry.size();
        if offset == size {
            return Ok(Reader::from_chunks(
                entry,
                offset,
                Box::pin(tokio_stream::empty()),
            ));
        }
        let (driver, path) = (self.name.into(), path.clone());
        if offset > size {
            return Err(Error::InvalidOffset {
                driver,
                path,
                offset,
                size,
            });
        }
        let reason = format!("it refuses to read {path} from {offset} on");
        Err(Error::Unavailable {
            driver,
            reason,
            retry_after: None,
        })
    }

    async fn set(&self, path: &StoragePath, content: Bytes, condition: Condition) -> Result<(), Error> {
        path.not_root()?;
        let mode = match condition {
            Condition::Always => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
        };
        let put = self
            .objects
            .put_opts(&self.key(path), content.into(), mode.into())
            .await;
        put.map(drop).map_err(failed(self.name, "write", path))
    }

    async fn copy(&self, from: &StoragePath, to: &StoragePath, size: u64) -> Result<(), Error> {
        if size <= limits::COPY_BYTES {
            let copy = self.objects.copy(&self.key(from), &self.key(to)).await;
            return copy.map_err(failed(self.name, "copy", from));
        }
        let mut reader = self.open(from, 0).await?;
        let mut writer = self.writer(to, WriteMode::Create).await?;
        while let Some(chunk) = reader.next().await {
            writer.write(chunk?).await?;
        }
        writer.commit().await
    }

    async fn remove(&self, path: &StoragePath) -> Result<(), Error> {
        let delete = self.objects.delete(&self.key(path)).await;
        match delete.map_err(failed(self.name, "delete", path)) {
            // Most stores do not say; somebody else may have been quicker.
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    async fn move_content(&self, from: &StoragePath, to: &StoragePath) -> Result<(), Error> {
        from.not_root()?;
        to.not_root()?;
        let meta = self.head(from).await?;
        if from == to {
            return Ok(());
        }
        self.copy(from, to, meta.size).await?;
        self.remove(from).await
    }

    async fn url(&self, path: &StoragePath, request: &Redirect) -> Result<Option<String>, Error> {
        path.not_root()?;
        let Some(signer) = &self.signer else {
            return Ok(None);
        };
        let method = match request.method {
            RedirectMethod::Get => ::http::Method::GET,
            RedirectMethod::Head => ::http::Method::HEAD,
        };
        let url = signer.signed_url(method, &self.key(path), request.expires).await;
        url.map(|url| Some(url.into()))
            .map_err(failed(self.name, "sign a URL of", path))
    }
}

impl StorageDriver for ObjectDriver {
    fn name(&self) -> &str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            put_if_absent: true,
            redirects: self.signer.is_some(),
            durable: true,
            together: false,
            flat: true,
            local_files: false,
            quick_rename: false,
        }
    }

    fn get<'a>(&'a self, path: &'a StoragePath, limit: u64) -> Pending<'a, Bytes> {
        Box::pin(async move { self.open(path, 0).await?.collect(self.name, limit).await })
    }

    fn put<'a>(&'a self, path: &'a StoragePath, content: Bytes, condition: Condition) -> Pending<'a, ()> {
        Box::pin(self.set(path, content, condition))
    }

    fn read<'a>(&'a self, path: &'a StoragePath, offset: u64) -> Pending<'a, Reader> {
        Box::pin(self.open(path, offset))
    }

    fn writer<'a>(&'a self, path: &'a StoragePath, mode: WriteMode) -> Pending<'a, Box<dyn Writer>> {
        Box::pin(async move {
            let writer = ObjectWriter::open(self.clone(), path, mode).await?;
            Ok(Box::new(writer) as Box<dyn Writer>)
        })
    }

    fn stat<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, Entry> {
        Box::pin(async move {
            if path.is_root() {
                return Ok(Entry::folder(path.clone()));
            }
            match self.head(path).await {
                Err(Error::NotFound { .. }) => {}
                other => return other.map(|meta| entry(path.clone(), &meta)),
            }
            match self.objects.list(Some(&self.key(path))).next().await {
                Some(Ok(_)) => Ok(Entry::folder(path.clone())),
                Some(Err(error)) => Err(failed(self.name, "look at", path)(error)),
                None => Err(self.not_found(path)),
            }
        })
    }

    fn list<'a>(&'a self, folder: &'a StoragePath) -> Pending<'a, Vec<Entry>> {
        Box::pin(self.list_folder(folder))
    }

    fn rename<'a>(&'a self, from: &'a StoragePath, to: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(self.move_content(from, to))
    }

    fn delete<'a>(&'a self, path: &'a StoragePath) -> Pending<'a, ()> {
        Box::pin(self.delete_all(path))
    }

    fn redirect<'a>(&'a self, path: &'a StoragePath, request: &'a Redirect) -> Pending<'a, Option<String>> {
        Box::pin(self.url(path, request))
    }

    fn walk<'a>(
        &'a self,
        from: &'a StoragePath,
        after: Option<&'a StoragePath>,
    ) -> Pending<'a, Box<dyn Walk>> {
        Box::pin(async move {
            let walk = TreeWalk::new(self.clone(), from, after);
            Ok(Box::new(walk) as Box<dyn Walk>)
        })
    }
}

impl ObjectDriver {
    fn not_found(&self, path: &StoragePath) -> Error {
        let (driver, path) = (self.name.into(), path.clone());
        Error::NotFound { driver, path }
    }
}

impl fmt::Debug for ObjectDriver {
    /// Without the store, which could show keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectDriver")
            .field("name", &self.name)
            .field("root", &self.root)
            .field("part_bytes", &self.part_bytes)
            .finish_non_exhaustive()
    }
}

/// A few tries within a minute: those who want more put the `retry` driver on top.
fn retry() -> RetryConfig {
    RetryConfig {
        max_retries: limits::REQUEST_TRIES,
        retry_timeout: limits::REQUEST_TIME,
        ..RetryConfig::default()
    }
}

fn entry(path: StoragePath, meta: &ObjectMeta) -> Entry {
    let kind = Kind::File {
        size: meta.size,
        modified: Some(meta.last_modified.into()),
    };
    Entry { path, kind }
}
