//! The SDK's clients, with the time they get and how often they try.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};

/// How often a request is tried in all; the SDK waits longer before each further try.
pub(crate) const MAX_ATTEMPTS: u32 = 5;

/// What every client is built from: region and credentials of the function, one pool of connections for all.
///
/// Without a shared HTTP client each tenant's S3 client would open connections, and read the trust store, of its own.
pub async fn shared_config() -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(retries())
        .timeout_config(timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().build())
        .load()
        .await
}

pub(crate) fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS)
}

/// A request that hangs must not hold its tenant's place for long; a part of 8 MiB has to fit into an attempt.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_secs(30))
        .operation_timeout(Duration::from_secs(90))
        .build()
}
