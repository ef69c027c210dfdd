//! A real root filesystem: the smallest Debian, by `debootstrap` from the mirror that it takes by default.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::needs::target_dir;

/// The release that is taken: the one that Transom is built and tested on.
const SUITE: &str = "bookworm";

/// A tar of the root filesystem, with numeric owners and extended attributes. Made once, which takes a minute or two and
/// needs root, then kept in the target folder.
///
/// # Errors
/// What `debootstrap` or `tar` said.
pub fn root_filesystem() -> Result<PathBuf, String> {
    let folder = target_dir().join("debian");
    let tar = folder.join("rootfs.tar");
    if tar.exists() {
        return Ok(tar);
    }
    let tree = folder.join("tree");
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    drop(fs::remove_dir_all(&tree));
    fs::create_dir_all(&folder).map_err(failed)?;
    run(Command::new("debootstrap")
        .args(["--variant=minbase", SUITE])
        .arg(&tree))?;
    let partial = folder.join(format!("rootfs.{}.partial", std::process::id()));
    run(&mut pack(&tree, &partial))?;
    fs::rename(&partial, &tar).map_err(failed)?;
    drop(fs::remove_dir_all(&tree));
    Ok(tar)
}

fn pack(tree: &Path, tar: &Path) -> Command {
    let mut command = Command::new("tar");
    command.args([
        "--format=pax",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--sort=name",
        "--one-file-system",
    ]);
    command.arg("-cf").arg(tar).arg("-C").arg(tree).arg(".");
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    });
    Err(format!(
        "{name}: {}: {}",
        output.status,
        said.lines().last().unwrap_or_default()
    ))
}
