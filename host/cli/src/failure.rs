//! From errors to exit codes: the one place that decides them.

mod plugins;

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use transom_image::ImageError;
use transom_image::unpack::UnpackError;
use transom_image::unpack::target::TargetError;
use transom_layer::apply::ApplyError;
use transom_layer::pump::PumpError;

/// What kind of failure it is; scripts see it as the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something else went wrong.
    Other,
    /// The command line asks for something that cannot be.
    Usage,
    /// What was named is not there.
    NotFound,
    /// Bytes are not what they should be.
    Damaged,
    /// A plugin refused the layer, or a plugin was refused, or the daemon refuses the caller.
    Refused,
    /// A limit was met; it can be raised.
    Limit,
    /// The disk is full.
    NoSpace,
    /// No daemon answers, or another is at work on the same thing. Later it may go well.
    Unavailable,
    /// Ctrl-C, or a request to terminate.
    Interrupted,
}

impl Kind {
    fn exit_code(self) -> u8 {
        match self {
            Kind::Other => 1,
            Kind::Usage => 2,
            Kind::NotFound => 3,
            Kind::Damaged => 4,
            Kind::Refused => 5,
            Kind::Limit => 6,
            Kind::NoSpace => 7,
            Kind::Unavailable => 8,
            Kind::Interrupted => 130,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Kind::Other => "failed",
            Kind::Usage => "usage",
            Kind::NotFound => "not-found",
            Kind::Damaged => "damaged",
            Kind::Refused => "refused",
            Kind::Limit => "limit",
            Kind::NoSpace => "no-space",
            Kind::Unavailable => "unavailable",
            Kind::Interrupted => "interrupted",
        }
    }
}

/// A command that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Failure {
        Failure {
            kind,
            message: message.into(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Kind::Usage, message)
    }

    pub(crate) fn interrupted() -> Failure {
        Failure::new(Kind::Interrupted, "interrupted")
    }

    /// The same failure, said of something.
    pub(crate) fn about(mut self, what: impl fmt::Display) -> Failure {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The same failure, with what may help.
    pub(crate) fn advise(mut self, hint: &str) -> Failure {
        self.message = format!("{}; {hint}", self.message);
        self
    }

    fn of(kind: Kind, error: &dyn Error) -> Failure {
        Failure {
            kind,
            message: chain(error),
        }
    }

    /// No daemon answers.
    pub(crate) fn unavailable(what: impl fmt::Display, error: &dyn Error) -> Failure {
        Failure::new(Kind::Unavailable, format!("{what}: {}", chain(error)))
    }

    /// A daemon answered, but not with what it must.
    pub(crate) fn silent(what: impl fmt::Display) -> Failure {
        Failure::new(Kind::Other, format!("the daemon's answer lacks {what}"))
    }

    /// An I/O error with what was being done.
    pub(crate) fn io(what: impl fmt::Display, error: &std::io::Error) -> Failure {
        Failure::new(kind_of_io(error), format!("{what}: {error}"))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Says on stderr what went wrong.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            let document =
                serde_json::json!({ "error": { "kind": self.kind.as_str(), "message": self.message } });
            eprintln!("{document}");
        } else {
            eprintln!("transom: {}", self.message);
        }
        ExitCode::from(self.kind.exit_code())
    }
}

/// An error and its sources, each said once: many errors repeat their source in their own text.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = error.source();
    }
    text
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Failure {
        let kind = match &error {
            ImageError::Reference { .. } | ImageError::Transport { .. } | ImageError::Ambiguous { .. } => {
                Kind::Usage
            }
            ImageError::NotFound { .. }
            | ImageError::NoSuchImage { .. }
            | ImageError::NoSuchPlatform { .. } => Kind::NotFound,
            ImageError::Io { .. } | ImageError::Artifact { .. } => Kind::Other,
            ImageError::Spool { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Kind::NoSpace
            }
            ImageError::Spool { .. } => Kind::Other,
            ImageError::SpoolLimit { .. } => Kind::Limit,
            ImageError::Cancelled => return Failure::interrupted(),
            _ => Kind::Damaged,
        };
        Failure::of(kind, &error)
    }
}

