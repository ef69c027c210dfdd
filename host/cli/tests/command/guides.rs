//! The guides, typed as they stand: each `console` block is run, and what it shows must come out; a block whose first line names a
//! file (```` ```rust src/lib.rs ````) becomes that file.
//!
//! In what a block shows, a line `…` stands for any lines, and `…` within a line for any text; a command with nothing below it may say
//! what it likes. In the guides' folder are some images, and `transom`, which stands for Transom's source.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use transom_tests::sample::Compression;

use crate::image::{RawImage, RawLayer, Tar};

/// What stands between two commands in what the shell says.
const MARK: &str = "\u{1}guide\u{1}";
/// Any text, or any lines.
const ANY: &str = "…";

/// A thing to be done, in the order of the guide.
enum Step {
    File { path: String, text: String },
    Command { typed: String, shown: Vec<String> },
}

/// The steps of a guide. Other blocks are for reading.
fn steps(guide: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match info.split_once(' ') {
            Some((_, path)) => steps.push(Step::File {
                path: path.to_owned(),
                text: block.join("\n") + "\n",
            }),
            None if info == "console" => commands(&block, &mut steps),
            None => {}
        }
    }
    steps
}

fn commands(block: &[&str], steps: &mut Vec<Step>) {
    for line in block {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(typed), _) => steps.push(Step::Command {
                typed: typed.to_owned(),
                shown: Vec::new(),
            }),
            (None, Some(Step::Command { typed, .. })) if typed.ends_with('\\') => {
                let _ = write!(typed, "\n{line}");
            }
            (None, Some(Step::Command { shown, .. })) => shown.push((*line).to_owned()),
            (None, _) => panic!("a console block begins with a command, not with {line:?}"),
        }
    }
}

/// One script of all steps. What the shell says of each command ends with its exit code behind a mark.
fn script(steps: &[Step], lock: &Path) -> String {
    let mut script = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n".to_owned();
    for step in steps {
        let _ = match step {
            Step::File { path, text } => {
                write!(
                    script,
                    "mkdir -p \"$(dirname {path})\"\ncat > {path} <<'END-OF-THE-BLOCK'\n{text}END-OF-THE-BLOCK\n"
                )
            }
            Step::Command { typed, .. } => write!(script, "{typed}\ncode=$?; echo; echo \"{MARK}$code\"\n"),
        };
        // The versions that are here already, so that nothing is downloaded.
        let _ = writeln!(
            script,
            "[ ! -f Cargo.toml ] || [ -f Cargo.lock ] || cp {} Cargo.lock",
            lock.display()
        );
    }
    script
}

/// Whether lines are what is shown.
fn fits(shown: &[String], said: &[&str]) -> bool {
    match shown.split_first() {
        None => said.is_empty(),
        Some((first, rest)) if first == ANY => (0..=said.len()).any(|skipped| fits(rest, &said[skipped..])),
        Some((first, rest)) => said
            .split_first()
            .is_some_and(|(line, others)| line_fits(first, line) && fits(rest, others)),
    }
}

