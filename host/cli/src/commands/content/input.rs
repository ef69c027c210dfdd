//! What an ingest reads: a file, or stdin.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::arguments::Ingest;
use crate::failure::{Failure, Kind};
use crate::interrupt::{Interrupt, Stdin};
use crate::limits::BLOCK;

/// Where the bytes come from.
pub(super) enum Source {
    File(File),
    Stdin(Stdin),
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::File(file) => file.read(into),
            Source::Stdin(stdin) => stdin.read(into),
        }
    }
}

/// Opens what is to be stored, and says how long it is if that is known.
pub(super) fn open(command: &Ingest, interrupt: &Interrupt) -> Result<(Source, Option<u64>), Failure> {
    if command.file.as_os_str() == "-" {
        return Ok((Source::Stdin(interrupt.stdin()), None));
    }
    let failed = |error: io::Error| Failure::io(command.file.display(), &error);
    let file = File::open(&command.file).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!(
            "{} is a folder; only files can be stored",
            command.file.display()
        )));
    }
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Source::File(file), length))
}

/// Passes over what an earlier ingest has stored already. The digest tells at the end whether it was the same.
pub(super) fn skip(
    input: &mut Source,
    count: u64,
    command: &Ingest,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io(command.file.display(), &error);
    let too_short = || {
        let message = format!(
            "the input is shorter than the {count} bytes that ingest {} already has; abort it to start over (transom content abort)",
            command.reference
        );
        Failure::new(Kind::Damaged, message)
    };
    if let Source::File(file) = input
        && file.metadata().map_err(failed)?.is_file()
    {
        if file.metadata().map_err(failed)?.len() < count {
            return Err(too_short());
        }
        file.seek(SeekFrom::Start(count)).map_err(failed)?;
        return Ok(());
    }
    let mut left = count;
    let mut block = vec![0; BLOCK];
    while left > 0 {
        if interrupt.is_requested() {
            return Err(Failure::interrupted());
        }
        let wanted = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        let got = match input.read(&mut block[..wanted]) {
            Err(_) if interrupt.is_requested() => return Err(Failure::interrupted()),
            got => got.map_err(failed)?,
        };
        if got == 0 {
            return Err(too_short());
        }
        left -= got as u64;
    }
    Ok(())
}

/// The input has fewer bytes than were demanded.
pub(super) fn ended_early(command: &Ingest, so_far: u64, total: u64) -> Failure {
    let message = format!(
        "the input ended after {so_far} of {total} bytes; they are kept: ingest {} again to go on",
        command.reference
    );
    Failure::new(Kind::Damaged, message)
}
