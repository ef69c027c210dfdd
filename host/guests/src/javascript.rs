//! Plugins in JavaScript: QuickJS, the plugin's source and its world in one component, by `componentize-qjs`.
//!
//! What QuickJS would import of WASI is replaced by traps inside the component (`--stub-wasi`), so that it imports nothing but its
//! world.

use std::path::Path;

use serde_json::json;

use crate::Built;
use crate::error::Error;
use crate::project::{Kind, Project};
use crate::stage::{self, SdkFile};
use crate::tools::{Tools, Wanted};
use crate::world::WORLD;

/// The module that the component is made of: it exports the interfaces of its kind.
const MAIN: &str = "plugin.js";

const SDK: [SdkFile; 2] = [
    ("transom.js", include_str!("../../../sdk/js/transom.js")),
    ("filter.js", include_str!("../../../sdk/js/filter.js")),
];

pub(crate) fn build(project: &Project, tools: &Tools, work: &Path) -> Result<Built, Error> {
    if project.kind != Kind::Filter {
        return Err(Error::Language {
            folder: project.folder.clone(),
            reason: "in JavaScript there are filters only, for reasons in docs/decisions/0023-plugins-in-other-languages.md",
        });
    }
    stage::prepare(project, work)?;
    // The SDK stands inside the source, where the plugin's modules import it from.
    let source = work.join("src");
    stage::copy_sources(project, &["js", "mjs", "json"], &source)?;
    stage::write_sdk(SDK.iter(), &source.join("transom"))?;
    stage::put(&source.join("transom/project.js"), words(project).as_bytes())?;
    let main = source.join(MAIN);
    if !main.is_file() {
        return Err(Error::Language {
            folder: project.folder.clone(),
            reason: "there is no src/plugin.js, which exports what the plugin does",
        });
    }
    let component = work.join("component.wasm");
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
        command.arg("--output").arg(&component);
    })?;
    Ok(Built {
        component: stage::read(&component)?,
        warnings: String::new(),
    })
}

/// What `plugin.toml` says, as a module.
fn words(project: &Project) -> String {
    let words = json!({ "name": project.name, "version": project.version });
    format!("export default {words};\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::tests::project;

    #[test]
    fn the_manifest_becomes_a_module() {
        let text = words(&project(Kind::Filter, &[]));
        assert_eq!(
            text,
            "export default {\"name\":\"my-scan\",\"version\":\"1.2.3\"};
"
        );
    }

    #[test]
    fn what_cannot_be_is_said_at_once() {
        for kind in [Kind::Processor, Kind::Driver] {
            let error = build(&project(kind, &[]), &Tools::default(), Path::new("nowhere")).unwrap_err();
            assert!(error.to_string().contains("filters only"), "{error}");
        }
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
