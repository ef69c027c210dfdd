//! What may be pushed.

use std::collections::BTreeMap;
use std::sync::Arc;

use transom_meta::filter::{
    Compiled, Facts, FilterError, FilterPlugin, FilterSource, PluginFailure, Plugins,
};
use transom_registry::admission::{Admission, Expression};
use transom_registry::config::Config;
use transom_registry::{Options, Settings, admission};
use transom_storage::memory::Memory;

use crate::serving::{INDEX, MANIFEST, Serving, image, push_blob, put_manifest, sha256};

/// A plugin that takes expressions of the form `fact=value`, and crashes on `crash`.
struct Plain;

struct Wanted(String);

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
        Ok(Box::new(Wanted(expression.to_owned())))
    }
}

impl Compiled for Wanted {
    fn matches(&self, batch: &[Facts<'_>]) -> Result<Vec<bool>, FilterError> {
        let value = |facts: &Facts<'_>, key: &str| match key {
            "kind" => Some(facts.kind.to_owned()),
            "name" => facts.name.as_ref().map(ToString::to_string),
            "digest" => facts.digest.as_ref().map(ToString::to_string),
            "type" => facts.media_type.as_ref().map(ToString::to_string),
            "size" => facts.size.map(|size| size.to_string()),
            "platform" => facts.platform.as_ref().map(ToString::to_string),
            key => {
                let pairs = facts.labels.into_iter().chain(facts.annotations).flatten();
                let mut pairs = pairs.filter(|(known, _)| *known == key);
                pairs.next().map(|(_, value)| value.clone())
            }
        };
        let (key, wanted) = self.0.split_once('=').ok_or_else(|| FilterError::Plugin {
            plugin: "plain".to_owned(),
            failure: PluginFailure::Crash,
            reason: "out of luck".to_owned(),
        })?;
        Ok(batch
            .iter()
            .map(|facts| value(facts, key).as_deref() == Some(wanted))
            .collect())
    }
}

fn settings(expressions: &[(&str, &str)]) -> admission::Settings {
    let policy = |(name, expression): &(&str, &str)| {
        let expression = Expression {
            plugin: "plain".to_owned(),
            expression: (*expression).to_owned(),
        };
        ((*name).to_owned(), expression)
    };
    admission::Settings {
        policies: expressions.iter().map(policy).collect(),
    }
}

fn serving(expressions: &[(&str, &str)]) -> Serving {
    let plugins = Plugins::new(Arc::new(Plain));
    let settings = Settings {
        admission: Admission::new(&settings(expressions), &plugins).unwrap(),
        ..Settings::default()
    };
    Serving::on(Arc::new(Memory::default()), Options::default(), settings)
}

/// An image with a configuration, whose blobs are pushed.
fn labelled(serving: &Serving, config: &str, extra: &str) -> String {
    let mut client = serving.client();
    let manifest = image(&mut client, "a", "layer", extra);
    let digest = push_blob(&mut client, "a", config.as_bytes());
    let (old, size) = (sha256(b"{}"), config.len());
    let manifest = manifest.replace(
        &format!("\"{old}\",\"size\":2"),
        &format!("\"{digest}\",\"size\":{size}"),
    );
    assert!(manifest.contains(&digest), "{manifest}");
    manifest
}

const CONFIG: &str = r#"{"os":"linux","architecture":"aarch64","config":{"Labels":{"team":"ours"}}}"#;

