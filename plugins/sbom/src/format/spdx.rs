//! SPDX 2.3 in JSON: <https://spdx.github.io/spdx-spec/v2.3/>.

use serde_json::{Value, json};

use crate::collect::Found;
use crate::package::Package;

const NONE: &str = "NOASSERTION";

pub(super) fn document(layer: &str, created: &str, found: &Found) -> Value {
    let id = |index: usize| format!("SPDXRef-Package-{}", index + 1);
    let mut packages = vec![json!({
        "SPDXID": "SPDXRef-Layer",
        "name": layer,
        "primaryPackagePurpose": "CONTAINER",
        "downloadLocation": NONE,
        "filesAnalyzed": false,
        "copyrightText": NONE,
        "licenseConcluded": NONE,
        "licenseDeclared": NONE,
    })];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Layer")];
    for (index, (url, package)) in found.packages.iter().enumerate() {
        packages.push(entry(&id(index), url, package));
        relationships.push(relationship("SPDXRef-Layer", "CONTAINS", &id(index)));
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": layer,
        "documentNamespace": format!("https://transom.dev/sbom/{}", layer.replace(':', "/")),
        "creationInfo": {
            "created": created,
            "creators": [format!("Tool: transom-sbom-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": packages,
        "relationships": relationships,
    })
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn entry(id: &str, url: &str, package: &Package) -> Value {
    let places: Vec<&str> = package.places.iter().map(String::as_str).collect();
    let mut entry = json!({
        "SPDXID": id,
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": NONE,
        "filesAnalyzed": false,
        "copyrightText": NONE,
        "licenseConcluded": NONE,
        // What packages say is often no expression of SPDX, which this must be.
        "licenseDeclared": NONE,
        "sourceInfo": format!("found in {}", places.join(", ")),
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": url,
        }],
    });
    if let Some(licence) = &package.licence {
        entry["licenseComments"] = json!(format!("the package says: {licence}"));
    }
    entry
}
