//! The folder in which a plugin is built: its world, its source, and the SDK of its language.

use std::fs;
use std::path::Path;

use crate::error::{self, Error};
use crate::project::Project;
use crate::world;

/// A file of an SDK: its name, and its text.
pub(crate) type SdkFile = (&'static str, &'static str);

/// Empties the folder, and puts the world into it: `wit`.
pub(crate) fn prepare(project: &Project, work: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error::file(work)(error)),
        _ => {}
    }
    write(&work.join("wit"), &world::files(project))
}

/// Puts the files of an SDK into a folder.
pub(crate) fn write_sdk<'a>(sdk: impl Iterator<Item = &'a SdkFile>, folder: &Path) -> Result<(), Error> {
    for (name, text) in sdk {
        put(&folder.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Copies the files of the plugin's source that have one of these extensions.
pub(crate) fn copy_sources(project: &Project, extensions: &[&str], to: &Path) -> Result<(), Error> {
    for name in project.sources(extensions)? {
        put(&to.join(&name), &read(&project.folder.join("src").join(&name))?)?;
    }
    Ok(())
}

/// Writes files below a folder: paths, and texts.
pub(crate) fn write(folder: &Path, files: &[(String, String)]) -> Result<(), Error> {
    for (name, text) in files {
        put(&folder.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// Writes a file, in folders that are made.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(error::file(folder))?;
    }
    fs::write(path, bytes).map_err(error::file(path))
}

/// Reads a file, such as what a compiler has made.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(error::file(path))
}

/// A text as JSON has it, which JavaScript, Python and (for what can be in a `plugin.toml` that loads) C understand.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
