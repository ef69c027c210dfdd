//! Label filters in the host: how they are loaded, what lists are told when they do what they must not, and that the next list
//! works again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/filter_guest.rs"]
mod filter_guest;
#[path = "support/guests.rs"]
#[allow(dead_code, reason = "one of its guests is not needed here")]
mod guests;

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use filter_guest::{filter_guest, filter_spy};
use transom_meta::filter::{
    Facts, Fields, FilterError, FilterPlugin, FilterSource, Filters, PluginFailure, Plugins,
};
use transom_meta::{Class, Labels};
use transom_plugin::limits::{FILTER_BATCH_BYTES, FILTER_BATCH_RECORDS};
use transom_plugin::{Fault, Filter, FilterSet, Host, HostConfig, Limits, LoadError, Manifest, inspect};

/// One host for all, so that every test is also the "next list" of the others.
static HOST: LazyLock<Host> = LazyLock::new(|| {
    let limits = Limits {
        memory: 16 << 20,
        cpu: Duration::from_millis(200),
        ..Limits::default()
    };
    Host::new(HostConfig {
        limits,
        ..HostConfig::default()
    })
    .unwrap()
});

static FILTER: LazyLock<Filter> =
    LazyLock::new(|| HOST.load_filter_bytes(&filter_guest("odds"), None).unwrap());

const MANIFEST: &str = r#"name = "odds"
version = "0.1.0"
kind = "filter"
world = "transom:filter/label-filter@0.1.0"
"#;

/// A record with a name.
#[derive(Clone, Debug, PartialEq)]
struct Named(String);

impl Fields for Named {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        (path == ["name"]).then_some(Cow::Borrowed(self.0.as_str()))
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            kind: "content",
            name: Some(Cow::Borrowed(&self.0)),
            ..Facts::default()
        }
    }
}

fn plugins() -> Plugins {
    let mut set = FilterSet::default();
    set.add(FILTER.clone()).unwrap();
    set.into_plugins()
}

fn list(filter: &str, count: usize) -> Result<Vec<usize>, FilterError> {
    let filters = Filters::compile(&[filter.to_owned()], &plugins())?;
    let mut records: Vec<Named> = (0..count).map(|n| Named(n.to_string())).collect();
    filters.retain(&mut records)?;
    Ok(records
        .into_iter()
        .map(|record| record.0.parse().unwrap())
        .collect())
}

/// How a list fails, after which a good one must still work.
fn fails(filter: &str) -> FilterError {
    let error = list(filter, 3).expect_err(filter);
    assert_eq!(list("wasm.odds==f", 3).unwrap(), [0], "after {filter}");
    assert!(error.to_string().contains("odds"), "{error}");
    error
}

fn failure(filter: &str) -> (PluginFailure, String) {
    match fails(filter) {
        FilterError::Plugin { failure, reason, .. } => (failure, reason),
        other => panic!("{other}"),
    }
}

#[test]
fn records_are_selected_by_bits() {
    for count in [0, 1, 7, 8, 9, 16, 17, 100] {
        assert_eq!(
            list("wasm.odds==f", count).unwrap(),
            Vec::from_iter((count > 0).then_some(0))
        );
        assert_eq!(
            list("wasm.odds==a", count).unwrap(),
            Vec::from_iter(0..count),
            "{count}"
        );
        assert_eq!(list("wasm.odds!=a", count).unwrap(), [0; 0]);
    }
    assert_eq!(list("wasm.odds==f,name~=1", 30).unwrap(), [1]);
    let count = FILTER_BATCH_RECORDS * 2 + 3;
    let firsts = [0, FILTER_BATCH_RECORDS, 2 * FILTER_BATCH_RECORDS];
    assert_eq!(list("wasm.odds==f", count).unwrap(), firsts);
}

#[test]
fn long_texts_make_more_batches() {
    let name = "x".repeat(FILTER_BATCH_BYTES / 2);
    let facts = Facts {
        kind: "image",
        name: Some(Cow::Borrowed(&name)),
        ..Facts::default()
    };
    let answers = FILTER.compile("f").unwrap().matches(&vec![facts; 5]).unwrap();
    assert_eq!(answers, [true, false, true, false, true]);
}

