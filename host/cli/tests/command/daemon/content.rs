//! `transom content` on a daemon.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::Signal;
use transom_oci::{Algorithm, Digest};

use super::rig::{Rig, on_both, shape};
use crate::support::{DAMAGED, Done, INTERRUPTED, NOT_FOUND, UNAVAILABLE, USAGE, finish, signal, wait_until};

on_both!(
    a_blob_goes_in_is_listed_comes_out_and_is_removed,
    labels_are_set_removed_and_looked_for,
    an_edited_blob_is_a_new_one_with_the_same_labels,
    an_interrupted_ingest_goes_on_where_it_stopped,
    what_is_demanded_is_checked,
    an_ingest_is_listed_and_given_up,
    a_lease_keeps_what_was_ingested,
    references_are_pruned,
    every_blob_can_be_verified,
    a_terminal_shows_how_far_an_ingest_and_a_read_are,
);

fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

fn a_blob_goes_in_is_listed_comes_out_and_is_removed(rig: &Rig) {
    // More than one block, and not a whole number of them.
    let content = b"some content".repeat(400_000);
    let file = rig.file("file", &content);
    let digest = sha256(&content);
    let done = rig.run(&["content", "ingest", "one", &file]);
    assert!(
        done.stderr.contains("keeps the 4.80 MB for 24 hours"),
        "{}",
        done.stderr
    );
    assert_eq!(done.ok().trim(), digest);
    let again = rig.one(&["content", "ingest", "two", &file]);
    assert_eq!(shape(&again), "{alreadyExisted digest lease size}");
    assert_eq!(
        (again["alreadyExisted"].as_bool(), again["size"].as_u64()),
        (Some(true), Some(4_800_000))
    );

    for arguments in [
        vec!["content", "get", &digest],
        vec!["content", "get", "--verify", &digest],
    ] {
        let got = rig.run(&arguments);
        assert_eq!(got.code, Some(0), "{}", got.stderr);
        assert!(got.stdout == content);
    }
    let listed = rig.one(&["content", "ls"]);
    assert_eq!(shape(&listed), "{created digest labels size updated}");
    assert_eq!(listed["digest"], digest);
    let table = rig.ok(&["content", "list"]);
    assert!(table.contains("4.80 MB") && table.contains("second"), "{table}");
    assert_eq!(rig.ok(&["content", "ls", "-q"]).trim(), digest);

    // The others are still removed.
    let other = rig.ingest(b"other");
    let done = rig.run(&["content", "rm", &digest, &digest, &other]);
    assert_eq!(
        String::from_utf8_lossy(&done.stdout),
        format!("{digest}\n{other}\n")
    );
    done.fails(NOT_FOUND, &[&format!("content digest {digest}: not found")]);
    assert_eq!(rig.ok(&["content", "ls", "-q"]), "");
    rig.run(&["content", "get", &digest]).fails(NOT_FOUND, &[&digest]);
}

fn labels_are_set_removed_and_looked_for(rig: &Rig) {
    let (one, other) = (rig.ingest(b"one"), rig.ingest(b"other"));
    let key = "example.org/what.is";
    let set = rig.one(&["content", "label", &one, "a=b=c", &format!("{key}=this")]);
    assert_eq!(shape(&set), "{created digest labels size updated}");
    assert_eq!(
        (&set["labels"]["a"], &set["labels"][key]),
        (&"b=c".into(), &"this".into())
    );
    let filter = format!("labels.{key:?}==this");
    assert_eq!(rig.ok(&["content", "ls", "-q", &filter]).trim(), one);
    assert_eq!(
        rig.ok(&["content", "ls", "-q", "labels.a", &format!("digest=={other}")])
            .lines()
            .count(),
        2
    );
    let text = rig.ok(&["content", "label", &one, "a="]);
    assert_eq!(text, format!("{one} {key}=this\n"));
    assert_eq!(rig.ok(&["content", "label", &one]), text);
    rig.run(&["content", "label", &one, "=x"])
        .fails(USAGE, &["KEY=VALUE"]);
    rig.run(&["content", "label", &sha256(b"none"), "a=b"])
        .fails(NOT_FOUND, &[]);
}

