//! From errors to gRPC: the code of each class, and the text with the suffix that containerd's clients know the class by.

use tonic::{Code, Status};
use transom_meta::{Class, Error};

/// The code of a class.
#[must_use]
pub fn code(class: Class) -> Code {
    match class {
        Class::InvalidArgument => Code::InvalidArgument,
        Class::NotFound => Code::NotFound,
        Class::AlreadyExists => Code::AlreadyExists,
        Class::FailedPrecondition => Code::FailedPrecondition,
        Class::OutOfRange => Code::OutOfRange,
        Class::PermissionDenied => Code::PermissionDenied,
        Class::Aborted => Code::Aborted,
        Class::Unimplemented => Code::Unimplemented,
        Class::ResourceExhausted => Code::ResourceExhausted,
        Class::Unavailable => Code::Unavailable,
        Class::DataLoss => Code::DataLoss,
        Class::Unknown => Code::Unknown,
    }
}

/// The status of an error of metadata or content.
#[must_use]
pub fn of(error: &Error) -> Status {
    said(error.class(), error.to_string())
}

/// The status of an error of the blobs' store.
#[must_use]
pub fn of_content(error: transom_content::Error) -> Status {
    of(&Error::from(error))
}

/// The status of an error of a class, with its text, which gets the class's suffix if it does not have it.
#[must_use]
pub fn said(class: Class, text: impl Into<String>) -> Status {
    let mut text = text.into();
    let suffix = class.to_string();
    let has_suffix = text
        .strip_suffix(&suffix)
        .is_some_and(|start| start.is_empty() || start.ends_with(": "));
    if class != Class::Unknown && !has_suffix {
        text.push_str(": ");
        text.push_str(&suffix);
    }
    Status::new(code(class), text)
}

/// The status of a request that lacks a nested message.
#[must_use]
pub fn missing(field: &str) -> Status {
    said(Class::InvalidArgument, format!("{field} is required"))
}
