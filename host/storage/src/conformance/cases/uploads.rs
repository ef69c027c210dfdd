//! Writers: pieces, commits, and what is seen of them when.

use bytes::Bytes;

use super::super::bench::{Bench, Check, ensure, noise, refused, same};
use crate::{Entry, Error, Put, StoragePath, WriteMode, limits};

/// More handles than the host lets a plugin hold (256).
const HANDLES: usize = 260;

pub(super) async fn write_and_read(bench: &Bench) -> Check {
    for (number, length) in [0, 1, 2, 32, limits::READ_CHUNK, (1 << 20) + 1]
        .into_iter()
        .enumerate()
    {
        let path = bench.path(&format!("{number}"))?;
        let content = noise(number as u64, length);
        let mut writer = bench.writer(&path, WriteMode::Create).await?;
        ensure!(writer.size() == 0, "a new writer has {} bytes", writer.size());
        // In pieces of several sizes, empty ones among them.
        let (first, second) = content.split_at(length / 3);
        for piece in [first, &[], second] {
            writer.write(Bytes::copy_from_slice(piece)).await?;
        }
        ensure!(
            writer.size() == length as u64,
            "a writer took {length} bytes and says {}",
            writer.size()
        );
        writer.commit().await?;
        bench.expect(&path, &content).await?;
    }
    Ok(())
}

pub(super) async fn append(bench: &Bench) -> Check {
    pieces(bench, 32).await
}

pub(super) async fn append_large(bench: &Bench) -> Check {
    pieces(bench, bench.options.piece).await
}

/// Three pieces by three writers; the upload is seen at the end only.
async fn pieces(bench: &Bench, length: usize) -> Check {
    let path = bench.path("content")?;
    let content = noise(1, 3 * length);
    let mut mode = WriteMode::Create;
    for (number, piece) in content.chunks(length).enumerate() {
        let mut writer = bench.writer(&path, mode).await?;
        let (size, wanted) = (writer.size(), (number * length) as u64);
        ensure!(
            size == wanted,
            "opened to append to {wanted} bytes, a writer says {size}"
        );
        writer.write(Bytes::copy_from_slice(piece)).await?;
        writer.close().await?;
        bench.expect_nothing(&path).await?;
        mode = WriteMode::Append;
    }
    let writer = bench.writer(&path, WriteMode::Append).await?;
    ensure!(
        writer.size() == content.len() as u64,
        "the whole upload has {} bytes",
        writer.size()
    );
    writer.commit().await?;
    bench.expect(&path, &content).await
}

pub(super) async fn append_committed(bench: &Bench) -> Check {
    for (name, length) in [("empty", 0), ("small", 100), ("large", bench.options.piece)] {
        let old = noise(1, length);
        let path = bench.put(name, &old).await?;
        let mut writer = bench.writer(&path, WriteMode::Append).await?;
        ensure!(
            writer.size() == length as u64,
            "a writer that goes on from {length} bytes says {}",
            writer.size()
        );
        writer.write(Bytes::from_static(b" and more")).await?;
        bench.expect(&path, &old).await?;
        writer.close().await?;
        bench.expect(&path, &old).await?;
        let writer = bench.writer(&path, WriteMode::Append).await?;
        writer.commit().await?;
        bench.expect(&path, &[&old[..], b" and more"].concat()).await?;
    }
    Ok(())
}

pub(super) async fn create_again(bench: &Bench) -> Check {
    let path = bench.path("content")?;
    let mut writer = bench.writer(&path, WriteMode::Create).await?;
    writer.write(noise(1, 1000).into()).await?;
    writer.close().await?;
    let mut writer = bench.writer(&path, WriteMode::Create).await?;
    ensure!(
        writer.size() == 0,
        "a writer that begins anew has {} bytes",
        writer.size()
    );
    writer.write(noise(2, 10).into()).await?;
    writer.commit().await?;
    bench.expect(&path, &noise(2, 10)).await
}