#[test]
fn every_fact_is_taken() {
    let labels = Labels::from_iter([("a".to_owned(), "b".to_owned())]);
    let before = SystemTime::UNIX_EPOCH - Duration::new(1, 1);
    let facts = Facts {
        kind: "image",
        name: Some("n".into()),
        digest: Some("sha256:0".into()),
        media_type: Some("m/t".into()),
        size: Some(u64::MAX),
        created: Some(before),
        updated: Some(SystemTime::now()),
        labels: Some(&labels),
        annotations: Some(&labels),
        platform: Some("linux/arm/v7".into()),
    };
    assert_eq!(
        FILTER
            .compile("a")
            .unwrap()
            .matches(&[facts, Facts::default()])
            .unwrap(),
        [true, true]
    );
}

#[test]
fn an_expression_that_is_refused_is_the_clients_mistake() {
    let error = fails("wasm.odds==R");
    assert_eq!(error.class(), Class::InvalidArgument);
    assert_eq!(
        error.to_string(),
        "filters: the filter plugin odds does not take the expression \"R\": the sky fell"
    );
}

#[test]
fn endless_loops_are_stopped() {
    for filter in ["wasm.odds==L", "wasm.odds==l"] {
        let (failure, reason) = failure(filter);
        assert_eq!(failure, PluginFailure::Limit);
        assert!(reason.contains("0.2 s of CPU time"), "{reason}");
    }
    assert_eq!(fails("wasm.odds==l").class(), Class::ResourceExhausted);
}

#[test]
fn memory_and_stack_are_bounded() {
    let (memory, reason) = failure("wasm.odds==m");
    assert_eq!(memory, PluginFailure::Limit);
    assert!(reason.contains("bytes of memory"), "{reason}");
    let (stack, reason) = failure("wasm.odds==o");
    assert_eq!(stack, PluginFailure::Crash);
    assert!(reason.contains("stack"), "{reason}");
}

#[test]
fn a_crash_ends_one_list_with_the_plugins_last_words() {
    for filter in ["wasm.odds==T", "wasm.odds==t"] {
        let (failure, reason) = failure(filter);
        assert_eq!(failure, PluginFailure::Crash);
        assert!(reason.contains("the sky fell"), "{reason}");
    }
}

#[test]
fn a_refusal_is_no_list() {
    let (failure, reason) = failure("wasm.odds==r");
    assert_eq!(
        (failure, reason.as_str()),
        (PluginFailure::Refused, "the sky fell")
    );
    assert_eq!(fails("wasm.odds!=r").class(), Class::InvalidArgument);
}

#[test]
fn an_answer_that_fits_no_batch_is_no_list() {
    for filter in ["wasm.odds==s", "wasm.odds==b", "wasm.odds!=b", "wasm.odds==p"] {
        assert_eq!(failure(filter).0, PluginFailure::Answer, "{filter}");
    }
}

#[test]
fn one_expression_can_be_matched_at_the_same_time_and_after_a_crash() {
    let compiled = FILTER.compile("a").unwrap();
    let facts = vec![Facts::default(); 50];
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(compiled.matches(&facts).unwrap(), [true; 50]);
                }
            });
        }
        scope.spawn(|| {
            let crashing = FILTER.compile("t").unwrap();
            assert!(crashing.matches(&facts).is_err());
            assert!(crashing.matches(&facts).is_err());
        });
    });
}

#[test]
fn it_describes_itself_and_needs_no_manifest() {
    assert_eq!(
        (FILTER.name(), FILTER.version(), FILTER.info().example.as_str()),
        ("odds", "0.1.0", "f")
    );
    assert!(!FILTER.manifest().declared);
    assert_eq!(
        FILTER.imports(),
        ["transom:common/types@0.1.0", "transom:common/log@0.1.0"]
    );
    assert_eq!(FILTER.limits().cpu, Duration::from_millis(200));
    let report = inspect(&filter_guest("odds"));
    assert_eq!(report.problems, Vec::<String>::new());
}

#[test]
fn a_name_that_no_filter_can_have_is_refused() {
    let error = HOST.load_filter_bytes(&filter_guest("Odds"), None).unwrap_err();
    assert!(matches!(error, LoadError::Info(_)), "{error}");
}

