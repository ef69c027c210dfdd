//! Every case of the suite can fail: for each there is a driver with the flaw that it is about.

use std::sync::Arc;

use transom_storage::conformance::{self, Open, Options, Outcome, opener};
use transom_storage::{Memory, StorageDriver};

#[path = "flaws/driver.rs"]
mod driver;

use driver::{Flawed, Shared};

/// What is wrong with a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    NoRoot,
    LowerCase,
    CutNames,
    LosesLastByte,
    NoLimit,
    EmptyForMissing,
    OnlyTruncates,
    ReadsBeyondEnd,
    TimeGoesBack,
    PromisesFiles,
    PromisesUrls,
    IgnoresCondition,
    PutsOneGroup,
    LosesPieces,
    AppendsFromNothing,
    CutsLargePieces,
    RefusesCommitted,
    CreatesByAppending,
    ShowsEarly,
    CancelCloses,
    DropCommits,
    CountsDropped,
    ForgetsOnReopen,
    CommitsToBoth,
    LosesOthers,
    DeleteKeepsUploads,
    ListsBackwards,
    ListsSome,
    FolderIsContent,
    RenameCopies,
    RenameKeepsTarget,
    RenamesNothing,
    DeletesShallow,
    DeletesPrefix,
    WalksBytes,
    IgnoresSkip,
    AfterIncludes,
    WalksNothing,
    AfterLosesOne,
    TearsPuts,
    SharesUpload,
    OneWriterAtAll,
    MixesReads,
    ReaderFollows,
    AbsentRaces,
}

/// The case, and a flaw that it must find.
const PROOFS: [(&str, Flaw); 45] = [
    ("root", Flaw::NoRoot),
    ("valid_paths", Flaw::LowerCase),
    ("long_paths", Flaw::CutNames),
    ("put_and_get", Flaw::LosesLastByte),
    ("get_limit", Flaw::NoLimit),
    ("missing", Flaw::EmptyForMissing),
    ("overwrite", Flaw::OnlyTruncates),
    ("read_offsets", Flaw::ReadsBeyondEnd),
    ("modified", Flaw::TimeGoesBack),
    ("local_file", Flaw::PromisesFiles),
    ("redirect", Flaw::PromisesUrls),
    ("put_if_absent", Flaw::IgnoresCondition),
    ("put_all", Flaw::PutsOneGroup),
    ("write_and_read", Flaw::LosesPieces),
    ("append", Flaw::AppendsFromNothing),
    ("append_large", Flaw::CutsLargePieces),
    ("append_committed", Flaw::RefusesCommitted),
    ("create_again", Flaw::CreatesByAppending),
    ("visibility", Flaw::ShowsEarly),
    ("cancel", Flaw::CancelCloses),
    ("dropped", Flaw::DropCommits),
    ("dropped_often", Flaw::CountsDropped),
    ("reopen", Flaw::ForgetsOnReopen),
    ("commit_to", Flaw::CommitsToBoth),
    ("commit_with", Flaw::LosesOthers),
    ("deleted_uploads", Flaw::DeleteKeepsUploads),
    ("list", Flaw::ListsBackwards),
    ("list_many", Flaw::ListsSome),
    ("folder_errors", Flaw::FolderIsContent),
    ("rename", Flaw::RenameCopies),
    ("rename_over", Flaw::RenameKeepsTarget),
    ("rename_missing", Flaw::RenamesNothing),
    ("delete", Flaw::DeletesShallow),
    ("delete_siblings", Flaw::DeletesPrefix),
    ("walk_order", Flaw::WalksBytes),
    ("walk_skip", Flaw::IgnoresSkip),
    ("walk_after", Flaw::AfterIncludes),
    ("walk_missing", Flaw::WalksNothing),
    ("walk_many", Flaw::AfterLosesOne),
    ("concurrent_puts", Flaw::TearsPuts),
    ("concurrent_writers", Flaw::SharesUpload),
    ("concurrent_files", Flaw::OneWriterAtAll),
    ("concurrent_reads", Flaw::MixesReads),
    ("open_readers", Flaw::ReaderFollows),
    ("one_of_many_absent", Flaw::AbsentRaces),
];

fn open(flaw: Flaw) -> Open {
    let shared = Arc::<Shared>::default();
    let memory = Arc::new(Memory::default());
    opener(move || {
        let inner = match flaw {
            Flaw::ForgetsOnReopen => Arc::new(Memory::default()),
            _ => Arc::clone(&memory),
        };
        let shared = Arc::clone(&shared);
        async move { Ok(Arc::new(Flawed { inner, flaw, shared }) as Arc<dyn StorageDriver>) }
    })
}

async fn run(flaw: Flaw, only: &[&str]) -> conformance::Report {
    let only = only.iter().map(|name| (*name).to_owned()).collect();
    let options = Options {
        only,
        ..Options::quick()
    };
    conformance::run(open(flaw), options).await
}

#[tokio::test]
async fn each_flaw_is_found_by_its_case() {
    for (case, _) in conformance::cases() {
        assert!(
            PROOFS.iter().any(|(proved, _)| *proved == case),
            "nothing proves that {case} can fail"
        );
    }
    for (case, flaw) in PROOFS {
        let report = run(flaw, &[case]).await;
        match report.cases.first().map(|case| &case.outcome) {
            Some(Outcome::Failed(seen)) => {
                assert!(
                    !seen.starts_with("cannot clean up"),
                    "{case} with {flaw:?}: {seen}"
                );
            }
            other => panic!("{case} with {flaw:?}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn without_a_flaw_everything_passes() {
    let report = run(Flaw::None, &[]).await;
    assert!(report.passed(), "\n{report}");
}

#[tokio::test]
async fn a_report_of_nothing_is_no_success() {
    assert!(!run(Flaw::None, &["no such case"]).await.passed());
}
