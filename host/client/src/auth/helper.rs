//! Credential helpers: programs named `docker-credential-NAME` that are asked on stdin and answer on stdout.

use std::path::PathBuf;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::credentials::Credentials;
use crate::error::shortened;
use crate::{Error, Secret, limits};

/// What a helper says when it knows nothing of a host.
const NOT_FOUND: &str = "credentials not found";

/// The user name that marks a refresh token.
const TOKEN_USER: &str = "<token>";

/// A credential helper.
#[derive(Clone, Debug)]
pub struct Helper {
    program: PathBuf,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: Secret,
}

#[derive(Serialize)]
struct Kept<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    #[serde(rename = "Username")]
    username: &'a str,
    #[serde(rename = "Secret")]
    secret: &'a str,
}

impl Helper {
    /// The helper of a name, in the first of the folders that has it.
    ///
    /// # Errors
    /// [`Error::Helper`] if no folder has it, or if the name is a path.
    pub fn named(name: &str, folders: Vec<PathBuf>) -> Result<Helper, Error> {
        let file = format!("docker-credential-{name}");
        let fits = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !fits {
            return Err(failed(
                &shortened(name),
                "the name of a helper has letters, digits, \".\", \"_\" and \"-\"",
            ));
        }
        folders
            .into_iter()
            .map(|folder| folder.join(&file))
            .find(|path| path.is_file())
            .map(|program| Helper { program })
            .ok_or_else(|| {
                failed(
                    &file,
                    "there is no such program on the PATH: install it, or take it out of the file",
                )
            })
    }

    /// What it has for a server; [`Credentials::Anonymous`] if nothing.
    ///
    /// # Errors
    /// [`Error::Helper`].
    pub async fn get(&self, server: &str) -> Result<Credentials, Error> {
        let output = match self.run("get", server).await? {
            Ok(output) => output,
            Err(message) if message.contains(NOT_FOUND) => return Ok(Credentials::Anonymous),
            Err(message) => return Err(self.failed(&message)),
        };
        // The error's own text may repeat a value.
        let answer: Answer = serde_json::from_str(output.expose())
            .map_err(|_| self.failed("its answer is not JSON with Username and Secret"))?;
        match (answer.username, answer.secret) {
            (user, secret) if user.is_empty() && secret.is_empty() => Ok(Credentials::Anonymous),
            (user, secret) if user == TOKEN_USER => Ok(Credentials::IdentityToken(secret)),
            (username, password) => Ok(Credentials::Password { username, password }),
        }
    }

    /// Has it keep a password.
    ///
    /// # Errors
    /// [`Error::Helper`].
    pub async fn store(&self, server: &str, username: &str, secret: &Secret) -> Result<(), Error> {
        let kept = Kept {
            server,
            username,
            secret: secret.expose(),
        };
        let text = serde_json::to_string(&kept).map(Secret::new);
        let text = text.map_err(|_| self.failed("the password cannot be written as JSON"))?;
        self.run("store", text.expose())
            .await?
            .map(drop)
            .map_err(|message| self.failed(&message))
    }

    /// Has it forget a server; no error if it knows none.
    ///
    /// # Errors
    /// [`Error::Helper`].
    pub async fn erase(&self, server: &str) -> Result<(), Error> {
        match self.run("erase", server).await? {
            Err(message) if !message.contains(NOT_FOUND) => Err(self.failed(&message)),
            _ => Ok(()),
        }
    }

    /// Runs it; the inner error is what it said when it failed.
    async fn run(&self, action: &str, input: &str) -> Result<Result<Secret, String>, Error> {
        let child = Command::new(&self.program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| self.failed(&format!("cannot be started: {error}")))?;
        match tokio::time::timeout(limits::HELPER_TIME, self.talk(child, input)).await {
            Ok(result) => result,
            Err(_) => Err(self.failed(&format!("no answer after {} s", limits::HELPER_TIME.as_secs()))),
        }
    }

    async fn talk(&self, mut child: Child, input: &str) -> Result<Result<Secret, String>, Error> {
        let broken = |error: std::io::Error| self.failed(&error.to_string());
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that does not read its input says why on its own.
            drop(stdin.write_all(input.as_bytes()).await);
        }
        let mut output = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = stdout.take(limits::HELPER_BYTES + 1);
            stdout.read_to_end(&mut output).await.map_err(broken)?;
        }
        if output.len() as u64 > limits::HELPER_BYTES {
            return Err(self.failed(&format!("it prints more than {} bytes", limits::HELPER_BYTES)));
        }
        let status = child.wait().await.map_err(broken)?;
        let output = Secret::new(String::from_utf8(output).map_err(|_| self.failed("it prints no UTF-8"))?);
        if status.success() {
            return Ok(Ok(output));
        }
        // Whatever looks like an answer is not shown.
        let message = match output.expose().trim() {
            text if text.is_empty() || text.contains('{') => status.to_string(),
            text => shortened(text),
        };
        Ok(Err(message))
    }

    fn failed(&self, reason: &str) -> Error {
        failed(&self.program.display().to_string(), reason)
    }
}

fn failed(program: &str, reason: &str) -> Error {
    Error::Helper {
        program: program.to_owned(),
        reason: reason.to_owned(),
    }
}