impl From<UnpackError> for Failure {
    fn from(error: UnpackError) -> Failure {
        let kind = match &error {
            UnpackError::Open {
                source: ImageError::Io { .. },
                ..
            } => Kind::Other,
            UnpackError::Target(TargetError::NotEmpty { .. }) => Kind::Usage,
            UnpackError::Target(TargetError::Unusable { source, .. }) => kind_of_io(source),
            UnpackError::Target(TargetError::Cleaning { .. }) => Kind::Other,
            UnpackError::Plan { .. } => Kind::Usage,
            UnpackError::Open { .. } | UnpackError::DiffId { .. } => Kind::Damaged,
            UnpackError::Layer { source, .. } => kind_of_layer(source),
            UnpackError::Cancelled { .. } => Kind::Interrupted,
        };
        Failure::of(kind, &error)
    }
}

impl<E: Error> From<PumpError<E>> for Failure
where
    for<'a> &'a E: Into<Kind>,
{
    fn from(error: PumpError<E>) -> Failure {
        Failure::of(kind_of_layer(&error), &error)
    }
}

fn kind_of_io(error: &std::io::Error) -> Kind {
    match error.kind() {
        std::io::ErrorKind::NotFound => Kind::NotFound,
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::NoSpace,
        _ => Kind::Other,
    }
}

fn kind_of_layer<E>(error: &PumpError<E>) -> Kind
where
    for<'a> &'a E: Into<Kind>,
{
    use transom_layer::stage::StageError;
    match error {
        PumpError::Cancelled => Kind::Interrupted,
        PumpError::Refused { .. } => Kind::Refused,
        PumpError::Panicked { .. } => Kind::Other,
        PumpError::Sink(sink) => sink.into(),
        PumpError::Stage { source, .. } => match source {
            StageError::Corrupt { .. } | StageError::BlobSize { .. } | StageError::BlobDigest { .. } => {
                Kind::Damaged
            }
            StageError::OutputLimit { .. } | StageError::RatioLimit { .. } => Kind::Limit,
            StageError::Plugin(error) => plugins::kind_of_fault(error.as_ref()),
            _ => Kind::Other,
        },
    }
}

impl From<&ApplyError> for Kind {
    fn from(error: &ApplyError) -> Kind {
        match error {
            ApplyError::NoSpace { .. } => Kind::NoSpace,
            ApplyError::Limit { .. } => Kind::Limit,
            ApplyError::Tar(_) | ApplyError::Invalid { .. } | ApplyError::UnhandledType { .. } => {
                Kind::Damaged
            }
            ApplyError::Source(_) | ApplyError::Io { .. } => Kind::Other,
        }
    }
}

impl From<transom_guests::Error> for Failure {
    fn from(error: transom_guests::Error) -> Failure {
        use transom_guests::Error;
        let kind = match &error {
            Error::File { source, .. } => kind_of_io(source),
            Error::Manifest { .. } | Error::Language { .. } => Kind::Usage,
            Error::Tool { .. } => Kind::NotFound,
            Error::Component(_) => Kind::Damaged,
            Error::Failed { .. } | Error::Bindings(_) => Kind::Other,
        };
        Failure::of(kind, &error)
    }
}

impl From<transom_content::Error> for Failure {
    fn from(error: transom_content::Error) -> Failure {
        Failure::of(Kind::from(&error), &error)
    }
}

impl From<&transom_content::Error> for Kind {
    fn from(error: &transom_content::Error) -> Kind {
        use transom_content::Error as Content;
        match error {
            Content::NotFound { .. } | Content::RefNotFound { .. } => Kind::NotFound,
            Content::NoSpace { .. } => Kind::NoSpace,
            Content::BadRef { .. } => Kind::Usage,
            Content::SizeMismatch { .. }
            | Content::DigestMismatch { .. }
            | Content::Corrupt { .. }
            | Content::WrongLength { .. } => Kind::Damaged,
            _ => Kind::Other,
        }
    }
}

impl From<transom_storage::ConfigError> for Failure {
    fn from(error: transom_storage::ConfigError) -> Failure {
        let kind = match &error {
            transom_storage::ConfigError::Open { .. } => Kind::Other,
            _ => Kind::Usage,
        };
        Failure::of(kind, &error)
    }
}

