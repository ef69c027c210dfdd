//! The files of credentials: which ones, and how they are changed.

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use transom_client::Secret;
use transom_client::auth::{DockerConfig, Helper, config};

use crate::failure::{Failure, Kind};

/// Docker's name for its registry in these files.
const DOCKER: &str = "https://index.docker.io/v1/";

/// The files that are there, of which the first that knows a host decides.
pub(super) fn files(given: Option<&Path>) -> Result<Vec<DockerConfig>, Failure> {
    let mut found = Vec::new();
    for path in places(given) {
        found.extend(DockerConfig::read(&path, path_folders())?);
    }
    Ok(found)
}

/// Keeps a password: with the helper that the file names, or in the file itself. Where it is then.
pub(super) async fn keep(
    given: Option<&Path>,
    host: &str,
    username: &str,
    password: &Secret,
) -> Result<String, Failure> {
    let path = place(given)?;
    let mut file = read(&path)?;
    if let Some(name) = helper(&file, host) {
        let helper = Helper::named(&name, path_folders())?;
        helper.store(key(host), username, password).await?;
        return Ok(format!("docker-credential-{name}"));
    }
    let auth = config::encode(username, password);
    let auths = file.entry("auths").or_insert_with(|| json!({}));
    let Some(auths) = auths.as_object_mut() else {
        return Err(damaged(&path));
    };
    auths.insert(key(host).to_owned(), json!({ "auth": auth.expose() }));
    write(&path, &file)?;
    Ok(path.display().to_string())
}

/// Forgets a host; whether there was something.
pub(super) async fn forget(given: Option<&Path>, host: &str) -> Result<bool, Failure> {
    let mut found = false;
    for path in places(given) {
        if !path.exists() {
            continue;
        }
        let mut file = read(&path)?;
        if let Some(name) = helper(&file, host) {
            let helper = Helper::named(&name, path_folders())?;
            helper.erase(key(host)).await?;
            found = true;
        }
        let auths = file.get_mut("auths").and_then(Value::as_object_mut);
        let removed =
            auths.is_some_and(|auths| auths.remove(key(host)).is_some() | auths.remove(host).is_some());
        if removed {
            write(&path, &file)?;
            found = true;
        }
    }
    Ok(found)
}

/// The places in the order in which podman, skopeo and docker look.
fn places(given: Option<&Path>) -> Vec<PathBuf> {
    if let Some(given) = given {
        return vec![given.to_path_buf()];
    }
    let folder = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(file) = folder("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = folder("HOME");
    let mut all = Vec::new();
    all.extend(folder("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")));
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    all.extend(config.map(|folder| folder.join("containers/auth.json")));
    let docker = folder("DOCKER_CONFIG").or_else(|| Some(home.as_ref()?.join(".docker")));
    all.extend(docker.map(|folder| folder.join("config.json")));
    all
}

/// Where a password is kept: the last place, docker's, which every program reads.
fn place(given: Option<&Path>) -> Result<PathBuf, Failure> {
    places(given)
        .pop()
        .ok_or_else(|| Failure::usage("there is no home directory: say where with --authfile"))
}

fn path_folders() -> Vec<PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect()
}

fn key(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" => DOCKER,
        host => host,
    }
}

fn helper(file: &Map<String, Value>, host: &str) -> Option<String> {
    let own = file.get("credHelpers").and_then(|helpers| helpers.get(host));
    let name = own.or_else(|| file.get("credsStore"))?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn read(path: &Path) -> Result<Map<String, Value>, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Failure::io(path.display(), &error)),
    };
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    // The error's own text could repeat a password.
    serde_json::from_str(&text).map_err(|_| damaged(path))
}

/// In one step, readable by the owner alone.
fn write(path: &Path, file: &Map<String, Value>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::io(path.display(), &error);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let text = serde_json::to_string_pretty(file).map_err(|error| failed(error.into()))?;
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    new.as_file()
        .set_permissions(fs::Permissions::from_mode(0o600))
        .map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

fn damaged(path: &Path) -> Failure {
    let reason = "not a file of credentials: mend or remove it";
    Failure::new(Kind::Damaged, format!("{}: {reason}", path.display()))
}
