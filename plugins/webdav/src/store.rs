//! The calls of a storage driver, as requests.
//!
//! Content is sent to a name of its own and then moved to its path, so that it is seen whole or not at all: a server may show a
//! PUT while it goes on.

use std::io::{self, Read, Write};
use std::rc::Rc;

use transom_sdk::storage::{
    Capabilities, Codec, Condition, Content, Entries, Entry, File, Listed, Plain, Response, Sending,
    StorageError, Store, Upload, Walked, WriteMode, random,
};

use crate::listing::Resource;
use crate::server::{Server, meaning};

/// Content up to this size is sent with its request.
const SMALL: usize = 1 << 20;

/// How often content is opened again that was replaced in the meantime.
const TRIES: usize = 32;

/// A folder of a WebDAV server. It cannot append.
#[derive(Clone)]
pub(crate) struct Dav {
    server: Rc<Server>,
}

impl Dav {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server: Rc::new(server),
        }
    }

    fn resource(&self, path: &str) -> Result<Resource, StorageError> {
        let found = self.server.look(path, 0)?;
        found
            .into_iter()
            .find(|resource| resource.path == path)
            .ok_or(StorageError::NotFound)
    }

    /// What is at a path, if there is something.
    fn found(&self, path: &str) -> Result<Option<Resource>, StorageError> {
        match self.resource(path) {
            Ok(resource) => Ok(Some(resource)),
            Err(StorageError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn not_folder(&self, path: &str) -> Result<(), StorageError> {
        match self.found(path)? {
            Some(resource) if resource.is_folder => Err(StorageError::IsFolder),
            _ => Ok(()),
        }
    }

    /// Makes a folder and those above it.
    fn make_folder(&self, folder: &str) -> Result<(), StorageError> {
        let make = || self.server.send(&self.server.request("MKCOL", folder), &[]);
        let answer = make()?;
        // The one above is not there, or is no folder.
        if matches!(answer.status, 403 | 404 | 409) && folder != "/" {
            if let Some(resource) = self.found(parent(folder))? {
                return match resource.is_folder {
                    true => self.made(folder, &make()?),
                    false => Err(StorageError::NotFolder),
                };
            }
            self.make_folder(parent(folder))?;
            return self.made(folder, &make()?);
        }
        self.made(folder, &answer)
    }

    /// Whether a folder is there now. Somebody else may have made it, which servers answer in many ways.
    fn made(&self, folder: &str, answer: &Response) -> Result<(), StorageError> {
        if answer.status == 201 {
            return Ok(());
        }
        match self.found(folder)? {
            Some(resource) if resource.is_folder => Ok(()),
            Some(_) => Err(StorageError::NotFolder),
            None => Err(meaning("make a folder for", answer)),
        }
    }

    /// Moves content to its path, where the folder may not be there yet.
    fn move_to(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let request = self
            .server
            .request("MOVE", from)
            .header("destination", self.server.url(to))
            .header("overwrite", "T");
        let mut answer = self.server.send(&request, &[])?;
        if answer.status == 409 {
            self.make_folder(parent(to))?;
            answer = self.server.send(&request, &[])?;
        }
        match answer.status {
            200 | 201 | 204 => Ok(()),
            409 => Err(StorageError::NotFolder),
            _ => Err(meaning("move", &answer)),
        }
    }

    /// Deletes what was sent and is not wanted. That it stays does no harm.
    fn discard(&self, path: &str) {
        if let Err(error) = self.server.send(&self.server.request("DELETE", path), &[]) {
            transom_sdk::log::debug!("{path} stays: {error}");
        }
    }

    fn sent(&self, answer: &Response) -> Result<(), StorageError> {
        match answer.status {
            200 | 201 | 204 => Ok(()),
            _ => Err(meaning("write", answer)),
        }
    }

    /// The rest of content whose whole size and tag are known.
    fn get_from(
        &self,
        path: &str,
        resource: &Resource,
        offset: u64,
    ) -> Result<Option<Box<dyn Read>>, StorageError> {
        let mut request = self
            .server
            .request("GET", path)
            .header("accept-encoding", "identity");
        if offset > 0 {
            request = request.header("range", format!("bytes={offset}-"));
        }
        let mut answer = self.server.ask(&request, &[])?;
        match answer.status {
            200 | 206 => {}
            // It is shorter by now.
            416 => return Ok(None),
            _ => return Err(meaning("read", &answer)),
        }
        let same = match (answer.header("etag"), &resource.etag) {
            (Some(now), Some(then)) => now.trim_matches('"') == then.trim_matches('"'),
            _ => true,
        };
        if !same {
            return Ok(None);
        }
        // A server that knows no ranges sends everything.
        if answer.status == 200 && offset > 0 {
            let left_out = io::copy(&mut (&mut answer.body).take(offset), &mut io::sink())?;
            if left_out < offset {
                return Ok(None);
            }
        }
        Ok(Some(answer.body))
    }
}

/// The folder that a path is in.
fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    }
}

/// A name of its own, where nobody looks, for what will be at a path.
fn aside(path: &str) -> String {
    let number: String = random(12).iter().map(|byte| format!("{byte:02x}")).collect();
    match path.split('/').any(|part| part == Plain::OWN) {
        true => format!("{path}.{number}"),
        false => format!("{}/{}/{number}", parent(path).trim_end_matches('/'), Plain::OWN),
    }
}

fn entry(resource: Resource) -> Entry {
    match resource.is_folder {
        true => Entry::folder(resource.path),
        false => {
            let file = File {
                size: resource.size.unwrap_or(0),
                modified: resource.modified,
            };
            Entry::file(resource.path, file)
        }
    }
}

