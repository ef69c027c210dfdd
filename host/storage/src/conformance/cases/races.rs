//! Several calls at the same time.

use std::sync::Arc;

use bytes::Bytes;
use tokio_stream::StreamExt;

use super::super::bench::{Bench, Check, Failure, ensure, noise, same};
use super::together;
use crate::{Condition, Error, Pending, Reader, StorageDriver, StoragePath, WriteMode};

/// Enough that it does not fit into one buffer on the way.
const LENGTH: usize = 2 << 20;

/// Whether `found` is one of the contents, whole.
fn whole(found: &[u8], seeds: std::ops::Range<u64>, length: usize) -> bool {
    seeds.into_iter().any(|seed| found == noise(seed, length))
}

pub(super) async fn concurrent_puts(bench: &Bench) -> Check {
    const SIZE: usize = 100_000;
    let path = bench.put("content", &noise(0, SIZE)).await?;
    let tasks = bench.options.tasks as u64;
    let mut calls: Vec<Pending<'static, Option<Bytes>>> = Vec::new();
    for seed in 0..tasks {
        let (driver, path) = (bench.driver.clone(), path.clone());
        calls.push(Box::pin(async move {
            for _ in 0..5 {
                driver
                    .put(&path, noise(seed, SIZE).into(), Condition::Always)
                    .await?;
            }
            Ok(None)
        }));
        let (driver, path) = (bench.driver.clone(), bench.path("content")?);
        calls.push(Box::pin(async move {
            for _ in 0..10 {
                let got = driver.get(&path, SIZE as u64 * 2).await?;
                if !whole(&got, 0..tasks, SIZE) {
                    return Ok(Some(got));
                }
            }
            Ok(None)
        }));
    }
    for result in together(calls).await {
        let torn = result?;
        ensure!(
            torn.is_none(),
            "a get gave {} bytes that nobody put",
            torn.map_or(0, |torn| torn.len())
        );
    }
    let last = bench.read(&path, 0).await?;
    ensure!(whole(&last, 0..tasks, SIZE), "what remains is what nobody put");
    Ok(())
}

/// Writes and commits; `false` if another writer has the path.
async fn write(
    driver: Arc<dyn StorageDriver>,
    path: StoragePath,
    seed: u64,
    length: usize,
) -> Result<bool, Error> {
    let mut writer = match driver.writer(&path, WriteMode::Create).await {
        Err(Error::Busy { .. }) => return Ok(false),
        other => other?,
    };
    for piece in noise(seed, length).chunks(length / 7 + 1) {
        writer.write(Bytes::copy_from_slice(piece)).await?;
        tokio::task::yield_now().await;
    }
    writer.commit().await?;
    Ok(true)
}

