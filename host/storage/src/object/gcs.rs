//! Google Cloud Storage: docker-registry's driver `gcs` with its parameters.

use std::sync::Arc;

use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::signer::Signer;

use super::ObjectDriver;
use super::s3::{connector, driver};
use crate::factory::{ConfigError, Parameter, Parameters, Type};
use crate::limits;

pub(crate) const NAME: &str = "gcs";

/// The parameters of docker-registry's driver that mean something here.
pub(crate) static PARAMETERS: &[Parameter] = &[
    Parameter::required("bucket", Type::Text, "the bucket"),
    Parameter::optional(
        "keyfile",
        Type::Text,
        "the file of the service account's key; without it, the machine's account is asked for",
    ),
    Parameter::optional("credentials", Type::Map, "the same key as a table"),
    Parameter::optional("endpoint", Type::Text, "the URL of another server than Google's"),
    Parameter::optional("rootdirectory", Type::Text, "the name below which everything is"),
    Parameter::optional(
        "chunksize",
        Type::Integer,
        "bytes of a part of an upload, held in memory twice for each; 16777216, at least 5242880",
    ),
    Parameter::optional("skipverify", Type::Bool, "take any certificate; false"),
    Parameter::optional("useragent", Type::Text, "how the client names itself"),
    Parameter::optional(
        "redirect",
        Type::Bool,
        "give URLs where clients get content by themselves; true",
    ),
];

/// Opens the driver. No request is made.
///
/// # Errors
/// [`ConfigError`].
pub fn open(parameters: &Parameters<'_>) -> Result<ObjectDriver, ConfigError> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(parameters.required_text("bucket")?)
        .with_retry(super::retry())
        .with_http_connector(connector(parameters)?);
    match (parameters.text("keyfile")?, parameters.map("credentials")?) {
        (Some(_), Some(_)) => return Err(parameters.bad("credentials", "give either them or keyfile")),
        (Some(file), None) => builder = builder.with_service_account_path(file),
        (None, Some(key)) => {
            let key = serde_json::Value::Object(key.clone()).to_string();
            builder = builder.with_service_account_key(key);
        }
        (None, None) => {}
    }
    if let Some(endpoint) = parameters.text("endpoint")? {
        builder = builder.with_base_url(endpoint);
    }
    let store = Arc::new(builder.build().map_err(|error| parameters.failed(error))?);
    let driver = driver(
        NAME,
        parameters,
        Arc::clone(&store),
        limits::GCS_PART,
        limits::S3_PART_MIN,
    )?;
    match parameters.bool("redirect")? {
        Some(false) => Ok(driver),
        _ => Ok(driver.with_signer(store as Arc<dyn Signer>)),
    }
}