impl Store for Dav {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn put(&self, path: &str, content: &[u8], condition: Condition) -> Result<(), StorageError> {
        if condition == Condition::Absent {
            return Err(StorageError::Unsupported(
                "put only where nothing is, on WebDAV".to_owned(),
            ));
        }
        self.not_folder(path)?;
        let aside = aside(path);
        if content.len() > SMALL {
            let mut upload = DavUpload::open(self, path, aside, Some(content.len() as u64))?;
            upload.write_all(content)?;
            return Box::new(upload).commit();
        }
        let request = self.server.request("PUT", &aside);
        let mut answer = self.server.send(&request, content)?;
        if matches!(answer.status, 403 | 404 | 409) {
            self.make_folder(parent(&aside))?;
            answer = self.server.send(&request, content)?;
        }
        self.sent(&answer)?;
        let moved = self.move_to(&aside, path);
        if moved.is_err() {
            self.discard(&aside);
        }
        moved
    }

    fn read(&self, path: &str, offset: u64) -> Result<Content, StorageError> {
        for _ in 0..TRIES {
            let resource = self.resource(path)?;
            if resource.is_folder {
                return Err(StorageError::IsFolder);
            }
            let size = resource.size.unwrap_or(0);
            if offset > size {
                return Err(StorageError::InvalidOffset(size));
            }
            let body = match offset == size {
                true => Some(Box::new(io::empty()) as Box<dyn Read>),
                false => self.get_from(path, &resource, offset)?,
            };
            if let Some(body) = body {
                let modified = resource.modified;
                let file = File { size, modified };
                return Ok(Content { file, body });
            }
        }
        Err(StorageError::unavailable(
            "it is replaced again and again while it is opened",
        ))
    }

    fn writer(&self, path: &str, mode: WriteMode) -> Result<Box<dyn Upload>, StorageError> {
        if mode == WriteMode::Append {
            return Err(StorageError::Unsupported("append, on WebDAV".to_owned()));
        }
        Ok(Box::new(DavUpload::open(self, path, aside(path), None)?))
    }

    fn stat(&self, path: &str) -> Result<Entry, StorageError> {
        match self.resource(path) {
            // It is made by the first write.
            Err(StorageError::NotFound) if path == "/" => Ok(Entry::folder("/")),
            found => found.map(entry),
        }
    }

    fn children(&self, folder: &str) -> Result<Box<dyn Entries>, StorageError> {
        let found = match self.server.look(folder, 1) {
            Ok(found) => found,
            Err(StorageError::NotFound) if folder == "/" => Vec::new(),
            // A slash after the name of content.
            Err(error) => {
                return Err(match self.found(folder)? {
                    Some(resource) if !resource.is_folder => StorageError::NotFolder,
                    _ => error,
                });
            }
        };
        let is_content = |resource: &Resource| resource.path == folder && !resource.is_folder;
        if found.iter().any(is_content) {
            return Err(StorageError::NotFolder);
        }
        let children = found.into_iter().filter(|resource| resource.path != folder);
        Ok(Box::new(Listed::new(children.map(entry).collect())))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        if self.resource(from)?.is_folder {
            return Err(StorageError::IsFolder);
        }
        if from == to {
            return Ok(());
        }
        self.not_folder(to)?;
        self.move_to(from, to)
    }

    fn delete(&self, path: &str) -> Result<(), StorageError> {
        let mut request = self.server.request("DELETE", path);
        if self.resource(path)?.is_folder {
            request.url.push('/');
        }
        let answer = self.server.send(&request, &[])?;
        match answer.status {
            200 | 204 => Ok(()),
            207 => Err(StorageError::Other(
                "the server could not delete all of it".to_owned(),
            )),
            _ => Err(meaning("delete", &answer)),
        }
    }

    fn walk(&self, folder: &str, after: Option<&str>) -> Result<Box<dyn Entries>, StorageError> {
        let store = self.clone();
        let list = move |folder: &str| store.children(folder);
        Ok(Box::new(Walked::new(list, folder, after)))
    }
}

/// Content that is being sent.
struct DavUpload {
    store: Dav,
    path: String,
    aside: String,
    sending: Option<Box<dyn Sending>>,
    size: u64,
}

impl DavUpload {
    fn open(store: &Dav, path: &str, aside: String, length: Option<u64>) -> Result<Self, StorageError> {
        // The body can be sent once only, so there must be a folder for it.
        store.make_folder(parent(&aside))?;
        let sending = store.server.upload(&aside, length)?;
        Ok(Self {
            store: store.clone(),
            path: path.to_owned(),
            aside,
            sending: Some(sending),
            size: 0,
        })
    }
}

impl Write for DavUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sending = self.sending.as_mut().ok_or(StorageError::Interrupted)?;
        let length = sending.write(bytes)?;
        self.size += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Upload for DavUpload {
    fn size(&self) -> u64 {
        self.size
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        let path = self.path.clone();
        self.commit_to(&path)
    }

    fn commit_to(mut self: Box<Self>, to: &str) -> Result<(), StorageError> {
        let sending = self.sending.take().ok_or(StorageError::Interrupted)?;
        let answer = sending.finish()?;
        let moved = self
            .store
            .sent(&answer)
            .and_then(|()| self.store.not_folder(to))
            .and_then(|()| self.store.move_to(&self.aside, to));
        if moved.is_err() {
            self.store.discard(&self.aside);
        }
        moved
    }

    fn close(self: Box<Self>) -> Result<(), StorageError> {
        Err(StorageError::Unsupported(
            "keep half an upload, on WebDAV".to_owned(),
        ))
    }

    fn cancel(mut self: Box<Self>) -> Result<(), StorageError> {
        self.sending = None;
        self.store.discard(&self.aside);
        Ok(())
    }
}
