//! What the daemon's metrics say of collections.

use std::collections::BTreeMap;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::failure::{Failure, Kind};
use crate::limits;

/// How the names of what is counted of collections begin.
const PREFIX: &str = "transom_gc_";

/// Every number of collections, by its name and labels.
pub(super) async fn of_gc(address: &str) -> Result<BTreeMap<String, f64>, Failure> {
    let fetched = tokio::time::timeout(limits::METRICS_WAIT, fetch(address)).await;
    let text = fetched.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let text = text.map_err(|error| {
        let message = format!("cannot read the daemon's metrics from http://{address}/metrics: {error}");
        Failure::new(Kind::Unavailable, message)
    })?;
    Ok(numbers(&text))
}

/// One GET. The answer's head is passed over: no line of it begins as a number of ours.
async fn fetch(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream
        .take(limits::METRICS_BYTES)
        .read_to_string(&mut text)
        .await?;
    if text.starts_with("HTTP/1.1 200") {
        return Ok(text);
    }
    Err(io::Error::other(format!(
        "the answer is {:?}",
        text.lines().next().unwrap_or_default()
    )))
}

fn numbers(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|line| !line.contains("_bucket{"))
        .filter_map(|line| line.strip_prefix(PREFIX)?.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_collections_are_picked_out() {
        let text = "HTTP/1.1 200 OK\r\n\r\n# TYPE transom_gc_runs counter\ntransom_gc_runs_total 3\n\
                    transom_gc_removed_total{kind=\"content\"} 12\ntransom_gc_pause_seconds_bucket{le=\"1\"} 3\n\
                    transom_gc_pause_seconds_sum 0.25\ntransom_rpc_total 9\n";
        let counted = numbers(text);
        let names: Vec<_> = counted.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "pause_seconds_sum",
                "removed_total{kind=\"content\"}",
                "runs_total"
            ]
        );
        assert!((counted["pause_seconds_sum"] - 0.25).abs() < 1e-9);
    }
}
