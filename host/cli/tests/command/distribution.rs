//! Plugins as artifacts through the command: packaged, pushed, pulled, signed, installed; with our registry and with Debian's.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use transom_plugin::Manifest;
use transom_plugin::artifact::{Package, section};
use transom_tests::sample::Compression;

use crate::guests::guest;
use crate::image::{RawImage, RawLayer, Tar};
use crate::registry::Peer;
use crate::serving::Serving;
use crate::support::{DAMAGED, NOT_FOUND, REFUSED, USAGE, run, unpack};

/// What stands in the guest's memory, where its version is.
const VERSION_PLACE: &str = "guest0.1.0application";

/// The manifest of the guest in a version.
fn manifest(version: &str) -> String {
    format!(
        "name = \"guest\"\nversion = \"{version}\"\nkind = \"processor\"\nlicense = \"MIT\"\n\
         description = \"Passes\"\nworld = \"transom:processor/processor@0.1.0\"\nconverts = [{{ accepts = \
         \"application/vnd.oci.image.layer.v1.tar\", returns = \"application/vnd.oci.image.layer.v1.tar\" }}]\n"
    )
}

fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// The folder of the guest in a version.
pub(crate) fn plugin(folder: &Path, version: &str) -> String {
    let folder = folder.join(format!("guest-{version}"));
    fs::create_dir_all(&folder).unwrap();
    let place = VERSION_PLACE.replace("0.1.0", version);
    fs::write(
        folder.join("guest.wasm"),
        replaced(&guest("pass"), VERSION_PLACE, &place),
    )
    .unwrap();
    fs::write(folder.join("plugin.toml"), manifest(version)).unwrap();
    folder.display().to_string()
}

/// An artifact for a host that is newer than this one, in a layout.
fn from_the_future(folder: &Path, version: &str) -> String {
    let place = VERSION_PLACE.replace("0.1.0", version);
    let component = replaced(&guest("pass"), VERSION_PLACE, &place);
    let component = replaced(&component, "@0.1.0", "@0.9.0");
    artifact(
        &folder.join("future"),
        &component,
        &manifest(version).replace("@0.1.0", "@0.9.0"),
    )
}

/// The artifact of a plugin that cannot even say what it is, in a layout.
pub(crate) fn spoiled(folder: &Path, version: &str) -> String {
    artifact(
        &folder.join("spoiled"),
        &guest("describe-trap"),
        &manifest(version),
    )
}

/// An artifact that no command would make, since it cannot be loaded.
fn artifact(layout: &Path, component: &[u8], plugin_toml: &str) -> String {
    let component = section::with(component, plugin_toml).unwrap();
    let manifest = Manifest::parse(plugin_toml, Path::new("x")).unwrap();
    let package = Package::new(component, &manifest).unwrap();
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for (descriptor, bytes) in package.blobs() {
        fs::write(blobs.join(descriptor.digest.hex()), bytes).unwrap();
    }
    let index = json!({ "schemaVersion": 2, "manifests": [package.descriptor()] });
    fs::write(layout.join("index.json"), index.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    format!("oci:{}", layout.display())
}

/// Our registry on a folder of its own.
fn ours() -> (tempfile::TempDir, Serving) {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::files(folder.path());
    (folder, serving)
}

/// A key pair: the files of the private and of the public key.
fn keys(folder: &Path, name: &str) -> Option<[String; 2]> {
    let program = transom_tests::require_program("openssl")?;
    let private = folder.join(format!("{name}.pem")).display().to_string();
    let public = folder.join(format!("{name}.pub")).display().to_string();
    for arguments in [
        [
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
            &private,
        ]
        .as_slice(),
        &["ec", "-in", &private, "-pubout", "-out", &public],
    ] {
        assert!(
            Command::new(&program)
                .args(arguments)
                .output()
                .unwrap()
                .status
                .success()
        );
    }
    Some([private, public])
}

/// `transom --json plugin VERB …` against a registry without TLS.
fn plugin_json(arguments: &[&str]) -> Value {
    let mut all = vec!["--json", "plugin"];
    all.extend(arguments);
    run(all).json()
}

#[test]
fn a_package_is_one_file_with_everything_and_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let source = plugin(folder.path(), "0.1.0");
    let first = plugin_json(&["package", &source, &path("one.wasm")]);
    let again = plugin_json(&["package", &source, &path("two.wasm")]);
    assert_eq!(
        (&first["digest"], &first["version"]),
        (&again["digest"], &json!("0.1.0"))
    );
    let bytes = fs::read(path("one.wasm")).unwrap();
    assert_eq!(bytes, fs::read(path("two.wasm")).unwrap());
    // What was packaged is packaged already.
    let once_more = plugin_json(&["package", &path("one.wasm"), &path("three.wasm")]);
    assert_eq!(once_more["digest"], first["digest"]);

    let out = format!("oci:{}", path("layout"));
    assert_eq!(
        plugin_json(&["package", &source, &out])["digest"],
        first["digest"]
    );
    let index: Value = serde_json::from_slice(&fs::read(path("layout/index.json")).unwrap()).unwrap();
    let listed = &index["manifests"][0];
    assert_eq!(listed["digest"], first["digest"]);
    assert_eq!(
        listed["annotations"]["org.opencontainers.image.ref.name"],
        "0.1.0"
    );
    let inspected = plugin_json(&["inspect", &path("one.wasm")]);
    assert_eq!(inspected["name"], "guest");

    fs::write(folder.path().join("guest-0.1.0/plugin.toml"), manifest("0.2.0")).unwrap();
    run(["plugin", "package", &source, &path("x.wasm")]).fails(1, &["0.2.0", "0.1.0"]);
    assert!(!Path::new(&path("x.wasm")).exists());
}

