//! Layers: many small ones, applied one after the other as an unpacker does.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use transom_api::diff::ApplyRequest;
use transom_api::types::{Descriptor, Mount};

use crate::client::within;
use crate::jobs::{digest, make_lease, put};
use crate::{Arguments, Client, Done, Error};

/// The lower folders of one layer at most, so that a row of any length fits into a mount's options.
const LOWERS_MAX: usize = 20;

/// Writes `count` small layers and applies them, each over those before it as overlayfs would have them. Only applying counts.
pub(crate) async fn apply(arguments: &Arguments) -> Result<Done, Error> {
    make_lease(arguments).await?;
    let client = Client::connect(&arguments.socket).await?;
    let mut requests = Vec::new();
    for number in 0..arguments.count {
        let blob = layer(arguments, number)?;
        requests.push(ApplyRequest {
            diff: Some(Descriptor {
                media_type: arguments.media_type.clone(),
                digest: digest(&blob),
                size: i64::try_from(blob.len()).unwrap_or(i64::MAX),
                ..Descriptor::default()
            }),
            mounts: vec![mount(&arguments.folder, number)?],
            ..ApplyRequest::default()
        });
        put(&client, &format!("layer-{}-{number}", arguments.salt), blob).await?;
    }
    let start = Instant::now();
    let mut bytes = 0;
    for request in requests {
        let answer = client.diff().apply(within(request)).await?.into_inner();
        let applied = answer.applied.unwrap_or_default();
        bytes += u64::try_from(applied.size).unwrap_or_default();
    }
    Ok(Done {
        operations: u64::from(arguments.count),
        bytes,
        time: start.elapsed(),
    })
}

/// The mount of a layer: the folder itself for the first one, an overlay for the others.
fn mount(folder: &Path, number: u32) -> Result<Mount, Error> {
    let path = |number: u32, part: &str| folder.join(number.to_string()).join(part);
    let (upper, work) = (path(number, "fs"), path(number, "work"));
    std::fs::create_dir_all(&upper)?;
    std::fs::create_dir_all(&work)?;
    let lowers = (0..number)
        .rev()
        .take(LOWERS_MAX)
        .map(|below| path(below, "fs").display().to_string());
    let lowers: Vec<String> = lowers.collect();
    if lowers.is_empty() {
        return Ok(Mount {
            r#type: "bind".to_owned(),
            source: upper.display().to_string(),
            target: String::new(),
            options: vec!["rw".to_owned(), "rbind".to_owned()],
        });
    }
    Ok(Mount {
        r#type: "overlay".to_owned(),
        source: "overlay".to_owned(),
        target: String::new(),
        options: vec![
            format!("workdir={}", work.display()),
            format!("upperdir={}", upper.display()),
            format!("lowerdir={}", lowers.join(":")),
        ],
    })
}

/// One file in a folder, in gzip; no other layer has the same bytes.
fn layer(arguments: &Arguments, number: u32) -> Result<Bytes, Error> {
    let mut tar = tar::Builder::new(Vec::new());
    let content = format!("{} {number}", arguments.salt);
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    tar.append_data(&mut header, "etc/", std::io::empty())?;
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, format!("etc/file-{number}"), content.as_bytes())?;
    let tar = tar.into_inner()?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar)?;
    Ok(gzip.finish()?.into())
}