#[test]
fn a_processor_is_no_filter_and_a_filter_no_processor() {
    let processor = guests::guest("pass");
    assert!(matches!(
        HOST.load_filter_bytes(&processor, None),
        Err(LoadError::MissingExport { .. })
    ));
    assert!(matches!(
        HOST.load_bytes(&filter_guest("odds"), None),
        Err(LoadError::MissingExport { .. })
    ));
    assert!(matches!(
        HOST.load_filter_bytes(&guests::spy(), None),
        Err(LoadError::MissingExport { .. })
    ));
}

#[test]
fn a_forbidden_import_is_named() {
    let Err(LoadError::Forbidden(imports)) = HOST.load_filter_bytes(&filter_spy(), None) else {
        panic!("it was loaded")
    };
    assert_eq!(imports.len(), 1);
    assert_eq!(imports[0].interface, "evil:net/sockets@1.0.0");
}

fn manifest(change: impl Fn(&str) -> String) -> Result<Filter, LoadError> {
    let manifest = Manifest::parse(&change(MANIFEST), Path::new("plugin.toml"))?;
    HOST.load_filter_bytes(&filter_guest("odds"), Some(manifest))
}

#[test]
fn a_manifest_must_agree() {
    manifest(str::to_owned).unwrap();
    let says = |from: &str, to: &str| manifest(|text| text.replace(from, to)).unwrap_err().to_string();
    assert!(says("\"odds\"", "\"evens\"").contains("name is evens, the component says odds"));
    assert!(says("0.1.0\"\nkind", "0.1.1\"\nkind").contains("version is 0.1.1"));
    assert!(says("label-filter@0.1.0", "label-filter@0.2.0").contains("update the host"));
    assert!(says("transom:filter/label-filter", "transom:processor/processor").contains("label-filter"));
    let converts = "\"filter\"\nconverts = [{ accepts = \"a/b\", returns = \"a/b\" }]";
    assert!(says("\"filter\"", converts).contains("a filter converts nothing"));
    assert!(says("\"filter\"", "\"processor\"").contains("missing field `converts`"));
    assert!(says("\"filter\"", "\"filter\"\ncapabilities = [\"net\"]").contains("the records of a list"));
    let config = |text: &str| format!("{text}[config.x]\ntype = \"text\"\ndoc = \"\"\n");
    assert!(
        manifest(config)
            .unwrap_err()
            .to_string()
            .contains("no configuration")
    );
    let limits = |text: &str| format!("{text}[limits]\nmemory_mib = 8\ncpu_seconds = 3\n");
    let limited = manifest(limits).unwrap();
    let cpu = Duration::from_secs(3);
    let limits = limited.limits();
    assert_eq!((limits.memory, limits.cpu, limits.stall), (8 << 20, cpu, cpu));
}

#[test]
fn a_set_loads_folders_and_gives_back_what_it_cannot_use() {
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str, guest: &[u8], manifest: &str| {
        let folder = root.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("odds.wasm"), guest).unwrap();
        fs::write(folder.join("plugin.toml"), manifest).unwrap();
        folder
    };
    let paths: Vec<PathBuf> = vec![
        folder("good", &filter_guest("odds"), MANIFEST),
        folder("twice", &filter_guest("odds"), MANIFEST),
        folder("processor", &guests::guest("pass"), MANIFEST),
        root.path().join("missing"),
    ];
    let (set, refused) = FilterSet::load(&HOST, &paths);
    assert_eq!(set.names(), ["odds"]);
    assert_eq!(set.iter().count(), 1);
    assert!(set.find("odds").is_some() && set.find("other").is_none());
    let why: Vec<&LoadError> = refused.iter().map(|refused| &refused.error).collect();
    assert!(
        matches!(
            why.as_slice(),
            [
                LoadError::Twice(_),
                LoadError::MissingExport { .. },
                LoadError::Read { .. }
            ]
        ),
        "{why:?}"
    );
    assert_eq!(refused[0].path, paths[1]);
}

#[test]
fn a_describe_that_does_not_end_is_refused_at_load() {
    let text = filter_guest::text("odds");
    let describe = "#describe\") (result i32)";
    assert!(text.contains(describe));
    let endless = text.replace(describe, &format!("{describe} (call $forever)"));
    let endless = filter_guest::component(&endless, "");
    let error = HOST.load_filter_bytes(&endless, None).unwrap_err();
    assert!(matches!(error, LoadError::Describe(Fault::Cpu { .. })), "{error}");
}
