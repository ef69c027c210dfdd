//! Plugins: what starting and feeding one costs, against a copy, native programs, and itself under attack.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use transom_tests::needs::{target_dir, workspace_dir};

use super::measure::measure;
use super::program;
use super::report::{heading, median};
use crate::run::{Error, Result, cargo, file_error, run};

/// Programs that it needs, and the Debian packages that have them.
pub(super) const PROGRAMS: [(&str, &str); 3] = [("lz4", "lz4"), ("openssl", "openssl"), ("skopeo", "skopeo")];

/// Plugins that are installed at the same time.
const INSTALLED: &str = "200";
/// Jobs of plugins that misbehave.
const ATTACKS: &str = "1000";
/// The key of ocicrypt's annotation with the layer's key, wrapped for a private key.
const WRAPPED: &str = "org.opencontainers.image.enc.keys.jwe";

/// Runs everything in the release build of the command and of the host.
pub(crate) fn bench(plugins: &Path, runs: usize) -> Result<()> {
    let build = ["build", "--release", "-p", "transom"];
    run(cargo().args(build).current_dir(workspace_dir()))?;
    let example = ["build", "--release", "-p", "transom-plugin", "--example", "host"];
    run(cargo().args(example).current_dir(workspace_dir()))?;
    let folder = target_dir().join("bench/plugins");
    fs::create_dir_all(&folder).map_err(file_error(&folder))?;
    let tar = tar(&folder)?;
    identity(plugins, &tar, runs)?;
    lz4(plugins, &folder, &tar, runs)?;
    ocicrypt(plugins, &folder, &tar, runs)?;
    heading(&format!(
        "{INSTALLED} plugins installed (count, each with another digest)"
    ));
    run(Command::new(target_dir().join("release/examples/host"))
        .arg("idle")
        .arg(plugins.join("count"))
        .arg(INSTALLED))?;
    heading("A host under attack");
    run(Command::new(target_dir().join("release/examples/host"))
        .arg("attack")
        .arg(plugins.join("count"))
        .arg(ATTACKS))
}

/// The programs of this machine as a layer.
fn tar(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("layer.tar");
    if !path.is_file() {
        let new = folder.join("layer.new");
        // A file that nobody may read is left out.
        run(Command::new("tar")
            .args(["--ignore-failed-read", "-C", "/", "-cf"])
            .arg(&new)
            .arg("usr/bin"))?;
        fs::rename(&new, &path).map_err(file_error(&path))?;
    }
    Ok(path)
}

/// What `transom plugin bench` says.
struct Measured(Value);

impl Measured {
    fn of(plugin: &Path, input: &Path, more: &[String], runs: usize) -> Result<Measured> {
        let mut command = Command::new(program("transom"));
        command
            .args(["--json", "plugin", "bench", "--input"])
            .arg(input)
            .args(["--rounds", &(2 * runs).to_string()])
            .arg(plugin)
            .args(more);
        let document = serde_json::from_str(&measure(&command)?.stdout);
        let wrong = |error| Error::Other(format!("transom printed no JSON: {error}"));
        Ok(Measured(document.map_err(wrong)?))
    }

    fn number(&self, key: &str) -> f64 {
        self.0[key].as_f64().unwrap_or(f64::NAN)
    }

    fn row(&self, wanted: &str) {
        println!(
            "  {:<10} {:8.0} MB/s of CPU time, {:6.1} µs for each chunk of {:.0} KiB, {:.1} µs for each MB; a bare copy {:.0} MB/s   (wanted: {wanted})",
            self.0["name"].as_str().unwrap_or_default(),
            self.number("bytesPerSecond") / 1e6,
            self.number("cpuSecondsPerChunk") * 1e6,
            self.number("chunkBytes") / 1024.0,
            self.number("cpuSecondsPerMegabyte") * 1e6,
            self.number("copyBytesPerSecond") / 1e6,
        );
    }
}

fn identity(plugins: &Path, tar: &Path, runs: usize) -> Result<()> {
    heading("A pass-through by chunks of 64 KiB, and what an instance costs before its first byte");
    let measured = Measured::of(&plugins.join("count"), tar, &[], runs)?;
    measured.row("5000 MB/s");
    println!(
        "  start      {:8.1} µs of CPU time   (wanted: under 100)   memory {:.1} MB",
        measured.number("startSeconds") * 1e6,
        measured.number("memoryBytes") / 1e6
    );
    Ok(())
}

