//! The world of a plugin: what it exports by its kind, and what it may import by what it asks for.

use std::fmt::Write as _;
use std::path::Path;

use wit_parser::{Resolve, WorldId};

use crate::error::Error;
use crate::mend::LET_GO;
use crate::project::{Kind, Language, Project};

/// The name of the world. Generated code is named after it.
pub(crate) const WORLD: &str = "component";

/// A package of interfaces: its folder's name, and its files.
type Package = (&'static str, &'static [(&'static str, &'static str)]);

/// All packages: what a world does not name costs nothing.
const PACKAGES: [Package; 6] = [
    (
        "common",
        &[
            ("types.wit", include_str!("../../../wit/common/types.wit")),
            ("io.wit", include_str!("../../../wit/common/io.wit")),
            ("log.wit", include_str!("../../../wit/common/log.wit")),
        ],
    ),
    (
        "processor",
        &[(
            "processor.wit",
            include_str!("../../../wit/processor/processor.wit"),
        )],
    ),
    (
        "keys",
        &[("keys.wit", include_str!("../../../wit/keys/keys.wit"))],
    ),
    (
        "artifacts",
        &[(
            "artifacts.wit",
            include_str!("../../../wit/artifacts/artifacts.wit"),
        )],
    ),
    (
        "filter",
        &[("filter.wit", include_str!("../../../wit/filter/filter.wit"))],
    ),
    (
        "storage",
        &[("storage.wit", include_str!("../../../wit/storage/storage.wit"))],
    ),
];

/// The files of a folder of WIT: paths, and texts.
pub(crate) fn files(project: &Project) -> Vec<(String, String)> {
    let packages = PACKAGES.iter().flat_map(|(package, files)| {
        let place = move |name: &str| format!("deps/{package}/{name}");
        files
            .iter()
            .map(move |(name, text)| (place(name), (*text).to_owned()))
    });
    packages
        .chain([("world.wit".to_owned(), text(project))])
        .collect()
}

/// The world in a folder that has these files.
pub(crate) fn resolve(folder: &Path) -> Result<(Resolve, WorldId), Error> {
    let mut resolve = Resolve::default();
    let (own, _) = resolve
        .push_dir(folder)
        .map_err(|error| Error::Bindings(format!("{error:#}")))?;
    let world = resolve
        .select_world(&[own], Some(WORLD))
        .map_err(|error| Error::Bindings(format!("{error:#}")))?;
    Ok((resolve, world))
}

/// `world.wit`. What was not asked for is not there, so that it cannot be imported by mistake.
fn text(project: &Project) -> String {
    let (imports, exports) = interfaces(project);
    let mut text = format!("package transom:plugin;\n\nworld {WORLD} {{\n");
    for name in imports {
        let _ = writeln!(text, "    import transom:{name}@0.1.0;");
    }
    for name in exports {
        let _ = writeln!(text, "    export transom:{name}@0.1.0;");
    }
    if (project.language, project.kind) == (Language::Python, Kind::Driver) {
        let _ = writeln!(text, "    export {LET_GO}: func(address: u32);");
    }
    text.push_str("}\n");
    text
}

fn interfaces(project: &Project) -> (Vec<&'static str>, &'static [&'static str]) {
    let mut imports = vec!["common/types", "common/log"];
    let mut asked = |capability: &str, interface| {
        if project.asks_for(capability) {
            imports.push(interface);
        }
    };
    match project.kind {
        Kind::Processor => {
            asked("keys", "keys/unwrap");
            imports.extend(["common/io", "keys/cipher", "artifacts/documents"]);
            (imports, &["processor/stage"])
        }
        Kind::Filter => (imports, &["filter/matching"]),
        Kind::Driver => {
            asked("keys", "storage/keys");
            asked("http", "storage/http");
            asked("inner", "storage/driver");
            imports.extend([
                "storage/types",
                "storage/settings",
                "storage/clock",
                "storage/random",
            ]);
            (imports, &["storage/driver", "storage/plugin"])
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::stage;

    pub(crate) fn project(kind: Kind, capabilities: &[&str]) -> Project {
        Project {
            folder: "nowhere".into(),
            language: Language::C,
            name: "my-scan".to_owned(),
            version: "1.2.3".to_owned(),
            kind,
            converts: Vec::new(),
            capabilities: capabilities.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn every_kind_has_a_world_of_what_it_asks_for() {
        for (kind, capability, interface) in [
            (Kind::Processor, "keys", "transom:keys/unwrap"),
            (Kind::Driver, "inner", "import transom:storage/driver"),
            (Kind::Driver, "http", "transom:storage/http"),
            (Kind::Driver, "keys", "transom:storage/keys"),
        ] {
            let plain = project(kind, &[]);
            let asking = project(kind, &[capability]);
            assert!(!text(&plain).contains(interface), "{}", text(&plain));
            assert!(text(&asking).contains(interface), "{}", text(&asking));
            for project in [plain, asking, project(Kind::Filter, &[])] {
                let folder = tempfile::tempdir().unwrap();
                stage::write(folder.path(), &files(&project)).unwrap();
                resolve(folder.path()).unwrap();
            }
        }
    }

    #[test]
    fn a_driver_in_python_is_told_what_the_host_drops() {
        let told = |kind, language| {
            let project = Project {
                language,
                ..project(kind, &[])
            };
            text(&project).contains(LET_GO)
        };
        assert!(told(Kind::Driver, Language::Python));
        assert!(!told(Kind::Filter, Language::Python) && !told(Kind::Driver, Language::C));
    }

    #[test]
    fn the_folder_has_every_package() {
        let files = files(&project(Kind::Filter, &[]));
        let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert!(
            names.contains(&"deps/common/types.wit") && names.contains(&"world.wit"),
            "{names:?}"
        );
    }
}
