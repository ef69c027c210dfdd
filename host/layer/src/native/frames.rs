//! The frames of a zstd stream, followed from the side: how large a window the next one wants, before the decoder is shown it.
//!
//! RFC 8878, section 3.1: frames and skippable frames follow each other; a frame is a header, blocks that tell their length, and
//! maybe a checksum. What is no frame is the decoder's to refuse.

use std::io::{self, BufRead, Read};

use crate::cancel::Cancel;

use super::windows::Share;

const MAGIC: u32 = 0xfd2f_b528;

/// A reader of frames that waits for the memory of each window.
pub(super) struct Frames<R> {
    inner: R,
    cancel: Cancel,
    share: Share,
    /// Bytes of the inner buffer that were followed already.
    seen: usize,
    at: At,
}

/// Where in the stream.
#[derive(Debug)]
enum At {
    /// In a header, of which these bytes are known.
    Header(Vec<u8>),
    /// In the three bytes before a block.
    Block { bytes: Vec<u8>, checksum: bool },
    /// In what need not be looked at.
    Skip { left: u64, then: After },
    /// Where nothing can be followed.
    Lost,
}

/// What follows what is skipped.
#[derive(Clone, Copy, Debug)]
enum After {
    Header,
    Block { checksum: bool },
}

impl<R> Frames<R> {
    pub(super) fn new(inner: R, cancel: Cancel) -> Frames<R> {
        Frames {
            inner,
            cancel,
            share: Share::none(),
            seen: 0,
            at: At::Header(Vec::new()),
        }
    }
}

