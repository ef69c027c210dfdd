//! The compiler's target for guests, `wasm32-unknown-unknown`: found, or got, in one of three ways.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use transom_tests::target_dir;

use crate::debian;
use crate::run::{Error, Result, file_error, first_line, run_quietly};

/// What guests are compiled for.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The ways to a compiler for guests, in the order in which they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Way {
    /// The toolchain in use has the target
    Installed,
    /// `rustup target add`
    Rustup,
    /// Debian's rustc-web, with the standard library built from rust-web-src
    Debian,
}

/// A compiler for guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Guests {
    /// The toolchain in use.
    Toolchain,
    /// Debian's, which brings the standard library as source.
    Debian(DebianRust),
}

/// Debian's compiler and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DebianRust {
    /// The compiler.
    pub(crate) rustc: PathBuf,
    /// The linker for wasm.
    pub(crate) linker: PathBuf,
}

/// What choosing asks of the machine; a fake takes its place in tests.
pub(crate) trait Machine {
    /// Whether the toolchain in use has the target.
    fn is_installed(&mut self) -> bool;
    /// Asks rustup for the target. The error is the reason in one line, here and below.
    fn rustup_add(&mut self) -> Result<(), String>;
    /// Looks for Debian's compiler, its library's source and a linker.
    fn debian(&mut self) -> Result<DebianRust, String>;
    /// Installs them.
    fn debian_install(&mut self) -> Result<(), String>;
    /// Tells the person.
    fn say(&mut self, text: &str);
}

/// Debian's linker for wasm.
const DEBIAN_LINKER: &str = "/usr/bin/rust-lld";

/// The packages of [`Way::Debian`].
const PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

/// Takes the first way that works. With `only`, no other is tried; with `last`, the way taken the last time,
/// those before it are not tried again, except that an installed target is always seen.
pub(crate) fn choose(
    machine: &mut dyn Machine,
    only: Option<Way>,
    last: Option<Way>,
) -> Result<(Way, Guests)> {
    let mut reasons = Vec::new();
    for way in [Way::Installed, Way::Rustup, Way::Debian] {
        if only.is_some_and(|only| only != way) || (way == Way::Rustup && last == Some(Way::Debian)) {
            continue;
        }
        match attempt(machine, way) {
            Ok(guests) => return Ok((way, guests)),
            Err(reason) => {
                // That the target is not there yet is no news.
                if way != Way::Installed {
                    machine.say(&format!("{TARGET}: not by {}: {reason}", name(way)));
                }
                reasons.push(format!("  {}: {reason}", name(way)));
            }
        }
    }
    Err(Error::Other(format!(
        "no compiler for {TARGET}:\n{}\ntype one of these, then try again:\n  rustup target add {TARGET}\n  {}",
        reasons.join("\n"),
        debian::install_line(&PACKAGES)
    )))
}

fn attempt(machine: &mut dyn Machine, way: Way) -> Result<Guests, String> {
    match way {
        Way::Installed if machine.is_installed() => Ok(Guests::Toolchain),
        Way::Installed => Err("the toolchain in use does not have it".to_owned()),
        Way::Rustup => {
            machine.rustup_add()?;
            if machine.is_installed() {
                Ok(Guests::Toolchain)
            } else {
                Err("rustup added it to another toolchain than the one in use".to_owned())
            }
        }
        Way::Debian => match machine.debian() {
            Ok(rust) => Ok(Guests::Debian(rust)),
            Err(missing) => {
                machine
                    .debian_install()
                    .map_err(|reason| format!("{missing}; {reason}"))?;
                machine.debian().map(Guests::Debian)
            }
        },
    }
}

fn name(way: Way) -> &'static str {
    match way {
        Way::Installed => "an installed target",
        Way::Rustup => "rustup target add",
        Way::Debian => "Debian's rustc-web",
    }
}

/// Gets a compiler for guests, says which way was taken, and remembers it for the next time.
pub(crate) fn set_up(only: Option<Way>) -> Result<Guests> {
    let mut here = Here::new()?;
    let memory = target_dir().join("xtask").join("guest-compiler");
    let key = here.sysroot.display().to_string();
    let last = fs::read_to_string(&memory)
        .ok()
        .filter(|text| *text == key)
        .map(|_| Way::Debian);
    let (way, guests) = choose(&mut here, only, last)?;
    println!("{TARGET}: by {}", name(way));
    // Only the last way follows a slow failure that is worth remembering.
    if way == Way::Debian && only.is_none() && last.is_none() {
        let folder = target_dir().join("xtask");
        fs::create_dir_all(&folder).map_err(file_error(&folder))?;
        fs::write(&memory, key).map_err(file_error(&memory))?;
    }
    Ok(guests)
}

