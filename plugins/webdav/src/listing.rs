//! The answer of PROPFIND.

use quick_xml::Reader;
use quick_xml::events::Event;
use transom_sdk::Instant;
use transom_sdk::storage::StorageError;

use crate::date;

/// What PROPFIND asks for.
pub(crate) const QUESTION: &str = concat!(
    r#"<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>"#,
    "<resourcetype/><getcontentlength/><getlastmodified/><getetag/></prop></propfind>"
);

/// What the server says of one of its resources.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Resource {
    /// Its path on the server, without escapes and without a slash at the end.
    pub(crate) path: String,
    pub(crate) is_folder: bool,
    pub(crate) size: Option<u64>,
    pub(crate) modified: Option<Instant>,
    pub(crate) etag: Option<String>,
}

/// Reads the resources. Names are compared without their prefix, as all of them are DAV's own.
pub(crate) fn read(xml: &str) -> Result<Vec<Resource>, StorageError> {
    let wrong = |error: &dyn std::fmt::Display| {
        StorageError::Other(format!("the server's list cannot be read: {error}"))
    };
    let mut reader = Reader::from_str(xml);
    let (mut resources, mut current, mut text) = (Vec::new(), None::<Resource>, String::new());
    loop {
        match reader.read_event().map_err(|error| wrong(&error))? {
            Event::Start(start) => {
                text.clear();
                match start.local_name().as_ref() {
                    b"response" => current = Some(Resource::default()),
                    b"collection" => mark(&mut current),
                    _ => {}
                }
            }
            Event::Empty(empty) if empty.local_name().as_ref() == b"collection" => mark(&mut current),
            Event::Text(more) => text.push_str(&more.decode().map_err(|error| wrong(&error))?),
            Event::GeneralRef(name) => text.push_str(entity(&name)),
            Event::End(end) if end.local_name().as_ref() == b"response" => resources.extend(current.take()),
            Event::End(end) => {
                if let Some(current) = &mut current {
                    current.take(end.local_name().as_ref(), text.trim());
                }
                text.clear();
            }
            Event::Eof => return Ok(resources),
            _ => {}
        }
    }
}

fn mark(current: &mut Option<Resource>) {
    if let Some(resource) = current {
        resource.is_folder = true;
    }
}

/// The character of a reference; those that no path and no tag has are left out.
fn entity(name: &[u8]) -> &'static str {
    match name {
        b"amp" => "&",
        b"quot" | b"#34" => "\"",
        b"apos" | b"#39" => "'",
        b"lt" => "<",
        b"gt" => ">",
        _ => "",
    }
}

impl Resource {
    fn take(&mut self, name: &[u8], text: &str) {
        match name {
            b"href" if self.path.is_empty() => self.path = path(text),
            b"getcontentlength" => self.size = text.parse().ok(),
            b"getlastmodified" => self.modified = date::read(text),
            b"getetag" if !text.is_empty() => self.etag = Some(text.to_owned()),
            _ => {}
        }
    }
}

/// The path of a URL or of an absolute path, without escapes and without a slash at the end.
pub(crate) fn path(href: &str) -> String {
    let path = match href.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |at| &rest[at..]),
        None => href,
    };
    let (mut bytes, mut rest) = (Vec::new(), path.trim_end_matches('/').as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"<?xml version="1.0"?>
        <D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:"><D:response><D:href>http://h:1/dav/a%2Db/</D:href><D:propstat><D:prop>
        <D:resourcetype><D:collection/></D:resourcetype><D:getetag/></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>
        </D:response><ns0:response><ns0:href>/dav/a-b/c.d</ns0:href><ns0:propstat><ns0:prop><ns0:resourcetype/>
        <ns0:getcontentlength>17</ns0:getcontentlength><ns0:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</ns0:getlastmodified>
        <ns0:getetag>&quot;x-1&quot;</ns0:getetag></ns0:prop></ns0:propstat></ns0:response></D:multistatus>"#;

    #[test]
    fn folders_and_files_are_read() {
        let resources = read(ANSWER).unwrap();
        assert_eq!(resources.len(), 2);
        assert_eq!(
            (resources[0].path.as_str(), resources[0].is_folder),
            ("/dav/a-b", true)
        );
        let file = &resources[1];
        assert_eq!(
            (file.path.as_str(), file.is_folder, file.size),
            ("/dav/a-b/c.d", false, Some(17))
        );
        assert_eq!(file.etag.as_deref(), Some("\"x-1\""));
        assert!(file.modified.is_some());
    }

    #[test]
    fn what_is_no_list_is_told() {
        assert!(read("<a><b></a>").is_err());
        assert_eq!(read("<html><body>hello</body></html>").unwrap(), []);
    }
}