/// Sees that neither list nor walk shows what is at `path` as content.
async fn not_listed(bench: &Bench, path: &StoragePath) -> Check {
    let listed = match bench.driver.list(&bench.folder).await {
        Err(Error::NotFound { .. }) => Vec::new(),
        other => other?,
    };
    ensure!(
        listed.iter().all(Entry::is_folder),
        "a list shows {listed:?} before the commit of {path}"
    );
    let walked = match bench.driver.walk(&bench.folder, None).await {
        Ok(mut walk) => loop {
            match walk.next().await {
                Ok(Some(entry)) if entry.is_folder() => {}
                Err(Error::NotFound { .. }) => break None,
                other => break other?,
            }
        },
        Err(Error::NotFound { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    ensure!(
        walked.is_none(),
        "a walk shows {walked:?} before the commit of {path}"
    );
    Ok(())
}

pub(super) async fn visibility(bench: &Bench) -> Check {
    let (path, content) = (bench.path("new/content")?, noise(1, bench.options.piece));
    let mut writer = bench.writer(&path, WriteMode::Create).await?;
    bench.expect_nothing(&path).await?;
    writer.write(Bytes::copy_from_slice(&content)).await?;
    bench.expect_nothing(&path).await?;
    not_listed(bench, &path).await?;
    writer.close().await?;
    bench.expect_nothing(&path).await?;
    not_listed(bench, &path).await?;
    bench.writer(&path, WriteMode::Append).await?.commit().await?;
    bench.expect(&path, &content).await?;
    // Over content, which stays whole until the commit.
    let (old, new) = (noise(2, 500), noise(3, 800));
    bench.put("new/content", &old).await?;
    let mut writer = bench.writer(&path, WriteMode::Create).await?;
    bench.expect(&path, &old).await?;
    writer.write(Bytes::copy_from_slice(&new)).await?;
    bench.expect(&path, &old).await?;
    writer.commit().await?;
    bench.expect(&path, &new).await
}

pub(super) async fn cancel(bench: &Bench) -> Check {
    let path = bench.path("content")?;
    let mut writer = bench.writer(&path, WriteMode::Create).await?;
    writer.write(noise(1, bench.options.piece).into()).await?;
    writer.cancel().await?;
    bench.expect_nothing(&path).await?;
    let append = bench.driver.writer(&path, WriteMode::Append).await;
    refused!(
        append,
        Error::NotFound { .. },
        "append to an upload that was cancelled"
    );
    // One that was closed in between.
    let mut writer = bench.writer(&path, WriteMode::Create).await?;
    writer.write(noise(1, bench.options.piece).into()).await?;
    writer.close().await?;
    bench.writer(&path, WriteMode::Append).await?.cancel().await?;
    let append = bench.driver.writer(&path, WriteMode::Append).await;
    refused!(
        append,
        Error::NotFound { .. },
        "append to an upload that was closed and cancelled"
    );
    // Content that was there stays.
    bench.put("content", b"old").await?;
    let mut writer = bench.writer(&path, WriteMode::Create).await?;
    writer.write(Bytes::from_static(b"new")).await?;
    writer.cancel().await?;
    bench.expect(&path, b"old").await
}

pub(super) async fn dropped(bench: &Bench) -> Check {
    let path = bench.path("content")?;
    let mut writer = bench.writer(&path, WriteMode::Create).await?;
    writer.write(noise(1, 1000).into()).await?;
    drop(writer);
    bench.expect_nothing(&path).await?;
    bench.put("content", b"old").await?;
    let mut writer = bench.writer(&path, WriteMode::Create).await?;
    writer.write(noise(1, 1000).into()).await?;
    drop(writer);
    bench.expect(&path, b"old").await?;
    // The path is free for the next one.
    bench.write(&path, b"new").await?;
    bench.expect(&path, b"new").await
}

pub(super) async fn dropped_often(bench: &Bench) -> Check {
    let path = bench.put("content", b"old").await?;
    for _ in 0..HANDLES {
        drop(bench.writer(&path, WriteMode::Create).await?);
        drop(bench.driver.read(&path, 0).await?);
        bench.writer(&path, WriteMode::Create).await?.cancel().await?;
    }
    bench.expect(&path, b"old").await
}

pub(super) async fn reopen(bench: &Bench) -> Check {
    let committed = bench.put("committed", &noise(1, 1000)).await?;
    let (closed, lost) = (bench.path("closed")?, bench.path("lost")?);
    let content = noise(2, bench.options.piece);
    let mut writer = bench.writer(&closed, WriteMode::Create).await?;
    writer.write(Bytes::copy_from_slice(&content)).await?;
    writer.close().await?;
    let mut writer = bench.writer(&lost, WriteMode::Create).await?;
    writer.write(noise(3, 1000).into()).await?;
    drop(writer);
    let again = Bench {
        driver: (bench.open)().await?,
        open: bench.open.clone(),
        options: bench.options.clone(),
        folder: bench.folder.clone(),
    };
    again.expect(&committed, &noise(1, 1000)).await?;
    again.expect_nothing(&closed).await?;
    again.expect_nothing(&lost).await?;
    let mut writer = again.writer(&closed, WriteMode::Append).await?;
    ensure!(
        writer.size() == content.len() as u64,
        "an upload that was closed has {} bytes after a restart",
        writer.size()
    );
    writer.write(Bytes::from_static(b" and more")).await?;
    writer.commit().await?;
    again
        .expect(&closed, &[&content[..], b" and more"].concat())
        .await?;
    again.write(&lost, b"new").await?;
    again.expect(&lost, b"new").await
}

pub(super) async fn commit_to(bench: &Bench) -> Check {
    let (from, to) = (bench.path("uploads/1/data")?, bench.path("blobs/a/data")?);
    let content = noise(1, bench.options.piece);
    // To where nothing is, then over it with other bytes.
    for content in [content, noise(2, 100)] {
        let mut writer = bench.writer(&from, WriteMode::Create).await?;
        writer.write(Bytes::copy_from_slice(&content)).await?;
        writer.close().await?;
        bench
            .writer(&from, WriteMode::Append)
            .await?
            .commit_to(&to)
            .await?;
        bench.expect(&to, &content).await?;
        bench.expect_nothing(&from).await?;
        let append = bench.driver.writer(&from, WriteMode::Append).await;
        refused!(
            append,
            Error::NotFound { .. },
            "append to an upload that was committed elsewhere"
        );
    }
    // What was committed at the upload's own path stays.
    bench.put("uploads/1/data", b"own").await?;
    let mut writer = bench.writer(&from, WriteMode::Create).await?;
    writer.write(noise(3, 10).into()).await?;
    writer.commit_to(&to).await?;
    bench.expect(&from, b"own").await?;
    same(&bench.read(&to, 0).await?, &noise(3, 10), "the other path")
}

pub(super) async fn commit_with(bench: &Bench) -> Check {
    let (from, to) = (bench.path("uploads/1/data")?, bench.path("blobs/a/data")?);
    let link = Put {
        path: bench.path("links/a")?,
        content: Bytes::from_static(b"a"),
    };
    let mut writer = bench.writer(&from, WriteMode::Create).await?;
    writer.write(noise(1, 1000).into()).await?;
    let left = writer.commit_with(&to, vec![link.clone()]).await?;
    bench.expect(&to, &noise(1, 1000)).await?;
    bench.expect_nothing(&from).await?;
    if bench.driver.capabilities().together {
        ensure!(left.is_empty(), "{} contents were given back", left.len());
    }
    bench.driver.put_all(vec![left]).await?;
    bench.expect(&link.path, b"a").await
}

pub(super) async fn deleted_uploads(bench: &Bench) -> Check {
    for below in ["uploads/1/data", "uploads/2/deep/er/data"] {
        let path = bench.path(below)?;
        let mut writer = bench.writer(&path, WriteMode::Create).await?;
        writer.write(noise(1, 100).into()).await?;
        writer.close().await?;
    }
    bench.put("uploads/1/other", b"x").await?;
    bench.driver.delete(&bench.path("uploads/1")?).await?;
    bench
        .driver
        .delete(&bench.path("uploads/2/deep/er/data")?)
        .await?;
    for below in ["uploads/1/data", "uploads/2/deep/er/data"] {
        let append = bench.driver.writer(&bench.path(below)?, WriteMode::Append).await;
        refused!(
            append,
            Error::NotFound { .. },
            "append to an upload that was deleted with its folder"
        );
    }
    Ok(())
}