/// Pushes, pulls, signs and checks at a registry.
fn round_trip(address: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let source = plugin(folder.path(), "0.1.0");
    let name = format!("{address}/plugins/guest");
    let pushed = plugin_json(&["push", &source, &name, "--plain-http"]);
    assert_eq!(pushed["place"], format!("{name}:0.1.0"));
    let packaged = plugin_json(&["package", &source, &path("packaged.wasm")]);
    assert_eq!(pushed["digest"], packaged["digest"]);

    let pulled = plugin_json(&["pull", &name, &path("pulled.wasm"), "--plain-http"]);
    assert_eq!(pulled["digest"], packaged["digest"]);
    assert_eq!(
        fs::read(path("pulled.wasm")).unwrap(),
        fs::read(path("packaged.wasm")).unwrap()
    );
    let by_tag = format!("{name}:0.1.0");
    plugin_json(&["pull", &by_tag, &path("folder"), "--plain-http"]);
    assert_eq!(
        fs::read_to_string(path("folder/plugin.toml")).unwrap(),
        manifest("0.1.0")
    );
    run(["plugin", "check", &path("folder")]).ok();

    let Some([private, public]) = keys(folder.path(), "ours") else {
        return;
    };
    let verify = ["plugin", "verify", &by_tag, "--key", &public, "--plain-http"];
    run(verify).fails(REFUSED, &["is not signed"]);
    let sign = ["sign", &by_tag, "--key", &private, "--plain-http"];
    assert_eq!(plugin_json(&sign)["alreadySigned"], false);
    assert_eq!(plugin_json(&sign)["alreadySigned"], true);
    assert_eq!(
        run([&["--json"], &verify[..]].concat()).json()["keys"],
        json!([&public])
    );
    let other = keys(folder.path(), "others").unwrap();
    run(["plugin", "verify", &by_tag, "--key", &other[1], "--plain-http"])
        .fails(REFUSED, &["none of the 1 signatures", "trusted key"]);

    // Into a layout, and out of it again, with the signature.
    let layout = format!("oci:{}", path("layout"));
    plugin_json(&["pull", &by_tag, &layout, "--plain-http"]);
    run(["plugin", "verify", &layout, "--key", &public]).ok();
    let copy = format!("{address}/copies/guest:x");
    plugin_json(&["push", &layout, &copy, "--plain-http"]);
    run(["plugin", "verify", &copy, "--key", &public, "--plain-http"]).ok();
    plugin_json(&["sign", &layout, "--key", &other[0]]);
    for key in [&public, &other[1]] {
        run(["plugin", "verify", &layout, "--key", key]).ok();
    }
}

#[test]
fn a_plugin_goes_through_our_registry() {
    let (_folder, registry) = ours();
    round_trip(&registry.address);
}

#[test]
fn a_plugin_goes_through_debians_registry() {
    if let Some(peer) = Peer::start("") {
        round_trip(&peer.address);
    }
}

#[test]
fn skopeo_carries_a_plugin_as_it_is() {
    let Some(skopeo) = transom_tests::require_program("skopeo") else {
        return;
    };
    let (_folder, registry) = ours();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let layout = format!("oci:{}", path("layout"));
    let packaged = plugin_json(&["package", &plugin(folder.path(), "0.1.0"), &layout]);
    let name = format!("{}/guest:0.1.0", registry.address);
    let copy = Command::new(skopeo)
        .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
        .args([format!("{layout}:0.1.0"), format!("docker://{name}")])
        .output()
        .unwrap();
    assert!(copy.status.success(), "{}", String::from_utf8_lossy(&copy.stderr));
    let pulled = plugin_json(&["pull", &name, &path("pulled.wasm"), "--plain-http"]);
    assert_eq!(pulled["digest"], packaged["digest"]);
}

