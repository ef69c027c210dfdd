//! Lists of images and leases that a filter plugin decides about.

use std::sync::Arc;

use transom_content::Store;
use transom_meta::filter::{
    Compiled, Facts, FilterError, FilterPlugin, FilterSource, PluginFailure, Plugins,
};
use transom_meta::kv::memory::Memory;
use transom_meta::{Class, Labels, Metadata, Options};

use crate::records::{caller, image, labels, namespace, refused, texts};

/// The plugin `has`: its expression is a fact that a record must have, as text. A record with the label `broken` crashes it.
struct Has;

struct Wanted(String);

impl FilterSource for Has {
    fn find(&self, name: &str) -> Option<Arc<dyn FilterPlugin>> {
        (name == "has").then(|| Arc::new(Has) as Arc<dyn FilterPlugin>)
    }

    fn names(&self) -> Vec<String> {
        texts(["has"])
    }
}

impl FilterPlugin for Has {
    fn compile(&self, expression: &str) -> Result<Box<dyn Compiled>, FilterError> {
        Ok(Box::new(Wanted(expression.to_owned())))
    }
}

impl Compiled for Wanted {
    fn matches(&self, batch: &[Facts<'_>]) -> Result<Vec<bool>, FilterError> {
        let matches = |facts: &Facts<'_>| {
            if facts.labels.is_some_and(|labels| labels.contains_key("broken")) {
                return Err(FilterError::Plugin {
                    plugin: "has".to_owned(),
                    failure: PluginFailure::Crash,
                    reason: "out of luck".to_owned(),
                });
            }
            let size = facts.size.map_or_else(String::new, |size| size.to_string());
            let name = facts.name.as_deref().unwrap_or_default();
            let digest = facts.digest.as_deref().unwrap_or_default();
            let label = facts
                .labels
                .and_then(|labels| labels.get("a"))
                .map(String::as_str);
            let times = facts.created.is_some() && facts.updated.is_some() == (facts.kind == "image");
            let facts = [facts.kind, name, digest, &size, label.unwrap_or_default()];
            Ok(times && facts.contains(&self.0.as_str()))
        };
        batch.iter().map(matches).collect()
    }
}

async fn metadata() -> (Metadata, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = Store::open(dir.path().join("content")).unwrap();
    let options = Options {
        plugins: Plugins::new(Arc::new(Has)),
        ..Options::default()
    };
    let metadata = Metadata::open(Arc::new(Memory::new()), blobs, options).await;
    (metadata.unwrap(), dir)
}

#[tokio::test]
async fn images_are_listed_by_a_plugin_and_native_terms_together() {
    let (metadata, _dir) = metadata().await;
    for number in 0..700 {
        let mut new = image(&format!("image{number}"));
        new.labels = labels([("a", &(number % 7).to_string())]);
        metadata.create_image(&caller(), new, None).await.unwrap();
    }
    for (filters, wanted) in [
        (texts(["wasm.has==image"]), 700),
        (texts(["wasm.has==image699"]), 1),
        (texts(["wasm.has==10"]), 700),
        (texts(["wasm.has==3"]), 100),
        (texts(["wasm.has!=3"]), 600),
        (texts(["wasm.has==3,name~=5$"]), 10),
        (texts(["wasm.has==3", "name==image0"]), 101),
        (texts(["wasm.has==nothing"]), 0),
    ] {
        let listed = metadata.images(&caller(), &filters).await.unwrap();
        assert_eq!(listed.len(), wanted, "{filters:?}");
    }
    let (class, text) = refused(metadata.images(&caller(), &texts(["wasm.hass==3"])).await);
    assert_eq!(class, Class::InvalidArgument);
    assert!(text.contains("hass"), "{text}");

    let mut broken = image("zz");
    broken.labels = labels([("broken", "1")]);
    metadata.create_image(&caller(), broken, None).await.unwrap();
    let (_, text) = refused(metadata.images(&caller(), &texts(["wasm.has==3"])).await);
    assert!(text.contains("plugin has failed: out of luck"), "{text}");
}

#[tokio::test]
async fn leases_are_listed_by_a_plugin() {
    let (metadata, _dir) = metadata().await;
    let name = namespace("testing");
    for id in ["one", "two"] {
        metadata.create_lease(&name, id, Labels::new()).await.unwrap();
    }
    let ids = async |filter: &str| -> Vec<String> {
        let listed = metadata.leases(&name, &texts([filter])).await.unwrap();
        listed.into_iter().map(|lease| lease.id).collect()
    };
    assert_eq!(ids("wasm.has==lease").await, ["one", "two"]);
    assert_eq!(ids("wasm.has==two").await, ["two"]);
    assert_eq!(ids("wasm.has!=two").await, ["one"]);
}
