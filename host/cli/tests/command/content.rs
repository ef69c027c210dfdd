//! `transom content`: a store on a folder.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use transom_oci::{Algorithm, Digest};

use crate::support::{
    DAMAGED, Done, INTERRUPTED, NOT_FOUND, OTHER, USAGE, finish, run, signal, transom, wait_until,
};

/// A store in a folder of its own.
struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    fn new() -> Shop {
        Shop {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let root = self.root().display().to_string();
        ["--root", &root, "content"]
            .iter()
            .chain(more)
            .map(ToString::to_string)
            .collect()
    }

    fn content(&self, arguments: &[&str]) -> Done {
        run(self.arguments(arguments))
    }

    /// Starts an ingest from a pipe, writes `bytes` to it, and waits until the store has them.
    fn begin(&self, reference: &str, bytes: &[u8]) -> Child {
        let mut command = transom(self.arguments(&["ingest", reference]));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
        wait_until("the bytes are stored", || self.stored() == bytes.len() as u64);
        child
    }

    /// Bytes of all ingests that were begun.
    fn stored(&self) -> u64 {
        fn data(folder: &Path) -> u64 {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries
                .map(|entry| match entry.path() {
                    path if path.is_dir() => data(&path),
                    path if path.ends_with("data") => path.metadata().map_or(0, |file| file.len()),
                    _ => 0,
                })
                .sum()
        }
        data(&self.root())
    }

    /// The file of a blob.
    fn blob(&self, digest: &str) -> PathBuf {
        fn find(folder: &Path, name: &str) -> Option<PathBuf> {
            fs::read_dir(folder)
                .unwrap()
                .flatten()
                .find_map(|entry| match entry.path() {
                    path if path.is_dir() => find(&path, name),
                    path => path.ends_with(name).then_some(path),
                })
        }
        find(&self.root(), digest.split_once(':').unwrap().1).unwrap()
    }
}

fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

#[test]
fn a_blob_goes_in_is_listed_comes_out_and_is_removed() {
    let shop = Shop::new();
    let content = b"some content".repeat(100_000);
    let file = shop.file("file", &content);
    let digest = sha256(&content);
    assert_eq!(shop.content(&["ingest", "one", &file]).ok().trim(), digest);
    let again = shop.content(&["--json", "ingest", "two", &file]).json();
    assert_eq!(again["digest"], digest);
    assert_eq!(again["size"], content.len());
    assert_eq!(again["alreadyExisted"], true);

    let got = shop.content(&["get", &digest, "--verify"]);
    assert_eq!(got.code, Some(0));
    assert!(got.stdout == content);
    assert_eq!(shop.content(&["ls", "-q"]).ok().trim(), digest);
    let table = shop.content(&["ls", "--verify"]).ok();
    assert!(
        table.starts_with("DIGEST") && table.contains(&digest) && table.contains("1.20 MB"),
        "{table}"
    );
    let line = shop.content(&["list", "--json"]).json();
    assert_eq!(
        (&line["digest"], &line["size"]),
        (&Value::from(digest.as_str()), &Value::from(content.len()))
    );
    assert!(line["created"].as_str().unwrap().contains('T'));

    assert_eq!(shop.content(&["rm", &digest]).ok().trim(), digest);
    shop.content(&["get", &digest])
        .fails(NOT_FOUND, &[&digest, "not found"]);
    shop.content(&["delete", &digest]).fails(NOT_FOUND, &[&digest]);
    assert_eq!(shop.content(&["ls", "-q"]).ok(), "");
}

