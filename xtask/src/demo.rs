//! The demo: a real image, unpacked through native and WASM stages, and compared with what was packed.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use transom_tests::needs::{target_dir, workspace_dir};
use transom_tests::sample::{self, Options, SECRETS_FILE, Sample};
use transom_tests::tree::{Ignore, diff, report, walk};

use crate::plugins::{self, Plugin};
use crate::run::{Error, Result, cargo, file_error, run};
use crate::target;

/// The plugins that the demo shows, in the order in which they are given.
const PLUGINS: [&str; 3] = ["xz", "secrets", "count"];

/// Builds what the demo needs, makes the image, unpacks it and checks the result.
pub(crate) fn demo() -> Result<()> {
    heading("Set-up");
    let guests = target::set_up(None)?;
    let plugins = plugins::build(&guests)?;
    run(cargo()
        .args(["build", "--release", "-p", "transom"])
        .current_dir(workspace_dir()))?;

    heading("The image: files of this machine, in five layers");
    let folder = target_dir().join("demo");
    let sample = make_image(&folder)?;

    heading("What it holds, and which stages would run");
    let image = format!("{}:{}", sample.layout.display(), sample.tag);
    let transom = target_dir().join("release/transom");
    let plugins = plugin_arguments(&plugins)?;
    run(Command::new(&transom).arg("inspect").arg(&image).args(&plugins))?;

    heading("Unpacking");
    let root = folder.join("rootfs");
    remove(&root).map_err(file_error(&root))?;
    run(Command::new(&transom)
        .arg("unpack")
        .arg(&image)
        .arg(&root)
        .args(&plugins))?;

    heading("Is it what was packed?");
    compare(&sample, &root)?;
    println!("  image      {image}");
    println!("  unpacked   {}", root.display());
    println!("  planted    {SECRETS_FILE}, for the secret scanner to find");
    println!("  by hand    {} --help", transom.display());
    Ok(())
}

fn heading(text: &str) {
    println!("\n== {text}");
}

fn make_image(folder: &Path) -> Result<Sample> {
    let layout = folder.join("image");
    fs::create_dir_all(&layout).map_err(file_error(&layout))?;
    let started = Instant::now();
    let sample = sample::demo(&Options::here(folder), &layout).map_err(file_error(&layout))?;
    for layer in &sample.layers {
        println!(
            "{:>6.1} MB as {:>5.1} MB of {:<52} {}",
            megabytes(layer.tar.len() as u64),
            megabytes(layer.descriptor.size),
            layer.descriptor.media_type,
            layer.comment,
        );
    }
    let (files, bytes) = sample.tree.files();
    println!(
        "in the end {} names, {files} files with {:.1} MB; made in {:.1} s",
        sample.tree.entries.len(),
        megabytes(bytes),
        started.elapsed().as_secs_f64(),
    );
    Ok(sample)
}

#[allow(clippy::cast_precision_loss, reason = "one decimal is shown")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn plugin_arguments(built: &[Plugin]) -> Result<Vec<PathBuf>> {
    let mut arguments = Vec::new();
    for name in PLUGINS {
        let plugin = built
            .iter()
            .find(|plugin| plugin.name == name)
            .ok_or_else(|| Error::Other(format!("there is no plugins/{name}")))?;
        arguments.extend(["--plugin".into(), plugin.folder.clone()]);
    }
    Ok(arguments)
}

/// Compares the unpacked tree with the record that was kept while packing.
fn compare(sample: &Sample, root: &Path) -> Result<()> {
    const SHOWN: usize = 20;
    let owner_is_ours = !rustix::process::geteuid().is_root();
    let ignore = Ignore {
        owner: owner_is_ours,
        ..Ignore::default()
    };
    let unpacked = walk(root).map_err(file_error(root))?;
    let differences = diff(&sample.tree, &unpacked, &ignore);
    if !differences.is_empty() {
        return Err(Error::Other(format!(
            "the demo fails: {} differences between what was packed and {}\n{}",
            differences.len(),
            root.display(),
            report(&differences, SHOWN)
        )));
    }
    if owner_is_ours {
        println!("not root: owners were not restored and are not compared; the image has no devices");
    }
    println!(
        "the demo passes: all {} names are as packed (type, mode, {}times, attributes, links, content)",
        unpacked.entries.len(),
        if owner_is_ours { "" } else { "owner, " },
    );
    Ok(())
}

/// Removes an earlier result, also where a folder in it may not be written to.
fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(folder)?;
            fs::remove_dir_all(folder)
        }
        other => other,
    }
}

fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_result_is_removed_whatever_its_modes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "").unwrap();
        for locked in ["a/b", "a"] {
            fs::set_permissions(root.join(locked), fs::Permissions::from_mode(0o500)).unwrap();
        }
        remove(&root).unwrap();
        assert!(!root.exists());
        remove(&root).unwrap();
    }

    #[test]
    fn a_plugin_of_the_demo_must_have_been_built() {
        let built = PLUGINS.map(|name| Plugin {
            name: name.to_owned(),
            folder: Path::new("/p").join(name),
        });
        assert_eq!(plugin_arguments(&built).unwrap()[1], Path::new("/p/xz"));
        assert!(plugin_arguments(&built[..1]).is_err());
    }
}
