//! S3, and what speaks its protocol: docker-registry's driver `s3` with its parameters.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::signer::Signer;

use super::ObjectDriver;
use super::http::Connector;
use crate::factory::{ConfigError, Parameter, Parameters, Type};
use crate::limits;

pub(crate) const NAME: &str = "s3";

/// The parameters of docker-registry's driver that mean something here.
pub(crate) static PARAMETERS: &[Parameter] = &[
    Parameter::required("bucket", Type::Text, "the bucket"),
    Parameter::required(
        "region",
        Type::Text,
        "its region, such as eu-central-1; any word where regionendpoint is set",
    ),
    Parameter::optional(
        "accesskey",
        Type::Text,
        "the key; without it, the machine's role is asked for one",
    ),
    Parameter::optional("secretkey", Type::Text, "the secret of accesskey"),
    Parameter::optional("sessiontoken", Type::Text, "the token of temporary keys"),
    Parameter::optional(
        "regionendpoint",
        Type::Text,
        "the URL or HOST:PORT of another server than Amazon's",
    ),
    Parameter::optional(
        "forcepathstyle",
        Type::Bool,
        "the bucket in the path and not in the host's name; true with regionendpoint, else false",
    ),
    Parameter::optional(
        "secure",
        Type::Bool,
        "TLS; true, unless regionendpoint begins with http:",
    ),
    Parameter::optional("skipverify", Type::Bool, "take any certificate; false"),
    Parameter::optional("rootdirectory", Type::Text, "the key below which everything is"),
    Parameter::optional(
        "chunksize",
        Type::Integer,
        "bytes of a part of an upload, held in memory twice for each; 10485760, at least 5242880",
    ),
    Parameter::optional(
        "encrypt",
        Type::Bool,
        "have the server encrypt what it keeps; false",
    ),
    Parameter::optional("keyid", Type::Text, "the KMS key for encrypt"),
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
    let endpoint = endpoint(parameters)?;
    let path_style = parameters.bool("forcepathstyle")?.unwrap_or(endpoint.is_some());
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(parameters.required_text("bucket")?)
        .with_region(parameters.required_text("region")?)
        .with_virtual_hosted_style_request(!path_style)
        .with_allow_http(true)
        .with_unsigned_payload(endpoint.as_deref().is_none_or(|url| url.starts_with("https:")))
        .with_retry(super::retry())
        .with_http_connector(connector(parameters)?);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    match (parameters.text("accesskey")?, parameters.text("secretkey")?) {
        (Some(key), Some(secret)) => {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        }
        (None, None) => {}
        _ => return Err(parameters.bad("accesskey", "accesskey and secretkey belong together")),
    }
    if let Some(token) = parameters.text("sessiontoken")? {
        builder = builder.with_token(token);
    }
    builder = encryption(parameters, builder)?;
    let store = builder.build().map_err(|error| parameters.failed(error))?;
    let store = Arc::new(store);
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

/// The URL of another server. docker-registry takes it without a scheme too.
fn endpoint(parameters: &Parameters<'_>) -> Result<Option<String>, ConfigError> {
    let Some(endpoint) = parameters.text("regionendpoint")? else {
        return Ok(None);
    };
    if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
        return Ok(Some(endpoint.trim_end_matches('/').to_owned()));
    }
    let scheme = match parameters.bool("secure")? {
        Some(false) => "http",
        _ => "https",
    };
    Ok(Some(format!("{scheme}://{endpoint}")))
}

fn encryption(parameters: &Parameters<'_>, builder: AmazonS3Builder) -> Result<AmazonS3Builder, ConfigError> {
    let key = parameters.text("keyid")?;
    match (parameters.bool("encrypt")?.unwrap_or(false), key) {
        (true, Some(key)) => Ok(builder.with_sse_kms_encryption(key)),
        (true, None) => {
            let name = "aws_server_side_encryption".parse::<AmazonS3ConfigKey>();
            let name = name.map_err(|error| parameters.failed(error))?;
            Ok(builder.with_config(name, "AES256"))
        }
        (false, Some(_)) => Err(parameters.bad("keyid", "it is for encrypt = true only")),
        (false, None) => Ok(builder),
    }
}

pub(super) fn connector(parameters: &Parameters<'_>) -> Result<Connector, ConfigError> {
    Ok(Connector {
        skip_verify: parameters.bool("skipverify")?.unwrap_or(false),
        user_agent: parameters.text("useragent")?.unwrap_or("transom").to_owned(),
    })
}

/// A driver with the root and the part size that the parameters say.
pub(super) fn driver<S>(
    name: &'static str,
    parameters: &Parameters<'_>,
    store: Arc<S>,
    part: u64,
    least: u64,
) -> Result<ObjectDriver, ConfigError>
where
    S: object_store::ObjectStore + object_store::multipart::MultipartStore,
{
    let root = parameters.text("rootdirectory")?.unwrap_or("");
    let part = parameters
        .integer("chunksize", least, limits::PART_MAX)?
        .unwrap_or(part);
    let part = usize::try_from(part).map_err(|error| parameters.failed(error))?;
    ObjectDriver::new(name, store, root, part)
        .map_err(|_| parameters.bad("rootdirectory", "keys cannot begin with it"))
}
