//! What a comparison does when a call, the sink or a file fails it, and when it is told to stop.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "compare_support/layers.rs"]
#[expect(dead_code, reason = "shared by several test programs")]
mod layers;

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use layers::{copy, layer_with, lines, mkdir, plain, touch, trees, write};
use transom_layer::compare::{CompareError, CompareLimits, CompareOptions, compare};
use transom_layer::compress::Compression;
use transom_oci::{Algorithm, Digest};
use transom_sys::{Errno, Linux, Op, Recorded};

/// A lower and an upper tree: something changed, something new, something gone, something the same.
fn planted() -> tempfile::TempDir {
    let work = tempfile::tempdir().unwrap();
    let lower = work.path().join("lower");
    mkdir(&lower, 0o755);
    mkdir(&lower.join("d"), 0o755);
    for name in ["changed", "d/same", "d/gone"] {
        write(&lower.join(name), "old", 0o644);
        touch(&lower.join(name), 1000, 0);
    }
    let upper = work.path().join("upper");
    copy(&lower, &upper);
    write(&upper.join("changed"), "new content", 0o644);
    fs::remove_file(upper.join("d/gone")).unwrap();
    write(&upper.join("d/new"), &"x".repeat(600_000), 0o644);
    work
}

fn with_faults(work: &Path, fault: impl Fn(&Recorded<Linux>)) -> Result<Vec<String>, CompareError> {
    let sys = Arc::new(Recorded::new(Linux));
    fault(&sys);
    let changes = trees(Some(&work.join("lower")), &work.join("upper"));
    layer_with(&sys, changes, &plain()).map(|(tar, _)| lines(&tar))
}

#[test]
fn whatever_call_fails_the_error_names_the_call_and_the_place() {
    let work = planted();
    for op in [
        Op::Openat,
        Op::Getdents,
        Op::Statat,
        Op::Fstat,
        Op::Read,
        Op::Getxattrat,
    ] {
        let sys = Arc::new(Recorded::new(Linux));
        let changes = || trees(Some(&work.path().join("lower")), &work.path().join("upper"));
        layer_with(&sys, changes(), &plain()).unwrap();
        let calls = sys.counts()[&op];
        for errno in [Errno::IO, Errno::ACCESS] {
            for after in 0..calls {
                let error = with_faults(work.path(), |sys| sys.fail_once(op, after, errno)).unwrap_err();
                let CompareError::Io {
                    errno: got,
                    entry,
                    action,
                    ..
                } = &error
                else {
                    panic!("{op:?} {after}: {error}");
                };
                assert_eq!(*got, errno);
                assert!(!entry.is_empty() && !action.is_empty());
            }
        }
    }
}

#[test]
fn a_name_that_is_gone_when_it_is_looked_at_was_never_there() {
    let work = planted();
    let all = with_faults(work.path(), |_| {}).unwrap();
    // The names are looked at in order: `changed` in the upper tree is the first.
    let found = with_faults(work.path(), |sys| sys.fail_once(Op::Statat, 0, Errno::NOENT)).unwrap();
    assert_eq!(found[0], "w .wh.changed");
    assert_eq!(found[1..], all[1..]);
    // It is opened after the two roots.
    let found = with_faults(work.path(), |sys| sys.fail_once(Op::Openat, 2, Errno::NOENT)).unwrap();
    assert_eq!(found[0], "w .wh.changed");
    assert_eq!(found[1..], all[1..]);
}

#[test]
fn missing_extended_attributes_are_no_error() {
    let work = planted();
    let all = with_faults(work.path(), |_| {}).unwrap();
    for errno in [Errno::NODATA, Errno::OPNOTSUPP] {
        let found = with_faults(work.path(), |sys| sys.fail_from(Op::Getxattrat, 0, errno)).unwrap();
        assert_eq!(found, all);
    }
}

