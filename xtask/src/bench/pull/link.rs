//! A link to a server on this machine that is slow, or far away: connections are passed on, what comes back is held up.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::run::{Error, Result};

/// Bytes that are passed on at once: at 50 MB/s, a third of a millisecond.
const BLOCK: usize = 16 << 10;

/// Blocks that are under way on a connection: 16 MB, more than any rate here has in any delay.
const UNDER_WAY: usize = 1_000;

/// How much later than it should a sleep may end.
const LATE: Duration = Duration::from_millis(10);

/// A link. Its threads end with the program.
#[derive(Debug)]
pub(super) struct Link {
    address: String,
}

/// What a link does to answers.
#[derive(Debug)]
struct Weather {
    /// Bytes a second, of all connections together.
    rate: Option<u64>,
    delay: Duration,
    /// When the line is free for the next block.
    free: Mutex<Instant>,
}

impl Link {
    /// A link to a server, with so many bytes a second to here and so much time between the end of a request and the beginning of
    /// its answer.
    pub(super) fn to(server: &str, rate: Option<u64>, delay: Duration) -> Result<Link> {
        let failed = |error: std::io::Error| Error::Other(format!("no link to {server}: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?.to_string();
        let (server, weather) = (server.to_owned(), Arc::new(Weather::new(rate, delay)));
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let (server, weather) = (server.clone(), Arc::clone(&weather));
                thread::spawn(move || pass(near, &server, weather));
            }
        });
        Ok(Link { address })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Weather {
    fn new(rate: Option<u64>, delay: Duration) -> Weather {
        Weather {
            rate,
            delay,
            free: Mutex::new(Instant::now()),
        }
    }

    /// When a block that is sent now is there.
    fn arrival(&self, bytes: usize) -> Instant {
        let now = Instant::now();
        let Some(rate) = self.rate else {
            return now + self.delay;
        };
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let takes = Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate);
        // Whoever slept too long catches up: the line was never idle.
        *free = (*free).max(now.checked_sub(LATE).unwrap_or(now)) + takes;
        *free + self.delay
    }
}

/// Passes one connection on, in both directions.
fn pass(near: TcpStream, server: &str, weather: Arc<Weather>) {
    let Ok(far) = TcpStream::connect(server) else {
        return;
    };
    drop((near.set_nodelay(true), far.set_nodelay(true)));
    let (Ok(mut requests), Ok(mut away)) = (near.try_clone(), far.try_clone()) else {
        return;
    };
    thread::spawn(move || {
        drop(std::io::copy(&mut requests, &mut away));
        drop(away.shutdown(Shutdown::Write));
    });
    let (blocks, coming) = sync_channel(UNDER_WAY);
    thread::spawn(move || read(far, &blocks, &weather));
    write(near, &coming);
}

fn read(mut far: TcpStream, blocks: &SyncSender<(Instant, Vec<u8>)>, weather: &Weather) {
    loop {
        let mut block = vec![0; BLOCK];
        let Ok(count @ 1..) = far.read(&mut block) else {
            return;
        };
        block.truncate(count);
        let arrival = weather.arrival(count);
        // A full line slows the sender down, as a network does.
        if weather.rate.is_some() {
            thread::sleep((arrival - weather.delay).saturating_duration_since(Instant::now()));
        }
        if blocks.send((arrival, block)).is_err() {
            return;
        }
    }
}

fn write(mut near: TcpStream, coming: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((arrival, block)) = coming.recv() {
        thread::sleep(arrival.saturating_duration_since(Instant::now()));
        if near.write_all(&block).is_err() {
            return;
        }
    }
    drop(near.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_a_link_arrives_and_takes_its_time() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("bound").to_string();
        thread::spawn(move || {
            let (mut client, _) = server.accept().expect("a connection");
            let mut question = [0; 4];
            client.read_exact(&mut question).expect("a question");
            client.write_all(&[7; 100_000]).expect("an answer");
        });
        let (rate, delay) = (1_000_000, Duration::from_millis(50));
        let link = Link::to(&address, Some(rate), delay).expect("a link");
        let mut near = TcpStream::connect(link.address()).expect("a connection");
        let start = Instant::now();
        near.write_all(b"what").expect("sent");
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).expect("the answer");
        assert_eq!(answer.len(), 100_000);
        // At least: how much longer is the machine's to say.
        assert!(start.elapsed() >= delay + Duration::from_millis(100) - LATE);
    }
}
