//! Logs in an S3 bucket, or in what speaks its protocol.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};

use crate::model::PackId;

use super::error::LogError;
use super::room::Logs;

/// How long one request is repeated after failures. The bytes of a failed flush stay in memory and
/// on their machine and are flushed anew, so that it is better to hear of trouble soon.
const RETRY_TIMEOUT: Duration = Duration::from_secs(30);

/// Where in S3 logs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// What every key begins with; may be empty.
    pub prefix: String,
    /// Its region; `None` for what the environment says.
    pub region: Option<String>,
    /// Where S3 is served, when that is not AWS.
    pub endpoint_url: Option<String>,
}

impl Logs {
    /// Opens the room over a bucket, with the layout of [`Logs::on_disk`]. Credentials are those of
    /// the environment (`AWS_ACCESS_KEY_ID` and its like), else those of the instance's or the
    /// container's role. Nothing is asked of the bucket yet.
    ///
    /// # Errors
    /// [`LogError::Configure`] when the description, or the environment's, makes no sense.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`Logs::open`].
    pub fn on_s3(
        bucket: &Bucket,
        new_pack: impl Fn() -> PackId + Send + Sync + 'static,
    ) -> Result<Self, LogError> {
        let retry = RetryConfig {
            retry_timeout: RETRY_TIMEOUT,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&bucket.name)
            .with_retry(retry);
        if let Some(region) = &bucket.region {
            builder = builder.with_region(region);
        }
        if let Some(url) = &bucket.endpoint_url {
            builder = builder
                .with_endpoint(url)
                .with_allow_http(url.starts_with("http://"));
        }
        let store = builder.build().map_err(|source| LogError::Configure {
            bucket: bucket.name.clone(),
            source,
        })?;
        let blobs: Arc<dyn ObjectStore> = if bucket.prefix.is_empty() {
            Arc::new(store)
        } else {
            Arc::new(PrefixStore::new(store, bucket.prefix.as_str()))
        };
        Ok(Self::open(blobs, new_pack))
    }
}
