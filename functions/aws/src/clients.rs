//! The configuration of all AWS clients: HTTP, timeouts and retries.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, SdkConfig, retry::RetryConfig, stalled_stream_protection::StalledStreamProtectionConfig,
    timeout::TimeoutConfig,
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector},
    runtime_components::RuntimeComponents,
};

/// How often a request is sent at most. The SDK waits longer before each retry.
pub(crate) const MAX_ATTEMPTS: u32 = 5;

/// Region and credentials of the function, and one HTTP client for all. Otherwise each tenant's S3 client would open its own
/// connections.
pub async fn shared_config() -> SdkConfig {
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(OneConnector(http))
        .retry_config(retries())
        .timeout_config(timeouts())
        .stalled_stream_protection(stalled_streams())
        .load()
        .await
}

/// An HTTP client that makes its connector, with the trusted certificates, for the first request. Without this, the SDK also
/// makes one for each client that is built, thus for each tenant's, only to check that it can.
#[derive(Debug)]
struct OneConnector(SharedHttpClient);

impl HttpClient for OneConnector {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }
}

pub(crate) fn retries() -> RetryConfig {
    RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS)
}

/// Short, since a request that hangs delays its tenant. Long enough for an attempt to send a part of 8 MiB.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(5))
        .operation_attempt_timeout(Duration::from_secs(30))
        .operation_timeout(Duration::from_secs(90))
        .build()
}

/// Not watched: an attempt's timeout limits how long a request or an answer can stall. The SDK would look at each unanswered
/// request ten times a second and wake its task, which costs a sixth of an export whose answers are slow.
pub(crate) fn stalled_streams() -> StalledStreamProtectionConfig {
    StalledStreamProtectionConfig::disabled()
}
