//! A registry that asks policies before it takes what is pushed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::filter_guest::filter_guest;
use crate::image::RawImage;
use crate::serving::Serving;
use crate::support::{Done, REFUSED, USAGE, run};

fn config(folder: &Path, plugin: &str, expression: &str) -> PathBuf {
    let path = folder.join("registry.toml");
    let text = format!(
        "[storage]\ndriver = \"inmemory\"\n[admission.policies.ours]\nplugin = \"{plugin}\"\nexpression = '''{expression}'''\n"
    );
    fs::write(&path, text).unwrap();
    path
}

/// A registry in memory with a policy and the plugin that understands it.
fn start(folder: &Path, plugin: (&str, &Path), expression: &str) -> Serving {
    let (name, plugin) = plugin;
    let config = config(folder, name, expression);
    let listen = OsStr::new("127.0.0.1:0");
    Serving::with([
        OsStr::new("--listen"),
        listen,
        OsStr::new("--config"),
        config.as_os_str(),
        OsStr::new("--plugin"),
        plugin.as_os_str(),
    ])
}

fn push(serving: &Serving, layout: &Path, name: &str) -> Done {
    let source = format!("oci:{}", layout.display());
    run([
        "image",
        "copy",
        &source,
        &format!("docker://{}/{name}", serving.address),
    ])
}

#[test]
fn a_push_that_a_policy_does_not_want_is_refused_with_the_reason() {
    let Some(component) = transom_tests::plugin("cel") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let image = RawImage::plain(&folder.path().join("image"));
    let expression = "kind != \"image\"\n || name.startsWith(\"team/\") && platform.startsWith(\"linux/\")";
    let plugin = component.parent().unwrap();
    let serving = start(folder.path(), ("cel", plugin), expression);
    push(&serving, &image.layout, "team/app:v1").ok();
    let texts = ["other/app:v1 is refused: policy \"ours\" does not hold", "(cel)"];
    push(&serving, &image.layout, "other/app:v1").fails(REFUSED, &texts);
    let tags = run(["registry", "ls-tags", &format!("{}/team/app", serving.address)]).ok();
    assert_eq!(tags, "v1\n");
}

#[test]
fn a_plugin_that_crashes_or_does_not_end_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let image = RawImage::plain(&folder.path().join("image"));
    let plugin = folder.path().join("plugin");
    fs::create_dir(&plugin).unwrap();
    fs::write(plugin.join("fail.wasm"), filter_guest("fail")).unwrap();
    let manifest = "name = \"fail\"\nversion = \"0.1.0\"\nkind = \"filter\"\nworld = \"transom:filter/label-filter@0.1.0\"\n";
    fs::write(plugin.join("plugin.toml"), manifest).unwrap();
    for (expression, text) in [("t", "the sky fell"), ("l", "CPU"), ("a", "")] {
        let serving = start(folder.path(), ("fail", &plugin), expression);
        let pushed = push(&serving, &image.layout, "a/b:v1");
        match text {
            "" => drop(pushed.ok()),
            text => drop(pushed.fails(REFUSED, &["policy \"ours\": ", text])),
        }
    }
}

#[test]
fn a_policy_without_its_plugin_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path(), "cel", "true");
    run(["registry", "serve", "--config", path.to_str().unwrap()])
        .fails(USAGE, &["admission.policies.ours", "cel"]);
}