fn line_fits(shown: &str, said: &str) -> bool {
    let Some((first, others)) = shown.split_once(ANY) else {
        return shown == said;
    };
    let Some(mut rest) = said.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = others.rsplit_once(ANY).unwrap_or(("", others));
    for part in middle.split(ANY) {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// The folder where the guides are followed: images, and Transom's source with its plugins.
fn place(folder: &Path) {
    let source = transom_tests::needs::workspace_dir();
    let transom = folder.join("transom");
    fs::create_dir_all(transom.join("target")).unwrap();
    for part in ["sdk", "wit", "plugins"] {
        symlink(source.join(part), transom.join(part)).unwrap();
    }
    if let Some(component) = transom_tests::plugin("count") {
        let built = component.parent().unwrap().parent().unwrap();
        symlink(built, transom.join("target/plugins")).unwrap();
    }
    let motd = || Tar::new().file("etc/motd", b"hello\n");
    let tar = motd().end();
    RawImage::write(&folder.join("app"), &[RawLayer::new(&tar, Compression::Gzip)]);
    let careless = motd().file("root/.ssh/id_rsa", b"a key").end();
    RawImage::write(
        &folder.join("careless"),
        &[RawLayer::new(&careless, Compression::Gzip)],
    );
    let turn = |byte: &u8| match byte {
        b'a'..=b'z' => (byte - b'a' + 13) % 26 + b'a',
        b'A'..=b'Z' => (byte - b'A' + 13) % 26 + b'A',
        other => *other,
    };
    let turned = tar.iter().map(turn).collect();
    let turned = RawLayer::typed("application/vnd.example.layer.turned", turned, &tar);
    RawImage::write(&folder.join("turned"), &[turned]);
    let packed = Compression::Xz.compress(&tar).unwrap();
    let packed = RawLayer::typed("application/vnd.example.layer.tar+packed", packed, &tar);
    RawImage::write(&folder.join("packed"), &[packed]);
}

/// Follows a guide.
fn follow(name: &str) {
    let source = transom_tests::needs::workspace_dir();
    let guide = fs::read_to_string(source.join("docs/guides").join(name)).unwrap();
    let steps = steps(&guide);
    let folder = tempfile::tempdir().unwrap();
    place(folder.path());
    let program = PathBuf::from(env!("CARGO_BIN_EXE_transom"));
    let path = std::env::var("PATH").unwrap();
    let shell = Command::new("bash")
        .arg("-c")
        .arg(format!(
            "exec 2>&1\n{}",
            script(&steps, &source.join("Cargo.lock"))
        ))
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", program.parent().unwrap().display()))
        .env("CARGO_TARGET_DIR", transom_tests::target_dir().join("templates"))
        .env("CARGO_NET_OFFLINE", "true")
        // What a guide makes is tried, not used.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env_remove("RUSTFLAGS")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&shell.stdout).into_owned();
    let mut rest = said.as_str();
    let mut done = 0;
    for step in &steps {
        let Step::Command { typed, shown } = step else {
            continue;
        };
        let Some((before, after)) = rest.split_once(MARK) else {
            panic!("{name}: the shell has ended at `{typed}`:\n{said}")
        };
        let (code, after) = after.split_once('\n').unwrap();
        rest = after;
        assert_eq!(code, "0", "{name}: `{typed}`:\n{before}");
        // One empty line comes before the mark.
        let lines: Vec<&str> = before.strip_suffix('\n').unwrap_or(before).lines().collect();
        let is_shown = shown.is_empty() || fits(shown, &lines);
        assert!(
            is_shown,
            "{name}: `{typed}` should say\n{}\nand says\n{before}",
            shown.join("\n")
        );
        done += 1;
    }
    assert!(done > 0, "{name} has nothing to type");
}

/// Whether guests can be compiled with nothing but cargo.
fn has_target() -> bool {
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .unwrap();
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    let there = Path::new(&sysroot)
        .join("lib/rustlib/wasm32-unknown-unknown")
        .is_dir();
    if !there {
        transom_tests::needs::skip("the compiler lacks wasm32-unknown-unknown");
    }
    there
}

#[test]
fn decrypt_a_layer() {
    let programs = ["openssl", "skopeo"].map(transom_tests::require_program);
    if programs.iter().all(Option::is_some) && transom_tests::plugin("ocicrypt").is_some() {
        follow("encrypted-images.md");
    }
}

#[test]
fn scan_and_refuse() {
    if has_target() {
        follow("scan-and-refuse.md");
    }
}

#[test]
fn add_a_decompressor() {
    if has_target() {
        follow("add-a-decompressor.md");
    }
}

#[test]
fn write_a_storage_driver() {
    if has_target() {
        follow("write-a-storage-driver.md");
    }
}

#[test]
fn write_a_label_filter() {
    if has_target() {
        follow("write-a-label-filter.md");
    }
}

#[test]
fn from_an_external_processor_to_a_plugin() {
    if has_target() {
        follow("from-an-external-processor.md");
    }
}

#[test]
fn measure_a_processor() {
    if transom_tests::plugin("count").is_some() {
        follow("processors.md");
    }
}

#[test]
fn policies() {
    if transom_tests::plugin("cel").is_some() {
        follow("policies.md");
    }
}

#[test]
fn what_is_shown_may_leave_something_out() {
    let owned = |lines: &[&str]| -> Vec<String> { lines.iter().map(|line| (*line).to_owned()).collect() };
    assert!(fits(&owned(&["a", ANY, "z…9"]), &["a", "b", "c", "z 1 9"]));
    assert!(fits(&owned(&[ANY]), &[]));
    assert!(fits(&owned(&["…end", "start…"]), &["the end", "start of it"]));
    assert!(!fits(&owned(&["a"]), &["a", "b"]));
    assert!(!fits(&owned(&["a…c"]), &["abcd"]));
    assert!(!fits(&owned(&[ANY, "z"]), &["a", "b"]));
}
