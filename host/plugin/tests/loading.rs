//! From a file to a plugin: what is refused and why, the manifest, and the cache of compiled code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "loading/artifacts.rs"]
mod artifacts;
#[path = "support/guests.rs"]
mod guests;
#[path = "loading/installed.rs"]
mod installed;
#[path = "loading/schema.rs"]
mod schema;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::LazyLock;

use guests::{guest, spy};
use proptest::prelude::*;
use transom_layer::stage::HandlerKind;
use transom_oci::media_type::LAYER_TAR;
use transom_plugin::config::{Value, Values};
use transom_plugin::{Host, HostConfig, LoadError, Manifest, inspect};

static HOST: LazyLock<Host> = LazyLock::new(|| Host::new(HostConfig::default()).unwrap());

const MANIFEST: &str = r#"name = "guest"
version = "0.1.0"
kind = "processor"
world = "transom:processor/processor@0.1.0"
converts = [
    { accepts = "application/vnd.oci.image.layer.v1.tar", returns = "application/vnd.oci.image.layer.v1.tar" },
]
"#;

fn parse(text: &str) -> Result<Manifest, LoadError> {
    Manifest::parse(text, Path::new("plugin.toml"))
}

fn refused(bytes: &[u8]) -> LoadError {
    let error = HOST.load_bytes(bytes, None).map(drop).unwrap_err();
    let report = inspect(bytes);
    assert!(
        !report.problems.is_empty(),
        "inspect sees nothing wrong where loading says: {error}"
    );
    error
}

#[test]
fn what_is_no_component_is_told_apart() {
    assert!(matches!(refused(b""), LoadError::NotWasm));
    assert!(matches!(refused(b"#!/bin/sh\n"), LoadError::NotWasm));
    let module = wat::parse_str("(module)").unwrap();
    assert!(matches!(refused(&module), LoadError::CoreModule));
    let empty = wat::parse_str("(component)").unwrap();
    assert!(matches!(refused(&empty), LoadError::MissingExport { .. }));
    let whole = guest("pass");
    for length in [8, 9, whole.len() / 2, whole.len() - 1] {
        assert!(matches!(
            refused(&whole[..length]),
            LoadError::Invalid { .. } | LoadError::MissingExport { .. }
        ));
    }
}

#[test]
fn another_version_names_the_side_that_is_too_old() {
    let text = |version: &str| {
        let import = format!(r#"(component (import "transom:common/log@{version}" (instance)))"#);
        refused(&wat::parse_str(import).unwrap()).to_string()
    };
    assert!(text("0.2.0").ends_with("update the host"), "{}", text("0.2.0"));
    assert!(text("0.0.1").contains("rebuild the plugin"), "{}", text("0.0.1"));
}

#[test]
fn right_names_with_wrong_types_are_refused() {
    let text = r#"(component (instance $empty) (export "transom:processor/stage@0.1.0" (instance $empty)))"#;
    let bytes = wat::parse_str(text).unwrap();
    assert!(matches!(HOST.load_bytes(&bytes, None), Err(LoadError::Types(_))));
}

#[test]
fn inspect_works_for_the_good_and_for_the_refused() {
    let good = inspect(&guest("pass"));
    assert_eq!(good.problems, Vec::<String>::new());
    assert!(
        good.exports
            .iter()
            .any(|export| export == "transom:processor/stage@0.1.0")
    );
    let report = inspect(&spy());
    assert_eq!(report.forbidden.len(), 1);
    assert!(
        report.problems[0].contains("evil:net/sockets@1.0.0 connect, pulled in by peek"),
        "{:?}",
        report.problems
    );
}

#[test]
fn a_folder_and_a_lone_file_load_alike() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("guest.wasm");
    fs::write(&file, guest("pass")).unwrap();
    let alone = HOST.load(&file).unwrap();
    assert!(!alone.manifest().declared);
    fs::write(folder.path().join("plugin.toml"), MANIFEST).unwrap();
    for path in [folder.path(), &file] {
        let plugin = HOST.load(path).unwrap();
        assert!(plugin.manifest().declared);
        assert_eq!(
            (plugin.name(), plugin.version(), plugin.digest()),
            ("guest", "0.1.0", alone.digest())
        );
        let handler = plugin.handler(&Values::new()).unwrap();
        assert_eq!(handler.kind(), HandlerKind::Wasm);
        assert_eq!(handler.offer(LAYER_TAR).as_deref(), Some(LAYER_TAR));
        assert_eq!(handler.offer("text/plain"), None);
    }
}

