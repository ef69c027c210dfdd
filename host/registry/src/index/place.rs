//! The folder of the index.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};
use transom_meta::kv::{self, Kind, Kv, KvError};
use transom_oci::{Algorithm, Digest};

use super::{Index, Settings};
use crate::settings::SetupError;

/// Of which store the index is, and in which form.
pub(super) const STORE: &[u8] = b"s";

/// Changes with the form of what is kept; an index of another form is built anew.
const FORM: &str = "1";

/// The folder in that of the filesystem driver. No path has a `~`.
const BESIDE: &str = "~index";

/// Where an index is kept, and of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder.
    pub folder: PathBuf,
    only_writer: bool,
    store: Bytes,
}

impl Place {
    /// Where the index of a store is, as it is configured; `None` if there is to be none.
    ///
    /// # Errors
    /// [`SetupError::Setting`] if there is to be one, and nothing says where.
    pub fn find(
        settings: &Settings,
        state: Option<&Path>,
        storage: &Map<String, Value>,
    ) -> Result<Option<Place>, SetupError> {
        let files = storage.get("driver").and_then(Value::as_str) == Some("filesystem");
        let wanted = files || settings.only_writer || settings.folder.is_some();
        if !settings.enabled.unwrap_or(wanted) {
            return Ok(None);
        }
        let root = storage.get("rootdirectory").and_then(Value::as_str);
        let root = Path::new(root.unwrap_or("/var/lib/registry"));
        let folder = settings.folder.clone();
        let folder = folder
            .or_else(|| state.map(|state| state.join("index")))
            .or_else(|| files.then(|| root.join(BESIDE)));
        let Some(folder) = folder else {
            let problem = "say in which folder of this machine the index is to be kept";
            return Err(SetupError::setting("index.folder", problem));
        };
        let storage = Value::from(storage.clone());
        let store = Digest::of(Algorithm::Sha256, format!("{FORM} {storage}").as_bytes());
        Ok(Some(Place {
            folder,
            only_writer: settings.only_writer,
            store: Bytes::copy_from_slice(store.as_str().as_bytes()),
        }))
    }

    /// Whether the index relies on nobody else writing.
    #[must_use]
    pub fn only_writer(&self) -> bool {
        self.only_writer
    }

    /// Opens the index, or begins a new one, also where there is a damaged one or one of another store.
    ///
    /// # Errors
    /// [`KvError::InUse`] if another process has it open, and others.
    pub async fn open(&self) -> Result<Index, KvError> {
        let folder = self.folder.clone();
        let opened = tokio::task::spawn_blocking(move || open(&folder)).await;
        let kv = opened.unwrap_or_else(|error| {
            Err(KvError::Stopped {
                reason: error.to_string(),
            })
        })?;
        let index = Index::new(kv, self.only_writer);
        if index.kv.get(STORE).await?.as_ref() != Some(&self.store) {
            index.clear().await?;
            index.name_store(self.store.clone()).await?;
        }
        Ok(index)
    }
}

fn open(folder: &Path) -> Result<Arc<dyn Kv>, KvError> {
    match kv::open(Kind::default(), folder) {
        Err(error @ KvError::Damaged { .. }) => {
            tracing::warn!(%error, "the index is built anew");
            let file = folder.join(Kind::default().name());
            std::fs::remove_file(&file).map_err(|error| KvError::Io {
                action: "remove damaged",
                reason: format!("{}: {error}", file.display()),
            })?;
            kv::open(Kind::default(), folder)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use transom_meta::kv::Write;

    fn place(storage: &Value, settings: &Settings) -> Result<Option<PathBuf>, SetupError> {
        let storage = storage.as_object().unwrap();
        Ok(Place::find(settings, None, storage)?.map(|place| place.folder))
    }

    #[test]
    fn files_have_an_index_and_others_if_it_is_wanted() {
        let (files, bucket) = (
            json!({"driver": "filesystem", "rootdirectory": "/r"}),
            json!({"driver": "s3", "bucket": "b"}),
        );
        let default = Settings::default();
        assert_eq!(place(&files, &default).unwrap(), Some("/r/~index".into()));
        assert_eq!(place(&bucket, &default).unwrap(), None);
        let off = Settings {
            enabled: Some(false),
            only_writer: true,
            ..Settings::default()
        };
        assert_eq!(place(&files, &off).unwrap(), None);
        let only = Settings {
            only_writer: true,
            ..Settings::default()
        };
        let error = place(&bucket, &only).unwrap_err();
        assert!(error.to_string().starts_with("index.folder: "), "{error}");
        let there = Settings {
            folder: Some("/i".into()),
            ..Settings::default()
        };
        assert_eq!(place(&bucket, &there).unwrap(), Some("/i".into()));
        let found = Place::find(&default, Some(Path::new("/s")), files.as_object().unwrap());
        assert_eq!(found.unwrap().unwrap().folder, Path::new("/s/index"));
    }

    async fn put(index: &Index) {
        let write = Write::Put {
            key: Bytes::from_static(b"x"),
            value: Bytes::new(),
        };
        assert!(index.commit(Vec::new(), vec![write]).await.unwrap());
    }

    async fn has(index: &Index) -> bool {
        index.kv.get(b"x").await.unwrap().is_some()
    }

    #[tokio::test]
    async fn an_index_of_another_store_or_a_damaged_one_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            folder: Some(folder.path().to_owned()),
            ..Settings::default()
        };
        let place = |root: &str| {
            let storage = json!({"driver": "filesystem", "rootdirectory": root});
            Place::find(&settings, None, storage.as_object().unwrap())
                .unwrap()
                .unwrap()
        };
        let one = place("/one").open().await.unwrap();
        put(&one).await;
        assert!(matches!(place("/one").open().await, Err(KvError::InUse { .. })));
        drop(one);
        let one = place("/one").open().await.unwrap();
        assert!(has(&one).await);
        drop(one);
        let other = place("/other").open().await.unwrap();
        assert!(!has(&other).await);
        put(&other).await;
        drop(other);
        std::fs::write(folder.path().join("redb"), "noise".repeat(1_000)).unwrap();
        assert!(!has(&place("/other").open().await.unwrap()).await);
    }
}
