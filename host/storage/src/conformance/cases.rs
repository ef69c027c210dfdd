//! The cases, by subject.

use super::bench::{Bench, Check};
use crate::Pending;
use std::future::Future;
use std::pin::Pin;

mod content;
mod folders;
mod moves;
mod races;
mod uploads;
mod walks;

/// A running case.
type Running<'a> = Pin<Box<dyn Future<Output = Check> + Send + 'a>>;

/// One case.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) run: for<'a> fn(&'a Bench) -> Running<'a>,
}

/// A table of cases: the function, whose name is the case's, and what it is about.
macro_rules! table {
    ($($module:ident::$name:ident: $about:literal,)+) => {
        /// Every case, in the order they run.
        pub(super) static ALL: &[Case] = &[$(Case {
            name: stringify!($name),
            about: $about,
            run: |bench| Box::pin($module::$name(bench)),
        }),+];
    };
}

table! {
    folders::root: "the root is a folder, and nothing else",
    content::valid_paths: "every path that is allowed",
    content::long_paths: "paths and parts of the greatest length",
    content::put_and_get: "content of several sizes and of any bytes",
    content::get_limit: "content over the caller's limit",
    content::missing: "what is not there",
    content::overwrite: "other bytes over old ones, of any length",
    content::read_offsets: "reads from the start, the middle, the end, and beyond",
    content::modified: "the time of the last change",
    content::local_file: "the file that a reader gives",
    content::redirect: "the URL that a client gets",
    content::put_if_absent: "content only where there is none",
    content::put_all: "several contents in one call",
    uploads::write_and_read: "content of several sizes by a writer",
    uploads::append: "an upload in pieces, closed between them",
    uploads::append_large: "the same with large pieces",
    uploads::append_committed: "an upload that goes on from committed content",
    uploads::create_again: "a writer that begins anew",
    uploads::visibility: "nothing is seen before it is committed",
    uploads::cancel: "nothing is left of an upload that was cancelled",
    uploads::dropped: "a writer that is dropped commits nothing",
    uploads::dropped_often: "more writers and readers than a plugin may hold, dropped one after the other",
    uploads::reopen: "what a process that starts again finds",
    uploads::commit_to: "a commit to another path",
    uploads::commit_with: "a commit, and small contents with it",
    uploads::deleted_uploads: "a folder is deleted with the uploads in it",
    folders::list: "direct children only, in order",
    folders::list_many: "a folder with many children",
    folders::folder_errors: "folders where content should be, and the other way round",
    moves::rename: "content under another name",
    moves::rename_over: "content in place of other content",
    moves::rename_missing: "nothing to rename",
    moves::delete: "content and folders are gone",
    moves::delete_siblings: "names that begin alike are left alone",
    walks::walk_order: "everything, part by part, a slash before all else",
    walks::walk_skip: "folders that are left out",
    walks::walk_after: "walks that begin in the middle",
    walks::walk_missing: "walks of nothing and of content",
    walks::walk_many: "many entries in pages",
    races::concurrent_puts: "puts and gets of one path at the same time",
    races::concurrent_writers: "several writers of one path",
    races::concurrent_files: "several writers of several paths",
    races::concurrent_reads: "several readers of one content",
    races::open_readers: "readers that are open while the content goes away",
    races::one_of_many_absent: "several puts where only one may win",
}

/// Runs calls at the same time, on as many tasks.
pub(super) async fn together<T: Send + 'static>(
    calls: Vec<Pending<'static, T>>,
) -> Vec<Result<T, crate::Error>> {
    let tasks: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        match task.await {
            Ok(result) => results.push(result),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    results
}
