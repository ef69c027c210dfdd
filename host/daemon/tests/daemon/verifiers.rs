//! Who is asked before the daemon pulls an image, as it is configured.

use std::path::Path;

use tonic::Code;
use transom_api::introspection::PluginsRequest;
use transom_api::introspection::introspection_client::IntrospectionClient;
use transom_api::transfer_types::RegistryResolver;
use transom_meta::policy::Policy;
use transomd::config::Config;
use transomd::shutdown::Shutdown;
use transomd::{Daemon, Failure};

use crate::registries::{IMPORTED, forget, imported, moved, named, registry, serve};
use crate::rig::{Rig, config, here, refused};
use crate::transfer_client::types;

fn policy(expression: &str) -> Policy {
    Policy {
        name: "ours".to_owned(),
        plugin: "cel".to_owned(),
        expression: expression.to_owned(),
    }
}

/// Pushes an image, forgets it, and pulls it again: that is what is asked about.
async fn round(rig: &Rig, tag: &str) -> Result<(), tonic::Status> {
    let name = format!("{}/team/app:{tag}", serve("", false).await);
    imported(rig).await;
    let remote = || registry(&name, RegistryResolver::default());
    moved(rig, types("ImageStore", &named(IMPORTED)), remote())
        .await
        .expect("pushed");
    forget(rig, IMPORTED).await;
    let into = types("ImageStore", &named(&name));
    moved(rig, remote(), into).await.map(drop)
}

async fn parts(rig: &Rig) -> Vec<String> {
    let request = PluginsRequest {
        filters: vec!["type==io.containerd.image-verifier.v1".to_owned()],
    };
    let mut client = IntrospectionClient::new(rig.channel.clone());
    let found = client.plugins(here(request)).await.expect("a list").into_inner();
    found.plugins.into_iter().map(|part| part.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_of_a_plugin_decides() {
    let Some(component) = transom_tests::needs::plugin("cel") else {
        return;
    };
    let plugins = tempfile::tempdir().expect("a temporary folder");
    let file = component.file_name().expect("a file");
    std::fs::copy(&component, plugins.path().join(file)).expect("a copy");
    let expression =
        "size > 100 && (name.endsWith(\"/team/app:v1\") || \"org.example.reviewed\" in annotations)";
    let rig = Rig::with(|config| {
        config.filters = vec![plugins.path().to_path_buf()];
        config.verifiers.policies = vec![policy(expression)];
    })
    .await;
    assert_eq!(parts(&rig).await, ["policy-ours"]);
    round(&rig, "v1").await.expect("pulled");
    let (code, text) = refused(round(&rig, "v2").await);
    assert_eq!(code, Code::PermissionDenied);
    assert!(text.contains("policy \"ours\" does not hold"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_in_the_folder_decides() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let program = folder.path().join("check");
    let script = |text: &str| transom_tests::scripts::script(&program, text);
    script("exit 0");
    let rig = Rig::with(|config| config.verifiers.bin_dir = Some(folder.path().to_path_buf())).await;
    assert_eq!(parts(&rig).await, ["bindir"]);
    round(&rig, "v1").await.expect("pulled");
    script("echo not today; exit 1");
    let (code, text) = refused(round(&rig, "v1").await);
    assert_eq!(code, Code::PermissionDenied);
    assert!(
        text.contains("verifier check rejected image (exit code 1): not today"),
        "{text}"
    );
}

#[tokio::test]
async fn a_daemon_without_a_policy_that_is_wanted_does_not_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut config = config(folder.path());
    config.verifiers.policies = vec![policy("true")];
    let opened = Daemon::open(config, Shutdown::default()).await;
    assert!(matches!(opened, Err(Failure::Policy { name, .. }) if name == "ours"));
}

#[test]
fn the_file_names_plugin_and_expression() {
    let text = "[verifiers]\nbin_dir = \"/bin/verifiers\"\nper_verifier_timeout = \"3s\"\n\
                [verifiers.policies.ours]\nplugin = \"cel\"\nexpression = 'a in b'\n\
                [transfer]\nconfig_path = [\"/etc/certs.d\"]\nmax_concurrent_downloads = 5\n";
    let places = transomd::places::Places::system();
    let config = Config::parse(text, &places).expect("a good file");
    let verifiers = &config.verifiers;
    assert_eq!(verifiers.bin_dir.as_deref(), Some(Path::new("/bin/verifiers")));
    assert_eq!(verifiers.policies, [policy("a in b")]);
    assert_eq!(config.transfer.max_concurrent_downloads, 5);
    assert_eq!(
        Config::parse(&config.to_text(), &places),
        Ok(config),
        "what is written can be read"
    );
    let mistakes = Config::parse("[verifiers.policies.ours]\nplugin = \"cel\"\n", &places);
    let mistakes = mistakes.expect_err("it lacks a key").to_string();
    assert!(mistakes.contains("needs the key expression"), "{mistakes}");
}
