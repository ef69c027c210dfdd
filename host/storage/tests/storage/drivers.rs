//! Every driver against the conformance suite.

use std::sync::Arc;

use transom_storage::conformance::{self, Open, Options, opener};
use transom_storage::decorators::Replaceable;
use transom_storage::{Filesystem, Memory, StorageDriver};

/// Opens the same memory again and again.
pub(crate) fn memory() -> Open {
    let memory = Memory::default();
    opener(move || {
        let memory = memory.clone();
        async move { Ok(Arc::new(memory) as Arc<dyn StorageDriver>) }
    })
}

/// Opens a folder anew each time.
pub(crate) fn filesystem(folder: &std::path::Path) -> Open {
    let folder = folder.to_path_buf();
    opener(move || {
        let driver = Filesystem::open(&folder, 25).expect("the folder can be opened");
        async move { Ok(Arc::new(driver) as Arc<dyn StorageDriver>) }
    })
}

/// Fails with the whole report if a case fails.
pub(crate) async fn hold(open: Open, options: Options) {
    let report = conformance::run(open, options).await;
    assert!(report.passed(), "\n{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    hold(memory(), Options::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_replaced_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().to_path_buf();
    let open = opener(move || {
        let driver = Filesystem::open(&files, 25).expect("the folder can be opened");
        async move { Ok(Arc::new(Replaceable::new(Arc::new(driver))) as Arc<dyn StorageDriver>) }
    });
    hold(open, Options::quick()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filesystem_conforms() {
    let folder = tempfile::tempdir().unwrap();
    hold(filesystem(folder.path()), Options::quick()).await;
}

/// Where a sync costs nothing, so that there can be 10,000 children.
#[tokio::test(flavor = "multi_thread")]
async fn filesystem_in_memory_conforms_at_full_size() {
    let shared = std::path::Path::new("/dev/shm");
    let folder = match shared.is_dir() {
        true => tempfile::tempdir_in(shared).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    hold(filesystem(folder.path()), Options::default()).await;
}