#[test]
fn a_file_that_grows_gives_what_it_had_and_one_that_shrinks_is_an_error() {
    /// Does something to a file when the layer's first bytes arrive.
    struct Meddler<'a>(Option<Box<dyn FnOnce() + 'a>>, u64);
    impl Write for Meddler<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(meddle) = self.0.take() {
                meddle();
            }
            self.1 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    // Longer than all that waits in the pipes, so that the walk cannot be through when the first bytes arrive.
    let size = 64 << 20;
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("file");
    let file = fs::File::create(&path).unwrap();
    let run = |length: u64| {
        file.set_len(size).unwrap();
        let mut sink = Meddler(Some(Box::new(|| file.set_len(length).unwrap())), 0);
        let result = compare(trees(None, work.path()), &plain(), &mut sink);
        result.map(|report| (report.size, sink.1))
    };
    let whole = 512 + size + 1024;
    assert_eq!(run(size * 2).unwrap(), (whole, whole));
    let error = run(1000).unwrap_err();
    assert!(
        matches!(&error, CompareError::Changed { entry, .. } if entry == "file"),
        "{error}"
    );
    assert!(error.to_string().contains("became shorter"), "{error}");
}

/// A sink that fails after some bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_sinks_error_is_the_cause() {
    let work = planted();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let options = CompareOptions {
            compression,
            ..CompareOptions::default()
        };
        let error = compare(trees(None, &work.path().join("upper")), &options, &mut Full(10)).unwrap_err();
        let CompareError::Sink(error) = error else {
            panic!("{error}");
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}

#[test]
fn a_cancelled_job_ends_so() {
    let work = planted();
    let options = plain();
    options.cancel.cancel();
    let error = compare(trees(None, work.path()), &options, &mut io::sink()).unwrap_err();
    assert!(matches!(error, CompareError::Cancelled), "{error}");
}

/// Asks for an end when the first bytes arrive.
struct Stopper(transom_layer::cancel::Cancel, u64);

impl Write for Stopper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.cancel();
        self.1 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_job_that_is_cancelled_in_the_middle_ends_there() {
    // Far more than all pipes hold.
    let work = tempfile::tempdir().unwrap();
    fs::File::create(work.path().join("file"))
        .unwrap()
        .set_len(1 << 36)
        .unwrap();
    // zstd makes so little of zeros that the first bytes would take a minute.
    for compression in [Compression::None, Compression::Gzip] {
        let options = CompareOptions {
            compression,
            ..CompareOptions::default()
        };
        let mut sink = Stopper(options.cancel.clone(), 0);
        let error = compare(trees(None, work.path()), &options, &mut sink).unwrap_err();
        assert!(matches!(error, CompareError::Cancelled), "{error}");
        assert!(sink.1 < 1 << 30, "{} bytes", sink.1);
    }
}

#[test]
fn limits_hold() {
    let work = planted();
    let run = |limits: CompareLimits| {
        let options = CompareOptions { limits, ..plain() };
        compare(trees(None, &work.path().join("upper")), &options, &mut io::sink())
    };
    let enough = CompareLimits { entries: 4, names: 4 };
    assert_eq!(run(enough).unwrap().counts.entries, 4);
    for limits in [
        CompareLimits { entries: 3, ..enough },
        CompareLimits { names: 3, ..enough },
    ] {
        let error = run(limits).unwrap_err();
        assert!(matches!(error, CompareError::Limit { limit: 3, .. }), "{error}");
    }
}

#[test]
fn every_compression_reports_both_digests() {
    let work = planted();
    let changes = || trees(Some(&work.path().join("lower")), &work.path().join("upper"));
    let (tar, _) = layer_with(&Arc::new(Linux), changes(), &plain()).unwrap();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let options = CompareOptions {
            compression,
            ..CompareOptions::default()
        };
        let (bytes, report) = layer_with(&Arc::new(Linux), changes(), &options).unwrap();
        assert_eq!(report.diff_id, Digest::of(Algorithm::Sha256, &tar));
        assert_eq!(report.diff_size, tar.len() as u64);
        assert_eq!(report.digest, Digest::of(Algorithm::Sha256, &bytes));
        assert_eq!(report.size, bytes.len() as u64);
        let mut plain = Vec::new();
        match compression {
            Compression::None => plain.clone_from(&bytes),
            Compression::Gzip => {
                io::copy(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain).unwrap();
            }
            Compression::Zstd => plain = zstd::decode_all(&bytes[..]).unwrap(),
        }
        assert!(plain == tar, "{compression:?}");
    }
}
