//! Azure Blob Storage: docker-registry's driver `azure` with its parameters.
//!
//! What docker-registry wrote as append blobs is read as it is; what this driver writes are block blobs, which
//! docker-registry reads too.

use std::sync::Arc;

use object_store::azure::MicrosoftAzureBuilder;
use object_store::signer::Signer;

use super::ObjectDriver;
use super::s3::{connector, driver};
use crate::factory::{ConfigError, Parameter, Parameters, Type};
use crate::limits;

pub(crate) const NAME: &str = "azure";

/// The parameters of docker-registry's driver that mean something here.
pub(crate) static PARAMETERS: &[Parameter] = &[
    Parameter::required("accountname", Type::Text, "the storage account"),
    Parameter::required("container", Type::Text, "the container"),
    Parameter::optional(
        "accountkey",
        Type::Text,
        "the account's key; without it, the machine's identity is asked for",
    ),
    Parameter::optional("realm", Type::Text, "the domain of the service; core.windows.net"),
    Parameter::optional(
        "endpoint",
        Type::Text,
        "the URL of another server than Microsoft's",
    ),
    Parameter::optional("rootdirectory", Type::Text, "the name below which everything is"),
    Parameter::optional(
        "chunksize",
        Type::Integer,
        "bytes of a part of an upload, held in memory twice for each; 10485760, at least 5242880",
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
    let account = parameters.required_text("accountname")?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(parameters.required_text("container")?)
        .with_allow_http(true)
        .with_retry(super::retry())
        .with_http_connector(connector(parameters)?);
    if let Some(key) = parameters.text("accountkey")? {
        builder = builder.with_access_key(key);
    }
    match (parameters.text("endpoint")?, parameters.text("realm")?) {
        (Some(_), Some(_)) => return Err(parameters.bad("realm", "give either it or endpoint")),
        (Some(endpoint), None) => builder = builder.with_endpoint(endpoint.to_owned()),
        (None, Some(realm)) => builder = builder.with_endpoint(format!("https://{account}.blob.{realm}")),
        (None, None) => {}
    }
    let store = Arc::new(builder.build().map_err(|error| parameters.failed(error))?);
    let driver = driver(
        NAME,
        parameters,
        Arc::clone(&store),
        limits::S3_PART,
        limits::S3_PART_MIN,
    )?;
    match parameters.bool("redirect")? {
        Some(false) => Ok(driver),
        _ => Ok(driver.with_signer(store as Arc<dyn Signer>)),
    }
}
