//! A daemon whose blobs a storage driver keeps.

use std::path::Path;
use std::process::Stdio;

use crate::ctr::{Ctr, archive};
use crate::program::{Program, command, failed};
use crate::rig::sha256;

/// The configuration: files in a folder, behind a decorator, and copies of so many bytes.
fn configure(folder: &Path, copies: u64) -> String {
    let files = folder.join("blobs-elsewhere");
    let text = format!(
        "[content]\ncopies = {copies}\n[content.driver]\ndriver = \"limit\"\nmaxconcurrency = 4\n\
         [content.driver.inner]\ndriver = \"filesystem\"\nrootdirectory = {files:?}\n"
    );
    let file = folder.join("config.toml");
    std::fs::write(&file, text).expect("a file");
    file.display().to_string()
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.expect("listed").file_name().to_string_lossy().into_owned()
    };
    let mut names: Vec<_> = entries.map(name).collect();
    names.sort();
    names
}

#[test]
fn blobs_are_on_the_driver_and_copies_come_and_go() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = configure(folder.path(), 0);
    let program = Program::in_folder(folder, &["--config", &config]);
    let Some(ctr) = Ctr::new(&program.socket()) else {
        return;
    };
    let (image, _) = archive(program.folder.path());
    ctr.good(&[
        "images",
        "import",
        "--snapshotter",
        "native",
        &image.display().to_string(),
    ]);
    let name = ctr.good(&["images", "ls", "-q"]).trim().to_owned();
    let elsewhere = program.folder.path().join("blobs-elsewhere/blobs/sha256");
    let root = program.folder.path().join("root");
    let here = transom_content::content_root(&root).join("blobs/sha256");
    let kept = names(&elsewhere);
    assert!(kept.len() >= 3, "{kept:?}");
    // Without room for copies, the last one is there.
    assert!(names(&here).len() <= 1, "{:?}", names(&here));
    let large: Vec<u8> = (0..9_000_000_u32).map(|n| (n % 251) as u8).collect();
    let file = program.folder.path().join("large");
    std::fs::write(&file, &large).expect("a file");
    let digest = sha256(&large);
    let ingested = std::process::Command::new("ctr")
        .arg("-a")
        .arg(program.socket())
        .args(["content", "ingest", "large"])
        .stdin(std::fs::File::open(&file).expect("it is there"))
        .stdout(Stdio::null())
        .status();
    assert!(ingested.expect("ctr runs").success());
    let hex = digest.split(':').nth(1).expect("a digest");
    assert_eq!(std::fs::read(elsewhere.join(hex)).expect("kept"), large);

    // A daemon that finds no copies has everything all the same.
    let (folder, _) = program.stop();
    std::fs::remove_dir_all(&here).expect("removed");
    let program = Program::in_folder(folder, &["--config", &config]);
    let checked = ctr.good(&["images", "check"]);
    assert!(checked.contains("complete (2/2)"), "{checked}");
    let listed = ctr.good(&["content", "ls", "-q"]);
    assert!(listed.contains(&digest), "{listed}");
    let out = program.folder.path().join("export.tar").display().to_string();
    ctr.good(&["images", "export", "--platform", "linux/amd64", &out, &name]);
    ctr.good(&["content", "rm", &digest]);
    ctr.good(&["images", "rm", "--sync", &name]);
    assert_eq!(names(&elsewhere), Vec::<String>::new());

    // Nobody starts on what would look empty.
    let (folder, _) = program.stop();
    let said = failed(&command(folder.path()).output().expect("it runs"));
    assert!(said.contains("[content.driver]"), "{said}");
    assert!(said.contains("rootdirectory"), "{said}");
}

#[test]
fn what_was_a_folder_goes_to_the_driver() {
    let program = Program::start(&[]);
    let Some(ctr) = Ctr::new(&program.socket()) else {
        return;
    };
    let (image, _) = archive(program.folder.path());
    ctr.good(&["images", "import", "--no-unpack", &image.display().to_string()]);
    let (folder, _) = program.stop();
    let config = configure(folder.path(), 1 << 20);
    let program = Program::in_folder(folder, &["--config", &config]);
    let elsewhere = program.folder.path().join("blobs-elsewhere/blobs/sha256");
    let root = program.folder.path().join("root");
    assert_eq!(
        names(&elsewhere),
        names(&transom_content::content_root(&root).join("blobs/sha256"))
    );
    let checked = ctr.good(&["images", "check"]);
    assert!(checked.contains("complete (2/2)"), "{checked}");
}

#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("config.toml");
    for (text, told) in [
        ("[content.driver]\ndriver = \"filesytem\"\n", "filesystem"),
        ("[content.driver]\nrootdirectory = \"/x\"\n", "driver"),
        ("[content]\ncopys = 5\n", "copies"),
    ] {
        std::fs::write(&file, text).expect("a file");
        let mut start = command(folder.path());
        let said = failed(&start.arg("--config").arg(&file).output().expect("it runs"));
        assert!(said.contains(told), "{text}: {said}");
    }
}
