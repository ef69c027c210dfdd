//! External programs as stages, with containerd's contract (its `docs/stream_processors.md`).
//!
//! The program reads the layer on stdin and writes the result to stdout; `STREAM_PROCESSOR_MEDIATYPE` tells it the
//! media type that comes in; a payload, if there is one, is a serialized `google.protobuf.Any` on descriptor 3; a
//! non-zero exit fails the layer with the end of stderr as the reason. It is killed when the job ends early.

use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::thread;

use transom_sys::process::{ProcessGroup, pass_payload};

use crate::limits::STDERR_BYTES_MAX;
use crate::pipe::{Input, Output};
use crate::stage::{Handler, HandlerKind, Job, Outcome, Payload, Stage, StageError};

/// The environment variable with the input's media type.
const MEDIA_TYPE_VARIABLE: &str = "STREAM_PROCESSOR_MEDIATYPE";

/// A program that takes some media types: one `[stream_processors."<id>"]` of containerd's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalProcessor {
    /// Its id, by which payloads are addressed.
    pub id: String,
    /// The media types it takes.
    pub accepts: Vec<String>,
    /// The media type it puts out.
    pub returns: String,
    /// The program; without a slash it is looked up in PATH.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables added to its environment.
    pub env: Vec<(String, String)>,
}

impl Handler for ExternalProcessor {
    fn name(&self) -> &str {
        &self.id
    }

    fn kind(&self) -> HandlerKind {
        HandlerKind::Exec
    }

    fn offer(&self, media_type: &str) -> Option<String> {
        self.accepts
            .iter()
            .any(|accepted| accepted == media_type)
            .then(|| self.returns.clone())
    }

    fn open(&self, job: &Job) -> Result<Box<dyn Stage>, StageError> {
        Ok(Box::new(ExecStage {
            processor: self.clone(),
            job: job.clone(),
        }))
    }
}

struct ExecStage {
    processor: ExternalProcessor,
    job: Job,
}

impl ExecStage {
    fn fault(&self, source: io::Error) -> StageError {
        StageError::Spawn {
            program: self.processor.path.display().to_string(),
            source,
        }
    }

