//! The writer: equal parts, one on its way while the next one gathers.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;

use super::errors::failed;
use super::{ObjectDriver, UPLOAD};
use crate::driver::{Condition, Pending, WriteMode, Writer};
use crate::{Error, StoragePath, limits};

/// The key of the object that describes what was written at `key` and closed.
pub(super) fn state_key(key: &Path) -> Path {
    Path::from(format!("{key}{UPLOAD}"))
}

/// An upload between two writers: what the store has of it, and the bytes that do not fill a part.
#[derive(Debug, Default)]
pub(super) struct State {
    key: Path,
    id: Option<String>,
    parts: Vec<String>,
    part_bytes: usize,
    rest: Bytes,
}

impl State {
    /// Reads a state. One that cannot be understood is an error, and not an upload that begins anew.
    pub(super) async fn read(
        driver: &ObjectDriver,
        state_key: &Path,
        path: &StoragePath,
    ) -> Result<Option<State>, Error> {
        let got = match driver.objects.get(state_key).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            other => other.map_err(failed(driver.name, "read the upload of", path))?,
        };
        let mut bytes = got
            .bytes()
            .await
            .map_err(failed(driver.name, "read the upload of", path))?;
        let head = bytes.iter().position(|byte| *byte == b'\n');
        let parsed = head.and_then(|end| {
            let head: Value = serde_json::from_slice(&bytes.split_to(end)).ok()?;
            bytes.advance(1);
            Some(State {
                key: Path::from(state_key.as_ref().strip_suffix(UPLOAD)?),
                id: head["id"].as_str().map(str::to_owned),
                parts: strings(&head["parts"])?,
                part_bytes: usize::try_from(head["part_bytes"].as_u64()?).ok()?,
                rest: bytes,
            })
        });
        parsed.map(Some).ok_or_else(|| Error::Damaged {
            driver: driver.name.into(),
            path: path.clone(),
            reason: format!("{state_key} does not describe an upload"),
        })
    }

    fn bytes(&self) -> Vec<u8> {
        let head = json!({ "id": self.id, "parts": self.parts, "part_bytes": self.part_bytes });
        let mut bytes = head.to_string().into_bytes();
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.rest);
        bytes
    }

    fn size(&self) -> u64 {
        (self.parts.len() * self.part_bytes + self.rest.len()) as u64
    }

    /// Has the store forget the parts. It may have done so already.
    pub(super) async fn abort(&self, driver: &ObjectDriver) {
        if let Some(id) = &self.id
            && let Err(error) = driver.parts.abort_multipart(&self.key, id).await
        {
            tracing::debug!(key = %self.key, %error, "the parts of an upload cannot be removed");
        }
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    let strings = value.as_array()?.iter();
    strings.map(|string| string.as_str().map(str::to_owned)).collect()
}

/// The writer of an object.
#[derive(Debug)]
pub(super) struct ObjectWriter {
    driver: ObjectDriver,
    path: StoragePath,
    key: Path,
    /// There is a state object, to be removed at the end.
    described: bool,
    part_bytes: usize,
    id: Option<String>,
    parts: Vec<String>,
    /// The part that is on its way.
    sending: Option<JoinHandle<object_store::Result<PartId>>>,
    /// What does not fill a part yet.
    rest: VecDeque<Bytes>,
    rest_bytes: usize,
    size: u64,
    /// A call is under way, was dropped on its way, or failed: what the store has is not known.
    broken: bool,
}

impl ObjectWriter {
    pub(super) async fn open(
        driver: ObjectDriver,
        path: &StoragePath,
        mode: WriteMode,
    ) -> Result<ObjectWriter, Error> {
        path.not_root()?;
        let key = driver.key(path);
        let state = State::read(&driver, &state_key(&key), path).await?;
        let described = state.is_some();
        let mut writer = ObjectWriter {
            path: path.clone(),
            key,
            described,
            part_bytes: driver.part_bytes,
            id: None,
            parts: Vec::new(),
            sending: None,
            rest: VecDeque::new(),
            rest_bytes: 0,
            size: 0,
            broken: false,
            driver,
        };
        match (mode, state) {
            (WriteMode::Append, Some(state)) => writer.resume(state),
            (WriteMode::Append, None) => writer.copy_content().await?,
            (WriteMode::Create, Some(state)) => {
                state.abort(&writer.driver).await;
                writer.forget().await?;
            }
            (WriteMode::Create, None) => {}
        }
        Ok(writer)
    }

    fn resume(&mut self, state: State) {
        self.size = state.size();
        self.rest_bytes = state.rest.len();
        self.rest = VecDeque::from([state.rest]);
        (self.id, self.parts) = (state.id, state.parts);
        if !self.parts.is_empty() {
            // Equal parts, also if the configuration has changed meanwhile.
            self.part_bytes = state.part_bytes;
        }
    }

    /// Begins with the content that is committed.
    async fn copy_content(&mut self) -> Result<(), Error> {
        let mut content = self.driver.open(&self.path, 0).await?;
        while let Some(chunk) = content.next().await {
            self.push(chunk?).await?;
        }
        Ok(())
    }

