//! A folder of installed plugins: installed, replaced, rolled back, removed; and the lock that says so.

use std::fs;
use std::io;
use std::path::Path;

use transom_oci::Descriptor;
use transom_plugin::artifact::{Artifact, Package, Policy, section};
use transom_plugin::installed::{Change, Installed, InstalledError, LOCK_FILE, New};

use crate::guests::guest;
use crate::{HOST, MANIFEST};

/// The artifact of the guest, with a remark that makes it another one.
fn package(remark: &str) -> Package {
    let text = format!("{MANIFEST}# {remark}\n");
    let component = section::with(&guest("pass"), &text).unwrap();
    let loaded = HOST.load_any(&component, None).unwrap();
    Package::new(component, loaded.manifest()).unwrap()
}

fn opener(package: &Package) -> impl FnMut(&Descriptor) -> io::Result<Box<dyn io::Read>> + '_ {
    |wanted: &Descriptor| {
        let found = package
            .blobs()
            .find(|(descriptor, _)| descriptor.digest == wanted.digest);
        let (_, bytes) = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(bytes.to_vec())) as _)
    }
}

/// Installs under a version; the guest's own never changes.
fn install(
    installed: &Installed,
    package: &Package,
    version: &str,
    replace: bool,
) -> Result<Change, InstalledError> {
    let manifest = package.blobs().last().unwrap().1;
    let mut open = opener(package);
    let artifact = Artifact::read(manifest, None, &mut open).unwrap();
    let admitted = Policy::default().admit(&HOST, &artifact, &[]).unwrap();
    let new = New {
        artifact: &artifact,
        name: admitted.plugin.name(),
        version,
        source: "a test",
        trust: &admitted.trust,
        signatures: &[],
        replace,
    };
    installed.install(&new, &mut open)
}

/// How many blobs lie in a folder.
fn blobs(folder: &Path) -> usize {
    fs::read_dir(folder.join("blobs/sha256")).unwrap().count()
}

#[test]
fn versions_come_and_go_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("plugins");
    let installed = Installed::open(&folder).unwrap();
    assert!(installed.lock().unwrap().plugins.is_empty());
    let nobody = installed.load("guest", None).unwrap_err();
    assert!(matches!(nobody, InstalledError::NotInstalled { .. }), "{nobody}");

    let [one, two, three] = ["one", "two", "three"].map(package);
    assert_eq!(
        install(&installed, &one, "0.1.0", false).unwrap(),
        Change::Installed
    );
    assert_eq!(
        install(&installed, &one, "0.1.0", false).unwrap(),
        Change::Unchanged
    );
    let nothing = installed.roll_back("guest").unwrap_err();
    assert!(matches!(nothing, InstalledError::NoPrevious(_)), "{nothing}");
    assert_eq!(
        install(&installed, &two, "0.2.0", false).unwrap(),
        Change::Replaced
    );
    let digests = |package: &Package| package.descriptor().digest.clone();
    assert_eq!(installed.load("guest", None).unwrap().0.digest(), &digests(&two));
    // The one before is there by its digest, the artifact's or the component's.
    let (before, _) = installed.load("guest", Some(&digests(&one))).unwrap();
    assert_eq!(before.component, one.component());
    installed.load("guest", Some(&before.component_digest)).unwrap();

    let entry = installed.roll_back("guest").unwrap();
    assert_eq!(
        (entry.current.version.as_str(), entry.current.digest),
        ("0.1.0", digests(&one))
    );
    assert_eq!(installed.load("guest", None).unwrap().0.digest(), &digests(&one));
    // What is before the one before is gone, and its blobs with it.
    assert_eq!(blobs(&folder), 6);
    assert_eq!(
        install(&installed, &three, "0.3.0", false).unwrap(),
        Change::Replaced
    );
    assert_eq!(blobs(&folder), 6);
    assert!(installed.load("guest", Some(&digests(&two))).is_err());

    installed.remove("guest").unwrap();
    assert_eq!(blobs(&folder), 0);
    assert!(matches!(
        installed.remove("guest"),
        Err(InstalledError::NotInstalled { .. })
    ));
}

#[test]
fn a_version_that_is_locked_does_not_change() {
    let folder = tempfile::tempdir().unwrap();
    let installed = Installed::open(folder.path()).unwrap();
    let [one, two] = ["one", "two"].map(package);
    install(&installed, &one, "0.1.0", false).unwrap();
    let before = fs::read(folder.path().join(LOCK_FILE)).unwrap();
    let changed = install(&installed, &two, "0.1.0", false).unwrap_err();
    assert!(matches!(changed, InstalledError::Changed(_)), "{changed}");
    assert_eq!(fs::read(folder.path().join(LOCK_FILE)).unwrap(), before);
    assert_eq!(
        install(&installed, &two, "0.1.0", true).unwrap(),
        Change::Replaced
    );
}

#[test]
fn what_is_damaged_is_not_loaded_and_is_mended_by_installing_again() {
    let folder = tempfile::tempdir().unwrap();
    let installed = Installed::open(folder.path()).unwrap();
    let one = package("one");
    install(&installed, &one, "0.1.0", false).unwrap();
    let layer = &one.blobs().nth(1).unwrap().0.digest;
    let path = folder.path().join("blobs/sha256").join(layer.hex());
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let damaged = installed.load("guest", None).unwrap_err();
    assert!(damaged.to_string().contains("damaged"), "{damaged}");
    assert_eq!(
        install(&installed, &one, "0.1.0", false).unwrap(),
        Change::Unchanged
    );
    installed.load("guest", None).unwrap();
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("blobs/sha256")).unwrap();
    let blob = folder.path().join("blobs/sha256").join("0".repeat(64));
    fs::write(&blob, "somebody's").unwrap();
    let installed = Installed::open(folder.path()).unwrap();
    let refused = install(&installed, &package("one"), "0.1.0", false).unwrap_err();
    assert!(matches!(refused, InstalledError::Wrong { .. }), "{refused}");
    assert!(installed.remove("guest").is_err());
    assert!(blob.exists());
    // Folders of plugins beside it are nobody's matter.
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("scan")).unwrap();
    install(
        &Installed::open(other.path()).unwrap(),
        &package("one"),
        "0.1.0",
        false,
    )
    .unwrap();
    assert!(other.path().join("scan").exists());
}

#[test]
fn one_changes_it_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let installed = Installed::open(folder.path()).unwrap();
    let one = package("one");
    install(&installed, &one, "0.1.0", false).unwrap();
    let held = fs::File::open(folder.path().join(".plugins.busy")).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let busy = install(&installed, &one, "0.1.0", false).unwrap_err();
    assert!(matches!(busy, InstalledError::Busy(_)), "{busy}");
    // Who reads does not wait.
    installed.load("guest", None).unwrap();
}
