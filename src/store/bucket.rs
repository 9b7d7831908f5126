//! What object_store does not know of S3: Object Lock, and uploads that nobody finished.

use std::fmt;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockRetention, ObjectLockRetentionMode};
use aws_smithy_http_client::tls;
use object_store::aws::AwsCredentialProvider;
use serde::{Deserialize, Serialize};

use super::blob::Unfinished;
use super::key::{Key, Prefix};
use super::{StoreError, error};
use crate::model::unit::ConfigDuration;

/// How long objects cannot be deleted, by anybody. The bucket must have been made with Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LockConfig {
    #[serde(rename = "for")]
    pub lasts: ConfigDuration,
    #[serde(default)]
    pub mode: LockMode,
}

/// Who may lift a lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockMode {
    /// Who has the right s3:BypassGovernanceRetention.
    #[default]
    Governance,
    /// Nobody, not even the account's owner.
    Compliance,
}

/// A bucket as the AWS SDK reaches it, with the credentials that object_store found.
#[derive(Clone)]
pub(super) struct Bucket {
    pub(super) name: String,
    /// Of the store's keys; without slashes around it.
    pub(super) prefix: String,
    pub(super) region: String,
    pub(super) endpoint: Option<String>,
    pub(super) virtual_hosted_style: bool,
    pub(super) credentials: AwsCredentialProvider,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.name).finish()
    }
}

impl Bucket {
    /// Made for each use: credentials change, and uses are rare.
    async fn client(&self) -> Result<Client, StoreError> {
        let found = self.credentials.get_credential().await;
        let found =
            found.map_err(|source| StoreError::object("ask for credentials of", &self.name, source))?;
        let credentials = Credentials::new(
            found.key_id.clone(),
            found.secret_key.clone(),
            found.token.clone(),
            None,
            "object_store",
        );
        let ring = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        let http = aws_smithy_http_client::Builder::new().tls_provider(ring).build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_timeout(Duration::from_secs(30))
            .build();
        let mut config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region.clone()))
            .credentials_provider(credentials)
            .http_client(http)
            .timeout_config(timeouts)
            .force_path_style(!self.virtual_hosted_style);
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Ok(Client::from_conf(config.build()))
    }

    fn full(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    pub(super) async fn lock(&self, key: &Key, mode: LockMode, until_ms: i64) -> Result<(), StoreError> {
        let mode = match mode {
            LockMode::Governance => ObjectLockRetentionMode::Governance,
            LockMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let until = DateTime::from_secs(until_ms / 1000);
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(until).build();
        let client = self.client().await?;
        let asked = client.put_object_retention().bucket(&self.name).key(self.full(key.as_str()));
        let locked = asked.retention(retention).send().await;
        locked.map(drop).map_err(|error| error::of_s3("lock", key.as_str(), &DisplayErrorContext(&error)))
    }

    pub(super) async fn unfinished(&self, prefix: &Prefix) -> Result<Vec<Unfinished>, StoreError> {
        let client = self.client().await?;
        let below = self.full(prefix.as_str());
        let asked = client.list_multipart_uploads().bucket(&self.name).prefix(&below);
        let answer = asked.send().await;
        let answer =
            answer.map_err(|error| error::of_s3("list uploads of", &below, &DisplayErrorContext(&error)))?;
        let skip = if self.prefix.is_empty() { 0 } else { self.prefix.len() + 1 };
        let upload = |upload: &aws_sdk_s3::types::MultipartUpload| {
            // A thousand at most: the rest is found when these are gone.
            Some(Unfinished {
                key: Key::listed(upload.key()?.get(skip..)?),
                upload: upload.upload_id()?.to_owned(),
                bytes: 0,
                touched_ms: upload.initiated()?.to_millis().ok()?,
            })
        };
        Ok(answer.uploads().iter().filter_map(upload).collect())
    }

    pub(super) async fn discard(&self, unfinished: &Unfinished) -> Result<(), StoreError> {
        let client = self.client().await?;
        let key = self.full(unfinished.key.as_str());
        let asked = client.abort_multipart_upload().bucket(&self.name).key(&key);
        let done = asked.upload_id(&unfinished.upload).send().await;
        match done {
            Ok(_) => Ok(()),
            // Somebody was faster.
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_upload()) => Ok(()),
            Err(error) => Err(error::of_s3("take back", &key, &DisplayErrorContext(&error))),
        }
    }
}
