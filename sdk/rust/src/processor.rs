//! The trait a processor implements, and the words of its conversation with the host.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use serde::de::DeserializeOwned;

use crate::config::{Config, ConfigValue};
use crate::error::Error;

/// A stage in the way of a layer's bytes.
///
/// The host makes a fresh one (with [`Default`]) for every layer and drops it afterwards, so state may be kept in the
/// fields while one layer passes and nowhere else.
pub trait Processor: Default {
    /// Says what the processor is. Always the same answer.
    fn describe() -> Info;

    /// Reads `input` and writes `output`.
    ///
    /// Both block as long as the other side is behind; what is written is flushed when this returns `Ok`. Reading in
    /// small pieces is cheap, since `input` holds a chunk of up to 256 KiB; [`BufRead::fill_buf`] gives that chunk
    /// without a copy, and a `write_all` of 32 KiB or more goes out without one.
    ///
    /// # Errors
    ///
    /// Any [`Error`]; `?` turns an [`std::io::Error`] into the right one. The output is then thrown away. To refuse a
    /// layer that is well formed, return an [`Outcome`] with [`Outcome::refuse`] instead.
    fn run(&mut self, job: &Job, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<Outcome, Error>;
}

/// What a processor is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Info {
    /// Its name: lower-case letters, digits and `-`, at most 64 bytes.
    pub name: String,
    /// Its version by the rules of semver.org; `env!("CARGO_PKG_VERSION")` will do.
    pub version: String,
    /// What it can do, each accepted media type once.
    pub conversions: Vec<Conversion>,
}

impl Info {
    /// A processor that cannot do anything yet.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            conversions: Vec::new(),
        }
    }

    /// Adds a media type that it accepts and the one that it returns for it. If both are the same it is an inspector.
    #[must_use]
    pub fn converts(mut self, accepts: impl Into<String>, returns: impl Into<String>) -> Self {
        self.conversions.push(Conversion {
            accepts: accepts.into(),
            returns: returns.into(),
        });
        self
    }
}

/// A media type that a processor accepts and the one that it returns for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Conversion {
    /// The media type of the input, compared byte by byte.
    pub accepts: String,
    /// The media type of the output.
    pub returns: String,
}

/// What is asked of a processor.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Job {
    /// The media type of the bytes that the input gives.
    pub input_media_type: String,
    /// The media type of the bytes that the output must be given.
    pub output_media_type: String,
    /// The layer's blob as the manifest describes it, the same through all stages of a layer.
    pub descriptor: Descriptor,
    /// A message for this stage from whoever asked for the unpack.
    pub payload: Option<Payload>,
    /// The configuration as it came; [`Job::config`] is the comfortable way.
    pub raw_config: Config,
}

impl Job {
    /// A job with an empty descriptor, no payload and no configuration. The host makes the real ones.
    pub fn new(input_media_type: impl Into<String>, output_media_type: impl Into<String>) -> Self {
        Self {
            input_media_type: input_media_type.into(),
            output_media_type: output_media_type.into(),
            descriptor: Descriptor::default(),
            payload: None,
            raw_config: Config::default(),
        }
    }

    /// The configuration as a type of yours: a struct that derives `serde::Deserialize`, with one field for each key
    /// under `[config]` in `plugin.toml`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] naming the key that is missing or does not fit its field.
    pub fn config<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.raw_config.to()
    }

    /// One configuration value, if it was given.
    pub fn config_value(&self, key: &str) -> Option<&ConfigValue> {
        self.raw_config.get(key)
    }
}

/// A blob as a manifest describes it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Descriptor {
    /// The media type that the manifest gives.
    pub media_type: String,
    /// The digest, such as `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The size in bytes.
    pub size: u64,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A message for a stage: a `google.protobuf.Any`, as containerd hands them to stream processors.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Payload {
    /// What the bytes are.
    pub type_url: String,
    /// The bytes.
    pub value: Vec<u8>,
}

/// What came of a job, next to the bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// To be recorded with the layer; keys in reverse domain notation.
    pub annotations: BTreeMap<String, String>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Whether the layer may be used.
    pub verdict: Verdict,
}

impl Outcome {
    /// Adds an annotation.
    #[must_use]
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a number or a text without `&` reads better"
    )]
    pub fn annotate(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.annotations.insert(key.into(), value.to_string());
        self
    }

    /// Refuses the layer.
    #[must_use]
    pub fn refuse(mut self, reason: impl Into<String>) -> Self {
        self.verdict = Verdict::Refuse {
            reason: reason.into(),
        };
        self
    }
}

/// Whether a layer may be used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Verdict {
    /// It may.
    #[default]
    Continue,
    /// The unpack fails with this reason, and what was written is thrown away.
    Refuse {
        /// For a person, in one sentence.
        reason: String,
    },
}

/// Something that was found in a layer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// The rule that found it: a short name that stays the same.
    pub rule: String,
    /// Where it is, for example a path and an offset.
    pub location: String,
    /// What it is, for a person. Never the secret itself.
    pub message: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Somebody must look at it.
    Critical,
}
