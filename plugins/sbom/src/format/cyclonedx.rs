//! CycloneDX 1.6 in JSON: <https://cyclonedx.org/docs/1.6/json/>.

use serde_json::{Value, json};

use crate::collect::Found;
use crate::package::Package;

pub(super) fn document(layer: &str, found: &Found) -> Value {
    let mut components: Vec<Value> = found
        .packages
        .iter()
        .map(|(url, package)| component(url, package))
        .collect();
    if let Some((id, version, pretty)) = found.distribution.parts() {
        components.push(json!({
            "type": "operating-system",
            "bom-ref": format!("os:{id}@{version}"),
            "name": id,
            "version": version,
            "description": pretty,
        }));
    }
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": { "type": "container", "bom-ref": "layer", "name": layer },
            "tools": { "components": [{
                "type": "application",
                "name": "transom-sbom",
                "version": env!("CARGO_PKG_VERSION"),
            }] },
        },
        "components": components,
    })
}

fn component(url: &str, package: &Package) -> Value {
    let mut properties: Vec<Value> = package
        .places
        .iter()
        .map(|place| json!({ "name": "dev.transom.sbom.found-in", "value": place }))
        .collect();
    if let Some(source) = &package.source {
        properties.push(json!({ "name": "dev.transom.sbom.source-package", "value": source }));
    }
    let mut component = json!({
        "type": "library",
        "bom-ref": url,
        "name": package.name,
        "version": package.version,
        "purl": url,
        "properties": properties,
    });
    if let Some(licence) = &package.licence {
        component["licenses"] = json!([{ "license": { "name": licence } }]);
    }
    component
}
