//! Between the world's types and the SDK's own, which stay the same when the world gets a new version.

use super::component::bindings::exports::transom::processor::stage;
use super::component::bindings::transom::common::types;
use crate::{
    Config, ConfigValue, Descriptor, Error, Finding, Info, IoError, Job, Outcome, Payload, Severity, Verdict,
};

impl From<Info> for stage::Info {
    fn from(info: Info) -> Self {
        let conversions = info.conversions.into_iter().map(|conversion| stage::Conversion {
            accepts: conversion.accepts,
            returns: conversion.returns,
        });
        Self {
            name: info.name,
            version: info.version,
            conversions: conversions.collect(),
        }
    }
}

impl From<stage::Job> for Job {
    fn from(job: stage::Job) -> Self {
        let config: Config = job
            .config
            .into_iter()
            .map(|(key, value)| (key, value.into()))
            .collect();
        let mut converted = Job::new(job.input_media_type, job.output_media_type);
        converted.descriptor = Descriptor {
            media_type: job.descriptor.media_type,
            digest: job.descriptor.digest,
            size: job.descriptor.size,
            annotations: job.descriptor.annotations.into_iter().collect(),
        };
        converted.payload = job.payload.map(|payload| Payload {
            type_url: payload.type_url,
            value: payload.value,
        });
        converted.raw_config = config;
        converted
    }
}

impl From<stage::ConfigValue> for ConfigValue {
    fn from(value: stage::ConfigValue) -> Self {
        match value {
            stage::ConfigValue::Boolean(value) => Self::Boolean(value),
            stage::ConfigValue::Integer(value) => Self::Integer(value),
            stage::ConfigValue::Number(value) => Self::Number(value),
            stage::ConfigValue::Text(value) => Self::Text(value),
            stage::ConfigValue::Texts(value) => Self::Texts(value),
        }
    }
}

impl From<Outcome> for stage::Outcome {
    fn from(outcome: Outcome) -> Self {
        Self {
            annotations: outcome.annotations.into_iter().collect(),
            findings: outcome.findings.into_iter().map(stage::Finding::from).collect(),
            verdict: match outcome.verdict {
                Verdict::Continue => stage::Verdict::Continue,
                Verdict::Refuse { reason } => stage::Verdict::Refuse(reason),
            },
        }
    }
}

impl From<Finding> for stage::Finding {
    fn from(finding: Finding) -> Self {
        Self {
            severity: match finding.severity {
                Severity::Info => stage::Severity::Info,
                Severity::Warning => stage::Severity::Warning,
                Severity::Critical => stage::Severity::Critical,
            },
            rule: finding.rule,
            location: finding.location,
            message: finding.message,
        }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Unsupported(text) => Self::Unsupported(text),
            Error::Corrupt { offset, message } => Self::Corrupt(types::Corruption { offset, message }),
            Error::Denied(text) => Self::Denied(text),
            Error::Config { key, message } => Self::Config(types::ConfigError { key, message }),
            Error::Limit(text) => Self::Limit(text),
            Error::Io(error) => Self::Io(match error {
                IoError::Cancelled => types::IoError::Cancelled,
                IoError::Broken => types::IoError::Broken,
                IoError::Limit(text) => types::IoError::Limit(text),
                IoError::Other(text) => types::IoError::Other(text),
            }),
            Error::Other(text) => Self::Other(text),
        }
    }
}

impl From<types::IoError> for IoError {
    fn from(error: types::IoError) -> Self {
        match error {
            types::IoError::Cancelled => Self::Cancelled,
            types::IoError::Broken => Self::Broken,
            types::IoError::Limit(text) => Self::Limit(text),
            types::IoError::Other(text) => Self::Other(text),
        }
    }
}