#[test]
fn a_manifest_that_disagrees_is_refused_with_the_field() {
    let field = |from: &str, to: &str| {
        let manifest = parse(&MANIFEST.replacen(from, to, 1)).unwrap();
        HOST.load_bytes(&guest("pass"), Some(manifest))
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    assert!(field("\"guest\"", "\"other\"").contains("name is other"));
    assert!(field("\"0.1.0\"", "\"0.1.1\"").contains("version is 0.1.1"));
    assert!(field("layer.v1.tar\" }", "layer.v1.tar+x\" }").contains("converts is"));
    assert!(field("processor@0.1.0", "processor@0.3.0").contains("update the host"));
    assert!(
        field("transom:processor/processor@", "transom:storage/driver@")
            .contains("transom:processor/processor@0.1.0")
    );
}

#[test]
fn mistakes_in_a_manifest_are_named_with_their_line() {
    let line = |text: &str| match parse(text) {
        Err(LoadError::Manifest { line, message, .. }) => (line, message),
        other => panic!("{other:?}"),
    };
    assert_eq!(line(&format!("{MANIFEST}surprise = 1\n")).0, 8);
    assert_eq!(line(&MANIFEST.replace("\"processor\"", "\"robot\"")).0, 3);
    let (at, message) = line(&format!("{MANIFEST}capabilities = [\"network\"]\n"));
    assert_eq!(at, 8);
    assert!(
        message.contains("network") && message.contains("nothing else"),
        "{message}"
    );
    let key = "\n[config.level]\ntype = \"integer\"\ndefault = \"much\"\ndoc = \"how much\"\n";
    let (at, message) = line(&format!("{MANIFEST}{key}"));
    assert_eq!(at, 9);
    assert!(message.contains("a whole number"), "{message}");
    assert!(matches!(
        parse(&" ".repeat(70_000)),
        Err(LoadError::TooLarge { .. })
    ));
}

#[test]
fn configuration_is_checked_against_the_manifest() {
    let keys = "\n[config.level]\ntype = \"number\"\ndefault = 3\ndoc = \"how much\"\n\n\
                [config.key]\ntype = \"text\"\nrequired = true\ndoc = \"which\"\n";
    let manifest = parse(&format!("{MANIFEST}{keys}")).unwrap();
    assert_eq!(manifest.config["level"].default, Some(Value::Number(3.0)));
    let plugin = HOST.load_bytes(&guest("pass"), Some(manifest)).unwrap();
    let fault = |values: &[(&str, Value)]| {
        let values: Values = values
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        plugin
            .handler(&values)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert!(fault(&[("key", Value::Text("a".into()))]).is_ok());
    assert!(fault(&[]).unwrap_err().contains("\"key\": must be set: which"));
    assert!(
        fault(&[("key", Value::Integer(1))])
            .unwrap_err()
            .contains("must be a text")
    );
    let unknown = [("key", Value::Text("a".into())), ("what", Value::Boolean(true))];
    assert!(fault(&unknown).unwrap_err().contains("it has key, level"));
}

#[test]
fn a_plugin_cannot_ask_for_more_than_the_ceiling() {
    let asks = |mebibytes: u32| {
        let manifest = parse(&format!("{MANIFEST}\n[limits]\nmemory_mib = {mebibytes}\n")).unwrap();
        HOST.load_bytes(&guest("pass"), Some(manifest))
    };
    assert_eq!(asks(256).unwrap().limits().memory, 256 << 20);
    assert!(matches!(asks(4000), Err(LoadError::NotGranted { .. })));
}

fn with_cache(folder: &Path) -> Result<Host, LoadError> {
    Host::new(HostConfig {
        cache_dir: Some(folder.to_owned()),
        ..HostConfig::default()
    })
}

fn cached(folder: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}

#[test]
fn compiled_code_is_kept_and_damage_to_it_is_repaired() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("made/anew");
    with_cache(&folder)
        .unwrap()
        .load_bytes(&guest("pass"), None)
        .unwrap();
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let [file] = cached(&folder).try_into().unwrap();
    let first = fs::metadata(&file).unwrap().modified().unwrap();
    with_cache(&folder)
        .unwrap()
        .load_bytes(&guest("pass"), None)
        .unwrap();
    assert_eq!(
        fs::metadata(&file).unwrap().modified().unwrap(),
        first,
        "it was compiled again"
    );

    let good = fs::read(&file).unwrap();
    for damage in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[damage] ^= 1;
        fs::write(&file, &bad).unwrap();
        with_cache(&folder)
            .unwrap()
            .load_bytes(&guest("pass"), None)
            .unwrap();
        assert!(
            fs::read(&file).unwrap() == good,
            "damage at {damage} was not repaired"
        );
    }
    fs::write(&file, b"").unwrap();
    with_cache(&folder)
        .unwrap()
        .load_bytes(&guest("pass"), None)
        .unwrap();
    assert!(fs::read(&file).unwrap() == good);
}

