//! Records read where they lie. For a list of thousands, making maps and strings of each costs more than all else.

use bytes::Bytes;
use prost::encoding::{WireType, decode_key, decode_varint};

use crate::key::{self, Kind};
use crate::kv::{Pair, Range};
use crate::names::Caller;
use crate::record::{ContentRecord, ImageRecord, VERSION, decode};
use crate::{Error, Metadata, limits};

/// Labels or annotations, in the order of their keys.
pub type Pairs<'r> = Vec<(&'r str, &'r str)>;

/// A point in time as it is recorded: seconds since 1970, negative before, and nanoseconds forward from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The seconds.
    pub seconds: i64,
    /// The nanoseconds, below a billion.
    pub nanos: u32,
}

/// An image as its record has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenImage<'r> {
    /// Its name.
    pub name: &'r str,
    /// Its labels.
    pub labels: Pairs<'r>,
    /// The media type of its target.
    pub media_type: &'r str,
    /// The digest of its target.
    pub digest: &'r str,
    /// The bytes of its target.
    pub size: u64,
    /// The annotations of its target.
    pub annotations: Pairs<'r>,
    /// When it was made.
    pub created: Moment,
    /// When it was last changed.
    pub updated: Moment,
}

/// Content as its record has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenContent<'r> {
    /// Its digest.
    pub digest: &'r str,
    /// Its bytes.
    pub size: u64,
    /// Its labels.
    pub labels: Pairs<'r>,
    /// When the namespace got it.
    pub created: Moment,
    /// When its labels were last changed.
    pub updated: Moment,
}

/// Where a list goes on.
#[derive(Clone, Debug)]
pub struct Rest(Range);