#[test]
fn an_image_or_a_name_without_a_host_is_no_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let layer = RawLayer::new(&Tar::new().file("a", b"b").end(), Compression::None);
    let image = RawImage::write(&folder.path().join("image"), &[layer]);
    let image = format!("oci:{}", image.layout.display());
    let plugins = folder.path().join("plugins").display().to_string();
    let install = |source: &str| run(["plugin", "install", source, "--plugins", &plugins]);
    install(&image).fails(REFUSED, &["no plugin", "application/wasm"]);
    install("scan").fails(NOT_FOUND, &["begins with a host"]);
    install("./nothing.wasm").fails(NOT_FOUND, &["nothing.wasm"]);
    run([
        "plugin",
        "install",
        &image,
        "--plugins",
        &plugins,
        "--range",
        "^1",
    ])
    .fails(USAGE, &["without a tag"]);
    run(["plugin", "sign", &plugin(folder.path(), "0.1.0"), "--key", "x"]).fails(NOT_FOUND, &["x"]);
}

#[test]
fn the_newest_version_that_runs_here_is_installed() {
    let (_folder, registry) = ours();
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins").display().to_string();
    let name = format!("{}/guest", registry.address);
    for version in ["0.1.0", "0.2.0", "1.0.0"] {
        plugin_json(&["push", &plugin(folder.path(), version), &name, "--plain-http"]);
    }
    let future = from_the_future(folder.path(), "1.1.0");
    plugin_json(&["push", &future, &name, "--plain-http"]);
    let install = |source: &str, more: &[&str]| {
        let mut all = vec![
            "--json",
            "plugin",
            "install",
            source,
            "--plugins",
            &plugins,
            "--plain-http",
        ];
        all.extend(more);
        run(all)
    };
    let done = install(&name, &["--range", "^0.1"]).json();
    assert_eq!(
        (&done["version"], &done["change"]),
        (&json!("0.1.0"), &json!("installed"))
    );
    let done = install(&name, &[]).json();
    assert_eq!(
        (&done["version"], &done["change"]),
        (&json!("1.0.0"), &json!("replaced"))
    );
    assert_eq!(
        install(&name, &["--range", "=1.0.0"]).json()["change"],
        "unchanged"
    );
    let message = run([
        "plugin",
        "install",
        &name,
        "--plugins",
        &plugins,
        "--plain-http",
        "--range",
        "^1.1",
    ]);
    message.fails(
        1,
        &["no version of", "1.1.0", "built for transom:", "update the host"],
    );
    let message = run([
        "plugin",
        "install",
        &name,
        "--plugins",
        &plugins,
        "--plain-http",
        "--range",
        "^7",
    ]);
    message.fails(NOT_FOUND, &["no version in \"^7\"", "0.2.0"]);
    // By its tag, too, it is refused.
    let tagged = format!("{name}:1.1.0");
    let message = run([
        "plugin",
        "install",
        &tagged,
        "--plugins",
        &plugins,
        "--plain-http",
    ]);
    message.fails(1, &["update the host"]);

    let listed = plugin_json(&["installed", "--plugins", &plugins]);
    assert_eq!(
        (&listed["version"], &listed["previous"]["version"]),
        (&json!("1.0.0"), &json!("0.1.0"))
    );
    assert_eq!(listed["source"], format!("{name}:1.0.0"));
    let text = run(["plugin", "installed", "--plugins", &plugins]).ok();
    assert!(text.contains("guest") && text.contains("processor"), "{text}");

    // Elsewhere, just what the lock file says, although the tag stands for something else now.
    let lock = format!("{plugins}/plugins.lock");
    let changed = plugin(folder.path(), "1.0.0");
    fs::write(
        format!("{changed}/plugin.toml"),
        manifest("1.0.0") + "# changed\n",
    )
    .unwrap();
    let tagged = format!("{name}:1.0.0");
    plugin_json(&["push", &changed, &tagged, "--plain-http"]);
    let other = folder.path().join("other").display().to_string();
    let done = plugin_json(&["install", "--lock", &lock, "--plugins", &other, "--plain-http"]);
    assert_eq!(done["digest"], listed["digest"]);
    // Where the version is locked, that it has changed is noticed.
    let message = run(["plugin", "install", &tagged, "--plugins", &other, "--plain-http"]);
    message.fails(REFUSED, &["1.0.0 is locked to", &tagged]);
}

