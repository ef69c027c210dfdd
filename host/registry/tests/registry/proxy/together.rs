//! Many clients at once, and one download.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;

use super::halting::Halting;
use super::rig::{Cache, config_on, proxy};
use crate::serving::noise;

/// Reads an answer, and says when the first `half` bytes of its body are there.
fn read(cache: &Cache, path: &str, range: Option<(usize, usize)>, half: usize, reached: &Barrier) -> Vec<u8> {
    let mut stream = TcpStream::connect(cache.address).unwrap();
    let range = range.map(|(first, last)| format!("Range: bytes={first}-{last}\r\n"));
    let range = range.unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{range}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "no answer");
    }
    let mut body = vec![0; half];
    reader.read_exact(&mut body).unwrap();
    reached.wait();
    reader.read_to_end(&mut body).unwrap();
    body
}

fn sixteen(cache: &Cache, upstream: &Halting, blob: &[u8]) {
    let path = format!("/v2/hub/team/app/blobs/{}", upstream.digest);
    // Everybody has the first half, or a range of it, before the other registry sends the second.
    let reached = Barrier::new(17);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..16)
            .map(|number| {
                let (path, reached) = (&path, &reached);
                scope.spawn(move || match number % 4 {
                    // From the middle of what is there into what is not.
                    3 => {
                        let (first, last) = (upstream.half() - 5_000 - number, blob.len() - 10);
                        let part = read(cache, path, Some((first, last)), 4_000, reached);
                        assert!(part == blob[first..=last], "range {number}");
                    }
                    _ => {
                        let half = upstream.half() - 100_000;
                        assert!(read(cache, path, None, half, reached) == blob, "client {number}");
                    }
                })
            })
            .collect();
        reached.wait();
        upstream.go();
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert_eq!((upstream.asked("HEAD"), upstream.asked("GET")), (1, 1));
    assert_eq!(
        cache.counted("registry_proxy_pulled_bytes_total{type=\"blob\"}"),
        blob.len() as u64
    );
    // And then it is here.
    let mut client = cache.client();
    loop {
        assert!(client.ask("GET", &path).expect(200).body == blob);
        if cache.counted("registry_proxy_hits_total{type=\"blob\"}") > 0 {
            break;
        }
    }
    assert_eq!(upstream.asked("GET"), 1);
}

#[test]
fn sixteen_clients_cause_one_download_and_read_it_while_it_comes() {
    let blob = noise(3_000_000, 5);
    let upstream = Halting::start(blob.clone());
    let cache = Cache::start(&proxy("hub", upstream.address));
    sixteen(&cache, &upstream, &blob);
    assert!(cache.kept(&upstream.digest) == blob);
}

#[test]
fn the_same_on_a_driver_without_files() {
    let blob = noise(3_000_000, 6);
    let upstream = Halting::start(blob.clone());
    let folder = tempfile::tempdir().unwrap();
    let more = proxy("hub", upstream.address);
    let config = config_on(folder.path(), "driver = \"inmemory\"", &more);
    let cache = Cache::of(&config, folder);
    sixteen(&cache, &upstream, &blob);
}

#[test]
fn a_download_goes_on_when_its_client_has_left() {
    let blob = noise(2_000_000, 7);
    let upstream = Halting::start(blob.clone());
    let cache = Cache::start(&proxy("", upstream.address));
    let path = format!("/v2/app/blobs/{}", upstream.digest);
    let mut stream = TcpStream::connect(cache.address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    stream.read_exact(&mut vec![0; upstream.half() / 2]).unwrap();
    drop(stream);
    upstream.go();
    assert!(cache.client().ask("GET", &path).expect(200).body == blob);
    assert_eq!(upstream.asked("GET"), 1);
}
