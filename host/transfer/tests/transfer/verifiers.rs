//! Who is asked before an image is pulled, and what is left of one that is refused: nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use transom_meta::Class;
use transom_meta::filter::{Compiled, Facts, FilterError, FilterPlugin, FilterSource, Plugins};
use transom_meta::policy::{Policies, Policy};
use transom_transfer::verify::{Programs, PullPolicies, Verifier};
use transom_transfer::{ImageStore, TransferError, Transfers, Verifiers};

use crate::fake::Fake;
use crate::pulls::{client, offer, registry};
use crate::stage::{Sample, Stage, caller, digest, refused};

fn program(folder: &Path, name: &str, script: &str) {
    transom_tests::scripts::script(&folder.join(name), script);
}

fn programs(folder: &Path, most: Option<usize>) -> Arc<dyn Verifier> {
    Arc::new(Programs {
        folder: folder.to_path_buf(),
        most,
        timeout: Duration::from_secs(60),
    })
}

async fn pull(stage: &Stage, fake: &Fake, verifiers: Vec<Arc<dyn Verifier>>) -> Result<(), TransferError> {
    let transfers = Transfers::new(stage.metadata.clone(), None).verified_by(Verifiers(verifiers));
    let (who, into) = (caller(), ImageStore::named("app:v1"));
    let from = registry(fake, &client(3), "v1");
    transfers.pull(&who, &from, &into, Arc::new(())).await.map(drop)
}