/// This machine.
struct Here {
    /// Of the toolchain in use.
    sysroot: PathBuf,
}

impl Here {
    fn new() -> Result<Here> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let sysroot = first_line(Command::new(rustc).args(["--print", "sysroot"]))?;
        Ok(Here {
            sysroot: sysroot.into(),
        })
    }

    fn linker(&self) -> Option<PathBuf> {
        let hosts = fs::read_dir(self.sysroot.join("lib/rustlib"))
            .into_iter()
            .flatten();
        // Debian's may be a link to a package that is not installed, which is no file then.
        hosts
            .flatten()
            .map(|host| host.path().join("bin/rust-lld"))
            .chain([PathBuf::from(DEBIAN_LINKER)])
            .find(|file| file.is_file())
    }
}

impl Machine for Here {
    fn is_installed(&mut self) -> bool {
        let library = self.sysroot.join("lib/rustlib").join(TARGET).join("lib");
        fs::read_dir(library).is_ok_and(|mut files| files.next().is_some())
    }

    fn rustup_add(&mut self) -> Result<(), String> {
        const MOST: Duration = Duration::from_secs(60);
        run_quietly(Command::new("rustup").args(["target", "add", TARGET]), MOST)
    }

    fn debian(&mut self) -> Result<DebianRust, String> {
        let rustc = PathBuf::from("/usr/bin/rustc");
        if !rustc.is_file() {
            return Err("rustc-web is not installed".to_owned());
        }
        let mut ask = Command::new(&rustc);
        ask.arg("--version").env_remove("LD_LIBRARY_PATH");
        let version = first_line(&mut ask).map_err(|error| error.to_string())?;
        check_version(&version, env!("CARGO_PKG_RUST_VERSION"))?;
        let source = Path::new("/usr/lib/rustlib/src/rust");
        check_source(&version, source)?;
        let linker = self
            .linker()
            .ok_or("there is no rust-lld: any toolchain of rustup has one")?;
        Ok(DebianRust { rustc, linker })
    }

    fn debian_install(&mut self) -> Result<(), String> {
        debian::install(&PACKAGES)?;
        if self.linker().is_some() {
            return Ok(());
        }
        // The link is named after the package that it needs: lld-22.
        let target = fs::read_link(DEBIAN_LINKER).map_err(|error| format!("{DEBIAN_LINKER}: {error}"))?;
        debian::install(&[&target.to_string_lossy()])
    }

    fn say(&mut self, text: &str) {
        println!("{text}");
    }
}

