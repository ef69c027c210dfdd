//! Figures for `docs/decisions/0006-metadata-store.md`: what each store that persists does in a second, and what it takes.
//! Nothing is judged here.
//!
//! `cargo test --release -p transom-meta --test meta -- --ignored --nocapture kv_measure`

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use transom_meta::kv::{Kind, Kv, Range, Write};

use crate::kv::{commit, open, put, run};

const FOLDER: &str = "TRANSOM_META_MEASURE_FOLDER";
const KIND: &str = "TRANSOM_META_MEASURE_KIND";
const JOB: &str = "TRANSOM_META_MEASURE_JOB";

/// As many records as 50,000 images and blobs have.
const RECORDS: u64 = 100_000;

fn key(number: u64) -> String {
    format!(
        "c/default/sha256:{:064x}",
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    )
}

fn record(number: u64) -> Write {
    put(key(number), vec![number as u8; 200])
}

/// Transactions a second of this many clients, for this long.
async fn commits(kv: &std::sync::Arc<dyn Kv>, clients: u64) -> f64 {
    const TIME: Duration = Duration::from_secs(3);
    let start = Instant::now();
    let client = |kv: std::sync::Arc<dyn Kv>, client: u64| async move {
        let mut done = 0_u64;
        while start.elapsed() < TIME {
            commit(&*kv, [], [record((client << 32) + done)]).await;
            done += 1;
        }
        done
    };
    let clients: Vec<_> = (0..clients)
        .map(|number| tokio::spawn(client(kv.clone(), number)))
        .collect();
    let mut done = 0;
    for client in clients {
        done += client.await.unwrap();
    }
    done as f64 / start.elapsed().as_secs_f64()
}

async fn scan(kv: &dyn Kv) -> u64 {
    let mut rest = Range::prefix("c/");
    let mut found = 0;
    loop {
        let page = kv.range(&rest, 512).await.unwrap();
        let Some(last) = page.last() else {
            return found;
        };
        rest = rest.after(&last.key);
        found += page.len() as u64;
    }
}

fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
}

fn disk(folder: &Path) -> String {
    let output = Command::new("du").arg("-sk").arg(folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

fn say(kind: Kind, what: &str, value: impl std::fmt::Display) {
    println!("{kind:5} {what:28} {value}");
}

/// Each job in a process of its own: memory is the process's.
#[test]
#[ignore = "a job of the measurement"]
fn job() {
    let folder = PathBuf::from(std::env::var(FOLDER).unwrap());
    let kind: Kind = std::env::var(KIND).unwrap().parse().unwrap();
    let start = Instant::now();
    let kv = open(kind, &folder);
    let opened = start.elapsed();
    run(async {
        match std::env::var(JOB).unwrap().as_str() {
            "load" => {
                for block in 0..RECORDS / 100 {
                    let writes: Vec<Write> = (block * 100..block * 100 + 100).map(record).collect();
                    commit(&*kv, [], writes).await;
                }
                say(kind, "load, s", format!("{:.2}", start.elapsed().as_secs_f64()));
                say(kind, "on disk, KB", disk(&folder));
            }
            "read" => read(kind, &*kv, opened).await,
            "commit" => {
                for clients in [1, 16] {
                    let before = kv.stats();
                    let rate = commits(&kv, clients).await;
                    let after = kv.stats();
                    let flushes = after.flushes - before.flushes;
                    let shared = (after.transactions - before.transactions) as f64 / flushes as f64;
                    say(
                        kind,
                        &format!("commits/s, {clients} clients"),
                        format!("{rate:.0} ({shared:.1} a flush)"),
                    );
                }
            }
            job => panic!("unknown job {job}"),
        }
    });
}

async fn read(kind: Kind, kv: &dyn Kv, opened: Duration) {
    say(kind, "open, ms", opened.as_millis());
    say(kind, "resident when opened, KB", resident());
    let start = Instant::now();
    assert_eq!(scan(kv).await, RECORDS);
    say(kind, "scan, ms", start.elapsed().as_millis());
    say(kind, "resident after it, KB", resident());
    for (what, keys) in [
        ("get of 1,000 keys, us each", 1000),
        ("get of all keys, us each", RECORDS),
    ] {
        let start = Instant::now();
        for number in 0..RECORDS {
            let found = kv.get(key(number % keys).as_bytes()).await.unwrap();
            assert!(found.is_some());
        }
        let each = start.elapsed().as_secs_f64() * 1e6 / RECORDS as f64;
        say(kind, what, format!("{each:.2}"));
    }
    say(kind, "resident after it, KB", resident());
}

#[test]
#[ignore = "figures for a person, on a quiet machine"]
fn measure() {
    let dir = tempfile::tempdir().unwrap();
    // One after the other in turns, so that a change of the machine's pace meets both.
    for round in 0..2 {
        for job in ["load", "read", "commit"] {
            for kind in [Kind::Sled, Kind::Redb] {
                let status = Command::new(std::env::current_exe().unwrap())
                    .args([
                        "--exact",
                        "kv_measure::job",
                        "--ignored",
                        "--nocapture",
                        "--quiet",
                    ])
                    .env(FOLDER, dir.path().join(format!("{kind}-{round}")))
                    .env(KIND, kind.name())
                    .env(JOB, job)
                    .status()
                    .unwrap();
                assert!(status.success());
            }
        }
    }
}
