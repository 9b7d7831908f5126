//! Which object store a URL means, and how it is opened.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use super::bucket::Bucket;
use super::{StoreConfig, StoreError};

/// An opened backend. `folder` is set for local ones, which also refuse object attributes.
pub(super) struct Backend {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) folder: Option<PathBuf>,
    /// Of S3, for what object_store does not know.
    pub(super) bucket: Option<Bucket>,
}

/// The variables that S3 credentials and endpoints come from, in object_store's spelling.
const AWS_VARIABLES: [&str; 18] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ALLOW_HTTP",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_SERVER_SIDE_ENCRYPTION",
];
const GOOGLE_VARIABLES: [&str; 3] =
    ["GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"];
const AZURE_VARIABLES: [&str; 9] = [
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_STORAGE_USE_EMULATOR",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
];

type Env<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

pub(super) fn open(config: &StoreConfig, env: Env<'_>) -> Result<Backend, StoreError> {
    let url = config.url.as_str();
    if let Some(reason) = config.url_problem() {
        return Err(StoreError::Url { url: url.to_owned(), reason });
    }
    match url.split_once("://") {
        None => open_folder(url, FsPath::new(url)),
        Some(("file", path)) => open_folder(url, FsPath::new(path)),
        Some(("memory", _)) => Ok(Backend { objects: Arc::new(InMemory::new()), folder: None, bucket: None }),
        Some(("s3", rest)) => open_s3(config, rest, env),
        Some(("gs", _)) => {
            let mut builder = GoogleCloudStorageBuilder::new()
                .with_url(url)
                .with_client_options(client())
                .with_retry(retry());
            for (key, value) in set::<GoogleConfigKey>(&GOOGLE_VARIABLES, env) {
                builder = builder.with_config(key, value);
            }
            cloud(url, builder.build())
        }
        Some(("az", _)) => {
            let plain_http = env("AZURE_ALLOW_HTTP").is_some_and(|value| value == "true");
            let mut builder = MicrosoftAzureBuilder::new()
                .with_url(url)
                .with_client_options(client().with_allow_http(plain_http))
                .with_retry(retry());
            for (key, value) in set::<AzureConfigKey>(&AZURE_VARIABLES, env) {
                builder = builder.with_config(key, value);
            }
            cloud(url, builder.build())
        }
        Some((scheme, _)) => {
            Err(StoreError::Url { url: url.to_owned(), reason: format!("{scheme:?} is not a kind of store") })
        }
    }
}

fn open_folder(url: &str, folder: &FsPath) -> Result<Backend, StoreError> {
    let refused =
        |source: std::io::Error| StoreError::Folder { folder: folder.display().to_string(), source };
    std::fs::create_dir_all(folder).map_err(refused)?;
    let objects = LocalFileSystem::new_with_prefix(folder)
        .map_err(|source| StoreError::Open { url: url.to_owned(), source })?
        .with_fsync(true)
        .with_automatic_cleanup(true);
    let folder = folder.canonicalize().map_err(refused)?;
    Ok(Backend { objects: Arc::new(objects), folder: Some(folder), bucket: None })
}

fn open_s3(config: &StoreConfig, rest: &str, env: Env<'_>) -> Result<Backend, StoreError> {
    let bucket = rest.split('/').next().unwrap_or_default();
    let mut builder = AmazonS3Builder::new();
    for (key, value) in set::<AmazonS3ConfigKey>(&AWS_VARIABLES, env) {
        builder = builder.with_config(key, value);
    }
    let s3 = &config.s3;
    // Any HTTP client option replaces the others, so plain HTTP is set on the options themselves.
    let plain_http = s3.allow_http || env("AWS_ALLOW_HTTP").is_some_and(|value| value == "true");
    builder = builder
        .with_bucket_name(bucket)
        .with_client_options(client().with_allow_http(plain_http))
        .with_retry(retry())
        .with_virtual_hosted_style_request(s3.virtual_hosted_style);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &s3.region {
        builder = builder.with_region(region);
    }
    if let Some(key) = &s3.kms_key {
        builder = builder.with_sse_kms_encryption(key).with_bucket_key(true);
    }
    let built =
        builder.clone().build().map_err(|source| StoreError::Open { url: config.url.clone(), source })?;
    let value = |key| builder.get_config_value(&key);
    let admin = Bucket {
        name: bucket.to_owned(),
        prefix: prefix_of(&config.url).to_owned(),
        region: value(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned()),
        endpoint: value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint)),
        virtual_hosted_style: s3.virtual_hosted_style,
        credentials: Arc::clone(built.credentials()),
    };
    Ok(Backend { bucket: Some(admin), ..cloud(&config.url, Ok(built))? })
}

/// What stands behind the bucket, without slashes around it.
fn prefix_of(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    rest.split_once('/').map_or("", |(_, prefix)| prefix).trim_matches('/')
}

/// The configuration keys whose variables are set.
fn set<K: std::str::FromStr>(variables: &[&str], env: Env<'_>) -> Vec<(K, String)> {
    variables.iter().filter_map(|name| Some((name.to_ascii_lowercase().parse().ok()?, env(name)?))).collect()
}

fn cloud<S: ObjectStore>(url: &str, built: object_store::Result<S>) -> Result<Backend, StoreError> {
    let store = built.map_err(|source| StoreError::Open { url: url.to_owned(), source })?;
    let prefix = prefix_of(url);
    let objects: Arc<dyn ObjectStore> = if prefix.is_empty() {
        Arc::new(store)
    } else {
        let prefix = Path::parse(prefix)
            .map_err(|error| StoreError::Url { url: url.to_owned(), reason: error.to_string() })?;
        Arc::new(PrefixStore::new(store, prefix))
    };
    Ok(Backend { objects, folder: None, bucket: None })
}

fn client() -> ClientOptions {
    // The TLS library wants one process-wide choice of cryptography; a second choice is refused, which is
    // fine: whoever came first chose the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions::new().with_connect_timeout(Duration::from_secs(5)).with_timeout(Duration::from_secs(30))
}

/// Short enough for a Lambda invocation; object_store's own default goes on for three minutes.
fn retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: Duration::from_secs(15) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_no_store_says_why() {
        for (url, expected) in
            [("", "empty"), ("ftp://x", "\"ftp\" is not one of"), ("s3:///prefix", "bucket is missing")]
        {
            let config = StoreConfig { url: url.to_owned(), ..StoreConfig::default() };
            let error = open(&config, &|_| None).err().expect("refused").to_string();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }
}
