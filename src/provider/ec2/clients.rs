//! Connections to AWS, and the one way through which every call goes: paced, counted, classified.
//!
//! Making them asks nobody. The first call looks for credentials, within seconds, and says what to
//! set when there are none.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, ConfigLoader, Region, imds};
use aws_sdk_ec2::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::errors::{self, Failure};
use super::pace::{Account, Governor};
use super::settings::Settings;
use crate::provider::{ErrorKind, ProviderError};

/// A host that does not answer by then is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// One attempt: launches of a hundred machines answer in less.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// All attempts of a call.
const OPERATION_TIMEOUT: Duration = Duration::from_mins(1);
/// The metadata service is on this host or nowhere.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// All sources of credentials together; one of them may be another program.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(15);
/// The price list has this one address for all regions.
const PRICING_REGION: &str = "us-east-1";

/// Connections to AWS.
#[derive(Debug)]
pub(super) struct Clients {
    /// For calls that may be sent again at once when AWS failed.
    pub ec2: aws_sdk_ec2::Client,
    /// For calls that take capacity. The SDK would send them again when a pool is empty (which is
    /// HTTP 500), and lose the seconds in which another pool has room.
    pub launching: aws_sdk_ec2::Client,
    /// Where AMI ids are kept as parameters.
    pub ssm: aws_sdk_ssm::Client,
    /// On-demand prices.
    pub pricing: aws_sdk_pricing::Client,
    /// Interruption notices.
    pub sqs: aws_sdk_sqs::Client,
    provider: String,
    credentials: SharedCredentialsProvider,
    credentials_found: OnceCell<()>,
    governor: Arc<Governor>,
    calls: Mutex<BTreeMap<&'static str, u64>>,
}

/// A call that is about to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    /// AWS's name of it.
    pub action: &'static str,
    /// What we are doing, as errors say it.
    pub operation: &'static str,
    /// Instances that it is about, as buckets count them; 0 where they do not.
    pub instances: u32,
}

impl Call {
    /// A call whose instances nobody counts.
    pub(super) const fn new(action: &'static str, operation: &'static str) -> Self {
        Self::of_instances(action, operation, 0)
    }

    /// A call about so many instances.
    pub(super) const fn of_instances(
        action: &'static str,
        operation: &'static str,
        instances: u32,
    ) -> Self {
        Self {
            action,
            operation,
            instances,
        }
    }
}

impl Clients {
    /// Clients for a provider.
    pub(super) async fn new(settings: &Settings) -> Self {
        // Boxed for the same reason as calls.
        let credentials = Box::pin(credentials(settings)).await;
        let config = Box::pin(base(settings, &credentials).load()).await;
        let launching = config
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .build();
        let pricing = config
            .to_builder()
            .region(Region::from_static(PRICING_REGION))
            .build();
        let account = Account {
            login: (settings.profile.clone(), settings.role.clone()),
            region: settings.region.clone(),
            endpoint: settings.endpoint_url.clone(),
        };
        Self {
            ec2: aws_sdk_ec2::Client::new(&config),
            launching: aws_sdk_ec2::Client::new(&launching),
            ssm: aws_sdk_ssm::Client::new(&config),
            pricing: aws_sdk_pricing::Client::new(&pricing),
            sqs: aws_sdk_sqs::Client::new(&config),
            provider: settings.name.clone(),
            credentials,
            credentials_found: OnceCell::new(),
            governor: Governor::of(account, settings.share),
            calls: Mutex::default(),
        }
    }

    /// Looks whether there are credentials.
    ///
    /// # Errors
    /// `Auth` when there are none.
    pub(super) async fn check_credentials(&self) -> Result<(), ProviderError> {
        self.find_credentials("looking for credentials").await?;
        Ok(())
    }

    /// Makes a call when it may be made.
    ///
    /// # Errors
    /// What went wrong, classified; `Auth` when there are no credentials.
    pub(super) fn call<T, E>(
        &self,
        call: Call,
        request: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> impl Future<Output = Result<T, Failure>>
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        // Boxed before anything waits: the SDK's futures are many kilobytes, and so would be all
        // that wait for them.
        let request = Box::pin(request);
        async move {
            self.find_credentials(call.operation).await?;
            self.governor.pass(call.action, call.instances).await;
            self.count(call.action);
            match request.await {
                Ok(answer) => Ok(answer),
                Err(error) => Err(self.failure(call, &error).await),
            }
        }
    }

    async fn failure<E>(&self, call: Call, error: &SdkError<E>) -> Failure
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let failure = errors::from_sdk(call.operation, error);
        if failure.error.kind == ErrorKind::Throttled {
            self.governor.refused(call.action);
        }
        if matches!(error, SdkError::DispatchFailure(_)) {
            // Nothing was sent if the credentials have been lost in the meantime.
            let found = self.look_for_credentials(call.operation).await;
            return found.err().unwrap_or(failure);
        }
        failure
    }

    /// A throttle that stood inside of an answer.
    pub(super) fn refused(&self, action: &'static str) {
        self.governor.refused(action);
    }

    /// Calls made so far, by action; those that the SDK repeated count once.
    pub(super) fn calls(&self) -> BTreeMap<&'static str, u64> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.clone()
    }

    fn count(&self, action: &'static str) {
        metrics::counter!(
            "dormouse_ec2_calls_total",
            "provider" => self.provider.clone(),
            "action" => action
        )
        .increment(1);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        *calls.entry(action).or_default() += 1;
    }

    async fn find_credentials(&self, operation: &'static str) -> Result<(), Failure> {
        self.credentials_found
            .get_or_try_init(|| self.look_for_credentials(operation))
            .await
            .copied()
    }

    async fn look_for_credentials(&self, operation: &'static str) -> Result<(), Failure> {
        let found = timeout(CREDENTIALS_TIMEOUT, self.credentials.provide_credentials()).await;
        let why = match found {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => errors::chain(&error),
            Err(_) => format!("no answer within {} s", CREDENTIALS_TIMEOUT.as_secs()),
        };
        let message = format!(
            "no usable AWS credentials: set `profile` (and `role`) of the provider {}, or the \
             environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this host \
             an instance role ({why})",
            self.provider
        );
        let error = errors::refuse(operation, ErrorKind::Auth, message);
        Err(Failure { error, code: None })
    }
}

/// The usual chain, with a metadata service that is given up quickly, and the role on top.
async fn credentials(settings: &Settings) -> SharedCredentialsProvider {
    let metadata = imds::Client::builder()
        .max_attempts(1)
        .connect_timeout(METADATA_TIMEOUT)
        .read_timeout(METADATA_TIMEOUT)
        .build();
    let mut chain = DefaultCredentialsChain::builder()
        .region(Region::new(settings.region.clone()))
        .imds_client(metadata);
    if let Some(profile) = &settings.profile {
        chain = chain.profile_name(profile);
    }
    let own = SharedCredentialsProvider::new(chain.build().await);
    let Some(role) = &settings.role else {
        return own;
    };
    let config = base(settings, &own).load().await;
    let role = AssumeRoleProvider::builder(role)
        .configure(&config)
        .session_name("dormouse")
        .build_from_provider(own)
        .await;
    SharedCredentialsProvider::new(role)
}

fn base(settings: &Settings, credentials: &SharedCredentialsProvider) -> ConfigLoader {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(credentials.clone())
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts);
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(url) = &settings.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    loader
}
