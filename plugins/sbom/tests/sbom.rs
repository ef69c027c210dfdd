//! The sbom plugin on layers that this file makes, natively.

use plugin_sbom::Sbom;
use serde_json::Value;
use transom_sdk::testing::{Harness, Run};
use transom_sdk::{Descriptor, Severity};

/// A tar of files. Only what the plugin reads is filled in.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, content) in files {
        let mut header = [0u8; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[148..156].fill(b' ');
        header[156] = b'0';
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        tar.extend(header);
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

fn harness() -> Harness {
    let descriptor = Descriptor {
        digest: "sha256:0123".to_owned(),
        ..Descriptor::default()
    };
    Harness::new()
        .descriptor(descriptor)
        .config("format", "cyclonedx")
        .config("languages", true)
        .config("created", "2024-01-31T12:00:00Z")
}

fn document(run: &Run) -> Value {
    let [document] = &run.documents[..] else {
        panic!("{:?}", run.documents.len())
    };
    serde_json::from_slice(&document.bytes).expect("JSON")
}

/// The package URLs of a layer with one file.
fn urls(path: &str, content: &str) -> Vec<String> {
    let layer = tar(&[(path, content.as_bytes())]);
    let run = harness().run::<Sbom>(&layer);
    assert_eq!(run.outcome().findings, [], "{path}");
    assert!(run.output == layer, "the layer passes unchanged");
    let document = document(&run);
    let components = document["components"].as_array().expect("a list");
    let urls = components
        .iter()
        .filter_map(|component| component["purl"].as_str());
    urls.map(str::to_owned).collect()
}

const STATUS: &str = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2.15-2+b2\nSource: bash (5.2.15-2)\nDescription: a shell\n with: more\n\n\
    Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n\n\
    Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9\nSource: glibc\n";

#[test]
fn packages_of_debian_with_their_distribution() {
    let release = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n";
    // The release comes after the packages.
    let layer = tar(&[
        ("./var/lib/dpkg/status", STATUS.as_bytes()),
        ("./usr/lib/os-release", release.as_bytes()),
    ]);
    let run = harness().run::<Sbom>(&layer);
    let document = document(&run);
    let component = &document["components"][0];
    assert_eq!(
        component["purl"],
        "pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64&distro=debian-12"
    );
    assert_eq!(component["properties"][0]["value"], "var/lib/dpkg/status");
    assert_eq!(component["properties"][1]["value"], "bash");
    let names: Vec<&Value> = document["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["bash", "libc6", "debian"]);
    assert_eq!(document["metadata"]["component"]["name"], "sha256:0123");
    assert_eq!(run.documents[0].media_type, "application/vnd.cyclonedx+json");
    assert_eq!(run.outcome().annotations["dev.transom.sbom.packages"], "2");
    harness().assert_chunking_invariant::<Sbom>(&layer);
}

#[test]
fn spdx_says_the_same() {
    let layer = tar(&[("var/lib/dpkg/status", STATUS.as_bytes())]);
    let spdx = harness().config("format", "spdx");
    let run = spdx.run::<Sbom>(&layer);
    let document = document(&run);
    assert_eq!(run.documents[0].media_type, "application/spdx+json");
    assert_eq!(document["creationInfo"]["created"], "2024-01-31T12:00:00Z");
    assert_eq!(
        document["packages"][1]["externalRefs"][0]["referenceLocator"],
        "pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64"
    );
    let related: Vec<&Value> = document["relationships"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["relatedSpdxElement"])
        .collect();
    assert_eq!(
        related,
        ["SPDXRef-Layer", "SPDXRef-Package-1", "SPDXRef-Package-2"]
    );
    for (key, value) in [("created", "yesterday"), ("format", "csv")] {
        let run = spdx.clone().config(key, value).run::<Sbom>(&layer);
        assert!(run.result.is_err(), "{key}");
    }
}

#[test]
fn packages_of_systems_without_a_file_of_status() {
    for (path, content, expected) in [
        (
            "var/lib/dpkg/status.d/base",
            "Package: base\nVersion: 12\nArchitecture: all\n",
            &["pkg:deb/debian/base@12?arch=all"][..],
        ),
        (
            "lib/apk/db/installed",
            "C:Q1\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\no:musl\n\nP:zlib\nV:1.3-r0\nA:x86_64\n\n",
            &[
                "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64",
                "pkg:apk/alpine/zlib@1.3-r0?arch=x86_64",
            ],
        ),
    ] {
        assert_eq!(urls(path, content), expected, "{path}");
    }
}

#[test]
fn packages_of_javascript() {
    let lock = r#"{"lockfileVersion":3,"packages":{"":{"name":"app"},"node_modules/a":{"version":"1.0.0","license":"MIT"},
        "node_modules/a/node_modules/@s/b":{"version":"2.0.0"},"node_modules/link":{"link":true}}}"#;
    let old_lock = r#"{"lockfileVersion":1,"dependencies":{"a":{"version":"1.0.0","dependencies":{"b":{"version":"2.0.0"}}},"f":{"version":"file:x"}}}"#;
    for (path, content, expected) in [
        (
            "app/package-lock.json",
            lock,
            &["pkg:npm/%40s/b@2.0.0", "pkg:npm/a@1.0.0"][..],
        ),
        (
            "app/package-lock.json",
            old_lock,
            &["pkg:npm/a@1.0.0", "pkg:npm/b@2.0.0"],
        ),
        (
            "app/yarn.lock",
            "# yarn lockfile v1\n\n\"@s/a@^1.0\", \"@s/a@~1.0\":\n  version \"1.0.3\"\n  resolved \"x\"\n\nb@2:\n  version \"2.1.0\"\n",
            &["pkg:npm/%40s/a@1.0.3", "pkg:npm/b@2.1.0"],
        ),
        (
            "usr/lib/node_modules/npm/package.json",
            r#"{"name":"npm","version":"9.2.0","license":"Artistic-2.0"}"#,
            &["pkg:npm/npm@9.2.0"],
        ),
    ] {
        assert_eq!(urls(path, content), expected, "{path}");
    }
}

