//! Input that is read while what came before is sent.

use std::io::{self, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::limits;

/// Reads the input in a thread of its own, a few blocks ahead of what is sent.
pub(crate) fn read_ahead(mut input: impl Read + Send + 'static) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, blocks) = mpsc::channel(limits::BLOCKS_AHEAD);
    std::thread::spawn(move || {
        loop {
            let mut block = vec![0; limits::BLOCK];
            let read = match input.read(&mut block) {
                Ok(0) => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Ok(count) => {
                    block.truncate(count);
                    Ok(Bytes::from(block))
                }
                Err(error) => Err(error),
            };
            let last = read.is_err();
            if sender.blocking_send(read).is_err() || last {
                return;
            }
        }
    });
    blocks
}
