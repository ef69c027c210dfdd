//! What a guest has read and may write back unchanged: those bytes go on as they came, shared instead of copied.

use std::collections::VecDeque;
use std::io::Write;

use bytes::{Buf, Bytes};
use transom_layer::pipe::Output;

use crate::limits::{ECHO_BYTES_MAX, ECHO_BYTES_MIN};

/// The chunks that the guest was given and has not written back yet, in order.
///
/// Nothing is promised: every byte is compared. A guest that writes something else, or that reads far ahead of its
/// writes, is not followed any further, and costs nothing more.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    given: VecDeque<Bytes>,
    bytes: usize,
    lost: bool,
}

impl Echo {
    /// The guest was given this.
    pub(crate) fn gave(&mut self, chunk: &Bytes) {
        if self.lost {
            return;
        }
        self.bytes += chunk.len();
        if self.bytes > ECHO_BYTES_MAX {
            self.lose();
        } else {
            self.given.push_back(chunk.clone());
        }
    }

    /// Passes on what the guest writes.
    pub(crate) fn write(&mut self, output: &mut Output, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() && !self.lost {
            let Some(front) = self.given.front_mut() else {
                self.lose();
                break;
            };
            let count = front.len().min(bytes.len());
            let (same, rest) = bytes.split_at(count);
            if front[..count] != *same {
                self.lose();
                break;
            }
            // A small piece is cheaper to copy than to hand from thread to thread.
            if count >= ECHO_BYTES_MIN {
                output.send(front.split_to(count))?;
            } else {
                output.write_all(same)?;
                front.advance(count);
            }
            if front.is_empty() {
                self.given.pop_front();
            }
            self.bytes -= count;
            bytes = rest;
        }
        output.write_all(bytes)
    }

    fn lose(&mut self) {
        *self = Echo {
            lost: true,
            ..Echo::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use transom_layer::buffer::Pool;
    use transom_layer::cancel::Cancel;
    use transom_layer::limits::OutputLimits;
    use transom_layer::pipe::{Guard, Input, pipe};

    use super::*;

    const CHUNK: usize = ECHO_BYTES_MIN * 2;

    fn ends() -> (Output, Input) {
        let guard = Guard {
            cancel: Cancel::new(),
            limits: OutputLimits::default(),
            blob_size: 1,
        };
        let (output, mut inputs) = pipe(1, guard, Pool::new());
        (output, inputs.remove(0))
    }

    fn chunk(byte: u8) -> Bytes {
        vec![byte; CHUNK].into()
    }

    #[test]
    fn what_is_written_back_is_the_same_memory() {
        let (mut output, mut input) = ends();
        let (mut echo, chunk) = (Echo::default(), chunk(7));
        echo.gave(&chunk);
        echo.write(&mut output, chunk.as_ref()).unwrap();
        let passed = input.next_chunk().unwrap().unwrap();
        assert_eq!(passed.as_ptr(), chunk.as_ptr());
        assert_eq!(passed.len(), CHUNK);
    }

    #[test]
    fn a_write_over_several_reads_is_split_at_them() {
        let (mut output, mut input) = ends();
        let (mut echo, first, second) = (Echo::default(), chunk(1), chunk(2));
        echo.gave(&first);
        echo.gave(&second);
        echo.write(&mut output, &[&first[..], &second[..]].concat())
            .unwrap();
        for given in [first, second] {
            assert_eq!(input.next_chunk().unwrap().unwrap().as_ptr(), given.as_ptr());
        }
    }

    #[test]
    fn other_bytes_are_copied_from_then_on() {
        let (mut output, mut input) = ends();
        let (mut echo, chunk) = (Echo::default(), chunk(7));
        echo.gave(&chunk);
        let mut written = chunk.to_vec();
        written[CHUNK - 1] = 8;
        echo.write(&mut output, &written).unwrap();
        echo.gave(&chunk);
        echo.write(&mut output, &chunk).unwrap();
        output.flush().unwrap();
        let passed = input.next_chunk().unwrap().unwrap();
        assert_ne!(passed.as_ptr(), chunk.as_ptr());
        assert_eq!(passed[..CHUNK], written[..]);
        assert!(echo.lost && echo.given.is_empty());
    }

    #[test]
    fn small_pieces_keep_their_order() {
        let (mut output, mut input) = ends();
        let mut echo = Echo::default();
        let given: Bytes = (0..=255u8).cycle().take(CHUNK).collect();
        echo.gave(&given);
        echo.write(&mut output, &given[..3]).unwrap();
        echo.write(&mut output, &given[3..3 + ECHO_BYTES_MIN]).unwrap();
        echo.write(&mut output, &given[3 + ECHO_BYTES_MIN..]).unwrap();
        output.flush().unwrap();
        let mut passed = Vec::new();
        while passed.len() < CHUNK {
            passed.extend_from_slice(&input.next_chunk().unwrap().unwrap());
        }
        assert_eq!(passed, given);
        assert!(!echo.lost && echo.bytes == 0);
    }

    #[test]
    fn a_guest_that_reads_ahead_is_not_followed() {
        let mut echo = Echo::default();
        for _ in 0..=ECHO_BYTES_MAX / CHUNK {
            echo.gave(&chunk(1));
        }
        assert!(echo.lost && echo.given.is_empty());
    }
}
