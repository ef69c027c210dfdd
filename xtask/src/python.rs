//! Installing Python packages from PyPI, each set into a folder of its own under the target folder.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use transom_tests::needs::{python_folder, workspace_dir};

use crate::debian;
use crate::run::run_quietly;

/// Downloads included; a server that does not answer must not stop the build for long.
const PIP_MAX: Duration = Duration::from_secs(300);

/// The sets that tests use: the names of lists in `tests/python`.
const SETS: [&str; 3] = ["moto", "oras", "wsgidav"];

/// Gets the Python packages that tests use. What cannot be had is said: the tests that need it will be skipped.
pub(crate) fn get_test_packages() {
    for set in SETS {
        match get(set) {
            Ok(()) => println!("Python packages for tests: {set} is there"),
            Err(reason) => {
                println!("Python packages for tests: {set} is missing ({reason})");
                println!("  tests that need it are skipped");
            }
        }
    }
}

/// Installs what `tests/python/NAME.txt` pins, unless just that was installed already.
pub(crate) fn get(name: &str) -> Result<(), String> {
    let list = workspace_dir().join("tests/python").join(format!("{name}.txt"));
    let wanted = fs::read(&list).map_err(|error| format!("{}: {error}", list.display()))?;
    let folder = python_folder(name);
    // Written last, so that an installation that was cut off is done again.
    let installed = folder.join("installed.txt");
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("installing Python packages from PyPI: {}", list.display());
    drop(fs::remove_dir_all(&folder));
    make_environment(&folder)?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
        "-r",
    ]);
    run_quietly(pip.arg(&list), PIP_MAX)?;
    fs::write(&installed, wanted).map_err(|error| format!("{}: {error}", installed.display()))
}

/// Debian has the module for it in a package of its own, which is fetched if that is what is missing.
fn make_environment(folder: &Path) -> Result<(), String> {
    let make = || run_quietly(Command::new("python3").args(["-m", "venv"]).arg(folder), PIP_MAX);
    make().or_else(|_| {
        drop(fs::remove_dir_all(folder));
        debian::install(&["python3-venv"]).and_then(|()| make())
    })
}