#[test]
fn every_algorithm_can_be_demanded_and_is_checked() {
    let shop = Shop::new();
    let file = shop.file("file", b"abc");
    for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
        let digest = Digest::of(algorithm, b"abc").to_string();
        let stored = shop
            .content(&["ingest", "r", &file, "--expected-digest", &digest])
            .ok();
        assert_eq!(stored.trim(), digest);
        let wrong = Digest::of(algorithm, b"abd").to_string();
        let failed = shop.content(&["ingest", "wrong", &file, "--expected-digest", &wrong]);
        failed.fails(DAMAGED, &[&wrong, &digest]);
    }
    shop.content(&["ingest", "r", &file, "--expected-digest", "md5:00"]);
    let folder = shop.folder.path().display().to_string();
    shop.content(&["ingest", "r", &folder]).fails(USAGE, &["folder"]);
    shop.content(&["ingest", "r", "/no/such/file"])
        .fails(NOT_FOUND, &["/no/such/file"]);
}

#[test]
fn a_killed_ingest_goes_on_where_it_stopped() {
    let shop = Shop::new();
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let mut child = shop.begin("slow", &content[..1_000_000]);
    child.kill().unwrap();
    child.wait().unwrap();

    let status = shop.content(&["--json", "active"]).json();
    assert_eq!(status["ref"], "slow");
    assert_eq!(status["offset"], 1_000_000);
    assert!(shop.content(&["active", "lo"]).ok().contains("1.00 MB"));
    assert_eq!(shop.content(&["active", "other"]).ok().lines().count(), 1);

    let file = shop.file("file", &content);
    let digest = sha256(&content);
    let done = shop.content(&["ingest", "slow", &file, "--expected-digest", &digest]);
    assert!(done.stderr.contains("slow goes on at 1.00 MB"), "{}", done.stderr);
    assert_eq!(done.ok().trim(), digest);
    assert_eq!(shop.content(&["--json", "active"]).ok(), "");
    shop.content(&["ls", "--verify"]).ok();
}

#[test]
fn an_interrupted_ingest_says_that_it_can_go_on() {
    let shop = Shop::new();
    let child = shop.begin("stopped", b"first ");
    // It waits for more, which never comes.
    signal(&child, Signal::INT);
    finish(child).fails(INTERRUPTED, &["ingest again to go on"]);
    let rest = shop.file("file", b"first second third");
    assert_eq!(
        shop.content(&["ingest", "stopped", &rest]).ok().trim(),
        sha256(b"first second third")
    );
}

#[test]
fn an_ingest_is_one_persons_at_a_time_and_can_be_given_up() {
    let shop = Shop::new();
    let mut child = shop.begin("busy", b"some");
    let file = shop.file("file", b"some more");
    shop.content(&["ingest", "busy", &file])
        .fails(OTHER, &["busy", "locked"]);
    drop(child.stdin.take());
    finish(child).ok();

    shop.content(&["ingest", "short", &file, "--expected-size", "100"])
        .fails(DAMAGED, &["9 of 100 bytes", "short"]);
    assert_eq!(shop.content(&["--json", "active"]).json()["total"], 100);
    let shorter = shop.file("shorter", b"so");
    shop.content(&["ingest", "short", &shorter])
        .fails(DAMAGED, &["shorter than the 9 bytes", "content abort"]);
    shop.content(&["abort", "short"]).ok();
    assert_eq!(shop.content(&["--json", "active"]).ok(), "");
    shop.content(&["abort", "short"]).fails(NOT_FOUND, &["short"]);
}

#[test]
fn verification_names_the_damaged_blob() {
    let shop = Shop::new();
    let mut digests = Vec::new();
    for number in 0..5 {
        let content = format!("blob {number}").repeat(1000);
        let file = shop.file("file", content.as_bytes());
        digests.push(shop.content(&["ingest", "r", &file]).ok().trim().to_owned());
    }
    shop.content(&["ls", "--verify"]).ok();
    let blob = shop.blob(&digests[3]);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[1234] ^= 0x10;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    shop.content(&["ls", "--verify"])
        .fails(DAMAGED, &[&digests[3], "its bytes have digest"]);
    shop.content(&["get", &digests[3], "--verify"])
        .fails(DAMAGED, &[&digests[3], "fetch it again"]);
    assert_eq!(shop.content(&["get", &digests[3]]).code, Some(0));
    shop.content(&["rm", &digests[3]]).ok();
    shop.content(&["ls", "--verify"]).ok();
}
