//! A server that speaks S3: moto's, from PyPI.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Map, Value, json};

use crate::needs;

/// A running server, which ends with this. What it stores is in its memory.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    address: String,
}

impl Moto {
    /// Starts one; `None` if it is not installed, and the test is skipped.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start() -> Option<Moto> {
        let program = needs::moto_server()?;
        let started = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = started.unwrap_or_else(|error| panic!("moto does not start: {error}"));
        let Some(log) = child.stderr.take() else {
            unreachable!("it was asked for");
        };
        let mut lines = BufReader::new(log);
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = lines.read_line(&mut line);
            assert!(
                read.is_ok_and(|read| read > 0),
                "the server ended before it began"
            );
            if let Some((_, address)) = line.trim_end().split_once("Running on http://") {
                break address.to_owned();
            }
        };
        // It logs each request; nobody reads it, and it must not wait for somebody who does.
        std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
        Some(Moto { child, address })
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// If that fails.
    pub fn make_bucket(&self, name: &str) {
        let answer = self
            .put(name)
            .unwrap_or_else(|error| panic!("no bucket: {error}"));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }

    fn put(&self, name: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "PUT /{name} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// The parameters of the driver `s3` for a bucket, below a root.
    #[must_use]
    pub fn parameters(&self, bucket: &str, root: &str) -> Map<String, Value> {
        let parameters = json!({
            "region": "us-east-1", "regionendpoint": format!("http://{}", self.address), "bucket": bucket,
            "accesskey": "key", "secretkey": "secret", "rootdirectory": root, "chunksize": 5 << 20,
        });
        parameters.as_object().cloned().unwrap_or_default()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