async fn stage() -> (Stage, Fake, Sample) {
    let fake = Fake::start().await;
    let sample = Sample::new("linux/amd64", &["a"]);
    offer(&fake, &sample, "v1");
    (Stage::new().await, fake, sample)
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_asked_by_containerds_contract() {
    let (stage, fake, sample) = stage().await;
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let bin = folder.path().join("bin");
    // Without a folder, everything is allowed; with an empty one as well.
    pull(&stage, &fake, vec![programs(&bin, None)]).await.unwrap();
    std::fs::create_dir(&bin).unwrap();
    pull(&stage, &fake, vec![programs(&bin, None)]).await.unwrap();
    program(
        &bin,
        "a",
        &format!(
            "printf '%s\\n' \"$@\" > {0}; cat >> {0}; echo fine",
            seen.display()
        ),
    );
    pull(&stage, &fake, vec![programs(&bin, None)]).await.unwrap();
    let seen = std::fs::read_to_string(&seen).unwrap();
    let manifest = digest(&sample.manifest);
    let name = format!("{}/team/app:v1", fake.address);
    let mut lines = seen.lines();
    let arguments = [
        "-name",
        &name,
        "-digest",
        manifest.as_str(),
        "-stdin-media-type",
        "application/vnd.oci.descriptor.v1+json",
    ];
    assert!(arguments.into_iter().eq(lines.by_ref().take(6)), "{seen}");
    let descriptor: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
    assert_eq!(descriptor["digest"], manifest.as_str());
    assert_eq!(descriptor["size"], sample.manifest.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_refuses_or_fails_is_enough() {
    let (stage, fake, _) = stage().await;
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), "a", "exit 0");
    program(folder.path(), "b", "echo not signed; exit 3");
    let (class, text) = refused(pull(&stage, &fake, vec![programs(folder.path(), None)]).await);
    assert_eq!(class, Class::PermissionDenied);
    assert!(
        text.starts_with("image verifier bindir blocked pull of "),
        "{text}"
    );
    assert!(
        text.ends_with("for reason: verifier b rejected image (exit code 3): not signed"),
        "{text}"
    );
    assert!(stage.content().await.is_empty(), "nothing of it was fetched");
    assert!(fake.lines().iter().all(|line| line.starts_with("HEAD ")));
    // Those past the limit are not asked.
    pull(&stage, &fake, vec![programs(folder.path(), Some(1))])
        .await
        .unwrap();
    program(folder.path(), "b", "kill -9 $$");
    let (class, text) = refused(pull(&stage, &fake, vec![programs(folder.path(), None)]).await);
    assert_eq!(class, Class::FailedPrecondition);
    assert!(
        text.contains("image verifier bindir returned error: failed to call verifier b"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_talks_without_end_is_stopped() {
    let (stage, fake, _) = stage().await;
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), "a", "while :; do echo and another thing; done");
    let endless = Programs {
        folder: folder.path().to_path_buf(),
        most: None,
        timeout: Duration::from_millis(300),
    };
    let (class, text) = refused(pull(&stage, &fake, vec![Arc::new(endless)]).await);
    assert_eq!(class, Class::FailedPrecondition);
    assert!(text.contains("it did not end in"), "{text}");
}

/// A plugin whose expressions are `label=value`, `annotation:key` and `name:part`.
struct Plain;

struct Expression(String);

impl FilterSource for Plain {
    fn find(&self, name: &str) -> Option<Arc<dyn FilterPlugin>> {
        (name == "plain").then(|| Arc::new(Plain) as Arc<dyn FilterPlugin>)
    }

    fn names(&self) -> Vec<String> {
        vec!["plain".to_owned()]
    }
}

impl FilterPlugin for Plain {
    fn compile(&self, expression: &str) -> Result<Box<dyn Compiled>, FilterError> {
        Ok(Box::new(Expression(expression.to_owned())))
    }
}

impl Compiled for Expression {
    fn matches(&self, batch: &[Facts<'_>]) -> Result<Vec<bool>, FilterError> {
        let holds = |facts: &Facts<'_>| match self.0.split_once([':', '=']) {
            Some(("annotation", key)) => facts.annotations.is_some_and(|all| all.contains_key(key)),
            Some(("name", part)) => facts.name.as_ref().is_some_and(|name| name.contains(part)),
            Some((key, value)) => facts
                .labels
                .is_some_and(|all| all.get(key).is_some_and(|is| is == value)),
            None => facts.media_type.as_deref() == Some(&self.0),
        };
        Ok(batch.iter().map(holds).collect())
    }
}

fn policies(expression: &str) -> Vec<Arc<dyn Verifier>> {
    let policy = Policy {
        name: "ours".to_owned(),
        plugin: "plain".to_owned(),
        expression: expression.to_owned(),
    };
    let policies = Policies::compile(vec![policy], &Plugins::new(Arc::new(Plain))).unwrap();
    vec![Arc::new(PullPolicies(policies))]
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_see_name_type_annotations_and_labels() {
    let fake = Fake::start().await;
    let config = serde_json::json!({ "os": "linux", "architecture": "amd64", "config": { "Labels": { "team": "\"ours\"" } },
        "rootfs": { "type": "layers", "diff_ids": [] } })
    .to_string();
    fake.add_blob(config.clone());
    let kind = transom_oci::media_type::MANIFEST;
    let config = crate::stage::descriptor(transom_oci::media_type::IMAGE_CONFIG, config.as_bytes());
    let manifest = serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [],
        "annotations": { "vendor": "us" } })
    .to_string();
    fake.add_manifest("team/app", "v1", kind, &manifest);
    for (expression, holds) in [
        ("name:team/app", true),
        ("name:other/app", false),
        (kind, true),
        ("annotation:vendor", true),
        ("annotation:source", false),
        ("team=\"ours\"", true),
        ("team=theirs", false),
    ] {
        let stage = Stage::new().await;
        let pulled = pull(&stage, &fake, policies(expression)).await;
        assert_eq!(pulled.is_ok(), holds, "{expression}: {pulled:?}");
        if !holds {
            let (class, text) = refused(pulled);
            assert_eq!(class, Class::PermissionDenied);
            assert!(
                text.contains(&format!("policy \"ours\" does not hold: {expression} (plain)")),
                "{text}"
            );
            assert!(stage.content().await.is_empty());
        }
    }
}

#[test]
fn a_policy_for_a_plugin_that_is_not_there_is_no_policy() {
    let policy = Policy {
        name: "ours".to_owned(),
        plugin: "plane".to_owned(),
        expression: "a".to_owned(),
    };
    let (name, error) = Policies::compile(vec![policy], &Plugins::new(Arc::new(Plain))).unwrap_err();
    assert_eq!(name, "ours");
    assert!(error.to_string().contains("plain"), "{error}");
}
