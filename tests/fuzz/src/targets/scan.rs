//! Any bytes as a tar, read by the host and by the scanner that inspectors are built with: what the host would unpack, the
//! scanner must have seen, under the same name and with the same content. It may refuse what the host takes, never miss it.

use bytes::Bytes;
use transom_layer::tar::{EntryKind, Reader, TarError, TarLimits};
use transom_sdk::tar::{Entry, Scanner, Visitor};

use super::shape;

/// A file with content.
#[derive(Debug, PartialEq)]
struct File {
    offset: u64,
    path: Vec<u8>,
    content: Vec<u8>,
}

/// What a scanner says. Of a sparse file it gives the bytes as they are stored, map and all.
#[derive(Default)]
struct Seen(Vec<File>);

impl Visitor for Seen {
    fn entry(&mut self, entry: &Entry) {
        self.0.push(File {
            offset: entry.offset,
            path: entry.path.clone(),
            content: Vec::new(),
        });
    }

    fn data(&mut self, bytes: &[u8]) {
        if let Some(file) = self.0.last_mut() {
            file.content.extend_from_slice(bytes);
        }
    }
}

/// Reads the bytes both ways.
///
/// # Panics
/// When the scanner saw something else than the host.
pub fn scan(data: &[u8]) -> String {
    let host = match by_host(data) {
        Ok(host) => host,
        Err(error) => return format!("the host refuses: {}", shape(&error)),
    };
    let (mut scanner, mut seen) = (Scanner::new(), Seen::default());
    let fed = data
        .chunks(700)
        .try_for_each(|chunk| scanner.feed(chunk, &mut seen))
        .and_then(|()| scanner.finish());
    if let Err(error) = fed {
        return format!("the scanner refuses: {}", shape(&error));
    }
    let Seen(seen) = seen;
    assert_eq!(
        seen.len(),
        host.len(),
        "not the same entries: {seen:?} and {host:?}"
    );
    for (seen, (host, sparse)) in seen.iter().zip(&host) {
        assert_eq!((seen.offset, &seen.path), (host.offset, &host.path));
        if !sparse {
            assert_eq!(seen.content, host.content, "of {:?}", host.path.escape_ascii());
        }
    }
    format!("{} entries", host.len().min(9))
}

/// The entries, and whether each is sparse.
fn by_host(data: &[u8]) -> Result<Vec<(File, bool)>, TarError> {
    let mut chunks = Some(Bytes::copy_from_slice(data));
    let mut reader = Reader::new(&mut chunks, TarLimits::default());
    let mut files = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        let mut content = Vec::new();
        let has_content = matches!(entry.kind, EntryKind::File | EntryKind::Other(_));
        while has_content && let Some(data) = reader.next_data()? {
            content.extend_from_slice(&data.bytes);
        }
        let (offset, path) = (entry.offset, entry.path);
        let file = File {
            offset,
            path,
            content,
        };
        files.push((file, entry.sparse));
    }
    Ok(files)
}
