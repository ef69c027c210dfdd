//! What a test needs from the machine: root, programs, built plugins. A test that lacks something says so and
//! returns; where nothing may be left out (`CI=true` or `TRANSOM_NO_SKIP=1`) it fails instead.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Names the file to which skips are appended, one line `<test>\t<reason>` each; `cargo xtask test` sets it.
pub const SKIP_LOG: &str = "TRANSOM_SKIP_LOG";

/// A program that a test may need: its file name and the Debian package that has it.
pub const PROGRAMS: [(&str, &str); 19] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("umoci", "umoci"),
    ("skopeo", "skopeo"),
    ("podman", "podman"),
    ("buildah", "buildah"),
    ("docker-registry", "docker-registry"),
    ("debootstrap", "debootstrap"),
    ("getfattr", "attr"),
    ("setfattr", "attr"),
    ("openssl", "openssl"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("pigz", "pigz"),
    ("python3", "python3"),
    ("go", "golang-go"),
    ("mkfs.ext4", "e2fsprogs"),
    ("mount.fuse3", "fuse3"),
    ("fuse-overlayfs", "fuse-overlayfs"),
];

/// What tests use and no program shows: a file, and the Debian package that has it.
pub const LIBRARIES: [(&str, &str); 3] = [
    (
        "/usr/share/gocode/src/github.com/containerd/containerd/client.go",
        "golang-github-containerd-containerd-dev",
    ),
    (
        "/usr/lib/python3/dist-packages/grpc/__init__.py",
        "python3-grpcio",
    ),
    (
        "/usr/lib/python3/dist-packages/jsonschema/__init__.py",
        "python3-jsonschema",
    ),
];

/// What compiles plugins in C: a file of each package, and the Debian package that has it.
pub const CLANG: [(&str, &str); 4] = [
    ("/usr/bin/clang-14", "clang-14"),
    ("/usr/bin/wasm-ld-14", "lld-14"),
    ("/usr/include/wasm32-wasi/wasi/api.h", "wasi-libc"),
    (
        "/usr/lib/llvm-14/lib/clang/14.0.6/lib/wasi/libclang_rt.builtins-wasm32.a",
        "libclang-rt-14-dev-wasm32",
    ),
];

/// Says that the running test is left out and why. The caller returns after it.
///
/// # Panics
/// Where nothing may be skipped: with `CI=true` or `TRANSOM_NO_SKIP=1` in the environment.
pub fn skip(reason: &str) {
    let test = test_name();
    assert!(
        !skipping_forbidden(),
        "{test} cannot run here and nothing may be skipped: {reason}"
    );
    println!("SKIP: {reason}");
    let Some(log) = env::var_os(SKIP_LOG) else {
        return;
    };
    let log = Path::new(&log);
    if let Err(error) = record(log, &test, reason) {
        panic!("cannot record the skip in {}: {error}", log.display());
    }
}

fn record(log: &Path, test: &str, reason: &str) -> io::Result<()> {
    // One write of one line: tests of several processes append at the same time.
    let line = format!("{test}\t{}\n", reason.replace('\n', " "));
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    file.write_all(line.as_bytes())
}

/// Whether this process is root; if not, the test is skipped and must return.
#[must_use]
pub fn require_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// The path of a program; if it is not installed, the test is skipped and must return.
#[must_use]
pub fn require_program(name: &str) -> Option<PathBuf> {
    let found = find_program(name);
    if found.is_none() {
        let package = PROGRAMS
            .iter()
            .find(|(program, _)| *program == name)
            .map_or(name, |(_, package)| package);
        skip(&format!(
            "needs {name}: `sudo apt-get install -y --no-install-recommends {package}`"
        ));
    }
    found
}

/// Whether the file of a package of [`LIBRARIES`] is here; if not, the test is skipped and must return.
#[must_use]
pub fn require_library(package: &str) -> bool {
    let mut known = LIBRARIES.iter().filter(|(_, of)| *of == package);
    let found = known.any(|(file, _)| Path::new(file).exists());
    if !found {
        skip(&format!(
            "needs {package}: `sudo apt-get install -y --no-install-recommends {package}`"
        ));
    }
    found
}

/// The component that a package under `plugins/` was built to; if it is not built, the test is skipped and
/// must return. The folder it is in holds its `plugin.toml` too.
#[must_use]
pub fn plugin(name: &str) -> Option<PathBuf> {
    let path = target_dir()
        .join("plugins")
        .join(name)
        .join(format!("{name}.wasm"));
    if path.is_file() {
        return Some(path);
    }
    skip(&format!("needs the plugin {name}: `cargo xtask plugins`"));
    None
}

