//! Which files say what is installed: kept while they pass, read when they are complete.

use std::collections::BTreeMap;

use transom_sdk::tar::{Entry, Visitor};
use transom_sdk::{Finding, Severity};

use crate::distribution::Distribution;
use crate::languages::{self, Language};
use crate::package::Package;
use crate::{apk, dpkg, rpm};

/// Bytes of a file that is kept. The largest database of rpm seen has 60 MB.
const FILE_BYTES_MAX: u64 = 96 << 20;
/// Packages of a layer. The largest image seen has 9,000.
const PACKAGES_MAX: usize = 100_000;
/// Findings about files that could not be read.
const FINDINGS_MAX: usize = 100;

/// What a file is, by its path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum File {
    OsRelease,
    Dpkg,
    Apk,
    RpmSqlite,
    RpmNdb,
    /// Berkeley DB, which is not read.
    RpmOld,
    Language(Language),
}

impl File {
    fn at(path: &str, languages: bool) -> Option<File> {
        Some(match path {
            "etc/os-release" | "usr/lib/os-release" => File::OsRelease,
            "var/lib/dpkg/status" => File::Dpkg,
            "lib/apk/db/installed" | "usr/lib/apk/db/installed" => File::Apk,
            _ => match path.strip_prefix("var/lib/dpkg/status.d/") {
                Some(name) if !name.ends_with(".md5sums") => File::Dpkg,
                Some(_) => return None,
                None => File::rpm(path).or_else(|| {
                    let language = languages.then(|| Language::at(path)).flatten();
                    language.map(File::Language)
                })?,
            },
        })
    }

    fn rpm(path: &str) -> Option<File> {
        let folders = ["var/lib/rpm/", "usr/lib/sysimage/rpm/"];
        match folders.iter().find_map(|folder| path.strip_prefix(folder))? {
            "rpmdb.sqlite" => Some(File::RpmSqlite),
            "Packages.db" => Some(File::RpmNdb),
            "Packages" => Some(File::RpmOld),
            _ => None,
        }
    }
}

/// What was found in a layer.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// By their URLs, each once.
    pub(crate) packages: BTreeMap<String, Package>,
    pub(crate) distribution: Distribution,
    /// Files that could not be read.
    pub(crate) findings: Vec<Finding>,
}

/// Collects from one layer.
#[derive(Debug)]
pub(crate) struct Collector {
    languages: bool,
    /// The file that is kept, what it is, and its bytes so far.
    current: Option<(String, File)>,
    bytes: Vec<u8>,
    packages: Vec<Package>,
    distribution: Distribution,
    findings: Vec<Finding>,
}

impl Collector {
    pub(crate) fn new(languages: bool) -> Self {
        Self {
            languages,
            current: None,
            bytes: Vec::new(),
            packages: Vec::new(),
            distribution: Distribution::default(),
            findings: Vec::new(),
        }
    }

    /// Everything, with the distribution that is known only now.
    pub(crate) fn conclude(self) -> Found {
        let mut packages: BTreeMap<String, Package> = BTreeMap::new();
        for package in self.packages {
            let url = package.url(&self.distribution);
            match packages.get_mut(&url) {
                Some(same) => same.places.extend(package.places),
                None => drop(packages.insert(url, package)),
            }
        }
        Found {
            packages,
            distribution: self.distribution,
            findings: self.findings,
        }
    }

    fn unread(&mut self, path: &str, reason: &str) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding {
                severity: Severity::Warning,
                rule: "unread".to_owned(),
                location: path.chars().take(1000).collect(),
                message: format!("the bill of materials is without what this file says: {reason}"),
            });
        }
    }

    fn read(&mut self, path: &str, file: File) {
        let text = || String::from_utf8_lossy(&self.bytes);
        let read = match file {
            File::OsRelease => {
                self.distribution = Distribution::parse(&text());
                return;
            }
            File::Dpkg => Ok(dpkg::read(&text())),
            File::Apk => Ok(apk::read(&text())),
            File::RpmSqlite => rpm::read_sqlite(&self.bytes).map_err(str::to_owned),
            File::RpmNdb => rpm::read_ndb(&self.bytes).map_err(str::to_owned),
            File::RpmOld => Err("a Berkeley DB of rpm is not read".to_owned()),
            File::Language(language) => languages::read(language, &text()),
        };
        match read {
            Ok(packages) if self.packages.len() + packages.len() > PACKAGES_MAX => {
                self.unread(path, "the layer has too many packages");
            }
            Ok(packages) => {
                let placed = packages.into_iter().map(|mut package| {
                    package.places.insert(path.to_owned());
                    package
                });
                self.packages.extend(placed);
            }
            Err(reason) => self.unread(path, &reason),
        }
    }
}

impl Visitor for Collector {
    fn entry(&mut self, entry: &Entry) {
        self.bytes = Vec::new();
        self.current = None;
        let is_file = matches!(entry.kind, b'0' | b'7');
        let path = entry.path.strip_prefix(b"./").unwrap_or(&entry.path);
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let Some(path) = std::str::from_utf8(path)
            .ok()
            .filter(|_| is_file && entry.size > 0)
        else {
            return;
        };
        let Some(file) = File::at(path, self.languages) else {
            return;
        };
        if entry.size > FILE_BYTES_MAX {
            self.unread(path, "it is too large");
            return;
        }
        self.bytes.reserve_exact(usize::try_from(entry.size).unwrap_or(0));
        self.current = Some((path.to_owned(), file));
    }

    fn data(&mut self, bytes: &[u8]) {
        if self.current.is_some() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn end_entry(&mut self) {
        if let Some((path, file)) = self.current.take() {
            self.read(&path, file);
            self.bytes = Vec::new();
        }
    }
}
