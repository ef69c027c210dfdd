//! A label filter on records: which of them an expression selects, or what its error says.

use std::path::Path;

use transom_plugin::FilterSet;
use transom_plugin::filter::cases::Case;

use super::Told;
use super::case;
use crate::failure::Failure;
use crate::handlers;

pub(super) fn run(built: &Path, folder: &Path, as_json: bool) -> Result<(), Failure> {
    let host = handlers::host()?;
    let name = host.load_filter(built)?.name().to_owned();
    let (set, _) = FilterSet::load(&host, &[built.to_owned()]);
    let plugins = set.into_plugins();
    let mut told = Told::new(as_json);
    for folder in case::folders(folder)? {
        let case: Case = case::toml(&folder.join("case.toml"))?;
        for (expression, result) in case.run(&name, &plugins) {
            told.tell(&format!("{} {expression}", case::name_of(&folder)), result)?;
        }
    }
    told.finish(folder)
}