/// Against Debian's program, which checks the same sums and throws away what it makes.
fn lz4(plugins: &Path, folder: &Path, tar: &Path, runs: usize) -> Result<()> {
    heading("lz4 in WASM against the native program");
    let packed = folder.join("layer.tar.lz4");
    run(Command::new("lz4").args(["-q", "-f"]).arg(tar).arg(&packed))?;
    let measured = Measured::of(&plugins.join("lz4"), &packed, &[], runs)?;
    measured.row("half of native");
    let mut times = Vec::new();
    for _ in 0..runs {
        times.push(measure(Command::new("lz4").args(["-q", "-t"]).arg(&packed))?.cpu);
    }
    let native = measured.number("bytesOut") / median(&mut times);
    println!(
        "  lz4 -t     {:8.0} MB/s of CPU time   ratio {:.2}   (wanted: at least 0.5)",
        native / 1e6,
        measured.number("bytesPerSecond") / native
    );
    Ok(())
}

/// A layer that skopeo has encrypted for a key of ours.
fn ocicrypt(plugins: &Path, folder: &Path, tar: &Path, runs: usize) -> Result<()> {
    heading("ocicrypt: decrypting what skopeo has encrypted, with its code checked");
    let (key, public) = (folder.join("key.pem"), folder.join("public.pem"));
    run(Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(&key)
        .arg("2048"))?;
    run(Command::new("openssl")
        .args(["rsa", "-pubout", "-in"])
        .arg(&key)
        .arg("-out")
        .arg(&public))?;
    let (plain, sealed) = (folder.join("plain"), folder.join("sealed"));
    for old in [&plain, &sealed] {
        // The first time there is none.
        let _ = fs::remove_dir_all(old);
    }
    layout(&plain, tar)?;
    run(Command::new("skopeo")
        .args(["copy", "--quiet", "--encryption-key"])
        .arg(format!("jwe:{}", public.display()))
        .arg(format!("oci:{}:latest", plain.display()))
        .arg(format!("oci:{}:latest", sealed.display())))?;
    let layer = encrypted_layer(&sealed)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut more = vec!["--media-type".to_owned(), text(&layer["mediaType"])];
    more.extend(["--decryption-key".to_owned(), key.display().to_string()]);
    for (name, value) in layer["annotations"].as_object().into_iter().flatten() {
        more.extend(["--annotation".to_owned(), format!("{name}={}", text(value))]);
    }
    let blob = blob(&sealed, &text(&layer["digest"]));
    Measured::of(&plugins.join("ocicrypt"), &blob, &more, runs)?.row("400 MB/s");
    Ok(())
}

fn blob(layout: &Path, digest: &str) -> PathBuf {
    layout.join("blobs").join(digest.replace(':', "/"))
}

fn document(path: &Path) -> Result<Value> {
    let bytes = fs::read(path).map_err(file_error(path))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::Other(format!("{}: {error}", path.display())))
}

/// The first layer of the only image in a layout, which must be encrypted.
fn encrypted_layer(layout: &Path) -> Result<Value> {
    let index = document(&layout.join("index.json"))?;
    let digest = index["manifests"][0]["digest"].as_str().unwrap_or_default();
    let manifest = document(&blob(layout, digest))?;
    let layer = manifest["layers"][0].clone();
    match layer["annotations"][WRAPPED].is_string() {
        true => Ok(layer),
        false => Err(Error::Other("skopeo has encrypted nothing".into())),
    }
}

/// An image of one layer.
fn layout(folder: &Path, tar: &Path) -> Result<()> {
    let sum = |path: &Path| -> Result<String> {
        let summed = measure(Command::new("sha256sum").arg(path))?;
        Ok(summed
            .stdout
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned())
    };
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(file_error(&blobs))?;
    let put = |text: &Value, kind: &str| -> Result<Value> {
        let new = blobs.join("new");
        fs::write(&new, text.to_string()).map_err(file_error(&new))?;
        let digest = sum(&new)?;
        fs::rename(&new, blobs.join(&digest)).map_err(file_error(&new))?;
        Ok(
            serde_json::json!({ "mediaType": kind, "digest": format!("sha256:{digest}"), "size": text.to_string().len() }),
        )
    };
    let digest = sum(tar)?;
    let layer = blobs.join(&digest);
    fs::hard_link(tar, &layer).map_err(file_error(&layer))?;
    let size = fs::metadata(tar).map_err(file_error(tar))?.len();
    let config = serde_json::json!({ "os": "linux", "architecture": "amd64",
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] } });
    let config = put(&config, "application/vnd.oci.image.config.v1+json")?;
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let layer = serde_json::json!({ "mediaType": super::LAYER_TAR, "digest": format!("sha256:{digest}"), "size": size });
    let manifest =
        serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer] });
    let mut listed = put(&manifest, kind)?;
    listed["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": "latest" });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [listed] });
    for (name, text) in [
        ("index.json", index.to_string()),
        ("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#.to_owned()),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(file_error(&path))?;
    }
    Ok(())
}
