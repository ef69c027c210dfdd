//! Plugins in C: bindings by `wit-bindgen-c`, compiled by clang for `wasm32-wasi`.
//!
//! The libc that they are linked with thinks that it is on WASI. What it would import is in the SDK (`wasi.c`), so that the component
//! imports nothing but its world.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use wit_bindgen_core::Files;

use crate::error::Error;
use crate::project::{Kind, Project};
use crate::stage::{self, SdkFile, quoted};
use crate::tools::{Tools, Wanted};
use crate::world::{self, WORLD};
use crate::{Built, component};

const SHARED: [SdkFile; 4] = [
    ("transom.h", include_str!("../../../sdk/c/transom.h")),
    ("transom.c", include_str!("../../../sdk/c/transom.c")),
    ("tar.h", include_str!("../../../sdk/c/tar.h")),
    ("wasi.c", include_str!("../../../sdk/c/wasi.c")),
];

const PROCESSOR: [SdkFile; 3] = [
    ("processor.h", include_str!("../../../sdk/c/processor.h")),
    ("processor.c", include_str!("../../../sdk/c/processor.c")),
    ("tar.c", include_str!("../../../sdk/c/tar.c")),
];

const FILTER: [SdkFile; 2] = [
    ("filter.h", include_str!("../../../sdk/c/filter.h")),
    ("filter.c", include_str!("../../../sdk/c/filter.c")),
];

const DRIVER: [SdkFile; 2] = [
    ("driver.h", include_str!("../../../sdk/c/driver.h")),
    ("driver.c", include_str!("../../../sdk/c/driver.c")),
];

/// What is compiled in all plugins alike. The instructions are ones that every host has.
const FLAGS: [&str; 8] = [
    "--target=wasm32-wasi",
    "-std=c11",
    "-O2",
    "-mexec-model=reactor",
    // For `errno`, which is a thread's own elsewhere.
    "-ftls-model=local-exec",
    "-mbulk-memory",
    "-msign-ext",
    "-mnontrapping-fptoint",
];

/// Where Debian's wasi-libc is. Clang from elsewhere (wasi-sdk) brings its own.
const DEBIAN_LIBC: &str = "/usr/include/wasm32-wasi";

pub(crate) fn build(project: &Project, tools: &Tools, work: &Path) -> Result<Built, Error> {
    let sdk: Vec<SdkFile> = SHARED.iter().chain(of_kind(project.kind)).copied().collect();
    stage::prepare(project, work)?;
    stage::write_sdk(sdk.iter(), &work.join("sdk"))?;
    stage::put(&work.join("sdk/project.h"), header(project).as_bytes())?;
    let bindings = bindings(&work.join("wit"))?;
    for (name, bytes) in bindings.iter() {
        stage::put(&work.join("bindings").join(name), bytes)?;
    }
    // Generated code has its own ideas of what is worth a warning.
    let generated = work.join("bindings").join(format!("{WORLD}.c"));
    let object = work.join("bindings").join(format!("{WORLD}.o"));
    clang(tools, work, &|command| {
        command.args(["-w", "-c"]).arg(&generated).arg("-o").arg(&object);
    })?;
    let module = work.join("module.wasm");
    let sources = project.sources(&["c"])?;
    let warnings = clang(tools, work, &|command| {
        command
            .args(["-Wall", "-Wextra", "-I"])
            .arg(project.folder.join("src"));
        command.args(
            sources
                .iter()
                .map(|source| project.folder.join("src").join(source)),
        );
        let own = sdk.iter().filter(|(name, _)| name.ends_with(".c"));
        command.args(own.map(|(name, _)| work.join("sdk").join(name)));
        command.arg(&object);
        command.arg(work.join("bindings").join(format!("{WORLD}_component_type.o")));
        // Names stay, for messages; the rest of what is for a debugger does not.
        command.args(["-Wl,--strip-debug", "-o"]).arg(&module);
    })?;
    Ok(Built {
        component: component::of_module(&stage::read(&module)?)?,
        warnings,
    })
}

fn of_kind(kind: Kind) -> &'static [SdkFile] {
    match kind {
        Kind::Processor => &PROCESSOR,
        Kind::Filter => &FILTER,
        Kind::Driver => &DRIVER,
    }
}

/// The bindings of the world in a folder of WIT.
fn bindings(wit: &Path) -> Result<Files, Error> {
    let (mut resolve, world) = world::resolve(wit)?;
    let mut files = Files::default();
    let options = wit_bindgen_c::Opts::default();
    options
        .build()
        .generate(&mut resolve, world, &mut files)
        .map_err(|error| Error::Bindings(format!("{error:#}")))?;
    Ok(files)
}

/// What `plugin.toml` says, as macros.
fn header(project: &Project) -> String {
    let mut text = format!(
        "#define PLUGIN_NAME {}\n#define PLUGIN_VERSION {}\n",
        quoted(&project.name),
        quoted(&project.version)
    );
    let _ = writeln!(
        text,
        "#define PLUGIN_CONVERSIONS_COUNT {}",
        project.converts.len()
    );
    text.push_str("#define PLUGIN_CONVERSIONS");
    for both in &project.converts {
        let _ = write!(text, " {{{}, {}}},", quoted(&both.accepts), quoted(&both.returns));
    }
    for capability in &project.capabilities {
        let name = capability.to_ascii_uppercase().replace('-', "_");
        let _ = write!(text, "\n#define PLUGIN_ASKS_FOR_{name} 1");
    }
    text.push('\n');
    text
}

fn clang(tools: &Tools, work: &Path, arrange: &dyn Fn(&mut Command)) -> Result<String, Error> {
    let wanted = Wanted {
        // Debian's runtime library for wasm belongs to this version.
        names: &["clang-14", "clang"],
        near: Vec::new(),
        get: "sudo apt-get install clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32, or wasi-sdk's on the path".to_owned(),
    };
    tools.run(&wanted, &|command| {
        command.args(FLAGS);
        if Path::new(DEBIAN_LIBC).is_dir() {
            command.arg("--sysroot=/usr");
        }
        for folder in ["sdk", "bindings"] {
            command.arg("-I").arg(PathBuf::from(work).join(folder));
        }
        arrange(command);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Conversion;

    #[test]
    fn the_manifest_becomes_macros() {
        let mut project = world::tests::project(Kind::Driver, &["inner"]);
        project.converts.push(Conversion {
            accepts: "a".to_owned(),
            returns: "b\"c".to_owned(),
        });
        let text = header(&project);
        assert!(text.contains("#define PLUGIN_NAME \"my-scan\"\n"), "{text}");
        assert!(
            text.contains("#define PLUGIN_CONVERSIONS {\"a\", \"b\\\"c\"},\n"),
            "{text}"
        );
        assert!(text.contains("#define PLUGIN_ASKS_FOR_INNER 1\n"), "{text}");
    }

    #[test]
    fn bindings_are_made_for_every_kind() {
        for kind in [Kind::Processor, Kind::Filter, Kind::Driver] {
            let folder = tempfile::tempdir().unwrap();
            let files = world::files(&world::tests::project(kind, &["inner", "keys", "http"]));
            stage::write(folder.path(), &files).unwrap();
            let files = bindings(folder.path()).unwrap();
            let names: Vec<&str> = files.iter().map(|(name, _)| name).collect();
            assert_eq!(
                names,
                ["component.c", "component.h", "component_component_type.o"]
            );
        }
    }
}