#[test]
fn what_needs_more_than_an_instance_may_have_is_refused_with_the_limit_and_is_no_damage() {
    if !HOST.is_pooling() {
        transom_tests::skip("needs address space for a pool of instances");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("made");
    let host = with_cache(&folder).unwrap();
    let refused = |host: &Host| host.load_bytes(&guest("wide"), None).unwrap_err().to_string();
    let first = refused(&host);
    assert!(
        first.contains("200000") && first.contains("exceeds the limit of 100000"),
        "{first}"
    );
    let [file] = cached(&folder).try_into().unwrap();
    let made = fs::metadata(&file).unwrap().modified().unwrap();
    assert_eq!(refused(&host), first);
    assert_eq!(
        fs::metadata(&file).unwrap().modified().unwrap(),
        made,
        "it was thought damaged, and compiled again"
    );
    assert_eq!(refused(&HOST), first, "without a cache");
}

#[test]
fn a_folder_that_others_can_reach_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let refused = |path: &Path| with_cache(path).map(drop).unwrap_err().to_string();
    let open = root.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(refused(&open).contains("chmod 700"));
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(refused(&file).contains("not a folder"));
    let link = root.path().join("link");
    std::os::unix::fs::symlink(root.path(), &link).unwrap();
    assert!(refused(&link).contains("not a folder"));
}

#[test]
fn a_folder_that_belongs_to_someone_else_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let theirs = root.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o700)).unwrap();
    // Only root can give a folder away; anyone else finds one of root's at /.
    let theirs = match std::os::unix::fs::chown(&theirs, Some(12345), None) {
        Ok(()) => theirs.as_path(),
        Err(_) => Path::new("/"),
    };
    let error = with_cache(theirs).map(drop).unwrap_err().to_string();
    assert!(error.contains("belongs to user"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_bytes_are_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(HOST.load_bytes(&bytes, None).is_err());
        prop_assert!(!inspect(&bytes).problems.is_empty());
    }

    #[test]
    fn a_component_with_bytes_changed_never_panics(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
    ) {
        static PASS: LazyLock<Vec<u8>> = LazyLock::new(|| guest("pass"));
        let mut bytes = PASS.clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = inspect(&bytes);
        let _ = HOST.load_bytes(&bytes, None);
    }
}
