//! Building the packages under `plugins/`, which are those in Rust, to components.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use transom_guests::component;
use transom_tests::needs::{target_dir, workspace_dir};

use crate::run::{Error, Result, cargo, file_error, run};
use crate::target::{Guests, TARGET};

/// The profile in the workspace's `Cargo.toml` that guests are built with.
const PROFILE: &str = "guest";

/// A built plugin: the folder with its component and its `plugin.toml`.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    /// The name of its folder under `plugins/`.
    pub(crate) name: String,
    /// The folder that `transom --plugin` takes.
    pub(crate) folder: PathBuf,
}

/// Builds every plugin, prints the sizes, and gives them in the order of their names.
pub(crate) fn build(guests: &Guests) -> Result<Vec<Plugin>> {
    let names = names(&workspace_dir().join("plugins"))?;
    let out = target_dir().join("guests");
    run(&mut cargo_build(guests, &names, &out))?;
    names
        .into_iter()
        .map(|name| {
            let core = out
                .join(TARGET)
                .join(PROFILE)
                .join(format!("plugin_{}.wasm", name.replace('-', "_")));
            package(name, &core)
        })
        .collect()
}

/// The folders with a package in them.
fn names(plugins: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(plugins)
        .map_err(file_error(plugins))?
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    if names.is_empty() {
        return Err(Error::Other(format!("no packages in {}", plugins.display())));
    }
    Ok(names)
}

fn cargo_build(guests: &Guests, names: &[String], out: &Path) -> Command {
    let mut command = cargo();
    command.args(["build", "--profile", PROFILE, "--target", TARGET]);
    for name in names {
        command.args(["-p", &format!("plugin-{name}")]);
    }
    // A folder of its own: another compiler would throw away what the host has built.
    command.arg("--target-dir").arg(out).current_dir(workspace_dir());
    // In place of flags meant for the host.
    command
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", transom_guests::RUST_FLAGS);
    if let Guests::Debian(rust) = guests {
        command
            .arg("-Zbuild-std=std,panic_abort")
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", &rust.rustc)
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", &rust.linker)
            // Cargo sets it for this program, and it leads to the libraries of the other compiler.
            .env_remove("LD_LIBRARY_PATH");
    }
    command
}

/// Makes a component of a core module and puts it into a folder with its `plugin.toml`.
fn package(name: String, core: &Path) -> Result<Plugin> {
    let module = fs::read(core).map_err(file_error(core))?;
    let component = component::of_module(&module)
        .map_err(|error| Error::Other(format!("{}: {error}", core.display())))?;
    let folder = target_dir().join("plugins").join(&name);
    fs::create_dir_all(&folder).map_err(file_error(&folder))?;
    let file = folder.join(format!("{name}.wasm"));
    put(&file, &component).map_err(file_error(&file))?;
    let manifest = workspace_dir().join("plugins").join(&name).join("plugin.toml");
    let text = fs::read(&manifest).map_err(file_error(&manifest))?;
    put(&folder.join("plugin.toml"), &text).map_err(file_error(&folder))?;
    println!("plugin {name}: {} KB, {}", component.len() / 1000, file.display());
    Ok(Plugin { name, folder })
}

/// Replaces a file in one step, and only when its content changes: compiled code is kept by what is in it.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let new = path.with_extension("new");
    fs::write(&new, bytes)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::line;
    use crate::target::DebianRust;

    #[test]
    fn only_folders_with_a_package_are_plugins() {
        let folder = tempfile::tempdir().unwrap();
        assert!(names(folder.path()).is_err());
        for name in ["b", "a", "notes"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for name in ["a", "b"] {
            fs::write(folder.path().join(name).join("Cargo.toml"), "").unwrap();
        }
        assert_eq!(names(folder.path()).unwrap(), ["a", "b"]);
    }

    #[test]
    fn debian_builds_the_standard_library_too() {
        let build = |guests: &Guests| line(&cargo_build(guests, &["a-b".to_owned()], Path::new("out")));
        let plain = "build --profile guest --target wasm32-unknown-unknown -p plugin-a-b --target-dir out";
        assert!(build(&Guests::Toolchain).ends_with(plain));
        let rust = DebianRust {
            rustc: "/usr/bin/rustc".into(),
            linker: "/lld".into(),
        };
        let debian = build(&Guests::Debian(rust));
        assert!(debian.ends_with(&format!("{plain} -Zbuild-std=std,panic_abort")));
        for variable in ["RUSTC=/usr/bin/rustc ", "RUSTC_BOOTSTRAP=1 ", "_LINKER=/lld "] {
            assert!(debian.contains(variable), "{debian}");
        }
    }

    #[test]
    fn a_file_that_does_not_change_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.wasm");
        put(&file, b"one").unwrap();
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        put(&file, b"one").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        put(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