fn an_edited_blob_is_a_new_one_with_the_same_labels(rig: &Rig) {
    let digest = rig.ingest(b"good morning\n");
    rig.ok(&["content", "label", &digest, "kept=yes"]);
    let edit = |editor: &str| {
        let mut command = rig.command(&["content", "edit", &digest]);
        command.env_remove("VISUAL").env("EDITOR", editor);
        Done::from(command.output().unwrap())
    };
    let new = edit("sed -i s/morning/night/").ok();
    assert_eq!(new.trim(), sha256(b"good night\n"));
    assert_eq!(rig.ok(&["content", "get", new.trim()]), "good night\n");
    assert_eq!(
        rig.one(&["content", "label", new.trim()])["labels"]["kept"],
        "yes"
    );
    assert_eq!(rig.ok(&["content", "get", &digest]), "good morning\n");

    edit("false").fails(crate::support::OTHER, &["nothing was stored"]);
    edit("").fails(USAGE, &["EDITOR"]);
    assert_eq!(rig.ok(&["content", "ls", "-q"]).lines().count(), 2);
}

fn an_interrupted_ingest_goes_on_where_it_stopped(rig: &Rig) {
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let mut command = rig.command(&["content", "ingest", "slow"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&content[..1_000_000]).unwrap();
    wait_until("the bytes are stored", || {
        let active = rig.json(&["content", "active"]);
        active.first().is_some_and(|ingest| ingest["offset"] == 1_000_000)
    });
    // Another one is told who has it.
    let file = rig.file("file", &content);
    rig.run(&["content", "ingest", "slow", &file])
        .fails(UNAVAILABLE, &["slow", "locked"]);
    signal(&child, Signal::INT);
    let said = finish(child).fails(INTERRUPTED, &["ingest again to go on", "--lease"]);
    drop(stdin);
    let lease = said
        .split("--lease ")
        .nth(1)
        .unwrap()
        .trim_end()
        .trim_end_matches(')');
    rig.ok(&["lease", "resources", "ls", lease]);

    let digest = sha256(&content);
    let again = [
        "content",
        "ingest",
        "slow",
        &file,
        "--expected-digest",
        &digest,
        "--lease",
        lease,
    ];
    let done = rig.run(&again);
    assert!(done.stderr.contains("slow goes on at 1.00 MB"), "{}", done.stderr);
    assert_eq!(done.ok().trim(), digest);
    assert_eq!(rig.ok(&["--json", "content", "active"]), "");
    let got = rig.run(&["content", "get", "--verify", &digest]);
    assert!(got.stdout == content);
}

fn a_terminal_shows_how_far_an_ingest_and_a_read_are(rig: &Rig) {
    if transom_tests::require_program("script").is_none() {
        return;
    }
    // More than any pipe holds, so that neither ends before it is let.
    let content = b"some content".repeat(400_000);
    let pipe = rig.path("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    let digest = sha256(&content);
    let shell = |arguments: &[&str], redirect: &str| {
        let command = rig.command(arguments);
        let words: Vec<_> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_str().unwrap())
            .collect();
        format!("exec {} {redirect} {}", words.join(" "), pipe.display())
    };

    let (mut child, mut screen) = on_a_terminal(&shell(&["content", "ingest", "one"], "<"));
    let mut input = fs::File::options().write(true).open(&pipe).unwrap();
    input.write_all(&content[..2_400_000]).unwrap();
    read_until(&mut screen, "2.40 MB");
    input.write_all(&content[2_400_000..]).unwrap();
    drop(input);
    read_until(&mut screen, &digest);
    assert!(child.wait().unwrap().success());

    let (mut child, mut screen) = on_a_terminal(&shell(&["content", "get", &digest], ">"));
    let mut output = fs::File::open(&pipe).unwrap();
    read_until(&mut screen, "of 4.80 MB");
    let mut got = Vec::new();
    output.read_to_end(&mut got).unwrap();
    assert!(got == content);
    assert!(child.wait().unwrap().success());
}

/// A shell command on a terminal of its own, and what that shows.
fn on_a_terminal(command: &str) -> (Child, ChildStdout) {
    let mut script = Command::new("script");
    script.args(["-qec", command, "/dev/null"]);
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let screen = child.stdout.take().unwrap();
    (child, screen)
}

/// Waits until something is shown.
#[track_caller]
fn read_until(screen: &mut impl Read, text: &str) {
    let mut seen = Vec::new();
    let mut block = [0; 4096];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let read = screen.read(&mut block).unwrap();
        assert_ne!(read, 0, "never {text:?} in {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&block[..read]);
    }
}

fn what_is_demanded_is_checked(rig: &Rig) {
    let file = rig.file("file", b"abc");
    let wrong = sha256(b"abd");
    rig.run(&["content", "ingest", "r", &file, "--expected-digest", &wrong])
        .fails(DAMAGED, &[&wrong, &sha256(b"abc")]);
    rig.run(&["content", "ingest", "short", &file, "--expected-size", "10"])
        .fails(DAMAGED, &["3 of 10 bytes"]);
    rig.run(&["content", "ingest", "long", &file, "--expected-size", "2"])
        .fails(DAMAGED, &["size validation"]);
    let right = sha256(b"abc");
    let stored = [
        "content",
        "ingest",
        "right",
        &file,
        "--expected-digest",
        &right,
        "--expected-size",
        "3",
    ];
    assert_eq!(rig.one(&stored)["alreadyExisted"], false);
    assert_eq!(rig.one(&stored)["alreadyExisted"], true);
    let empty = rig.file("empty", b"");
    assert_eq!(
        rig.ok(&["content", "ingest", "empty", &empty]).trim(),
        sha256(b"")
    );
    rig.run(&["content", "ingest", "r", "/no/such/file"])
        .fails(NOT_FOUND, &["/no/such/file"]);
    rig.run(&["content", "ingest", "r2", &file, "--lease", "none"])
        .fails(NOT_FOUND, &["lease does not exist"]);
}

fn an_ingest_is_listed_and_given_up(rig: &Rig) {
    let file = rig.file("file", b"abc");
    for reference in ["layer-1", "layer-2", "config"] {
        rig.run(&["content", "ingest", reference, &file, "--expected-size", "10"])
            .fails(DAMAGED, &[]);
    }
    let active = rig.json(&["content", "active", "layer"]);
    assert_eq!(active.len(), 2);
    assert_eq!(shape(&active[0]), "{offset ref startedAt total updatedAt}");
    assert_eq!(
        (&active[0]["ref"], &active[0]["offset"]),
        (&"layer-1".into(), &3.into())
    );
    assert_eq!(rig.json(&["content", "active", "ref==config"]).len(), 1);
    assert!(rig.ok(&["content", "active"]).contains("3 B"));
    rig.ok(&["content", "abort", "layer-1"]);
    rig.run(&["content", "abort", "layer-1"])
        .fails(NOT_FOUND, &["layer-1"]);
    assert_eq!(rig.json(&["content", "active"]).len(), 2);
}

fn a_lease_keeps_what_was_ingested(rig: &Rig) {
    let file = rig.file("file", b"kept");
    let stored = rig.one(&["content", "ingest", "r", &file]);
    rig.ok(&["gc", "run"]);
    assert_eq!(rig.json(&["content", "ls"]).len(), 1);
    let lease = stored["lease"].as_str().unwrap();
    let listed = rig.one(&["lease", "ls", &format!("id=={lease}")]);
    assert!(listed["labels"]["containerd.io/gc.expire"].is_string());
    rig.ok(&["lease", "rm", "--sync", lease]);
    assert_eq!(rig.json(&["content", "ls"]), [] as [serde_json::Value; 0]);
}

fn references_are_pruned(rig: &Rig) {
    let (layer, manifest) = (rig.ingest(b"layer"), rig.ingest(b"manifest"));
    let reference = format!("containerd.io/gc.ref.content.l.0={layer}");
    rig.ok(&[
        "content",
        "label",
        &manifest,
        &reference,
        "containerd.io/gc.root=now",
        "containerd.io/gc.ref.content.config=x",
    ]);
    let leases = rig.ok(&["lease", "ls", "-q"]);
    let leases: Vec<&str> = leases.lines().collect();
    rig.ok(&[&["lease", "rm", "--sync"], &leases[..]].concat());
    assert_eq!(rig.json(&["content", "ls"]).len(), 2);

    let would = rig.one(&["content", "prune", "references", "--dry"]);
    assert_eq!(shape(&would), "{digest labels:[] removed}");
    assert_eq!(
        (&would["digest"], &would["removed"]),
        (&manifest.as_str().into(), &false.into())
    );
    assert_eq!(rig.json(&["content", "ls"]).len(), 2);
    assert!(rig.ok(&["content", "prune", "references"]).starts_with(&manifest));
    let left = rig.one(&["content", "ls"]);
    assert_eq!(left["digest"], manifest);
    assert_eq!(left["labels"]["containerd.io/gc.ref.content.config"], "x");
    assert_eq!(rig.ok(&["content", "prune", "references", "--async"]), "");
}

fn every_blob_can_be_verified(rig: &Rig) {
    rig.ingest(b"first");
    let digest = rig.ingest(b"second");
    rig.ok(&["content", "ls", "--verify"]);
    let (algorithm, hex) = digest.split_once(':').unwrap();
    let blob = rig
        .path("root/io.containerd.content.v1.content/blobs")
        .join(algorithm)
        .join(hex);
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, b"secind").unwrap();
    rig.run(&["content", "ls", "--verify"])
        .fails(DAMAGED, &[&digest, "its bytes have digest"]);
    rig.run(&["content", "get", "--verify", &digest])
        .fails(DAMAGED, &[&digest]);
    assert_eq!(rig.run(&["content", "get", &digest]).stdout, b"secind");
}