#[test]
fn installed_plugins_are_loaded_by_name_and_digest() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = folder.path().join("plugins").display().to_string();
    let tar = Tar::new().file("a", b"b").end();
    let image = RawImage::write(
        &folder.path().join("image"),
        &[RawLayer::new(&tar, Compression::None)],
    );
    let mut digests = Vec::new();
    for version in ["0.1.0", "0.2.0"] {
        let source = plugin(folder.path(), version);
        let done = plugin_json(&["install", &source, "--plugins", &plugins]);
        digests.push(done["digest"].as_str().unwrap().to_owned());
    }
    let targets = std::cell::Cell::new(0);
    let stage = |name: &str| {
        targets.set(targets.get() + 1);
        let target = folder.path().join(format!("root-{}", targets.get()));
        unpack(
            &image.layout,
            &target,
            &[
                "--json",
                "--log-level",
                "info",
                "--plugins",
                &plugins,
                "--plugin",
                name,
            ],
        )
    };
    let uses = |name: &str, version: &str| {
        let done = stage(name);
        assert!(
            done.stderr.contains(&format!("version=\"{version}\"")),
            "{}",
            done.stderr
        );
        done.ok();
    };
    uses("guest", "0.2.0");
    uses(&format!("guest@{}", digests[0]), "0.1.0");
    stage("gest").fails_json(NOT_FOUND, "no plugin gest is installed");
    stage(&format!("guest@sha256:{}", "0".repeat(64))).fails_json(NOT_FOUND, "is installed");
    stage("guest@sha256:0").fails_json(USAGE, "digest");

    // A version that changed under its name is not taken without a word.
    let source = plugin(folder.path(), "0.2.0");
    fs::write(format!("{source}/plugin.toml"), manifest("0.2.0") + "# changed\n").unwrap();
    let again = ["plugin", "install", &source, "--plugins", &plugins];
    run(again).fails(REFUSED, &["0.2.0 is locked to", "--replace"]);
    run([&again[..], &["--replace"]].concat()).ok();

    run(["plugin", "rollback", "guest", "--plugins", &plugins]).ok();
    run(["plugin", "remove", "guest", "--plugins", &plugins]).ok();
    run(["plugin", "remove", "guest", "--plugins", &plugins]).fails(NOT_FOUND, &["plugin installed"]);
    stage("guest").fails_json(NOT_FOUND, "is installed");
}

#[test]
fn a_policy_decides_what_is_installed_and_what_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let Some([private, _]) = keys(folder.path(), "ours") else {
        return;
    };
    let rule =
        "signatures = \"required\"\n[[keys]]\nname = \"ours\"\nplugins = [\"gue*\"]\nfile = \"ours.pub\"\n";
    fs::write(path("trust.toml"), rule).unwrap();
    fs::write(path("other.toml"), rule.replace("gue*", "scan-*")).unwrap();
    let (trust, other, plugins) = (path("trust.toml"), path("other.toml"), path("plugins"));
    let layout = format!("oci:{}", path("layout"));
    plugin_json(&["package", &plugin(folder.path(), "0.1.0"), &layout]);
    let install = |trust: &str| {
        run([
            "--json",
            "plugin",
            "install",
            &layout,
            "--plugins",
            &plugins,
            "--trust",
            trust,
        ])
    };
    install(&trust).fails_json(REFUSED, "is not signed");
    plugin_json(&["sign", &layout, "--key", &private]);
    install(&other).fails_json(REFUSED, "does not trust with plugins of this name");
    assert_eq!(install(&trust).json()["change"], "installed");
    let listed = plugin_json(&["installed", "--plugins", &plugins]);
    assert_eq!(listed["signedBy"], json!(["ours"]));

    let image = RawImage::write(
        &folder.path().join("image"),
        &[RawLayer::new(
            &Tar::new().file("a", b"b").end(),
            Compression::None,
        )],
    );
    let with = |target: &str, trust: &str| {
        let flags = ["--plugins", &plugins, "--plugin", "guest", "--trust", trust];
        unpack(&image.layout, &folder.path().join(target), &flags)
    };
    with("one", &trust).ok();
    with("two", &other).fails(REFUSED, &["does not trust"]);
    // What lies there is looked at, not what was once written down about it.
    let listed: Value = serde_json::from_slice(&fs::read(path("plugins/index.json")).unwrap()).unwrap();
    let component = plugin_json(&["installed", "--plugins", &plugins])["component"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(listed["manifests"].as_array().unwrap().len(), 2);
    let blob = path(&format!(
        "plugins/blobs/sha256/{}",
        component.trim_start_matches("sha256:")
    ));
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    with("three", &trust).fails(DAMAGED, &["damaged"]);
}

#[test]
fn the_schema_is_written_as_it_is_kept() {
    let schema: Value = serde_json::from_str(&run(["plugin", "schema"]).ok()).unwrap();
    assert_eq!(schema["title"], "plugin.toml");
}
