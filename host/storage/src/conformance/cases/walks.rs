//! Walks: the order, what is left out, where they begin.

use super::super::bench::{Bench, Check, ensure, refused};
use crate::Error;

const NAMES: [&str; 11] = [
    "a-b/x",
    "a.b",
    "a/-",
    "a/b/c",
    "a/b/d",
    "a/b-",
    "a0/1/2/3",
    "B",
    "_uploads/1",
    "z/z",
    "a/.x",
];

/// The walk over [`NAMES`].
const ORDER: [&str; 18] = [
    "B",
    "_uploads/",
    "_uploads/1",
    "a/",
    "a/-",
    "a/.x",
    "a/b/",
    "a/b/c",
    "a/b/d",
    "a/b-",
    "a-b/",
    "a-b/x",
    "a.b",
    "a0/",
    "a0/1/",
    "a0/1/2/",
    "a0/1/2/3",
    "z/",
];

async fn fill(bench: &Bench) -> Check<Vec<&'static str>> {
    for name in NAMES {
        bench.put(name, name.as_bytes()).await?;
    }
    Ok(ORDER.into_iter().chain(["z/z"]).collect())
}

pub(super) async fn walk_order(bench: &Bench) -> Check {
    let order = fill(bench).await?;
    let seen = bench.walk(None).await?;
    ensure!(seen == order, "the walk is {seen:?}, not {order:?}");
    let mut walk = bench.driver.walk(&bench.folder, None).await?;
    while let Some(entry) = walk.next().await? {
        let length = bench.relative(&entry).len() as u64;
        let size = entry.size();
        ensure!(
            entry.is_folder() || size == length,
            "the walk says that {} has {size} bytes",
            entry.path
        );
    }
    let end = walk.next().await?;
    ensure!(end.is_none(), "after its end, a walk gives {end:?}");
    Ok(())
}

pub(super) async fn walk_skip(bench: &Bench) -> Check {
    let order = fill(bench).await?;
    let mut walk = bench.driver.walk(&bench.folder, None).await?;
    let mut seen = Vec::new();
    while let Some(entry) = walk.next().await? {
        let name = bench.relative(&entry);
        // The last one is content, and no folder: nothing is left out for it.
        if ["_uploads/", "a/b/", "a0/1/", "a/-"].contains(&name.as_str()) {
            walk.skip();
        }
        seen.push(name);
    }
    let below = ["_uploads/1", "a/b/c", "a/b/d", "a0/1/2/", "a0/1/2/3"];
    let wanted: Vec<_> = order.into_iter().filter(|name| !below.contains(name)).collect();
    ensure!(seen == wanted, "the walk is {seen:?}, not {wanted:?}");
    Ok(())
}

pub(super) async fn walk_after(bench: &Bench) -> Check {
    let order = fill(bench).await?;
    let name = |name: &str| name.trim_end_matches('/').to_owned();
    // After each entry come all those behind it.
    for (number, after) in order.iter().enumerate() {
        let seen = bench.walk(Some(&bench.path(&name(after))?)).await?;
        ensure!(
            seen == order[number + 1..],
            "after {after} the walk is {seen:?}, not {:?}",
            &order[number + 1..]
        );
    }
    // Where there is nothing, as if there were.
    for (after, next) in [
        ("a/b/cc", "a/b/d"),
        ("a/zz/y", "a-b/"),
        ("a-", "a-b/"),
        ("A/x", "B"),
        ("a/b/d/e", "a/b-"),
    ] {
        let from = order.iter().position(|name| *name == next).unwrap_or_default();
        let seen = bench.walk(Some(&bench.path(after)?)).await?;
        ensure!(
            seen == order[from..],
            "after {after} the walk is {seen:?}, not {:?}",
            &order[from..]
        );
    }
    let seen = bench.walk(Some(&bench.path("zz")?)).await?;
    ensure!(seen.is_empty(), "after everything comes {seen:?}");
    // From a path outside of the folder: all of it or nothing.
    let before = bench.walk(Some(&bench.folder)).await?;
    ensure!(before == order, "after the folder itself the walk is {before:?}");
    let beyond = bench.options.folder.join("zzzz")?;
    let seen = bench.walk(Some(&beyond)).await?;
    ensure!(seen.is_empty(), "after {beyond} comes {seen:?}");
    Ok(())
}

pub(super) async fn walk_missing(bench: &Bench) -> Check {
    let content = bench.put("content", b"x").await?;
    for (path, what) in [(bench.path("nothing")?, "nothing"), (content, "content")] {
        let first = match bench.driver.walk(&path, None).await {
            Ok(mut walk) => walk.next().await.map(drop),
            Err(error) => Err(error),
        };
        match what {
            "content" if !bench.driver.capabilities().flat => {
                refused!(first, Error::NotFolder { .. }, "a walk of content");
            }
            what => refused!(first, Error::NotFound { .. }, "a walk of {what}"),
        }
    }
    Ok(())
}

pub(super) async fn walk_many(bench: &Bench) -> Check {
    let number = bench.options.children.min(300);
    let mut wanted = Vec::new();
    for number in 0..number {
        let name = format!("{:02x}/{number:04}", number % 7);
        bench.put(&name, b"x").await?;
        wanted.push(name);
    }
    wanted.sort_unstable();
    // Pages, each by a walk of its own that begins after the last.
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let mut walk = bench.driver.walk(&bench.folder, after.as_ref()).await?;
        let mut page = 0;
        while page < number / 4 + 1
            && let Some(entry) = walk.next().await?
        {
            page += 1;
            if !entry.is_folder() {
                seen.push(bench.relative(&entry));
            }
            after = Some(entry.path);
        }
        if page == 0 {
            break;
        }
    }
    let differs = seen.iter().zip(&wanted).find(|(seen, wanted)| seen != wanted);
    ensure!(
        seen.len() == wanted.len() && differs.is_none(),
        "{} of {} entries, first difference {differs:?}",
        seen.len(),
        wanted.len()
    );
    Ok(())
}