impl Metadata {
    /// Shows all images of the caller's namespace, in byte order of their names.
    ///
    /// # Errors
    /// [`Error::Record`], [`Error::Kv`].
    pub async fn see_images(
        &self,
        caller: &Caller,
        mut see: impl FnMut(&SeenImage<'_>) + Send,
    ) -> Result<(), Error> {
        let mut rest = Some(key::all(Kind::Image, &caller.namespace));
        while let Some(range) = rest {
            let (pairs, more) = self.pairs(&range).await?;
            let mut image = SeenImage::default();
            for pair in &pairs {
                image.read(pair)?;
                see(&image);
            }
            rest = more;
        }
        Ok(())
    }

    /// Shows a page of the caller's content, in byte order of the digests, and gives the next one.
    ///
    /// # Errors
    /// [`Error::Record`], [`Error::Kv`].
    pub async fn see_content(
        &self,
        caller: &Caller,
        from: Option<Rest>,
        mut see: impl FnMut(&SeenContent<'_>) + Send,
    ) -> Result<Option<Rest>, Error> {
        let range = from.map_or_else(|| key::all(Kind::Content, &caller.namespace), |rest| rest.0);
        let (pairs, more) = self.pairs(&range).await?;
        let mut content = SeenContent::default();
        for pair in &pairs {
            content.read(pair)?;
            see(&content);
        }
        Ok(more.map(Rest))
    }

    async fn pairs(&self, range: &Range) -> Result<(Vec<Pair>, Option<Range>), Error> {
        let pairs = self.inner.kv.range(range, limits::PAGE).await?;
        let last = pairs.last().filter(|_| pairs.len() == limits::PAGE);
        let rest = last.map(|last| range.after(&last.key));
        Ok((pairs, rest))
    }
}

impl<'r> SeenImage<'r> {
    fn read(&mut self, pair: &'r Pair) -> Result<(), Error> {
        self.labels.clear();
        self.annotations.clear();
        *self = SeenImage {
            name: name(&pair.key)?,
            labels: std::mem::take(&mut self.labels),
            annotations: std::mem::take(&mut self.annotations),
            ..SeenImage::default()
        };
        let read = fields(&pair.value, |tag, value| {
            match (tag, value) {
                (1, Value::Bytes(entry)) => self.labels.push(self::pair(entry)?),
                (2, Value::Bytes(text)) => self.media_type = std::str::from_utf8(text).ok()?,
                (3, Value::Bytes(text)) => self.digest = std::str::from_utf8(text).ok()?,
                (4, Value::Number(size)) => self.size = size,
                (5, Value::Bytes(entry)) => self.annotations.push(self::pair(entry)?),
                (6, Value::Bytes(time)) => self.created = moment(time)?,
                (7, Value::Bytes(time)) => self.updated = moment(time)?,
                _ => {}
            }
            Some(())
        });
        read.ok_or_else(|| damage::<ImageRecord>(pair))
    }
}

impl<'r> SeenContent<'r> {
    fn read(&mut self, pair: &'r Pair) -> Result<(), Error> {
        self.labels.clear();
        *self = SeenContent {
            digest: name(&pair.key)?,
            labels: std::mem::take(&mut self.labels),
            ..SeenContent::default()
        };
        let read = fields(&pair.value, |tag, value| {
            match (tag, value) {
                (1, Value::Bytes(entry)) => self.labels.push(self::pair(entry)?),
                (2, Value::Number(size)) => self.size = size,
                (3, Value::Bytes(time)) => self.created = moment(time)?,
                (4, Value::Bytes(time)) => self.updated = moment(time)?,
                _ => {}
            }
            Some(())
        });
        read.ok_or_else(|| damage::<ContentRecord>(pair))
    }
}

fn name(key: &Bytes) -> Result<&str, Error> {
    key::name(key).ok_or_else(|| Error::Record {
        key: key.escape_ascii().to_string(),
        reason: "its key is not UTF-8".to_owned(),
    })
}

/// What is wrong with a record, as whoever reads it whole would say.
fn damage<R: prost::Message + Default>(pair: &Pair) -> Error {
    let read = decode::<R>(&pair.key, &pair.value);
    read.err().unwrap_or_else(|| Error::Record {
        key: pair.key.escape_ascii().to_string(),
        reason: "it is damaged".to_owned(),
    })
}

enum Value<'r> {
    Number(u64),
    Bytes(&'r [u8]),
}

/// Shows the fields of a record that are numbers or bytes; our records have no others. None if it is damaged.
fn fields<'r>(record: &'r [u8], each: impl FnMut(u32, Value<'r>) -> Option<()>) -> Option<()> {
    let (&VERSION, message) = record.split_first()? else {
        return None;
    };
    message_fields(message, each)
}

fn message_fields<'r>(mut rest: &'r [u8], mut each: impl FnMut(u32, Value<'r>) -> Option<()>) -> Option<()> {
    while !rest.is_empty() {
        let (tag, kind) = decode_key(&mut rest).ok()?;
        let number = decode_varint(&mut rest).ok()?;
        let value = match kind {
            WireType::Varint => Value::Number(number),
            WireType::LengthDelimited => {
                let (bytes, after) = rest.split_at_checked(usize::try_from(number).ok()?)?;
                rest = after;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        each(tag, value)?;
    }
    Some(())
}

/// An entry of a map.
fn pair(entry: &[u8]) -> Option<(&str, &str)> {
    let mut pair = ("", "");
    message_fields(entry, |tag, value| {
        match (tag, value) {
            (1, Value::Bytes(key)) => pair.0 = std::str::from_utf8(key).ok()?,
            (2, Value::Bytes(value)) => pair.1 = std::str::from_utf8(value).ok()?,
            _ => {}
        }
        Some(())
    })?;
    Some(pair)
}

fn moment(time: &[u8]) -> Option<Moment> {
    let mut moment = Moment::default();
    message_fields(time, |tag, value| {
        match (tag, value) {
            #[expect(
                clippy::cast_possible_wrap,
                reason = "that is how negative numbers are recorded"
            )]
            (1, Value::Number(seconds)) => moment.seconds = seconds as i64,
            (2, Value::Number(nanos)) => moment.nanos = u32::try_from(nanos).ok()?,
            _ => {}
        }
        Some(())
    })?;
    Some(moment)
}