#[test]
fn packages_of_other_languages() {
    for (path, content, expected) in [
        (
            "usr/lib/python3/dist-packages/Six-1.16.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: Six\nVersion: 1.16\n\nVersion: no\n",
            &["pkg:pypi/six@1.16"][..],
        ),
        (
            "app/requirements.txt",
            "# pinned\nFlask[async]==2.0.1 ; python_version > '3'\nrequests>=2\nno==1.*\n--hash=x==y\n",
            &["pkg:pypi/flask@2.0.1"],
        ),
        (
            "app/poetry.lock",
            "[[package]]\nname = \"six\"\nversion = \"1.16.0\"\n",
            &["pkg:pypi/six@1.16.0"],
        ),
        (
            "app/Pipfile.lock",
            r#"{"default":{"six":{"version":"==1.16.0"}},"develop":{"x":{}}}"#,
            &["pkg:pypi/six@1.16.0"],
        ),
        (
            "app/Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\n",
            &["pkg:cargo/serde@1.0.1"],
        ),
        (
            "app/go.mod",
            "module x\n\ngo 1.22\n\nrequire golang.org/x/net v0.1.0\nrequire (\n\tgithub.com/a/b v1.2.3 // indirect\n)\nreplace x => y v1\n",
            &[
                "pkg:golang/github.com/a/b@v1.2.3",
                "pkg:golang/golang.org/x/net@v0.1.0",
            ],
        ),
        (
            "app/Gemfile.lock",
            "GEM\n  remote: https://rubygems.org/\n  specs:\n    rake (13.0.6)\n      x (= 1)\n\nDEPENDENCIES\n    not (1)\n",
            &["pkg:gem/rake@13.0.6"],
        ),
        (
            "app/composer.lock",
            r#"{"packages":[{"name":"monolog/monolog","version":"v2.0.0","license":["MIT"]}],"packages-dev":[]}"#,
            &["pkg:composer/monolog/monolog@2.0.0"],
        ),
        (
            "app/vendor/composer/installed.json",
            r#"[{"name":"a/b","version":"1.0"}]"#,
            &["pkg:composer/a/b@1.0"],
        ),
    ] {
        assert_eq!(urls(path, content), expected, "{path}");
    }
}

#[test]
fn a_package_that_several_files_name_is_there_once() {
    let lock = b"[[package]]\nname = \"serde\"\nversion = \"1.0.1\"\n";
    let run = harness().run::<Sbom>(&tar(&[("a/Cargo.lock", lock), ("b/Cargo.lock", lock)]));
    let document = document(&run);
    let components = document["components"].as_array().unwrap();
    assert_eq!(components.len(), 1);
    let places: Vec<&Value> = components[0]["properties"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["value"])
        .collect();
    assert_eq!(places, ["a/Cargo.lock", "b/Cargo.lock"]);
}

