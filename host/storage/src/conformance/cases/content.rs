//! Whole content: put, get, read, and what can be said of it.

use bytes::Bytes;

use super::super::bench::{Bench, Check, Failure, ensure, noise, refused, same};
use crate::{Condition, Error, Put, Redirect, RedirectMethod, StoragePath, WriteMode, limits};

pub(super) async fn valid_paths(bench: &Bench) -> Check {
    let names = [
        "a",
        "2",
        "aa",
        "a.a",
        "0-9/abcdefg",
        "abcdefg/z.75",
        "abc/1.2.3.4.5-6_zyx/123.z/4",
        "docker/docker-registry",
        "123.abc",
        "abc./abc",
        ".abc",
        "a--b",
        "a-.b",
        "_.abc",
        "Docker/docker-registry",
        "Abc/Cba",
        "...",
        "-",
    ];
    for (number, name) in names.iter().enumerate() {
        bench.put(name, &noise(number as u64, 32)).await?;
    }
    // Later, so that two names that a store takes for one are noticed.
    for (number, name) in names.iter().enumerate() {
        bench
            .expect(&bench.path(name)?, &noise(number as u64, 32))
            .await?;
    }
    Ok(())
}

pub(super) async fn long_paths(bench: &Bench) -> Check {
    // Two of each that differ in the last byte only.
    let part = "p".repeat(limits::PART_BYTES - 1);
    for last in ["1", "2"] {
        bench.put(&format!("{part}{last}"), last.as_bytes()).await?;
        let upload = bench.path(&format!("upload/{part}{last}"))?;
        bench.write(&upload, last.as_bytes()).await?;
    }
    let mut folder = bench.folder.join("deep")?;
    while let Ok(deeper) = folder.join("0123456789") {
        folder = deeper;
    }
    let folder = folder.parent().unwrap_or(folder);
    for last in ["1", "2"] {
        let (path, content) = (folder.join(last)?, Bytes::from_static(last.as_bytes()));
        bench.driver.put(&path, content, Condition::Always).await?;
    }
    for last in ["1", "2"] {
        bench
            .expect(&bench.path(&format!("{part}{last}"))?, last.as_bytes())
            .await?;
        bench
            .expect(&bench.path(&format!("upload/{part}{last}"))?, last.as_bytes())
            .await?;
        bench.expect(&folder.join(last)?, last.as_bytes()).await?;
    }
    Ok(())
}

pub(super) async fn put_and_get(bench: &Bench) -> Check {
    let contents: [Vec<u8>; 7] = [
        Vec::new(),
        vec![0],
        vec![0xc3, 0x9f],
        vec![0x80; 4],
        noise(1, 32),
        noise(2, limits::READ_CHUNK),
        noise(3, (1 << 20) + 1),
    ];
    for (number, content) in contents.iter().enumerate() {
        let path = bench.put(&format!("{number}"), content).await?;
        bench.expect(&path, content).await?;
    }
    Ok(())
}

pub(super) async fn get_limit(bench: &Bench) -> Check {
    let path = bench.put("content", &noise(1, 100)).await?;
    same(
        &bench.driver.get(&path, 100).await?,
        &noise(1, 100),
        "get with a limit that is just enough",
    )?;
    refused!(
        bench.driver.get(&path, 99).await,
        Error::TooLarge { limit: 99, .. },
        "get of more than the limit"
    );
    Ok(())
}

pub(super) async fn missing(bench: &Bench) -> Check {
    bench.put("there/content", b"x").await?;
    for name in [
        "nothing",
        "there/nothing",
        "there/cont",
        "there/content-2",
        "no/such/folder",
    ] {
        let path = bench.path(name)?;
        bench.expect_nothing(&path).await?;
        refused!(
            bench.driver.read(&path, 64).await,
            Error::NotFound { .. },
            "read of nothing from 64 on"
        );
        refused!(
            bench.driver.list(&path).await,
            Error::NotFound { .. },
            "list of nothing"
        );
        refused!(
            bench.driver.delete(&path).await,
            Error::NotFound { .. },
            "delete of nothing"
        );
        let append = bench.driver.writer(&path, WriteMode::Append).await;
        refused!(append, Error::NotFound { .. }, "append to nothing");
    }
    Ok(())
}

