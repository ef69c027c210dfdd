//! Programs in a folder, by containerd's contract for `io.containerd.image-verifier.v1.bindir`: each gets the image's name and
//! digest as arguments and its descriptor as JSON on stdin; its exit code is the judgement, what it writes to stdout the
//! reason. Without a folder, or with an empty one, everything is allowed.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use transom_meta::kv::Pending;

use super::{Judgement, Subject, Verifier};
use crate::limits;

/// The media type of what is on stdin.
const DESCRIPTOR: &str = "application/vnd.oci.descriptor.v1+json";

/// The programs of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// The folder.
    pub folder: PathBuf,
    /// How many are asked, in the order of their names; all if `None`.
    pub most: Option<usize>,
    /// How long each may take.
    pub timeout: Duration,
}

impl Verifier for Programs {
    fn name(&self) -> &str {
        "bindir"
    }

    fn verify<'a>(&'a self, subject: &'a Subject<'a>) -> Pending<'a, Result<Judgement, String>> {
        Box::pin(self.judge(subject))
    }
}

impl Programs {
    async fn judge(&self, subject: &Subject<'_>) -> Result<Judgement, String> {
        let folder = self.folder.clone();
        let found = tokio::task::spawn_blocking(move || programs(&folder)).await;
        let found = found.map_err(|error| error.to_string())?;
        let found = found.map_err(|error| format!("failed to list {}: {error}", self.folder.display()))?;
        let most = self.most.unwrap_or(usize::MAX);
        if found.len() > most {
            tracing::warn!(folder = %self.folder.display(), found = found.len(), most, "not all image verifiers are asked");
        }
        let mut reasons = Vec::new();
        for program in found.iter().take(most) {
            let name = program.file_name().unwrap_or_default().to_string_lossy();
            let ended = tokio::time::timeout(self.timeout, run(program, subject)).await;
            let failed = |error: String| format!("failed to call verifier {name}: {error}");
            let Ok(ended) = ended else {
                return Err(failed(format!("it did not end in {:?}", self.timeout)));
            };
            let (code, reason) = ended.map_err(|error| failed(error.to_string()))?;
            match code {
                Some(0) => reasons.push(format!("{name} => {reason}")),
                Some(code) => {
                    return Ok(Judgement {
                        allowed: false,
                        reason: format!("verifier {name} rejected image (exit code {code}): {reason}"),
                    });
                }
                None => return Err(failed("a signal ended it".to_owned())),
            }
        }
        Ok(Judgement {
            allowed: true,
            reason: reasons.join(", "),
        })
    }
}

/// What lies in a folder, by name.
fn programs(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    found.sort();
    Ok(found)
}

/// Runs a program to its end; its exit code, and what it said. Dropping this kills it.
async fn run(program: &Path, subject: &Subject<'_>) -> io::Result<(Option<i32>, String)> {
    let mut child = Command::new(program)
        .args(["-name", subject.name])
        .args(["-digest", subject.descriptor.digest.as_str()])
        .args(["-stdin-media-type", DESCRIPTOR])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let descriptor = serde_json::to_vec(subject.descriptor)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ((), said, complained) = tokio::join!(tell(stdin, &descriptor), read(stdout), read(stderr));
    if !complained.is_empty() {
        tracing::debug!(program = %program.display(), stderr = complained, "an image verifier");
    }
    Ok((wait(child).await?, said))
}

async fn wait(mut child: Child) -> io::Result<Option<i32>> {
    Ok(child.wait().await?.code())
}

/// Writes to a program that may not read it.
async fn tell(stdin: Option<ChildStdin>, bytes: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(bytes).await;
    }
}

/// The beginning of what a program says; the rest is read and forgotten, or it would be stopped by a full pipe.
async fn read(output: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut output) = output else {
        return String::new();
    };
    let mut said = Vec::new();
    let mut first = (&mut output).take(limits::VERIFIER_OUTPUT_BYTES);
    // What came before an error counts.
    let _ = first.read_to_end(&mut said).await;
    let mut text = String::from_utf8_lossy(&said).trim().to_owned();
    if tokio::io::copy(&mut output, &mut tokio::io::sink())
        .await
        .is_ok_and(|rest| rest > 0)
    {
        text.push_str("(stdout truncated)");
    }
    text
}
