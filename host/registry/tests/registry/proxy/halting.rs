//! A registry of one blob that sends half of it, and the rest when it is told to; it counts what is asked of it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use crate::serving::sha256;

/// The registry. It ends with the process.
pub(super) struct Halting {
    pub(super) address: SocketAddr,
    pub(super) digest: String,
    state: Arc<State>,
}

struct State {
    blob: Vec<u8>,
    go: (Mutex<bool>, Condvar),
    /// How often each method was used.
    asked: Mutex<Vec<String>>,
}

impl Halting {
    pub(super) fn start(blob: Vec<u8>) -> Halting {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let digest = sha256(&blob);
        let state = Arc::new(State {
            blob,
            go: (Mutex::new(false), Condvar::new()),
            asked: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, state) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || state.serve(stream));
            }
        });
        Halting {
            address,
            digest,
            state,
        }
    }

    /// From now on everything is sent whole.
    pub(super) fn go(&self) {
        *self.state.go.0.lock().unwrap() = true;
        self.state.go.1.notify_all();
    }

    /// How often a method was used.
    pub(super) fn asked(&self, method: &str) -> usize {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|used| *used == method).count()
    }

    pub(super) fn half(&self) -> usize {
        self.state.blob.len() / 2
    }
}

impl State {
    /// One request, and the end of the connection.
    fn serve(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let Some(Ok(first)) = lines.next() else {
            return;
        };
        let method = first.split(' ').next().unwrap().to_owned();
        self.asked.lock().unwrap().push(method.clone());
        for line in lines {
            match line {
                Ok(line) if !line.is_empty() => {}
                _ => break,
            }
        }
        let length = self.blob.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        if stream.write_all(head.as_bytes()).is_err() || method == "HEAD" {
            return;
        }
        let (one, two) = self.blob.split_at(length / 2);
        if stream.write_all(one).is_err() {
            return;
        }
        let (lock, told) = &self.go;
        drop(told.wait_while(lock.lock().unwrap(), |go| !*go).unwrap());
        // Whoever has left does not take it.
        let _ = stream.write_all(two);
    }
}
