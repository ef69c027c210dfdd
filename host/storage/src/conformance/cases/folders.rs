//! Folders: the root, lists, and what is no folder.

use bytes::Bytes;

use super::super::bench::{Bench, Check, ensure, noise, refused};
use super::{content, together};
use crate::{Condition, Entry, Error, StoragePath, WriteMode};

pub(super) async fn root(bench: &Bench) -> Check {
    let root = StoragePath::root();
    let entry = bench.driver.stat(&root).await?;
    ensure!(
        entry.is_folder() && entry.path == root,
        "stat of the root says {entry:?}"
    );
    bench.driver.list(&root).await?;
    content::at_root(bench).await?;
    let top = bench.options.folder.parts().next().unwrap_or_default().to_owned();
    let listed = bench.driver.list(&root).await?;
    ensure!(
        listed.iter().any(|entry| entry.path.name() == top),
        "a list of the root has no {top}: {listed:?}"
    );
    Ok(())
}

pub(super) async fn list(bench: &Bench) -> Check {
    // Names around the slash in the order of bytes, made in another order.
    let names = [
        "b",
        "a/1",
        "a.b",
        "a-b/deep/er",
        "a-b-",
        "a0",
        "aa",
        "a/2/3",
        "A",
        "a_",
        "-",
        "_",
        ".c",
        "9",
    ];
    for name in names {
        bench.put(name, &noise(1, name.len())).await?;
    }
    let entries = bench.driver.list(&bench.folder).await?;
    let found: Vec<String> = entries.iter().map(|entry| bench.relative(entry)).collect();
    let wanted = [
        "-", ".c", "9", "A", "_", "a/", "a-b/", "a-b-", "a.b", "a0", "a_", "aa", "b",
    ];
    ensure!(found == wanted, "the list is {found:?}, not {wanted:?}");
    for entry in entries.iter().filter(|entry| !entry.is_folder()) {
        let length = bench.relative(entry).len() as u64;
        ensure!(
            entry.size() == length,
            "the list says that {} has {} bytes, not {length}",
            entry.path,
            entry.size()
        );
    }
    let below = bench.driver.list(&bench.path("a")?).await?;
    let found: Vec<String> = below.iter().map(|entry| bench.relative(entry)).collect();
    ensure!(found == ["a/1", "a/2/"], "the list of a is {found:?}");
    Ok(())
}

/// Makes the children, a bounded number at a time.
async fn fill(bench: &Bench, number: usize) -> Check<Vec<String>> {
    let mut names: Vec<String> = (0..number).map(|number| format!("child-{number}")).collect();
    for some in names.chunks(32) {
        let mut calls = Vec::new();
        for name in some {
            let (driver, path) = (bench.driver.clone(), bench.path(name)?);
            let content = Bytes::copy_from_slice(name.as_bytes());
            calls.push(Box::pin(async move { driver.put(&path, content, Condition::Always).await }) as _);
        }
        for result in together::<()>(calls).await {
            result?;
        }
    }
    names.sort_unstable();
    Ok(names)
}

pub(super) async fn list_many(bench: &Bench) -> Check {
    let names = fill(bench, bench.options.children).await?;
    let entries = bench.driver.list(&bench.folder).await?;
    ensure!(
        entries.len() == names.len(),
        "{} of {} children are listed",
        entries.len(),
        names.len()
    );
    for (entry, name) in entries.iter().zip(&names) {
        ensure!(
            entry.path.name() == name,
            "{} is listed where {name} should be",
            entry.path
        );
    }
    bench.driver.delete(&bench.folder).await?;
    for name in [&names[0], &names[names.len() - 1]] {
        bench.expect_nothing(&bench.path(name)?).await?;
    }
    Ok(())
}

pub(super) async fn folder_errors(bench: &Bench) -> Check {
    let content = bench.put("folder/content", b"x").await?;
    let (folder, below) = (bench.path("folder")?, content.join("below")?);
    let (driver, flat) = (&bench.driver, bench.driver.capabilities().flat);
    let entry = driver.stat(&folder).await?;
    ensure!(
        entry == Entry::folder(folder.clone()),
        "stat of a folder says {entry:?}"
    );
    for error in [
        driver.get(&folder, 10).await.map(drop),
        driver.read(&folder, 0).await.map(drop),
        driver.rename(&folder, &bench.path("other")?).await,
    ] {
        match error {
            Err(Error::NotFound { .. }) if flat => {}
            error => refused!(error, Error::IsFolder { .. }, "a folder as content"),
        }
    }
    bench.expect(&content, b"x").await?;
    if flat {
        refused!(
            driver.list(&content).await,
            Error::NotFound { .. },
            "a list of content"
        );
        return Ok(());
    }
    let put = |path| driver.put(path, Bytes::from_static(b"y"), Condition::Always);
    refused!(put(&folder).await, Error::IsFolder { .. }, "put over a folder");
    refused!(
        driver.rename(&content, &folder).await,
        Error::IsFolder { .. },
        "rename over a folder"
    );
    refused!(
        driver.writer(&folder, WriteMode::Create).await,
        Error::IsFolder { .. },
        "a writer over a folder"
    );
    refused!(
        driver.list(&content).await,
        Error::NotFolder { .. },
        "a list of content"
    );
    refused!(put(&below).await, Error::NotFolder { .. }, "put below content");
    refused!(
        driver.writer(&below, WriteMode::Create).await,
        Error::NotFolder { .. },
        "a writer below content"
    );
    let other = bench.put("other", b"z").await?;
    refused!(
        driver.rename(&other, &below).await,
        Error::NotFolder { .. },
        "rename below content"
    );
    bench.expect_nothing(&below).await?;
    bench.expect(&other, b"z").await?;
    bench.expect(&content, b"x").await
}