    /// The program, its pipes, and the thread that hands it the payload.
    fn spawn(&self) -> io::Result<(Child, ProcessGroup)> {
        let mut command = Command::new(&self.processor.path);
        command
            .args(&self.processor.args)
            .env(MEDIA_TYPE_VARIABLE, &self.job.input_media_type)
            .envs(self.processor.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let Some(payload) = &self.job.payload else {
            return ProcessGroup::spawn(&mut command);
        };
        let (reader, mut writer) = io::pipe()?;
        pass_payload(&mut command, reader.into());
        let spawned = ProcessGroup::spawn(&mut command)?;
        let message = encode_any(payload);
        // A pipe holds 64 KiB, and a program may read its payload late or never: nobody waits for this thread. It
        // ends with the program, whose end of the pipe closes then.
        thread::spawn(move || writer.write_all(&message));
        Ok(spawned)
    }
}

impl Stage for ExecStage {
    fn run(self: Box<Self>, input: &mut Input, output: &mut Output) -> Result<Outcome, StageError> {
        let (mut child, group) = self.spawn().map_err(|error| self.fault(error))?;
        let group = Arc::new(group);
        let on_cancel = Arc::clone(&group);
        let hook = self.job.cancel.on_cancel(move || drop(on_cancel.kill()));
        let (pumped, stderr) = pump(&mut child, &group, input, output);
        if pumped.is_err() {
            drop(group.kill());
        }
        let status = group.wait(&mut child).map_err(|error| self.fault(error))?;
        drop(hook);
        match pumped {
            Err(Fault::Stage(error)) => Err(error),
            Err(Fault::Program(error)) => Err(self.fault(error)),
            Ok(()) if self.job.cancel.is_requested() => Err(StageError::Cancelled),
            Ok(()) if status.success() => Ok(Outcome::default()),
            Ok(()) => Err(StageError::Program {
                program: self.processor.path.display().to_string(),
                status: status.to_string(),
                stderr: String::from_utf8_lossy(&stderr).trim_end().to_owned(),
            }),
        }
    }
}

enum Fault {
    Stage(StageError),
    Program(io::Error),
}

/// Feeds stdin, reads stdout and keeps the end of stderr, all at once, until the program closes its outputs.
fn pump(
    child: &mut Child,
    group: &ProcessGroup,
    input: &mut Input,
    output: &mut Output,
) -> (Result<(), Fault>, Vec<u8>) {
    let (Some(stdin), Some(mut stdout), Some(stderr)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return (
            Err(Fault::Program(io::Error::other("its pipes are missing"))),
            Vec::new(),
        );
    };
    thread::scope(|scope| {
        let stderr = scope.spawn(move || tail(stderr));
        let feeder = scope.spawn(move || {
            let fed = feed(stdin, input);
            if fed.is_err() {
                drop(group.kill());
            }
            fed
        });
        let read = read_all(&mut stdout, output);
        if read.is_err() {
            drop(group.kill());
            drop(stdout);
        }
        let fed = feeder
            .join()
            .unwrap_or_else(|_| Err(Fault::Program(io::Error::other("the feeder panicked"))));
        let stderr = stderr.join().unwrap_or_default();
        // What came in decides: a program fed only half of its input says nothing of worth.
        (fed.and(read), stderr)
    })
}

fn feed(mut stdin: ChildStdin, input: &mut Input) -> Result<(), Fault> {
    while let Some(chunk) = input.next_chunk().map_err(Fault::Stage)? {
        match stdin.write_all(&chunk) {
            Ok(()) => {}
            // A program may stop reading when it has seen enough; its exit status tells whether that was right.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                drop(stdin);
                return input.drain().map_err(Fault::Stage);
            }
            Err(error) => return Err(Fault::Program(error)),
        }
    }
    Ok(())
}

fn read_all(stdout: &mut impl Read, output: &mut Output) -> Result<(), Fault> {
    loop {
        match output.fill_chunk(|buffer| stdout.read(buffer)) {
            Ok(false) => {}
            Ok(true) => return Ok(()),
            Err(error) => {
                return Err(match error.downcast::<StageError>() {
                    Ok(ours) => Fault::Stage(ours),
                    Err(theirs) => Fault::Program(theirs),
                });
            }
        }
    }
}

/// The last [`STDERR_BYTES_MAX`] bytes of a stream, read to its end.
fn tail(mut stream: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut part = [0; 4096];
    while let Ok(count) = stream.read(&mut part) {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&part[..count]);
        let surplus = kept.len().saturating_sub(STDERR_BYTES_MAX);
        kept.drain(..surplus);
    }
    kept
}

/// A `google.protobuf.Any`: field 1 the type URL, field 2 the value, both length-delimited.
fn encode_any(payload: &Payload) -> Vec<u8> {
    let mut message = Vec::with_capacity(payload.type_url.len() + payload.value.len() + 12);
    for (tag, bytes) in [(0x0a, payload.type_url.as_bytes()), (0x12, &payload.value[..])] {
        if bytes.is_empty() {
            continue;
        }
        message.push(tag);
        let mut length = bytes.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(bytes);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_payload_is_encoded_as_protobuf_does() {
        let payload = Payload {
            type_url: "a/b".into(),
            value: Bytes::from(vec![7; 200]),
        };
        let message = encode_any(&payload);
        assert_eq!(&message[..8], b"\x0a\x03a/b\x12\xc8\x01");
        assert_eq!(message.len(), 8 + 200);
    }

    #[test]
    fn only_the_end_of_stderr_is_kept() {
        let noise: Vec<u8> = (0..STDERR_BYTES_MAX + 5).map(|n| n as u8).collect();
        assert_eq!(tail(&noise[..]), &noise[5..]);
    }
}