impl<R: BufRead> BufRead for Frames<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let buffer = self.inner.fill_buf()?;
        let mut new = &buffer[self.seen.min(buffer.len())..];
        while let [first, rest @ ..] = new {
            let (used, window) = self.at.follow(*first, new.len() as u64);
            if let Some(window) = window {
                self.share.grow(window, &self.cancel)?;
            }
            new = match usize::try_from(used) {
                Ok(used) if used > 1 => &new[used..],
                _ => rest,
            };
        }
        self.seen = buffer.len();
        Ok(buffer)
    }

    fn consume(&mut self, count: usize) {
        self.seen = self.seen.saturating_sub(count);
        self.inner.consume(count);
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl At {
    /// Follows one byte, or several of `there` that need not be looked at: how many, and the window that begins with them.
    fn follow(&mut self, byte: u8, there: u64) -> (u64, Option<u64>) {
        let (mut used, mut window) = (1, None);
        let next = match self {
            At::Lost => {
                used = there;
                None
            }
            At::Skip { left, then } => {
                used = there.min(*left);
                *left -= used;
                (*left == 0).then(|| then.begin())
            }
            At::Block { bytes, checksum } => {
                bytes.push(byte);
                (bytes.len() == 3).then(|| after_block(bytes, *checksum))
            }
            At::Header(bytes) => {
                bytes.push(byte);
                match Header::read(bytes) {
                    Header::Short => None,
                    Header::None => Some(At::Lost),
                    Header::Skippable { length } => Some(After::Header.after(length)),
                    Header::Frame {
                        window: wanted,
                        checksum,
                    } => {
                        window = Some(wanted);
                        Some(After::Block { checksum }.begin())
                    }
                }
            }
        };
        if let Some(next) = next {
            *self = next;
        }
        (used, window)
    }
}

/// What follows the header of a block.
fn after_block(bytes: &[u8], checksum: bool) -> At {
    let header = bytes
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    let (last, kind, size) = (header & 1 == 1, header >> 1 & 3, header >> 3);
    let length = match kind {
        // One byte, repeated.
        1 => 1,
        3 => return At::Lost,
        _ => size,
    };
    match last {
        true => After::Header.after(length + if checksum { 4 } else { 0 }),
        false => After::Block { checksum }.after(length),
    }
}

impl After {
    fn begin(self) -> At {
        match self {
            After::Header => At::Header(Vec::new()),
            After::Block { checksum } => At::Block {
                bytes: Vec::new(),
                checksum,
            },
        }
    }

    fn after(self, left: u64) -> At {
        match left {
            0 => self.begin(),
            left => At::Skip { left, then: self },
        }
    }
}

/// What the first bytes of a frame say.
#[derive(Debug, PartialEq, Eq)]
enum Header {
    /// There must be more of them.
    Short,
    /// They are no frame's.
    None,
    Skippable {
        length: u64,
    },
    Frame {
        window: u64,
        checksum: bool,
    },
}

impl Header {
    fn read(bytes: &[u8]) -> Header {
        let Some((magic, rest)) = bytes.split_first_chunk() else {
            return Header::Short;
        };
        match u32::from_le_bytes(*magic) {
            MAGIC => Header::frame(rest),
            0x184d_2a50..=0x184d_2a5f => match rest.first_chunk() {
                Some(length) => Header::Skippable {
                    length: u64::from(u32::from_le_bytes(*length)),
                },
                None => Header::Short,
            },
            _ => Header::None,
        }
    }

    fn frame(bytes: &[u8]) -> Header {
        let Some((descriptor, rest)) = bytes.split_first() else {
            return Header::Short;
        };
        let single = descriptor >> 5 & 1 == 1;
        let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let content = match descriptor >> 6 {
            0 => usize::from(single),
            power => 1 << power,
        };
        let before = usize::from(!single) + dictionary;
        if rest.len() < before + content {
            return Header::Short;
        }
        let window = if single {
            let field = rest[before..before + content].iter().rev();
            let value = field.fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            value + if content == 2 { 256 } else { 0 }
        } else {
            let (exponent, mantissa) = (u64::from(rest[0] >> 3), u64::from(rest[0] & 7));
            let base = 1_u64 << (10 + exponent);
            base + base / 8 * mantissa
        };
        Header::Frame {
            window,
            checksum: descriptor >> 2 & 1 == 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use proptest::prelude::*;

    use super::*;

    fn compressed(bytes: &[u8], long: Option<u32>, checksum: bool, sized: bool) -> Vec<u8> {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        if let Some(log) = long {
            encoder.window_log(log).unwrap();
        }
        encoder.include_checksum(checksum).unwrap();
        if sized {
            encoder.set_pledged_src_size(Some(bytes.len() as u64)).unwrap();
        }
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The windows that a stream wants, read in pieces of so many bytes.
    fn windows(stream: &[u8], piece: usize) -> Vec<u64> {
        let (mut at, mut windows) = (At::Header(Vec::new()), Vec::new());
        for mut new in stream.chunks(piece) {
            while let Some(first) = new.first() {
                let (used, window) = at.follow(*first, new.len() as u64);
                windows.extend(window);
                new = &new[usize::try_from(used).unwrap()..];
            }
        }
        assert!(matches!(&at, At::Header(bytes) if bytes.is_empty()), "{at:?}");
        windows
    }

    #[test]
    fn every_frame_of_a_stream_tells_its_window() {
        let bytes: Vec<u8> = (0..600_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut stream = compressed(&bytes, Some(27), true, false);
        stream.extend([0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5]);
        stream.extend([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
        stream.extend(compressed(&[7; 300_000], Some(18), false, false));
        stream.extend(compressed(b"", None, true, true));
        stream.extend(compressed(&bytes[..1000], None, false, true));
        for piece in [1, 2, 3, 1000, stream.len()] {
            let windows = windows(&stream, piece);
            assert_eq!(windows.len(), 4);
            assert_eq!((windows[0], windows[1]), (1 << 27, 1 << 18));
            assert_eq!((windows[2], windows[3]), (0, 1000));
        }
    }

    #[test]
    fn what_is_no_frame_is_left_to_the_decoder() {
        let mut frames = Frames::new(&b"hello, no frame at all"[..], Cancel::new());
        let mut all = Vec::new();
        frames.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"hello, no frame at all");
        assert!(matches!(frames.at, At::Lost));
    }

    proptest! {
        #[test]
        fn bytes_pass_unchanged_and_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), frame: bool, piece in 1_usize..40) {
            let mut stream = if frame { MAGIC.to_le_bytes().to_vec() } else { Vec::new() };
            stream.extend(&bytes);
            let mut frames = Frames::new(BufReader::with_capacity(piece, &stream[..]), Cancel::new());
            let mut all = Vec::new();
            frames.read_to_end(&mut all).unwrap();
            prop_assert_eq!(all, stream);
        }
    }
}
