//! A journal by itself: what is in its file when calls are under way together.

use bytes::Bytes;

use super::super::options::FlushBy;
use super::super::root::Root;
use super::*;
use crate::StoragePath;

fn join(folder: &tempfile::TempDir) -> Journal {
    let flush = Some(FlushBy::Filesystem);
    let root = Root::open(folder.path(), flush, Steps::default()).unwrap();
    let (company, file) = Company::join(&root).unwrap();
    Journal::new(company, file.unwrap(), Steps::default(), true)
}

fn puts(path: &str) -> Vec<Put> {
    vec![Put {
        path: StoragePath::new(path).unwrap(),
        content: Bytes::from_static(b"content"),
    }]
}

/// Waits until something is so, that another thread brings about.
fn until(journal: &Journal, so: impl Fn(&State) -> bool) {
    while !so(&journal.shared.lock()) {
        std::thread::yield_now();
    }
}

/// Records of changes that are under way together, in one burst.
fn write<'j, const N: usize>(journal: &'j Journal, paths: [&str; N]) -> [Record<'j>; N] {
    loop {
        let written = paths.iter().filter_map(|path| journal.write(&puts(path)));
        match <[Record<'_>; N]>::try_from(written.collect::<Vec<_>>()) {
            Ok(records) => return records,
            // A burst ended among them.
            Err(records) => records.into_iter().for_each(Record::placed),
        }
        std::thread::yield_now();
    }
}

/// What the next start would make good.
fn counted(journal: &Journal) -> Vec<Vec<Put>> {
    let (_, records) = format::read(&journal.shared.file).unwrap().unwrap();
    records
}

#[test]
fn a_change_that_fails_is_out_of_the_file_before_it_is_told_though_earlier_ones_are_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let journal = join(&folder);
    let [earlier, failing, later] = write(&journal, ["/earlier", "/failing", "/later"]);
    let number = failing.number;
    std::thread::scope(|scope| {
        let told = scope.spawn(|| {
            drop(failing);
            counted(&journal)
        });
        until(&journal, |state| !state.open.contains(&number));
        earlier.placed();
        // What comes after it does not hold it up, and is not lost with it.
        assert_eq!(told.join().unwrap(), [puts("/later")]);
    });
    later.placed();
}

#[test]
fn whoever_was_in_company_looks_again_later() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, other) = (join(&folder), join(&folder));
    let begin = |now| {
        let mut state = journal.shared.lock();
        journal.begin(&mut state, now);
        state.phase
    };
    let now = Instant::now();
    assert_eq!(begin(now), Phase::Asked);
    until(&journal, |state| state.phase == Phase::Empty);
    assert_eq!(begin(now), Phase::Empty);
    // It is alone now, and does not know.
    drop(other);
    assert_eq!(begin(now + JOURNAL_COMPANY / 2), Phase::Empty);
    assert_eq!(begin(now + JOURNAL_COMPANY), Phase::Burst);
}