pub(super) async fn overwrite(bench: &Bench) -> Check {
    let path = bench.path("content")?;
    // Longer, shorter, of the same length, empty: each with other bytes.
    for (number, length) in [(1, 4096), (2, 1 << 20), (3, 2048), (4, 2048), (5, 0), (6, 10)] {
        bench.put("content", &noise(number, length)).await?;
        bench.expect(&path, &noise(number, length)).await?;
    }
    for (number, length) in [(7, 4096), (8, 1024), (9, 1024), (10, 5000), (11, 0)] {
        bench.write(&path, &noise(number, length)).await?;
        bench.expect(&path, &noise(number, length)).await?;
    }
    Ok(())
}

pub(super) async fn read_offsets(bench: &Bench) -> Check {
    let content = noise(1, 2 * limits::READ_CHUNK + 96);
    let path = bench.put("content", &content).await?;
    let end = content.len() as u64;
    for offset in [
        0,
        1,
        32,
        limits::READ_CHUNK as u64 - 1,
        limits::READ_CHUNK as u64,
        end - 1,
        end,
    ] {
        let reader = bench.driver.read(&path, offset).await?;
        let announced = (reader.size(), reader.remaining());
        ensure!(
            announced == (end, end - offset),
            "read from {offset} on of {end} bytes announces {announced:?}"
        );
        let read = reader.collect(bench.driver.name(), end).await?;
        same(
            &read,
            &content[offset as usize..],
            &format!("read from {offset} on"),
        )?;
    }
    match bench.driver.read(&path, end + 1).await {
        Err(Error::InvalidOffset {
            path: named,
            offset,
            size,
            ..
        }) => {
            ensure!(
                (&named, offset, size) == (&path, end + 1, end),
                "the error of a read beyond the end names {named}, {offset}, {size}"
            );
        }
        other => return Err(Failure::Seen(format!("a read beyond the end gives {other:?}"))),
    }
    Ok(())
}

pub(super) async fn modified(bench: &Bench) -> Check {
    let path = bench.put("content", b"1").await?;
    let Some(first) = bench.driver.stat(&path).await?.modified() else {
        return Err(Failure::Skip("the driver does not know when content was written"));
    };
    let read = bench.driver.read(&path, 0).await?;
    ensure!(
        read.modified() == Some(first),
        "read says {:?}, stat says {first:?}",
        read.modified()
    );
    // The clock of the store, which is not this one: all that is known is that it goes forward.
    let other = bench.put("other", b"2").await?;
    bench.put("content", b"3").await?;
    let (other, second) = (
        bench.driver.stat(&other).await?.modified(),
        bench.driver.stat(&path).await?.modified(),
    );
    ensure!(
        Some(first) <= other && other <= second,
        "written in this order: {first:?}, {other:?}, {second:?}"
    );
    Ok(())
}

pub(super) async fn local_file(bench: &Bench) -> Check {
    use std::os::unix::fs::FileExt;
    if !bench.driver.capabilities().local_files {
        return Err(Failure::Skip("the driver gives no files"));
    }
    let content = noise(1, 10_000);
    let path = bench.put("content", &content).await?;
    let Ok(part) = bench.driver.read(&path, 1000).await?.into_file() else {
        return Err(Failure::Seen("a reader gives no file".to_owned()));
    };
    let mut read = vec![0; part.length as usize];
    let got = part.file.read_exact_at(&mut read, part.offset);
    ensure!(
        got.is_ok(),
        "the file cannot be read where the content should be: {got:?}"
    );
    same(&read, &content[1000..], "the file")
}

