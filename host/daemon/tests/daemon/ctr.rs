//! Debian's `ctr` against the real program: every verb that needs only these services.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::program::{Program, failed, good};
use crate::rig::sha256;

/// `ctr` on a socket.
pub(crate) struct Ctr {
    program: PathBuf,
    socket: PathBuf,
}

impl Ctr {
    /// Nothing if it is not installed; the test is then skipped.
    pub(crate) fn new(socket: &Path) -> Option<Ctr> {
        Some(Ctr {
            program: transom_tests::needs::require_program("ctr")?,
            socket: socket.to_path_buf(),
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-a").arg(&self.socket).args(arguments);
        command.env_remove("CONTAINERD_NAMESPACE");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("ctr runs")
    }

    #[track_caller]
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        good(&self.run(arguments))
    }

    #[track_caller]
    pub(crate) fn failed(&self, arguments: &[&str]) -> String {
        failed(&self.run(arguments))
    }

    /// Runs it with something on stdin.
    fn fed(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(arguments);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("ctr runs");
        // It may have ended before it read everything; then its output says why.
        let _ = child.stdin.take().expect("piped").write_all(input);
        child.wait_with_output().expect("ctr ends")
    }
}

/// A daemon and its `ctr`, or nothing, with the reason written down.
pub(crate) fn both() -> Option<(Program, Ctr)> {
    let program = Program::start(&[]);
    let ctr = Ctr::new(&program.socket())?;
    Some((program, ctr))
}

#[test]
fn content() {
    let Some((_program, ctr)) = both() else { return };
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 253) as u8).collect();
    let digest = sha256(&data);
    let expected = format!("--expected-digest={digest}");
    good(&ctr.fed(
        &["content", "ingest", "--expected-size=3000000", &expected, "r1"],
        &data,
    ));
    let listed = ctr.good(&["content", "ls"]);
    assert!(listed.contains(&digest) && listed.contains("3MB"), "{listed}");
    assert_eq!(ctr.good(&["content", "ls", "-q"]), format!("{digest}\n"));
    let got = ctr.run(&["content", "get", &digest]);
    assert!(got.status.success() && got.stdout == data);
    assert!(
        ctr.good(&["content", "label", &digest, "a.b/c=1", "d=2"])
            .contains("a.b/c=1")
    );
    assert!(
        ctr.good(&["content", "ls", "-q", "labels.\"a.b/c\"==1"])
            .contains(&digest)
    );
    assert_eq!(ctr.good(&["content", "ls", "-q", "labels.\"a.b/c\"!=1"]), "");
    assert!(ctr.good(&["content", "label", &digest, "d="]).contains("a.b/c=1"));
    assert!(ctr.failed(&["content", "ls", "a = b"]).contains("parse error"));
    assert!(
        ctr.failed(&["content", "get", &sha256(b"none")])
            .contains("not found")
    );
    let wrong = ctr.fed(&["content", "ingest", "--expected-size=4", "r2"], b"abc");
    assert!(
        failed(&wrong).contains("failed to read expected number of bytes"),
        "ctr looks itself: {wrong:?}"
    );
    let other = format!("--expected-digest={}", sha256(b"other"));
    let wrong = ctr.fed(&["content", "ingest", &other, "r3"], b"abc");
    assert!(failed(&wrong).contains("unexpected commit digest"), "{wrong:?}");
    let active = ctr.good(&["content", "active"]);
    assert!(active.contains("r2") && active.contains("r3"), "{active}");
    assert!(
        ctr.good(&["-n", "other", "content", "ls", "-q"]).is_empty(),
        "another namespace has nothing"
    );
    assert!(ctr.good(&["content", "rm", &digest]).contains(&digest));
    assert_eq!(ctr.good(&["content", "ls", "-q"]), "");
}

#[test]
fn content_is_edited() {
    let Some((program, ctr)) = both() else { return };
    good(&ctr.fed(&["content", "ingest", "r"], b"{\"a\": 1}"));
    let editor = program.folder.path().join("editor");
    transom_tests::scripts::script(&editor, "printf '{\"a\": 2}' > \"$1\"");
    let editor = editor.to_string_lossy().into_owned();
    let edited = ctr.good(&["content", "edit", "--editor", &editor, &sha256(b"{\"a\": 1}")]);
    assert_eq!(edited.trim(), sha256(b"{\"a\": 2}"));
    assert_eq!(ctr.good(&["content", "get", edited.trim()]), "{\"a\": 2}");
}

