//! Drivers that stand on another driver.
//!
//! Most look at calls and not at content: they are an [`Interceptor`] in an [`Intercepted`], which is the driver. [`cache`] is a
//! driver of its own, and so is [`replaceable`], in whose place another can be put. What is in the configuration is listed at the end;
//! [`faults`] is for tests, and not.

use std::sync::Arc;

use crate::factory::{ConfigError, DriverKind, Parameter, Parameters, Type};
use crate::{StorageDriver, limits};

pub mod cache;
pub mod faults;
pub mod intercept;
pub mod limit;
pub mod metrics;
pub mod read_only;
pub mod replaceable;
pub mod retry;
pub mod trace;
pub mod verify;

pub use intercept::{Action, Call, Intercepted, Interceptor};
pub use replaceable::Replaceable;

type Inner = Arc<dyn StorageDriver>;
type Opened = Result<Arc<dyn StorageDriver>, ConfigError>;

static LIMIT: &[Parameter] = &[Parameter::required(
    "maxconcurrency",
    Type::Integer,
    "calls at the same time, 1 to 65536; the others wait",
)];

static RETRY: &[Parameter] = &[
    Parameter::optional("attempts", Type::Integer, "calls in all, 2 to 20; 5"),
    Parameter::optional(
        "delay",
        Type::Duration,
        "the longest wait before the second call, doubled for each further one; 100ms",
    ),
];

static CACHE: &[Parameter] = &[
    Parameter::optional("maxbytes", Type::Integer, "bytes in memory; 16777216"),
    Parameter::optional(
        "maxobject",
        Type::Integer,
        "bytes of the largest content that is kept; 65536",
    ),
    Parameter::optional(
        "ttl",
        Type::Duration,
        "how old an answer may be, as another process may have changed it; 1s",
    ),
];

/// The kinds of this crate that stand on another.
pub(crate) fn kinds() -> Vec<DriverKind> {
    vec![
        kind(
            "limit",
            "fewer calls at the same time",
            LIMIT,
            |parameters, inner| {
                let calls = parameters
                    .integer("maxconcurrency", 1, 1 << 16)?
                    .unwrap_or(limits::THREADS);
                Ok(limit::limited(inner, calls as usize))
            },
        ),
        kind(
            "retry",
            "calls that fail for a moment are made again",
            RETRY,
            |parameters, inner| {
                let policy = retry::Policy::default();
                let attempts = parameters.integer("attempts", 2, 20)?;
                let policy = retry::Policy {
                    attempts: attempts.map_or(policy.attempts, |attempts| attempts as u32),
                    delay: parameters.duration("delay")?.unwrap_or(policy.delay),
                };
                Ok(retry::retried(inner, policy))
            },
        ),
        kind("readonly", "nothing can be changed", &[], |_, inner| {
            Ok(read_only::read_only(inner))
        }),
        kind("trace", "each call is a span of the log", &[], |_, inner| {
            Ok(trace::traced(inner))
        }),
        kind(
            "verify",
            "blobs are hashed while they are read",
            &[],
            |_, inner| Ok(verify::verified(inner)),
        ),
        kind(
            "cache",
            "small content and answers about paths, in memory",
            CACHE,
            |parameters, inner| {
                let sizes = cache::Sizes::default();
                let sizes = cache::Sizes {
                    bytes: parameters
                        .integer("maxbytes", 0, u64::MAX)?
                        .unwrap_or(sizes.bytes),
                    object: parameters
                        .integer("maxobject", 0, limits::CACHED_OBJECT_MAX)?
                        .unwrap_or(sizes.object),
                    ttl: parameters.duration("ttl")?.unwrap_or(sizes.ttl),
                };
                Ok(Arc::new(cache::Cache::new(inner, sizes)))
            },
        ),
    ]
}

fn kind(
    name: &str,
    about: &str,
    parameters: &[Parameter],
    open: fn(&Parameters<'_>, Inner) -> Opened,
) -> DriverKind {
    DriverKind {
        name: name.to_owned(),
        aliases: Vec::new(),
        about: about.to_owned(),
        stacks: true,
        parameters: parameters.to_vec(),
        open: Arc::new(
            move |parameters: &Parameters<'_>, inner: Option<Inner>| match inner {
                Some(inner) => open(parameters, inner),
                None => Err(ConfigError::NoInner {
                    driver: parameters.driver().to_owned(),
                }),
            },
        ),
    }
}