impl From<transom_client::Error> for Failure {
    fn from(error: transom_client::Error) -> Failure {
        use transom_client::Error;
        let kind = match error.cause() {
            Error::Reference { .. } | Error::File { .. } | Error::Setup { .. } | Error::NoHost { .. } => {
                Kind::Usage
            }
            Error::NotFound { .. } => Kind::NotFound,
            Error::WrongDigest { .. } | Error::WrongSize { .. } => Kind::Damaged,
            Error::Unauthorized { .. } | Error::Denied { .. } | Error::Tls { .. } => Kind::Refused,
            Error::TooLarge { .. } => Kind::Limit,
            Error::Busy { .. } | Error::Unreachable { .. } | Error::Stalled { .. } => Kind::Unavailable,
            Error::Store { source, .. } => match source.downcast_ref() {
                Some(transom_content::Error::NoSpace { .. }) => Kind::NoSpace,
                Some(transom_content::Error::NotFound { .. }) => Kind::NotFound,
                _ => Kind::Other,
            },
            _ => Kind::Other,
        };
        Failure::new(kind, crate::show::printable(&error.to_string()))
    }
}

impl From<tonic::Status> for Failure {
    /// What a daemon answered, in its own words. An invalid argument was typed on the command line: a filter, a label, a name.
    fn from(status: tonic::Status) -> Failure {
        use tonic::Code;
        let kind = match status.code() {
            Code::InvalidArgument => Kind::Usage,
            Code::NotFound => Kind::NotFound,
            Code::DataLoss => Kind::Damaged,
            Code::PermissionDenied | Code::Unauthenticated => Kind::Refused,
            Code::ResourceExhausted => Kind::Limit,
            Code::Unavailable | Code::DeadlineExceeded => Kind::Unavailable,
            // containerd has no code for it.
            _ if status.message().contains("no space left on device") => Kind::NoSpace,
            _ => Kind::Other,
        };
        if status.message().is_empty() {
            let what = format!("the daemon answered only {:?}", status.code());
            return Failure::new(kind, what);
        }
        let text = match status.source() {
            Some(source) => format!("{}: {}", status.message(), chain(source)),
            None => status.message().to_owned(),
        };
        Failure::new(kind, crate::show::printable(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_said_once() {
        #[derive(Debug)]
        struct Outer(&'static str, std::io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.1)
            }
        }
        let inner = || std::io::Error::other("disk gone");
        assert_eq!(chain(&Outer("reading", inner())), "reading: disk gone");
        assert_eq!(chain(&Outer("reading: disk gone", inner())), "reading: disk gone");
    }

    #[test]
    fn what_a_daemon_says_is_left_as_it_is() {
        use tonic::{Code, Status};
        for (code, text, kind) in [
            (Code::NotFound, "content x: not found", Kind::NotFound),
            (
                Code::InvalidArgument,
                "filters: parse error: invalid argument",
                Kind::Usage,
            ),
            (
                Code::FailedPrecondition,
                "namespace is required: failed precondition",
                Kind::Other,
            ),
            (Code::Unavailable, "ref x locked: unavailable", Kind::Unavailable),
            (Code::Unknown, "write /a: no space left on device", Kind::NoSpace),
        ] {
            let failure = Failure::from(Status::new(code, text));
            assert_eq!((failure.kind, failure.message.as_str()), (kind, text));
        }
        assert_eq!(
            Failure::from(Status::new(Code::Internal, "")).message,
            "the daemon answered only Internal"
        );
    }

    #[test]
    fn exit_codes_are_told_apart() {
        let all = [
            Kind::Other,
            Kind::Usage,
            Kind::NotFound,
            Kind::Damaged,
            Kind::Refused,
            Kind::Limit,
            Kind::NoSpace,
            Kind::Unavailable,
            Kind::Interrupted,
        ];
        let codes: std::collections::BTreeSet<u8> = all.into_iter().map(Kind::exit_code).collect();
        assert_eq!(codes.len(), all.len());
        assert!(!codes.contains(&0));
    }
}