pub(super) async fn redirect(bench: &Bench) -> Check {
    if !bench.driver.capabilities().redirects {
        let path = bench.put("content", b"x").await?;
        let url = bench.driver.redirect(&path, &Redirect::default()).await?;
        ensure!(url.is_none(), "a driver that says it gives no URL gave {url:?}");
        return Err(Failure::Skip("the driver gives no URLs"));
    }
    let content = noise(1, 32);
    let path = bench.put("content", &content).await?;
    for method in [RedirectMethod::Get, RedirectMethod::Head] {
        let request = Redirect {
            method,
            ..Redirect::default()
        };
        let Some(url) = bench.driver.redirect(&path, &request).await? else {
            return Err(Failure::Seen(format!("no URL for {method:?}")));
        };
        ensure!(url.starts_with("http"), "this is no URL for a client: {url}");
        if let Some(fetch) = &bench.options.fetch {
            let (status, body) = fetch(url, method).await?;
            ensure!(status == 200, "{method:?} of the URL answers {status}");
            let wanted = if method == RedirectMethod::Get {
                &content[..]
            } else {
                &[]
            };
            same(&body, wanted, "the body at the URL")?;
        }
    }
    Ok(())
}

pub(super) async fn put_if_absent(bench: &Bench) -> Check {
    let path = bench.path("content")?;
    let put = |content: &'static [u8]| {
        bench
            .driver
            .put(&path, Bytes::from_static(content), Condition::Absent)
    };
    if !bench.driver.capabilities().put_if_absent {
        refused!(
            put(b"1").await,
            Error::Unsupported { .. },
            "a condition that the driver says it cannot hold"
        );
        return Err(Failure::Skip("the driver cannot put only where nothing is"));
    }
    put(b"1").await?;
    bench.expect(&path, b"1").await?;
    refused!(
        put(b"2").await,
        Error::AlreadyExists { .. },
        "a put where content is"
    );
    bench.expect(&path, b"1").await?;
    bench.driver.delete(&path).await?;
    put(b"3").await?;
    bench.expect(&path, b"3").await?;
    bench.put("content", b"4").await?;
    bench.expect(&path, b"4").await
}

/// The root where content should be.
pub(super) async fn at_root(bench: &Bench) -> Check {
    let (driver, root) = (&bench.driver, StoragePath::root());
    let other = bench.put("other", b"x").await?;
    let put = driver.put(&root, Bytes::new(), Condition::Always).await;
    refused!(put, Error::InvalidPath { .. }, "put at the root");
    refused!(
        driver.get(&root, 1).await,
        Error::InvalidPath { .. },
        "get of the root"
    );
    refused!(
        driver.read(&root, 0).await,
        Error::InvalidPath { .. },
        "read of the root"
    );
    refused!(
        driver.delete(&root).await,
        Error::InvalidPath { .. },
        "delete of the root"
    );
    refused!(
        driver.rename(&root, &other).await,
        Error::InvalidPath { .. },
        "rename of the root"
    );
    refused!(
        driver.rename(&other, &root).await,
        Error::InvalidPath { .. },
        "rename to the root"
    );
    let redirect = driver.redirect(&root, &Redirect::default()).await;
    refused!(redirect, Error::InvalidPath { .. }, "a URL of the root");
    for mode in [WriteMode::Create, WriteMode::Append] {
        refused!(
            driver.writer(&root, mode).await,
            Error::InvalidPath { .. },
            "a writer of the root"
        );
    }
    Ok(())
}

pub(super) async fn put_all(bench: &Bench) -> Check {
    let put = |name: &str, seed| -> Check<Put> {
        let (path, content) = (bench.path(name)?, noise(seed, 100).into());
        Ok(Put { path, content })
    };
    bench.put("old/a", b"old").await?;
    let groups = vec![
        vec![put("new/deep/a", 1)?, put("old/a", 2)?],
        Vec::new(),
        vec![put("last", 3)?],
    ];
    bench.driver.put_all(groups).await?;
    for (name, seed) in [("new/deep/a", 1), ("old/a", 2), ("last", 3)] {
        bench.expect(&bench.path(name)?, &noise(seed, 100)).await?;
    }
    // One that cannot be set keeps what comes in later groups from being set.
    let root = Put {
        path: StoragePath::root(),
        content: Bytes::new(),
    };
    refused!(
        bench
            .driver
            .put_all(vec![vec![root], vec![put("never", 4)?]])
            .await,
        Error::InvalidPath { .. },
        "content at the root"
    );
    bench.expect_nothing(&bench.path("never")?).await?;
    Ok(bench.driver.put_all(Vec::new()).await?)
}
