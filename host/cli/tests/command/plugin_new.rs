//! `transom plugin new`, `build` and `check`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guests::{guest, spy};
use crate::support::{NOT_FOUND, OTHER, REFUSED, USAGE, run};

fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/rust")
}

fn make(folder: &Path, kind: &str) -> PathBuf {
    let place = folder.join(kind);
    let sdk = sdk();
    run([
        "plugin".as_ref(),
        "new".as_ref(),
        "my-first".as_ref(),
        place.as_os_str(),
        "--kind".as_ref(),
        kind.as_ref(),
        "--sdk".as_ref(),
        sdk.as_os_str(),
    ])
    .ok();
    place
}

/// The templates are sources that nobody else compiles.
#[test]
fn a_new_plugin_of_each_kind_passes_its_own_tests() {
    let folder = tempfile::tempdir().unwrap();
    let target = transom_tests::target_dir().join("templates");
    for kind in ["processor", "storage", "filter"] {
        let place = make(folder.path(), kind);
        // The versions that are here already, so that nothing is downloaded.
        let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
        fs::copy(lock, place.join("Cargo.lock")).unwrap();
        let output = Command::new(env!("CARGO"))
            .args(["test", "--quiet", "--offline", "--lib", "--target-dir"])
            .arg(&target)
            .current_dir(&place)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{kind}: {said}");
        let manifest = fs::read_to_string(place.join("plugin.toml")).unwrap();
        assert!(manifest.contains("name = \"my-first\""), "{manifest}");
        let source = fs::read_to_string(place.join("src/lib.rs")).unwrap();
        assert!(
            !source.contains("{name}") && !source.contains("{type}"),
            "{source}"
        );
    }
}

#[test]
fn a_new_plugin_takes_no_place_of_another_and_no_odd_name() {
    let folder = tempfile::tempdir().unwrap();
    let place = make(folder.path(), "processor");
    let again = place.to_str().unwrap();
    run(["plugin", "new", "my-first", again]).fails(USAGE, &["is there already"]);
    let new = folder.path().join("new");
    let new = new.to_str().unwrap();
    run(["plugin", "new", "My_First", new]).fails(USAGE, &["lower-case letters"]);
    run(["plugin", "new", "x", new, "--sdk", again]).fails(USAGE, &["is not the folder of transom-sdk"]);
    run(["plugin", "new", "x", new, "--sdk", new]).fails(NOT_FOUND, &["Cargo.toml"]);
    assert!(!Path::new(new).exists());
    run(["plugin", "new", "x", new]).ok();
    let manifest = fs::read_to_string(Path::new(new).join("Cargo.toml")).unwrap();
    assert!(manifest.contains("transom-sdk = \"0."), "{manifest}");
}

#[test]
fn a_build_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    run(["plugin", "build", place]).fails(NOT_FOUND, &["plugin.toml"]);
    let broken = make(folder.path(), "processor");
    fs::write(broken.join("Cargo.toml"), "nonsense").unwrap();
    run(["plugin", "build", broken.to_str().unwrap()]).fails(OTHER, &["cargo build failed"]);
}

#[test]
fn plugins_of_every_kind_are_checked() {
    for (name, texts) in [
        (
            "ocicrypt",
            &[
                "kind      processor",
                "asks for  keys",
                "transom:keys/unwrap@0.1.0",
                "  ok\n",
            ][..],
        ),
        (
            "count",
            &["asks for  nothing", "world     transom:processor/processor@0.1.0"],
        ),
        ("semver", &["kind      filter", "name      semver"]),
        ("encrypt", &["kind      driver", "asks for  inner, keys"]),
    ] {
        let Some(component) = transom_tests::plugin(name) else {
            return;
        };
        let folder = component.parent().unwrap().to_str().unwrap();
        let shown = run(["plugin", "check", folder]).ok();
        for text in texts {
            assert!(shown.contains(text), "{text} is not in {shown}");
        }
        let document = run(["plugin", "check", folder, "--json"]).json();
        assert_eq!(document["ok"], true);
    }
}

#[test]
fn what_would_not_be_loaded_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let bad = file("spy.wasm", &spy());
    let done = run(["plugin", "check", &bad]);
    let shown = String::from_utf8(done.stdout.clone()).unwrap();
    assert!(
        shown.contains("evil:net/sockets") && !shown.contains("  ok\n"),
        "{shown}"
    );
    run(["plugin", "check", &bad]).fails(REFUSED, &["would not be loaded: "]);
    run(["plugin", "check", &file("text.wasm", b"text")]).fails(REFUSED, &["would not be loaded"]);
    run(["plugin", "check", &file("pass.wasm", &guest("pass"))]).ok();
    // The manifest counts, too.
    fs::rename(folder.path().join("pass.wasm"), folder.path().join("guest.wasm")).unwrap();
    let manifest = "name = \"guest\"\nversion = \"9.0.0\"\nkind = \"processor\"\nworld = \"transom:processor/processor@0.1.0\"\n\
                    converts = [{ accepts = \"a/b\", returns = \"c/d\" }]\n";
    fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
    let text = folder.path().display().to_string();
    run(["plugin", "check", &text]).fails(OTHER, &["plugin.toml says"]);
}

#[test]
fn cases_are_run_in_every_piece_size() {
    let (Some(count), Some(secrets)) = (transom_tests::plugin("count"), transom_tests::plugin("secrets"))
    else {
        return;
    };
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins");
    for (name, component) in [("count", &count), ("secrets", &secrets)] {
        let source = plugins.join(name).display().to_string();
        let component = component.parent().unwrap().display().to_string();
        let shown = run(["plugin", "test", &source, "--plugin", &component]).ok();
        assert!(shown.contains("ok      ") && !shown.contains("FAILED"), "{shown}");
    }
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().to_str().unwrap();
    let component = count.display().to_string();
    let test = || run(["plugin", "test", text, "--plugin", &component]);
    run(["plugin", "test", text]).fails(NOT_FOUND, &["transom plugin build"]);
    test().fails(NOT_FOUND, &["cases"]);
    let case = folder.path().join("cases/wrong");
    fs::create_dir_all(&case).unwrap();
    test().fails(NOT_FOUND, &["case.toml"]);
    fs::write(case.join("case.toml"), "[[entry]]\npath = \"a\"\n").unwrap();
    for (file, content, problem) in [
        ("error.txt", "bad", "it went well"),
        ("expect.toml", "output = \"input\"\n", "the annotations are"),
        (
            "expect.toml",
            "output = \"case.toml\"\nignore_annotations = true\n",
            "the output differs from byte 0",
        ),
        (
            "expect.toml",
            "output = \"input\"\nignore_annotations = true\n[[findings]]\nseverity = \"info\"\nrule = \"r\"\nlocation = \"l\"\n",
            "the findings are []",
        ),
        (
            "expect.toml",
            "output = \"input\"\nignore_annotations = true\n[[documents]]\nmedia_type = \"a/b\"\n",
            "it wrote 0 documents",
        ),
    ] {
        fs::write(case.join(file), content).unwrap();
        let done = test();
        let shown = String::from_utf8(done.stdout.clone()).unwrap();
        assert!(
            shown.contains("FAILED  wrong: ") && shown.contains(problem),
            "{problem} is not in {shown}"
        );
        assert_eq!(done.code, Some(OTHER));
        assert!(done.stderr.contains("1 of 1 cases failed"), "{}", done.stderr);
        fs::remove_file(case.join(file)).unwrap();
    }
    fs::write(case.join("case.toml"), "surprise = 1").unwrap();
    test().fails(USAGE, &["case.toml", "surprise"]);
}
