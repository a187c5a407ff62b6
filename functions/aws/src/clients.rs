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
    runtime_components::{RuntimeComponents, RuntimeComponentsBuilder},
};
use aws_smithy_types::config_bag::ConfigBag;

/// How often a request is sent at most. The SDK waits longer before each retry.
pub(crate) const MAX_ATTEMPTS: u32 = 5;

/// Region and credentials of the function, and one HTTP client for all. Otherwise each tenant's S3 client would open its own
/// connections.
pub async fn shared_config() -> SdkConfig {
    let http = OneConnector(Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).build_https());
    http.read_certificates();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
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

impl OneConnector {
    /// Reads the trusted certificates, which takes some milliseconds, while the function requests its first invocation. If it
    /// can't, the first request does, and says why it fails.
    fn read_certificates(&self) {
        let client = self.0.clone();
        let read = move || {
            client.validate_base_client_config(&RuntimeComponentsBuilder::new("certificates"), &ConfigBag::base()).ok()
        };
        // Unlike `std::thread::spawn`, it doesn't panic without a thread.
        std::thread::Builder::new().spawn(read).ok();
    }
}

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
/// request ten times a second and wake its task.
pub(crate) fn stalled_streams() -> StalledStreamProtectionConfig {
    StalledStreamProtectionConfig::disabled()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use aws_config::Region;
    use aws_smithy_runtime_api::box_error::BoxError;

    use super::*;

    /// Counts the checks of the configuration, each of which makes a connector.
    #[derive(Debug, Clone, Default)]
    struct CheckedClient(Arc<AtomicUsize>);

    impl HttpClient for CheckedClient {
        fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
            panic!("no request is sent")
        }

        fn validate_base_client_config(&self, _: &RuntimeComponentsBuilder, _: &ConfigBag) -> Result<(), BoxError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    #[test]
    fn no_connector_is_made_for_each_client() {
        let checked = CheckedClient::default();
        let config = |http: SharedHttpClient| {
            let config =
                SdkConfig::builder().behavior_version(BehaviorVersion::latest()).region(Region::new("eu-west-1"));
            config.http_client(http).build()
        };
        let build_two = |config: SdkConfig| [(); 2].map(|()| aws_sdk_s3::Client::new(&config));
        build_two(config(SharedHttpClient::new(checked.clone())));
        assert_eq!(checked.0.load(Ordering::Relaxed), 2, "by the SDK alone");
        build_two(config(SharedHttpClient::new(OneConnector(SharedHttpClient::new(checked.clone())))));
        assert_eq!(checked.0.load(Ordering::Relaxed), 2);
    }
}