#[test]
fn a_policy_sees_everything_that_is_known() {
    let plain = Serving::memory();
    let manifest = labelled(&plain, CONFIG, r#","annotations":{"note":"x"}"#);
    let (digest, size) = (sha256(manifest.as_bytes()), manifest.len());
    for (expression, holds) in [
        ("kind=image".to_owned(), true),
        ("name=a:v1".to_owned(), true),
        ("name=a:v2".to_owned(), false),
        (format!("digest={digest}"), true),
        (format!("type={MANIFEST}"), true),
        (format!("size={size}"), true),
        ("platform=linux/arm64".to_owned(), true),
        ("platform=linux/amd64".to_owned(), false),
        ("team=ours".to_owned(), true),
        ("note=x".to_owned(), true),
        ("note=y".to_owned(), false),
    ] {
        let serving = serving(&[("ours", &expression)]);
        labelled(&serving, CONFIG, "");
        let mut client = serving.client();
        let answer = put_manifest(&mut client, "a", "v1", MANIFEST, &manifest);
        if holds {
            answer.expect(201);
            continue;
        }
        let refused = answer.expect(403);
        assert_eq!(refused.code(), "DENIED");
        let text = refused.json()["errors"][0]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        let wanted = format!("a:v1 is refused: policy \"ours\" does not hold: {expression} (plain)");
        assert_eq!(text, wanted);
        client.ask("GET", "/v2/a/manifests/v1").expect(404);
        client
            .ask("GET", &format!("/v2/a/manifests/{digest}"))
            .expect(404);
    }
}

#[test]
fn every_name_is_asked_about() {
    let serving = serving(&[("first", "kind=image"), ("ours", "name=a:good")]);
    let manifest = labelled(&serving, CONFIG, "");
    let mut client = serving.client();
    put_manifest(&mut client, "a", "good", MANIFEST, &manifest).expect(201);
    put_manifest(&mut client, "a", "bad", MANIFEST, &manifest).expect(403);
    let digest = sha256(manifest.as_bytes());
    put_manifest(&mut client, "a", &digest, MANIFEST, &manifest).expect(403);
    let both = format!("{digest}?tag=good&tag=bad");
    put_manifest(&mut client, "a", &both, MANIFEST, &manifest).expect(403);
    let one = format!("{digest}?tag=good");
    put_manifest(&mut client, "a", &one, MANIFEST, &manifest).expect(201);
}

#[test]
fn whoever_cannot_judge_refuses() {
    let serving = serving(&[("ours", "crash")]);
    let manifest = labelled(&serving, CONFIG, "");
    let mut client = serving.client();
    let refused = put_manifest(&mut client, "a", "v1", MANIFEST, &manifest).expect(403);
    let text = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(text.contains("out of luck"), "{text}");
    // Nobody could see the labels of a configuration that comes later, or that is none.
    let missing = manifest.replace(&sha256(CONFIG.as_bytes()), &sha256(b"missing"));
    let refused = put_manifest(&mut client, "a", "v1", MANIFEST, &missing).expect(400);
    assert_eq!(refused.code(), "MANIFEST_BLOB_UNKNOWN");
    let odd = labelled(&serving, r#"{"config":7}"#, "");
    let refused = put_manifest(&mut client, "a", "v1", MANIFEST, &odd).expect(400);
    assert_eq!(refused.code(), "MANIFEST_INVALID");
}

#[test]
fn indexes_and_artifacts_are_told_apart() {
    let serving = serving(&[("ours", "kind=index")]);
    let mut client = serving.client();
    let index = r#"{"schemaVersion":2,"manifests":[]}"#;
    put_manifest(&mut client, "a", "v1", INDEX, index).expect(201);
    let artifact = image(&mut client, "a", "layer", "").replace("image.config.v1", "thing.config.v1");
    put_manifest(&mut client, "a", "v1", MANIFEST, &artifact).expect(403);
}

#[test]
fn a_policy_that_nobody_understands_is_a_mistake() {
    let text = "[storage]\ndriver = \"inmemory\"\n[admission.policies.ours]\nplugin = \"plane\"\nexpression = \"a=b\"\n";
    let config = Config::parse(text).unwrap();
    let expected = BTreeMap::from([(
        "ours".to_owned(),
        Expression {
            plugin: "plane".to_owned(),
            expression: "a=b".to_owned(),
        },
    )]);
    assert_eq!(config.admission.policies, expected);
    let error = Admission::new(&config.admission, &Plugins::new(Arc::new(Plain))).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("admission.policies.ours: "), "{text}");
    assert!(text.contains("plain"), "{text}");
}
