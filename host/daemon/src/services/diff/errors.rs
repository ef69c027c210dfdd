//! From failures of differs to gRPC.
//!
//! Where containerd gives UNKNOWN and its clients do not know better, the class says what can be done about it: damaged data,
//! a full disk or a limit, a layer that a processor refused.

use std::error::Error;

use tonic::Status;
use transom_diff::DiffError;
use transom_layer::apply::ApplyError;
use transom_layer::compare::CompareError;
use transom_layer::pump::PumpError;
use transom_layer::stage::StageError;
use transom_meta::Class;
use transom_plugin::{Fault, GuestError, PluginError};
use transom_sys::Errno;

use super::remote::Refusal;
use crate::status::said;

/// The status of a failure.
pub(super) fn status(error: &DiffError) -> Status {
    let text = error.to_string();
    match error {
        DiffError::Content { source, .. } => of_store(source.as_ref(), text),
        DiffError::Compare { source } => of_compare(source, text),
        DiffError::Cancelled => Status::cancelled(text),
        DiffError::Layer { source, .. } => of_layer(source, text),
        DiffError::NotImplemented { .. } => said(Class::Unimplemented, text),
        DiffError::Mounts { .. } => said(Class::InvalidArgument, text),
        DiffError::ReadOnly { .. } => said(Class::FailedPrecondition, text),
        DiffError::Mount(error) if error.is_bad_request() => said(Class::InvalidArgument, text),
        DiffError::Mount(error) => said(error.errno().map_or(Class::Unknown, of_errno), text),
        DiffError::Open { errno, .. } | DiffError::Sync { errno, .. } => said(of_errno(*errno), text),
        _ => said(Class::Unknown, text),
    }
}

/// The store knows its own classes. A containerd's text has its suffix already.
fn of_store(source: &(dyn Error + Send + Sync + 'static), text: String) -> Status {
    if let Some(error) = source.downcast_ref::<transom_meta::Error>() {
        return said(error.class(), text);
    }
    match source.downcast_ref::<Refusal>() {
        Some(Refusal(status)) => Status::new(status.code(), text),
        None => said(Class::Unknown, text),
    }
}

fn of_errno(errno: Errno) -> Class {
    match errno {
        Errno::NOSPC | Errno::DQUOT => Class::ResourceExhausted,
        Errno::NOENT => Class::NotFound,
        Errno::ROFS => Class::FailedPrecondition,
        _ => Class::Unknown,
    }
}

fn of_layer(error: &PumpError<ApplyError>, text: String) -> Status {
    match error {
        PumpError::Refused { .. } => Status::permission_denied(format!("{text}: permission denied")),
        PumpError::Panicked { .. } => Status::internal(format!("{text}: internal")),
        PumpError::Cancelled => Status::cancelled(text),
        PumpError::Stage { source, .. } => of_stage(source, text),
        PumpError::Sink(error) => said(of_apply(error), text),
    }
}

fn of_stage(error: &StageError, text: String) -> Status {
    let class = match error {
        StageError::BlobDigest { .. } | StageError::BlobSize { .. } => Class::DataLoss,
        StageError::OutputLimit { .. } | StageError::RatioLimit { .. } => Class::ResourceExhausted,
        StageError::Read(error) => {
            let inner = error.get_ref();
            match inner.and_then(|error| error.downcast_ref::<Refusal>()) {
                Some(Refusal(status)) => return Status::new(status.code(), text),
                None => Class::Unknown,
            }
        }
        StageError::Plugin(error) => match error.downcast_ref::<PluginError>().map(|error| &error.fault) {
            Some(
                Fault::Memory { .. }
                | Fault::Cpu { .. }
                | Fault::Stall { .. }
                | Fault::Wall { .. }
                | Fault::Output { .. }
                | Fault::Ratio { .. }
                | Fault::Stack { .. },
            ) => Class::ResourceExhausted,
            Some(Fault::Guest(GuestError::Denied(_))) => Class::PermissionDenied,
            Some(Fault::Suspended(_)) => Class::Unavailable,
            _ => Class::Unknown,
        },
        _ => Class::Unknown,
    };
    said(class, text)
}

fn of_compare(error: &CompareError, text: String) -> Status {
    let class = match error {
        CompareError::Changed { .. } => Class::Aborted,
        CompareError::Limit { .. } => Class::ResourceExhausted,
        CompareError::Io { errno, .. } => of_errno(*errno),
        CompareError::Panicked { .. } | CompareError::Stopped => {
            return Status::internal(format!("{text}: internal"));
        }
        _ => Class::Unknown,
    };
    said(class, text)
}

fn of_apply(error: &ApplyError) -> Class {
    match error {
        ApplyError::NoSpace { .. } | ApplyError::Limit { .. } => Class::ResourceExhausted,
        ApplyError::Io { errno, .. } => match of_errno(*errno) {
            // It is not the layer or the snapshot that is missing.
            Class::NotFound => Class::Unknown,
            class => class,
        },
        _ => Class::Unknown,
    }
}