/// The Python with a WebDAV server, from PyPI, and the program that starts it; if it is not installed, the test is skipped and
/// must return.
#[must_use]
pub fn webdav_server() -> Option<(PathBuf, PathBuf)> {
    let folder = python_folder("wsgidav");
    if folder.join("installed.txt").is_file() {
        let program = workspace_dir().join("tests/python/webdav_server.py");
        return Some((folder.join("bin/python3"), program));
    }
    skip("needs wsgidav from PyPI: `cargo xtask setup`");
    None
}

/// The Python with ORAS's client, from PyPI, and the program that pulls and pushes with it; if it is not installed, the test is skipped
/// and must return.
#[must_use]
pub fn oras_client() -> Option<(PathBuf, PathBuf)> {
    let folder = python_folder("oras");
    if folder.join("installed.txt").is_file() {
        let program = workspace_dir().join("tests/python/oras_client.py");
        return Some((folder.join("bin/python3"), program));
    }
    skip("needs oras from PyPI: `cargo xtask setup`");
    None
}

/// The server that speaks S3, from PyPI; if it is not installed, the test is skipped and must return.
#[must_use]
pub fn moto_server() -> Option<PathBuf> {
    let program = python_folder("moto").join("bin/moto_server");
    if program.is_file() {
        return Some(program);
    }
    skip("needs moto from PyPI: `cargo xtask setup`");
    None
}

/// The folders with the compilers of plugins in C, JavaScript and Python, to be looked in before `PATH`; if one of the compilers is not
/// installed, the test is skipped and must return.
#[must_use]
pub fn compilers() -> Option<Vec<PathBuf>> {
    let scripts = js_folder().join("node_modules/.bin");
    let python = python_folder("componentize-py").join("bin");
    let files = CLANG.iter().map(|(file, _)| PathBuf::from(file));
    let mut files = files.chain([scripts.join("componentize-qjs"), python.join("componentize-py")]);
    if let Some(missing) = files.find(|file| !file.exists()) {
        skip(&format!("needs {}: `cargo xtask setup`", missing.display()));
        return None;
    }
    Some(vec![scripts, python])
}

/// Where `cargo xtask` installs the npm packages of `sdk/js/package-lock.json`.
#[must_use]
pub fn js_folder() -> PathBuf {
    target_dir().join("js")
}

/// Where `cargo xtask` installs the Python packages of `tests/python/NAME.txt`.
#[must_use]
pub fn python_folder(name: &str) -> PathBuf {
    target_dir().join("python").join(name)
}

/// A program's path, by the folders of `PATH` and then Debian's folders for administrators.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file())
}

/// Cargo's target folder: `CARGO_TARGET_DIR`, else `target` at the top of the workspace.
#[must_use]
pub fn target_dir() -> PathBuf {
    let workspace = workspace_dir();
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), |dir| workspace.join(dir))
}

/// The top of the workspace.
#[must_use]
pub fn workspace_dir() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Whether a test that cannot run must fail: `CI=true` or `TRANSOM_NO_SKIP=1`.
#[must_use]
pub fn skipping_forbidden() -> bool {
    forbidden(|name| env::var(name).ok())
}

fn forbidden(variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, value: &str| variable(name).is_some_and(|found| found == value);
    is("CI", "true") || is("TRANSOM_NO_SKIP", "1")
}

/// `<test program>::<test>`, as far as it can be known: libtest names the thread after the test.
fn test_name() -> String {
    let program = env::current_exe().ok();
    let stem = program
        .as_deref()
        .and_then(|path| path.file_stem())
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    // Cargo appends a hash to a test program's name.
    let program = stem.rsplit_once('-').map_or(stem.as_str(), |(name, _)| name);
    let thread = std::thread::current();
    format!("{program}::{}", thread.name().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_knows_its_own_name() {
        assert!(test_name().ends_with("::needs::tests::a_test_knows_its_own_name"));
        assert!(test_name().starts_with("transom_tests::"), "{}", test_name());
    }

    #[test]
    fn each_skip_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        record(&log, "a::b", "needs\nroot").unwrap();
        record(&log, "c", "needs x").unwrap();
        assert_eq!(
            std::fs::read_to_string(&log).unwrap(),
            "a::b\tneeds root\nc\tneeds x\n"
        );
    }

    #[test]
    fn nothing_may_be_skipped_where_it_says_so() {
        let with = |name: &'static str, value: &'static str| {
            forbidden(move |asked| (asked == name).then(|| value.to_owned()))
        };
        assert!(with("CI", "true") && with("TRANSOM_NO_SKIP", "1"));
        assert!(!with("CI", "false") && !with("TRANSOM_NO_SKIP", "") && !with("OTHER", "true"));
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
    }
}