/// An image of one config and one layer, as `ctr images import` takes it, with its manifest's digest.
pub(crate) fn archive(folder: &Path) -> (PathBuf, String) {
    let layer = tar_of(&[("hello", b"hello\n")]);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        sha256(&layer)
    );
    let descriptor = |kind: &str, bytes: &[u8]| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{}","size":{}}}"#,
            sha256(bytes),
            bytes.len()
        )
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{}]}}"#,
        descriptor("config.v1+json", config.as_bytes()),
        descriptor("layer.v1.tar", &layer)
    );
    let named = descriptor("manifest.v1+json", manifest.as_bytes());
    let named = named.trim_end_matches('}');
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{named},"annotations":{{"io.containerd.image.name":"example.com/a:1"}}}}]}}"#
    );
    let blob = |bytes: &[u8]| sha256(bytes).replace("sha256:", "blobs/sha256/");
    let files = [
        (
            "oci-layout".to_owned(),
            br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
        ),
        (blob(&layer), layer.clone()),
        (blob(config.as_bytes()), config.clone().into_bytes()),
        (blob(manifest.as_bytes()), manifest.clone().into_bytes()),
        ("index.json".to_owned(), index.into_bytes()),
    ];
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, data)| (name.as_str(), data.as_slice()))
        .collect();
    let path = folder.join("image.tar");
    std::fs::write(&path, tar_of(&files)).expect("a file");
    (path, sha256(manifest.as_bytes()))
}

fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, data) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *data)
            .expect("memory has room");
    }
    tar.into_inner().expect("memory has room")
}

#[test]
fn images() {
    let Some((program, ctr)) = both() else { return };
    let (archive, manifest) = archive(program.folder.path());
    let archive = archive.to_string_lossy().into_owned();
    ctr.good(&["images", "import", "--no-unpack", &archive]);
    let listed = ctr.good(&["images", "ls"]);
    assert!(
        listed.contains("example.com/a:1") && listed.contains(&manifest),
        "{listed}"
    );
    assert!(
        listed.contains("linux/amd64"),
        "the manifest can be read: {listed}"
    );
    assert_eq!(
        ctr.good(&["images", "ls", "-q", "name==example.com/a:1"]),
        "example.com/a:1\n"
    );
    assert_eq!(ctr.good(&["images", "ls", "-q", "name==b"]), "");
    ctr.good(&["images", "tag", "example.com/a:1", "example.com/b:1"]);
    assert!(
        ctr.failed(&["images", "tag", "example.com/a:1", "example.com/b:1"])
            .contains("already exists")
    );
    ctr.good(&["images", "tag", "--force", "example.com/a:1", "example.com/b:1"]);
    assert!(
        ctr.good(&["images", "label", "example.com/b:1", "k=v"])
            .contains("k=v")
    );
    assert_eq!(
        ctr.good(&["images", "ls", "-q", "labels.k==v"]),
        "example.com/b:1\n"
    );
    let exported = program
        .folder
        .path()
        .join("out.tar")
        .to_string_lossy()
        .into_owned();
    ctr.good(&["images", "export", &exported, "example.com/a:1"]);
    assert!(std::fs::metadata(&exported).expect("a file").len() > 0);
    ctr.good(&["images", "rm", "--sync", "example.com/a:1"]);
    let kept = ctr.good(&["content", "ls", "-q"]);
    assert!(
        kept.contains(&manifest) && kept.lines().count() == 3,
        "the other name keeps it: {kept}"
    );
    ctr.good(&["images", "rm", "--sync", "example.com/b:1"]);
    assert_eq!(ctr.good(&["content", "ls", "-q"]), "", "nothing keeps it");
    let missing = ctr.run(&["images", "rm", "none"]);
    let said =
        String::from_utf8_lossy(&missing.stderr).into_owned() + &String::from_utf8_lossy(&missing.stdout);
    assert!(said.contains("not found"), "{said}");
}

