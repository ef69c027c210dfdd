//! Plugins in Python: CPython, the plugin's source and its world in one component, by `componentize-py`.
//!
//! What CPython would import of WASI is replaced by traps inside the component (`--stub-wasi`), so that it imports nothing but its
//! world.

use std::fmt::Write as _;
use std::path::Path;

use crate::error::Error;
use crate::project::{Kind, Project};
use crate::stage::{self, SdkFile, quoted};
use crate::tools::{Tools, Wanted};
use crate::world::WORLD;
use crate::{Built, mend};

/// The module that the component is made of. It imports the plugin's own, `plugin`.
const APP: &str = "transom_app";

const SHARED: [SdkFile; 1] = [(
    "transom/__init__.py",
    include_str!("../../../sdk/python/transom/__init__.py"),
)];

const PROCESSOR: [SdkFile; 2] = [
    (
        "transom/processor.py",
        include_str!("../../../sdk/python/transom/processor.py"),
    ),
    (
        "transom_app.py",
        include_str!("../../../sdk/python/app/processor.py"),
    ),
];

const FILTER: [SdkFile; 2] = [
    (
        "transom/filter.py",
        include_str!("../../../sdk/python/transom/filter.py"),
    ),
    (
        "transom_app.py",
        include_str!("../../../sdk/python/app/filter.py"),
    ),
];

const DRIVER: [SdkFile; 3] = [
    (
        "transom/driver.py",
        include_str!("../../../sdk/python/transom/driver.py"),
    ),
    ("driver.py", include_str!("../../../sdk/python/app/handles.py")),
    (
        "transom_app.py",
        include_str!("../../../sdk/python/app/driver.py"),
    ),
];

/// Python's names of interfaces: longer ones than it would take by itself, which say whose types they are.
const COMMON: &str = "transom:common/types@0.1.0=common_types";
const STORAGE: &str = "transom:storage/types@0.1.0=storage_types";

pub(crate) fn build(project: &Project, tools: &Tools, work: &Path) -> Result<Built, Error> {
    stage::prepare(project, work)?;
    // A copy, so that nobody's caches of bytecode are in the component.
    let source = work.join("src");
    stage::copy_sources(project, &["py", "json", "toml", "txt"], &source)?;
    if !source.join("plugin.py").is_file() {
        return Err(Error::Language {
            folder: project.folder.clone(),
            reason: "there is no src/plugin.py, which says what the plugin does",
        });
    }
    let sdk = work.join("sdk");
    stage::write_sdk(SHARED.iter().chain(of_kind(project.kind)), &sdk)?;
    stage::put(&sdk.join("transom/project.py"), words(project).as_bytes())?;
    let made = work.join("made.wasm");
    let environments = project.folder.ancestors().map(|folder| folder.join(".venv/bin"));
    let wanted = Wanted {
        names: &["componentize-py"],
        near: environments.collect(),
        get: "pip install componentize-py==0.25.1, into .venv or anywhere on the path".to_owned(),
    };
    tools.run(&wanted, &|command| {
        // Its own is of no use to anybody here, and hides what it says.
        command.env("RUST_BACKTRACE", "0");
        command.arg("-d").arg(work.join("wit")).args(["-w", WORLD]);
        command.args(["--import-interface-name", COMMON]);
        if project.kind == Kind::Driver {
            command.args(["--import-interface-name", STORAGE]);
        }
        command.args(["componentize", "--stub-wasi", APP]);
        command.arg("-p").arg(&sdk).arg("-p").arg(&source);
        command.arg("-o").arg(&made);
    })?;
    Ok(Built {
        component: mend::python(&stage::read(&made)?)?,
        warnings: String::new(),
    })
}

fn of_kind(kind: Kind) -> &'static [SdkFile] {
    match kind {
        Kind::Processor => &PROCESSOR,
        Kind::Filter => &FILTER,
        Kind::Driver => &DRIVER,
    }
}

/// What `plugin.toml` says, as a module.
fn words(project: &Project) -> String {
    let mut text = format!(
        "\"\"\"What plugin.toml says.\"\"\"\n\nNAME = {}\nVERSION = {}\nCONVERSIONS = [\n",
        quoted(&project.name),
        quoted(&project.version)
    );
    for both in &project.converts {
        let _ = writeln!(
            text,
            "    ({}, {}),",
            quoted(&both.accepts),
            quoted(&both.returns)
        );
    }
    text.push_str("]\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Conversion;
    use crate::world::tests::project;

    #[test]
    fn the_manifest_becomes_a_module() {
        let mut project = project(Kind::Processor, &[]);
        project.converts.push(Conversion {
            accepts: "a".to_owned(),
            returns: "b".to_owned(),
        });
        let text = words(&project);
        assert!(
            text.ends_with(
                "NAME = \"my-scan\"\nVERSION = \"1.2.3\"\nCONVERSIONS = [\n    (\"a\", \"b\"),\n]\n"
            ),
            "{text}"
        );
    }
}
