//! Installing Debian packages, where that can be done without asking.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use transom_tests::needs::{LIBRARIES, PROGRAMS, find_program};

use crate::run::run_quietly;

/// Downloads included; a server that does not answer must not stop the build for long.
const APT_MAX: Duration = Duration::from_secs(600);

/// The line that a person would type.
pub(crate) fn install_line(packages: &[&str]) -> String {
    format!(
        "sudo apt-get update && sudo apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Installs packages: as root, where there is apt-get. The error says why not.
pub(crate) fn install(packages: &[&str]) -> Result<(), String> {
    if find_program("apt-get").is_none() {
        return Err("this machine has no apt-get".to_owned());
    }
    if !rustix::process::geteuid().is_root() {
        return Err("only root can install packages".to_owned());
    }
    println!("installing Debian packages: {}", packages.join(" "));
    if lists_are_empty() {
        apt(&["update"])?;
        return apt_install(packages);
    }
    // Old lists name packages that are gone from the server.
    apt_install(packages).or_else(|_| apt(&["update"]).and_then(|()| apt_install(packages)))
}

fn apt_install(packages: &[&str]) -> Result<(), String> {
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command
        .args(["-qq", "-o", "DPkg::Lock::Timeout=120"])
        .args(arguments);
    run_quietly(command.env("DEBIAN_FRONTEND", "noninteractive"), APT_MAX)
}

fn lists_are_empty() -> bool {
    let names = fs::read_dir("/var/lib/apt/lists").map(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    });
    !names.unwrap_or(false)
}

/// The packages of those programs that are not here; each program comes with its package.
pub(crate) fn missing(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let absent = programs
        .iter()
        .filter(|(program, _)| find_program(program).is_none());
    let mut packages: Vec<&str> = absent.map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

/// Gets the programs that tests use. What cannot be had is said: the tests that need it will be skipped.
pub(crate) fn get_test_programs() {
    let mut missing = missing(&PROGRAMS);
    let libraries = LIBRARIES.iter().filter(|(file, _)| !Path::new(file).exists());
    missing.extend(libraries.map(|(_, package)| *package));
    if missing.is_empty() {
        println!("programs that tests compare with: all there");
        return;
    }
    if let Err(reason) = install(&missing) {
        println!(
            "programs that tests compare with: {} missing ({reason})",
            missing.join(", ")
        );
        println!(
            "  tests that need them are skipped; to get them: {}",
            install_line(&missing)
        );
    }
}