/// All done by ctr itself: it reads content, writes what it makes of it, and names that.
#[test]
fn images_are_converted() {
    let Some((program, ctr)) = both() else { return };
    let (archive, manifest) = archive(program.folder.path());
    ctr.good(&["images", "import", "--no-unpack", &archive.to_string_lossy()]);
    ctr.good(&[
        "images",
        "convert",
        "--uncompress",
        "--oci",
        "example.com/a:1",
        "example.com/plain:1",
    ]);
    let listed = ctr.good(&["images", "ls", "name==example.com/plain:1"]);
    assert!(listed.contains("linux/amd64"), "{listed}");
    assert!(
        ctr.good(&["images", "ls", "-q", "name==example.com/a:1"])
            .contains("example.com/a:1")
    );
    ctr.good(&["images", "rm", "--sync", "example.com/a:1"]);
    let exported = program
        .folder
        .path()
        .join("plain.tar")
        .to_string_lossy()
        .into_owned();
    ctr.good(&["images", "export", &exported, "example.com/plain:1"]);
    let exported = std::fs::read(&exported).expect("a file");
    let mut entries = tar::Archive::new(exported.as_slice());
    let names = entries.entries().expect("a tar").map(|entry| {
        let entry = entry.expect("whole");
        entry.path().expect("a name").display().to_string()
    });
    let names: Vec<String> = names.collect();
    let blob = manifest.replace("sha256:", "blobs/sha256/");
    assert!(
        names.contains(&"index.json".to_owned()) && names.contains(&blob),
        "{names:?}"
    );
}

/// Unpacked by ctr through the services of snapshots and of the differ; mounted by ctr itself.
#[test]
fn images_are_unpacked_and_mounted() {
    if !transom_tests::require_root() {
        return;
    }
    let Some((program, ctr)) = both() else { return };
    let (archive, manifest) = archive(program.folder.path());
    ctr.good(&["images", "import", &archive.to_string_lossy()]);
    let snapshots = ctr.good(&["snapshots", "ls"]);
    assert!(snapshots.contains("Committed"), "{snapshots}");
    let checked = ctr.good(&["images", "check"]);
    assert!(
        checked.contains("complete (2/2)") && checked.contains("true"),
        "{checked}"
    );
    let target = program.folder.path().join("rootfs");
    std::fs::create_dir(&target).expect("a folder");
    let place = target.to_string_lossy().into_owned();
    ctr.good(&["images", "mount", "example.com/a:1", &place]);
    let hello = std::fs::read_to_string(target.join("hello"));
    ctr.good(&["images", "unmount", "--rm", &place]);
    assert_eq!(hello.expect("it is mounted"), "hello\n");
    assert!(ctr.good(&["content", "ls", "-q"]).contains(&manifest));
    ctr.good(&["images", "rm", "--sync", "example.com/a:1"]);
    assert_eq!(ctr.good(&["content", "ls", "-q"]), "");
    let left = ctr.good(&["snapshots", "ls"]);
    assert!(!left.contains("Committed"), "{left}");
}

