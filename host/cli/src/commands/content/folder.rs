//! A content store in a folder, without a daemon.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use transom_content::{IngestOptions, Store, Writer, content_root, timestamp};

use super::input::{self, Source};
use super::{goes_on, stored};
use crate::arguments::{Active, Content, Get, Ingest, List, Progress, Remove};
use crate::commands::{print, print_json};
use crate::failure::{Failure, Kind};
use crate::interrupt::Interrupt;
use crate::limits::BLOCK;
use crate::progress::Bars;
use crate::show::{age, printable, size, table};

pub(crate) fn run(command: Content, root: PathBuf, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    let store = Store::open(content_root(root))?;
    match command {
        Content::Ingest(command) => ingest(&store, &command, json, interrupt),
        Content::Get(command) => get(&store, &command, interrupt),
        Content::Ls(command) => list(&store, &command, json),
        Content::Active(command) => active(&store, &command, json),
        Content::Rm(command) => remove(&store, &command, json),
        Content::Abort(command) => Ok(store.abort(&command.reference)?),
        Content::Label(_) | Content::Edit(_) | Content::Prune(_) | Content::Fetch(_) => {
            Err(Failure::usage("a folder has no labels"))
        }
        Content::FetchObject(_) | Content::PushObject(_) => {
            Err(Failure::usage("a registry's objects are in no folder"))
        }
    }
}

fn ingest(store: &Store, command: &Ingest, json: bool, interrupt: &Interrupt) -> Result<(), Failure> {
    if let Some(digest) = &command.expected_digest
        && let Ok(info) = store.info(digest)
    {
        return stored(&info.digest.to_string(), info.size, true, json);
    }
    let options = IngestOptions {
        total: command.expected_size,
        expected: command.expected_digest.clone(),
    };
    let (mut input, length) = input::open(command, interrupt)?;
    let mut writer = store.ingest(&command.reference, options)?;
    let resumed = writer.offset();
    input::skip(&mut input, resumed, command, interrupt)?;
    goes_on(command, resumed, json);
    let counter = Arc::new(AtomicU64::new(resumed));
    let bar = Bars::new(Progress::Auto).follow("ingest", command.expected_size.or(length), &counter);
    copy(&mut input, &mut writer, &counter, interrupt)?;
    drop(bar);
    if let Some(total) = command.expected_size.filter(|total| writer.offset() < *total) {
        let so_far = writer.offset();
        writer.close()?;
        return Err(input::ended_early(command, so_far, total));
    }
    match writer.commit(command.expected_size, command.expected_digest.as_ref()) {
        Ok(info) => stored(&info.digest.to_string(), info.size, false, json),
        Err(transom_content::Error::AlreadyExists { digest }) => {
            let size = store.info(&digest)?.size;
            stored(&digest.to_string(), size, true, json)
        }
        Err(error) => Err(error.into()),
    }
}

fn copy(
    input: &mut Source,
    writer: &mut Writer,
    counter: &AtomicU64,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let mut block = vec![0; BLOCK];
    loop {
        if interrupt.is_requested() {
            return Err(Failure::new(
                Kind::Interrupted,
                "interrupted; what was stored is kept, ingest again to go on",
            ));
        }
        let count = match input.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) if interrupt.is_requested() => continue,
            Err(error) => return Err(Failure::io("reading the input", &error)),
        };
        writer.write(&block[..count])?;
        counter.store(writer.offset(), Ordering::Relaxed);
    }
}

fn get(store: &Store, command: &Get, interrupt: &Interrupt) -> Result<(), Failure> {
    let blob = store.reader(&command.digest)?;
    let mut input: Box<dyn Read> = if command.verify {
        Box::new(blob.verifying())
    } else {
        Box::new(blob)
    };
    let mut stdout = io::stdout().lock();
    let mut block = vec![0; BLOCK];
    loop {
        if interrupt.is_requested() {
            return Err(Failure::interrupted());
        }
        let count = input.read(&mut block).map_err(read_failure)?;
        if count == 0 {
            break;
        }
        match stdout.write_all(&block[..count]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(|error| Failure::io("cannot write to stdout", &error))?,
        }
    }
    stdout
        .flush()
        .map_err(|error| Failure::io("cannot write to stdout", &error))
}

/// A verifying reader reports damage as an I/O error with the store's own error inside.
fn read_failure(error: io::Error) -> Failure {
    match error.downcast::<transom_content::Error>() {
        Ok(error) => error.into(),
        Err(error) => Failure::io("reading the blob", &error),
    }
}

fn list(store: &Store, command: &List, json: bool) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for info in store.walk()? {
        let info = info?;
        if json {
            let created = timestamp::format(info.created);
            print_json(&json!({ "digest": info.digest, "size": info.size, "created": created }))?;
        } else if command.quiet {
            print(&format!("{}\n", info.digest))?;
        } else {
            rows.push(vec![info.digest.to_string(), size(info.size), age(info.created)]);
        }
    }
    if !json && !command.quiet {
        print(&table(&["DIGEST", "SIZE", "AGE"], &rows))?;
    }
    match if command.verify {
        store.verify_all()?.first_bad()?
    } else {
        None
    } {
        None => Ok(()),
        Some(bad) => {
            let damage = bad.damage.map(|damage| damage.to_string()).unwrap_or_default();
            Err(Failure::new(
                Kind::Damaged,
                format!("content {}: {damage}", bad.digest),
            ))
        }
    }
}

fn active(store: &Store, command: &Active, json: bool) -> Result<(), Failure> {
    let filter = command.filter.clone().unwrap_or_default();
    let mut rows = Vec::new();
    for status in store.statuses(|reference| reference.contains(&filter))? {
        let status = status?;
        if json {
            print_json(&json!({
                "ref": status.reference,
                "offset": status.offset,
                "total": status.total,
                "startedAt": timestamp::format(status.started),
                "updatedAt": timestamp::format(status.updated),
            }))?;
        } else {
            let total = status.total.map_or_else(|| "-".to_owned(), size);
            rows.push(vec![
                printable(&status.reference),
                size(status.offset),
                total,
                age(status.started),
            ]);
        }
    }
    if json {
        Ok(())
    } else {
        print(&table(&["REF", "SIZE", "OF", "AGE"], &rows))
    }
}

fn remove(store: &Store, command: &Remove, json: bool) -> Result<(), Failure> {
    let mut failure = None;
    for digest in &command.digests {
        match store.delete(digest) {
            Ok(()) if json => print_json(&json!({ "removed": digest }))?,
            Ok(()) => print(&format!("{digest}\n"))?,
            // The others are still removed; the first that could not be decides the exit code.
            Err(error) => failure = failure.or(Some(Failure::from(error))),
        }
    }
    failure.map_or(Ok(()), Err)
}