    async fn push(&mut self, bytes: Bytes) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Interrupted {
                driver: self.driver.name.into(),
                path: self.path.clone(),
            });
        }
        self.broken = true;
        self.size += bytes.len() as u64;
        self.rest_bytes += bytes.len();
        self.rest.push_back(bytes);
        while self.rest_bytes >= self.part_bytes {
            let part = self.take(self.part_bytes);
            self.send(part).await?;
        }
        self.broken = false;
        Ok(())
    }

    /// The first bytes of the rest.
    fn take(&mut self, mut length: usize) -> PutPayload {
        self.rest_bytes -= length;
        let mut taken = Vec::new();
        while length > 0
            && let Some(first) = self.rest.front_mut()
        {
            let piece = first.split_to(first.len().min(length));
            length -= piece.len();
            taken.push(piece);
            if first.is_empty() {
                self.rest.pop_front();
            }
        }
        taken.into_iter().collect()
    }

    async fn send(&mut self, part: PutPayload) -> Result<(), Error> {
        self.sent().await?;
        if self.parts.len() >= limits::PARTS {
            return Err(Error::TooLarge {
                driver: self.driver.name.into(),
                path: self.path.clone(),
                limit: (limits::PARTS * self.part_bytes) as u64,
            });
        }
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let id = self.driver.parts.create_multipart(&self.key).await;
                let id = id.map_err(failed(self.driver.name, "begin an upload of", &self.path))?;
                self.id.insert(id).clone()
            }
        };
        let (parts, key, number) = (self.driver.parts.clone(), self.key.clone(), self.parts.len());
        let send = async move { parts.put_part(&key, &id, number, part).await };
        self.sending = Some(tokio::spawn(send));
        Ok(())
    }

    /// Waits for the part that is on its way.
    async fn sent(&mut self) -> Result<(), Error> {
        let Some(sending) = &mut self.sending else {
            return Ok(());
        };
        let sent = sending.await;
        self.sending = None;
        let sent = sent.unwrap_or_else(|source| Err(object_store::Error::JoinError { source }));
        let part = sent.map_err(failed(self.driver.name, "upload a part of", &self.path))?;
        self.parts.push(part.content_id);
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Error> {
        if self.broken {
            return Err(Error::Interrupted {
                driver: self.driver.name.into(),
                path: self.path.clone(),
            });
        }
        self.sent().await
    }

    async fn finish(mut self: Box<Self>, to: StoragePath) -> Result<(), Error> {
        to.not_root()?;
        self.settle().await?;
        let rest = self.take(self.rest_bytes);
        let Some(id) = self.id.clone() else {
            // It fits into one request, which can go anywhere.
            let whole: Bytes = rest.into();
            self.driver.set(&to, whole, Condition::Always).await?;
            return self.forget().await;
        };
        if rest.content_length() > 0 {
            self.send(rest).await?;
            self.sent().await?;
        }
        let parts = std::mem::take(&mut self.parts).into_iter();
        let parts = parts.map(|content_id| PartId { content_id }).collect();
        let complete = self.driver.parts.complete_multipart(&self.key, &id, parts).await;
        complete.map_err(failed(self.driver.name, "complete the upload of", &self.path))?;
        self.forget().await?;
        if to != self.path {
            self.driver.move_content(&self.path, &to).await?;
        }
        Ok(())
    }

    /// Removes the state object.
    async fn forget(&mut self) -> Result<(), Error> {
        if !std::mem::take(&mut self.described) {
            return Ok(());
        }
        let delete = self.driver.objects.delete(&state_key(&self.key)).await;
        match delete.map_err(failed(self.driver.name, "remove the upload of", &self.path)) {
            Err(Error::NotFound { .. }) => Ok(()),
            other => other,
        }
    }

    fn state(&mut self) -> State {
        let rest = self.take(self.rest_bytes);
        State {
            key: self.key.clone(),
            id: self.id.clone(),
            parts: std::mem::take(&mut self.parts),
            part_bytes: self.part_bytes,
            rest: rest.into(),
        }
    }
}

impl Writer for ObjectWriter {
    fn size(&self) -> u64 {
        self.size
    }

    fn write(&mut self, bytes: Bytes) -> Pending<'_, ()> {
        Box::pin(self.push(bytes))
    }

    fn commit(self: Box<Self>) -> Pending<'static, ()> {
        let to = self.path.clone();
        Box::pin(self.finish(to))
    }

    fn commit_to(self: Box<Self>, to: &StoragePath) -> Pending<'static, ()> {
        Box::pin(self.finish(to.clone()))
    }

    fn close(mut self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            self.settle().await?;
            let (key, state) = (state_key(&self.key), self.state());
            let put = self
                .driver
                .objects
                .put(&key, state.bytes().into())
                .await
                .map(drop);
            put.map_err(failed(self.driver.name, "keep the upload of", &self.path))
        })
    }

    fn cancel(mut self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(async move {
            // A part on its way would come after the end.
            let _ = self.sent().await;
            self.state().abort(&self.driver).await;
            self.forget().await
        })
    }
}