#[test]
fn what_cannot_be_read_is_a_finding_and_no_error() {
    for (path, content) in [
        ("var/lib/rpm/Packages", &b"\0\0\0\0"[..]),
        ("var/lib/rpm/rpmdb.sqlite", b"SQLite format 3\0"),
        ("var/lib/rpm/rpmdb.sqlite", b"nothing"),
        ("usr/lib/sysimage/rpm/Packages.db", b"RpmP"),
        ("app/package-lock.json", b"{"),
        ("app/Cargo.lock", b"[["),
    ] {
        let run = harness().run::<Sbom>(&tar(&[(path, content)]));
        let [finding] = &run.outcome().findings[..] else {
            panic!("{path}: {:?}", run.result)
        };
        assert_eq!(
            (finding.severity, finding.location.as_str()),
            (Severity::Warning, path)
        );
        assert!(run.documents.is_empty());
    }
    let languages = harness().config("languages", false);
    let run = languages.run::<Sbom>(&tar(&[("app/Cargo.lock", b"[[")]));
    assert_eq!(run.outcome().findings, []);
}

/// The header of a package, as rpm has it.
fn rpm(name: &str) -> Vec<u8> {
    let mut index = Vec::new();
    let mut data = Vec::new();
    for (tag, value) in [
        (1000u32, name),
        (1001, "1.2"),
        (1002, "3.fc40"),
        (1014, "GPL-2.0-only"),
        (1022, "x86_64"),
    ] {
        for number in [tag, 6, data.len() as u32, 1] {
            index.extend(number.to_be_bytes());
        }
        data.extend(value.as_bytes());
        data.push(0);
    }
    let counts = [5u32.to_be_bytes(), (data.len() as u32).to_be_bytes()].concat();
    [counts, index, data].concat()
}

#[test]
fn packages_of_suse_in_ndb() {
    let blob = rpm("zypper");
    let mut file = vec![0u8; 4096];
    file[..4].copy_from_slice(b"RpmP");
    file[12] = 1;
    for slot in file[32..].chunks_exact_mut(16) {
        slot[..4].copy_from_slice(b"Slot");
    }
    let slot = [
        *b"Slot",
        1u32.to_le_bytes(),
        256u32.to_le_bytes(),
        20u32.to_le_bytes(),
    ]
    .concat();
    file[32..48].copy_from_slice(&slot);
    file.extend(
        [
            *b"BlbS",
            1u32.to_le_bytes(),
            [0; 4],
            (blob.len() as u32).to_le_bytes(),
        ]
        .concat(),
    );
    file.extend(&blob);
    let layer = tar(&[("usr/lib/sysimage/rpm/Packages.db", &file)]);
    let run = harness().run::<Sbom>(&layer);
    assert_eq!(run.outcome().findings, []);
    let document = document(&run);
    assert_eq!(
        document["components"][0]["purl"],
        "pkg:rpm/zypper@1.2-3.fc40?arch=x86_64"
    );
    for length in (0..file.len()).step_by(7) {
        let run = harness().run::<Sbom>(&tar(&[("usr/lib/sysimage/rpm/Packages.db", &file[..length])]));
        assert!(run.result.is_ok(), "{length}");
    }
}

/// `tests/rpmdb.sqlite` was made by SQLite 3.40, with the schema of rpm 4.18 and headers as [`rpm`] makes them: 300 packages, the last
/// of which has 20,000 bytes of licence, so that there are pages of each kind.
#[test]
fn packages_of_fedora_in_sqlite() {
    let file = include_bytes!("rpmdb.sqlite");
    let release = b"ID=fedora\nVERSION_ID=40\n";
    let layer = tar(&[("var/lib/rpm/rpmdb.sqlite", file), ("etc/os-release", release)]);
    let run = harness().run::<Sbom>(&layer);
    assert_eq!(run.outcome().findings, []);
    let document = document(&run);
    let components = document["components"].as_array().unwrap();
    let urls: Vec<&str> = components.iter().filter_map(|one| one["purl"].as_str()).collect();
    assert_eq!(urls.len(), 300);
    assert_eq!(
        urls[0],
        "pkg:rpm/fedora/package-000@1.2-3.fc40?arch=x86_64&distro=fedora-40"
    );
    assert_eq!(
        urls[299],
        "pkg:rpm/fedora/package-299@1.2-3.fc40?arch=x86_64&distro=fedora-40"
    );
    let licence = components[299]["licenses"][0]["license"]["name"]
        .as_str()
        .unwrap();
    assert_eq!(licence.len(), 20_000);
    // Damage is found or does not matter; it is never a crash or an endless loop.
    for at in (0..file.len()).step_by(97) {
        let mut damaged = file.to_vec();
        damaged[at] ^= 0x55;
        let run = harness().run::<Sbom>(&tar(&[("var/lib/rpm/rpmdb.sqlite", &damaged)]));
        assert!(run.result.is_ok(), "byte {at}");
    }
}
