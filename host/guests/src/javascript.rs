//! Plugins in JavaScript: QuickJS, the plugin's source and its world in one component, by `componentize-qjs`.
//!
//! What QuickJS would import of WASI is replaced by traps inside the component (`--stub-wasi`), so that it imports nothing but its
//! world.

use std::path::Path;

use serde_json::json;

use crate::error::Error;
use crate::project::{Kind, Project};
use crate::stage::{self, SdkFile};
use crate::tools::{Tools, Wanted};
use crate::world::WORLD;
use crate::{Built, mend};

/// The module that the component is made of: it exports the interfaces of its kind.
const MAIN: &str = "plugin.js";

const SHARED: [SdkFile; 1] = [("transom.js", include_str!("../../../sdk/js/transom.js"))];

const PROCESSOR: [SdkFile; 2] = [
    ("processor.js", include_str!("../../../sdk/js/processor.js")),
    ("tar.js", include_str!("../../../sdk/js/tar.js")),
];

const FILTER: [SdkFile; 1] = [("filter.js", include_str!("../../../sdk/js/filter.js"))];

const DRIVER: [SdkFile; 1] = [("driver.js", include_str!("../../../sdk/js/driver.js"))];

pub(crate) fn build(project: &Project, tools: &Tools, work: &Path) -> Result<Built, Error> {
    stage::prepare(project, work)?;
    // The SDK stands inside the source, where the plugin's modules import it from.
    let source = work.join("src");
    stage::copy_sources(project, &["js", "mjs", "json"], &source)?;
    let sdk = SHARED.iter().chain(of_kind(project.kind));
    stage::write_sdk(sdk, &source.join("transom"))?;
    stage::put(&source.join("transom/project.js"), words(project).as_bytes())?;
    let main = source.join(MAIN);
    if !main.is_file() {
        return Err(Error::Language {
            folder: project.folder.clone(),
            reason: "there is no src/plugin.js, which exports what the plugin does",
        });
    }
    let made = work.join("made.wasm");
    let near = project
        .folder
        .ancestors()
        .map(|folder| folder.join("node_modules/.bin"));
    let wanted = Wanted {
        names: &["componentize-qjs"],
        near: near.collect(),
        get: format!("npm install, in {}", project.folder.display()),
    };
    tools.run(&wanted, &|command| {
        command
            .args(["--sync", "--stub-wasi", "--world", WORLD, "--wit"])
            .arg(work.join("wit"));
        command.arg("--js").arg(&main).arg("--module-root").arg(&source);
        command.arg("--output").arg(&made);
    })?;
    Ok(Built {
        component: mend::javascript(&stage::read(&made)?, &work.join("wit"))?,
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
    let converts = project.converts.iter();
    let conversions = converts.map(|both| json!({ "accepts": both.accepts, "returns": both.returns }));
    let conversions: Vec<_> = conversions.collect();
    let words = json!({ "name": project.name, "version": project.version, "conversions": conversions });
    format!("export default {words};\n")
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
            text.starts_with(
                "export default {\"conversions\":[{\"accepts\":\"a\",\"returns\":\"b\"}],\"name\":"
            ),
            "{text}"
        );
        assert!(text.ends_with("};\n"), "{text}");
    }

    #[test]
    fn a_project_without_its_module_is_told_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let mut project = project(Kind::Filter, &[]);
        project.folder = folder.path().to_owned();
        let error = build(&project, &Tools::default(), &folder.path().join("work")).unwrap_err();
        assert!(error.to_string().contains("src/plugin.js"), "{error}");
    }
}
