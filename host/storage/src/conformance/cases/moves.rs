//! Renaming and deleting.

use super::super::bench::{Bench, Check, ensure, noise, refused};
use crate::Error;

pub(super) async fn rename(bench: &Bench) -> Check {
    let from = bench.put("from/content", &noise(1, 5000)).await?;
    let beside = bench.put("from/content-2", b"beside").await?;
    let to = bench.path("to/a/new/folder")?;
    bench.driver.rename(&from, &to).await?;
    bench.expect(&to, &noise(1, 5000)).await?;
    bench.expect_nothing(&from).await?;
    bench.expect(&beside, b"beside").await?;
    bench.driver.rename(&to, &to).await?;
    bench.expect(&to, &noise(1, 5000)).await
}

pub(super) async fn rename_over(bench: &Bench) -> Check {
    let (from, to) = (
        bench.put("from", &noise(1, 100)).await?,
        bench.put("to", &noise(2, 200)).await?,
    );
    bench.driver.rename(&from, &to).await?;
    bench.expect(&to, &noise(1, 100)).await?;
    bench.expect_nothing(&from).await
}

pub(super) async fn rename_missing(bench: &Bench) -> Check {
    let to = bench.put("to", b"there").await?;
    let from = bench.path("nothing")?;
    refused!(
        bench.driver.rename(&from, &to).await,
        Error::NotFound { .. },
        "a rename of nothing"
    );
    bench.expect(&to, b"there").await?;
    refused!(
        bench.driver.rename(&from, &from).await,
        Error::NotFound { .. },
        "a rename of nothing to itself"
    );
    let new = bench.path("new")?;
    refused!(
        bench.driver.rename(&from, &new).await,
        Error::NotFound { .. },
        "a rename of nothing to nothing"
    );
    bench.expect_nothing(&new).await
}

pub(super) async fn delete(bench: &Bench) -> Check {
    let names = [
        "one",
        "folder/two",
        "folder/three",
        "folder/deep/er/four",
        "folder/deep/five",
    ];
    for name in names {
        bench.put(name, name.as_bytes()).await?;
    }
    let driver = &bench.driver;
    driver.delete(&bench.path("one")?).await?;
    bench.expect_nothing(&bench.path("one")?).await?;
    refused!(
        driver.delete(&bench.path("one")?).await,
        Error::NotFound { .. },
        "a second delete"
    );
    driver.delete(&bench.path("folder/deep/er")?).await?;
    bench.expect_nothing(&bench.path("folder/deep/er/four")?).await?;
    bench
        .expect(&bench.path("folder/deep/five")?, b"folder/deep/five")
        .await?;
    let folder = bench.path("folder")?;
    driver.delete(&folder).await?;
    for name in names {
        bench.expect_nothing(&bench.path(name)?).await?;
    }
    refused!(
        driver.stat(&folder).await,
        Error::NotFound { .. },
        "stat of a folder that was deleted"
    );
    refused!(
        driver.list(&folder).await,
        Error::NotFound { .. },
        "list of a folder that was deleted"
    );
    // The names are free again.
    bench.put("folder", b"content").await?;
    bench.expect(&folder, b"content").await
}

pub(super) async fn delete_siblings(bench: &Bench) -> Check {
    let names = ["a/1", "ab", "a-b/1", "a.b", "abc/1", "b/x", "b/xy", "b/x-/1"];
    for name in names {
        bench.put(name, name.as_bytes()).await?;
    }
    let driver = &bench.driver;
    driver.delete(&bench.path("a")?).await?;
    driver.delete(&bench.path("b/x")?).await?;
    for name in names {
        let path = bench.path(name)?;
        match name {
            "a/1" | "b/x" => bench.expect_nothing(&path).await?,
            name => bench.expect(&path, name.as_bytes()).await?,
        }
    }
    ensure!(
        driver.stat(&bench.path("abc")?).await?.is_folder(),
        "abc is no folder any more"
    );
    // Names that others begin with, where nothing is.
    for name in ["a", "b/x"] {
        let path = bench.path(name)?;
        refused!(
            driver.stat(&path).await,
            Error::NotFound { .. },
            "stat of {name}, which others only begin with,"
        );
        refused!(
            driver.delete(&path).await,
            Error::NotFound { .. },
            "delete of {name}, which others only begin with,"
        );
    }
    Ok(())
}