/// Whether a compiler is new enough for this workspace; Debian's plain `rustc` is not.
fn check_version(version: &str, least: &str) -> Result<(), String> {
    let numbers = |text: &str| -> Option<(u32, u32)> {
        let mut parts = text.split(['.', '-']);
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    let found = version.split(' ').nth(1).and_then(numbers);
    match (found, numbers(least)) {
        (Some(found), Some(least)) if found >= least => Ok(()),
        _ => Err(format!("/usr/bin/rustc is {version:?}, and {least} is needed")),
    }
}

/// Whether the library's source is there and belongs to the compiler.
fn check_source(version: &str, source: &Path) -> Result<(), String> {
    if !source.join("library/Cargo.lock").is_file() {
        return Err("rust-web-src is not installed".to_owned());
    }
    let release = version.split(' ').nth(1).unwrap_or_default();
    // The link leads to a folder that is named after the release.
    let real = fs::canonicalize(source).map_err(|error| error.to_string())?;
    if real.to_string_lossy().ends_with(&format!("-{release}")) {
        Ok(())
    } else {
        Err(format!("{} is not the source of rustc {release}", real.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that can do what its fields say, and writes down what it was asked.
    #[derive(Default)]
    struct Fake {
        installed: bool,
        rustup_works: bool,
        rustup_elsewhere: bool,
        packages_there: bool,
        apt_works: bool,
        asked: Vec<&'static str>,
        said: Vec<String>,
    }

    impl Machine for Fake {
        fn is_installed(&mut self) -> bool {
            self.asked.push("installed");
            self.installed
        }
        fn rustup_add(&mut self) -> Result<(), String> {
            self.asked.push("rustup");
            self.installed |= self.rustup_works && !self.rustup_elsewhere;
            self.rustup_works.then_some(()).ok_or("no network".to_owned())
        }
        fn debian(&mut self) -> Result<DebianRust, String> {
            self.asked.push("debian");
            self.packages_there
                .then(debian_rust)
                .ok_or("no packages".to_owned())
        }
        fn debian_install(&mut self) -> Result<(), String> {
            self.asked.push("apt");
            self.packages_there |= self.apt_works;
            self.apt_works.then_some(()).ok_or("not root".to_owned())
        }
        fn say(&mut self, text: &str) {
            self.said.push(text.to_owned());
        }
    }

    fn debian_rust() -> DebianRust {
        DebianRust {
            rustc: "/usr/bin/rustc".into(),
            linker: "/lld".into(),
        }
    }

    #[test]
    fn an_installed_target_asks_nothing_else() {
        let mut machine = Fake {
            installed: true,
            ..Fake::default()
        };
        let (way, guests) = choose(&mut machine, None, Some(Way::Debian)).unwrap();
        assert_eq!((way, guests), (Way::Installed, Guests::Toolchain));
        assert_eq!(machine.asked, ["installed"]);
        assert!(machine.said.is_empty());
    }

    #[test]
    fn rustup_comes_next() {
        let mut machine = Fake {
            rustup_works: true,
            packages_there: true,
            ..Fake::default()
        };
        assert_eq!(choose(&mut machine, None, None).unwrap().0, Way::Rustup);
        assert_eq!(machine.asked, ["installed", "rustup", "installed"]);
    }

    #[test]
    fn debian_comes_last_and_the_reason_is_said() {
        for rustup_elsewhere in [false, true] {
            let mut machine = Fake {
                packages_there: true,
                rustup_works: rustup_elsewhere,
                rustup_elsewhere,
                ..Fake::default()
            };
            let (way, guests) = choose(&mut machine, None, None).unwrap();
            assert_eq!((way, guests), (Way::Debian, Guests::Debian(debian_rust())));
            assert_eq!(machine.said.len(), 1);
            assert!(machine.said[0].contains("not by rustup target add: "));
            assert!(!machine.asked.contains(&"apt"));
        }
    }

    #[test]
    fn packages_are_installed_when_they_can_be() {
        let mut machine = Fake {
            apt_works: true,
            ..Fake::default()
        };
        assert_eq!(choose(&mut machine, None, None).unwrap().0, Way::Debian);
        assert_eq!(machine.asked, ["installed", "rustup", "debian", "apt", "debian"]);
    }

    #[test]
    fn the_last_way_spares_the_wait_for_rustup() {
        let mut machine = Fake {
            packages_there: true,
            ..Fake::default()
        };
        choose(&mut machine, None, Some(Way::Debian)).unwrap();
        assert_eq!(machine.asked, ["installed", "debian"]);
    }

    #[test]
    fn when_nothing_works_the_lines_to_type_are_named() {
        let error = choose(&mut Fake::default(), None, None).unwrap_err().to_string();
        for part in [
            "no network",
            "no packages; not root",
            "rustup target add wasm32-unknown-unknown",
            "sudo apt-get update && sudo apt-get install -y --no-install-recommends rustc-web rust-web-src",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn only_the_wanted_way_is_tried() {
        let mut machine = Fake {
            installed: true,
            ..Fake::default()
        };
        assert!(choose(&mut machine, Some(Way::Debian), None).is_err());
        assert_eq!(machine.asked, ["debian", "apt"]);
    }

    #[test]
    fn old_and_foreign_compilers_are_refused() {
        assert_eq!(check_version("rustc 1.96.0 (abc 2026-01-01)", "1.95"), Ok(()));
        assert_eq!(check_version("rustc 2.0.0-nightly", "1.95"), Ok(()));
        assert!(check_version("rustc 1.63.0", "1.95").is_err());
        assert!(check_version("what", "1.95").is_err());

        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("rustc-1.96.0");
        assert!(check_source("rustc 1.96.0", &source).is_err());
        fs::create_dir_all(source.join("library")).unwrap();
        fs::write(source.join("library/Cargo.lock"), "").unwrap();
        assert_eq!(check_source("rustc 1.96.0 (x)", &source), Ok(()));
        assert!(check_source("rustc 1.97.0 (x)", &source).is_err());
    }
}