pub(super) async fn concurrent_writers(bench: &Bench) -> Check {
    let path = bench.path("content")?;
    // Two that are open at the same time for sure.
    let first = bench.writer(&path, WriteMode::Create).await;
    let second = bench.driver.writer(&path, WriteMode::Create).await;
    let mut open = vec![first?];
    match second {
        Ok(second) => open.push(second),
        Err(Error::Busy { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let writers = open.len() as u64;
    for piece in 0..3 {
        for (seed, writer) in open.iter_mut().enumerate() {
            let content = noise(seed as u64, 3000);
            writer
                .write(Bytes::copy_from_slice(&content[piece * 1000..][..1000]))
                .await?;
        }
    }
    for writer in open {
        writer.commit().await?;
    }
    let found = bench.read(&path, 0).await?;
    ensure!(
        whole(&found, 0..writers, 3000),
        "two writers left {} bytes that neither wrote",
        found.len()
    );
    // And a crowd.
    let tasks = bench.options.tasks as u64;
    let mut calls: Vec<Pending<'static, bool>> = Vec::new();
    for seed in 0..tasks {
        calls.push(Box::pin(write(bench.driver.clone(), path.clone(), seed, 100_000)));
    }
    let mut committed = 0;
    for result in together(calls).await {
        committed += u64::from(result?);
    }
    ensure!(committed > 0, "of {tasks} writers none could write");
    let found = bench.read(&path, 0).await?;
    ensure!(
        whole(&found, 0..tasks, 100_000),
        "several writers left {} bytes that none wrote",
        found.len()
    );
    Ok(())
}

pub(super) async fn concurrent_files(bench: &Bench) -> Check {
    let tasks = bench.options.tasks as u64;
    let mut calls: Vec<Pending<'static, bool>> = Vec::new();
    for seed in 0..tasks {
        let path = bench.path(&format!("a/new/folder/{seed}"))?;
        calls.push(Box::pin(write(bench.driver.clone(), path, seed, LENGTH / 2)));
    }
    for result in together(calls).await {
        ensure!(result?, "a path is busy that nobody else writes");
    }
    for seed in 0..tasks {
        let path = bench.path(&format!("a/new/folder/{seed}"))?;
        same(
            &bench.read(&path, 0).await?,
            &noise(seed, LENGTH / 2),
            &format!("{path}"),
        )?;
    }
    Ok(())
}

pub(super) async fn concurrent_reads(bench: &Bench) -> Check {
    let content = noise(1, LENGTH);
    let path = bench.put("content", &content).await?;
    let mut calls: Vec<Pending<'static, (u64, Bytes)>> = Vec::new();
    for task in 0..bench.options.tasks as u64 {
        let (driver, path) = (bench.driver.clone(), path.clone());
        let offset = task * 7919 * 31 % LENGTH as u64;
        calls.push(Box::pin(async move {
            let reader = driver.read(&path, offset).await?;
            Ok((offset, reader.collect(driver.name(), LENGTH as u64).await?))
        }));
    }
    for result in together(calls).await {
        let (offset, read) = result?;
        same(
            &read,
            &content[offset as usize..],
            &format!("one of several reads, from {offset} on"),
        )?;
    }
    Ok(())
}

pub(super) async fn open_readers(bench: &Bench) -> Check {
    for deed in ["put", "write", "delete", "rename", "rename over"] {
        let (old, new) = (noise(1, LENGTH), noise(2, LENGTH));
        let path = bench.put("content", &old).await?;
        let other = bench.put("other", &new).await?;
        let mut reader = bench.driver.read(&path, 0).await?;
        let first = reader.next().await.transpose()?.unwrap_or_default();
        let untouched = bench.driver.read(&path, 0).await?;
        match deed {
            "put" => drop(bench.put("content", &new).await?),
            "write" => bench.write(&path, &new).await?,
            "delete" => bench.driver.delete(&path).await?,
            "rename" => bench.driver.rename(&path, &other).await?,
            _ => bench.driver.rename(&other, &path).await?,
        }
        let mut read = first.to_vec();
        let ended = rest(reader, &mut read).await;
        not_mixed(&read, &old, &ended, deed)?;
        let mut read = Vec::new();
        let ended = rest(untouched, &mut read).await;
        not_mixed(&read, &old, &ended, deed)?;
    }
    Ok(())
}

async fn rest(mut reader: Reader, read: &mut Vec<u8>) -> Result<(), Error> {
    while let Some(chunk) = reader.next().await {
        read.extend_from_slice(&chunk?);
    }
    Ok(())
}

/// The old content to its end, or an error after a part of it.
fn not_mixed(read: &[u8], old: &[u8], ended: &Result<(), Error>, deed: &str) -> Check {
    let begins = old.starts_with(read);
    ensure!(
        begins,
        "a reader that was open at a {deed} gave bytes of something else"
    );
    match ended {
        Ok(()) if read.len() < old.len() => Err(Failure::Seen(format!(
            "a reader that was open at a {deed} ended early, without an error"
        ))),
        _ => Ok(()),
    }
}

pub(super) async fn one_of_many_absent(bench: &Bench) -> Check {
    if !bench.driver.capabilities().put_if_absent {
        return Err(Failure::Skip("the driver cannot put only where nothing is"));
    }
    for round in 0..5 {
        let path = bench.path(&format!("round-{round}"))?;
        let mut calls: Vec<Pending<'static, u64>> = Vec::new();
        for seed in 0..bench.options.tasks as u64 {
            let (driver, path) = (bench.driver.clone(), path.clone());
            calls.push(Box::pin(async move {
                driver
                    .put(&path, noise(seed, 100).into(), Condition::Absent)
                    .await?;
                Ok(seed)
            }));
        }
        let mut winners = Vec::new();
        for result in together(calls).await {
            match result {
                Ok(seed) => winners.push(seed),
                Err(Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(
            winners.len() == 1,
            "{} of several puts where nothing was succeeded",
            winners.len()
        );
        bench.expect(&path, &noise(winners[0], 100)).await?;
    }
    Ok(())
}