#[test]
fn an_image_is_checked_without_snapshots() {
    let Some((program, ctr)) = both() else { return };
    let (archive, _) = archive(program.folder.path());
    ctr.good(&["images", "import", "--no-unpack", &archive.to_string_lossy()]);
    let checked = ctr.run(&["images", "check"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        text.contains("complete (2/2)") || text.contains("complete (3/3)"),
        "{checked:?}"
    );
}

#[test]
fn layers_are_pruned() {
    let Some((program, ctr)) = both() else { return };
    let (archive, _) = archive(program.folder.path());
    ctr.good(&["images", "import", "--no-unpack", &archive.to_string_lossy()]);
    let blobs = || ctr.good(&["content", "ls", "-q"]).lines().count();
    ctr.good(&["content", "prune", "references", "--dry"]);
    assert_eq!(blobs(), 3);
    ctr.good(&["content", "prune", "references"]);
    assert_eq!(blobs(), 2, "manifest and configuration");
}

#[test]
fn an_image_is_converted() {
    let Some((program, ctr)) = both() else { return };
    let (archive, _) = archive(program.folder.path());
    ctr.good(&["images", "import", "--no-unpack", &archive.to_string_lossy()]);
    let (from, to) = ("example.com/a:1", "example.com/converted:1");
    ctr.good(&["images", "convert", "--oci", "--uncompress", from, to]);
    assert_eq!(ctr.good(&["images", "ls", "-q"]), format!("{from}\n{to}\n"));
}

#[test]
fn leases() {
    let Some((_program, ctr)) = both() else { return };
    assert_eq!(ctr.good(&["leases", "create", "--id", "L1", "k=v"]), "L1\n");
    let made = ctr.good(&["leases", "create"]);
    assert!(made.contains('-'), "{made}");
    assert!(
        ctr.failed(&["leases", "create", "--id", "L1"])
            .contains("already exists")
    );
    let listed = ctr.good(&["leases", "ls", "id==L1"]);
    assert!(
        listed.contains("L1") && listed.contains("k=v") && !listed.contains(made.trim()),
        "{listed}"
    );
    ctr.good(&["leases", "rm", "--sync", "L1"]);
    assert_eq!(ctr.good(&["leases", "ls", "-q"]), made);
    // ctr 1.6 does not fail when a lease is missing, it only says so.
    let missing = ctr.run(&["leases", "rm", "none"]);
    let said =
        String::from_utf8_lossy(&missing.stderr).into_owned() + &String::from_utf8_lossy(&missing.stdout);
    assert!(said.contains("not found"), "{said}");
}

#[test]
fn namespaces() {
    let Some((_program, ctr)) = both() else { return };
    ctr.good(&["namespaces", "create", "a", "k=v"]);
    assert!(
        ctr.failed(&["namespaces", "create", "a"])
            .contains("already exists")
    );
    assert!(
        ctr.failed(&["namespaces", "create", "a..b"])
            .contains("must match")
    );
    let listed = ctr.good(&["namespaces", "ls"]);
    assert!(
        listed
            .lines()
            .any(|line| line.starts_with('a') && line.contains("k=v")),
        "{listed}"
    );
    ctr.good(&["namespaces", "label", "a", "k=", "l=w"]);
    let listed = ctr.good(&["namespaces", "ls"]);
    assert!(listed.contains("l=w") && !listed.contains("k=v"), "{listed}");
    good(&ctr.fed(&["-n", "a", "content", "ingest", "r"], b"abc"));
    let full = ctr.run(&["namespaces", "rm", "a"]);
    let said = String::from_utf8_lossy(&full.stderr).into_owned() + &String::from_utf8_lossy(&full.stdout);
    assert!(said.contains("must be empty, but it still has blobs"), "{said}");
    ctr.good(&["-n", "a", "content", "rm", &sha256(b"abc")]);
    ctr.good(&["namespaces", "rm", "a"]);
    assert_eq!(ctr.good(&["namespaces", "ls", "-q"]), "");
}

#[test]
fn events() {
    let Some((_program, ctr)) = both() else { return };
    let mut command = ctr.command(&["events", "topic~=namespaces"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("ctr runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (told, heard) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            if told.send(line).is_err() {
                return;
            }
        }
    });
    // There is no way to see that ctr listens but to make events until it tells of one.
    let mut number = 0;
    let line = loop {
        number += 1;
        assert!(number < 1000, "ctr tells of no event");
        ctr.good(&["namespaces", "create", &format!("n{number}")]);
        if let Ok(line) = heard.recv_timeout(std::time::Duration::from_millis(100)) {
            break line;
        }
    };
    assert!(
        line.contains("/namespaces/create {\"name\":\"n"),
        "decoded by its type: {line}"
    );
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    drop(heard);
    reader.join().expect("no panic");
}

#[test]
fn plugins_and_versions() {
    let Some((_program, ctr)) = both() else { return };
    let listed = ctr.good(&["plugins", "ls"]);
    for part in [
        "io.containerd.content.v1",
        "io.containerd.gc.v1",
        "io.containerd.grpc.v1",
    ] {
        assert!(listed.contains(part), "{listed}");
    }
    // Overlays need root, and say so.
    let failed = |line: &&str| line.contains("error") && !line.contains("overlayfs");
    assert_eq!(listed.lines().find(failed), None, "{listed}");
    let root = rustix::process::geteuid().is_root();
    assert_eq!(!listed.contains("error"), root, "{listed}");
    let one = ctr.good(&["plugins", "ls", "-d", "id==scheduler"]);
    assert!(
        one.contains("io.containerd.gc.v1") && !one.contains("io.containerd.content.v1"),
        "{one}"
    );
    let version = ctr.good(&["version"]);
    assert!(
        version.contains("transom-") && version.contains("UUID: "),
        "{version}"
    );
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let Some((mut program, ctr)) = both() else { return };
    ctr.good(&["namespaces", "create", "a", "k=v"]);
    ctr.good(&["-n", "a", "leases", "create", "--id", "L"]);
    good(&ctr.fed(&["-n", "a", "content", "ingest", "r"], b"abc"));
    program.child.kill().expect("it runs");
    program.child.wait().expect("it ends");
    let folder = std::mem::replace(
        &mut program.folder,
        tempfile::tempdir().expect("a temporary folder"),
    );
    let _again = Program::in_folder(folder, &[]);
    assert!(ctr.good(&["namespaces", "ls"]).contains("k=v"));
    assert_eq!(ctr.good(&["-n", "a", "leases", "ls", "-q"]), "L\n");
    assert_eq!(ctr.good(&["-n", "a", "content", "get", &sha256(b"abc")]), "abc");
}
