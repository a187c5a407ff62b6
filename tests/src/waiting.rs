//! Waits for what a deployed function does.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// Long, since a function may have to start on a busy machine, and other suites run meanwhile.
const WAIT_TIMEOUT: Duration = Duration::from_secs(180);

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Polls until there is a value.
pub async fn wait_until<T>(what: &str, poll: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let polling = async {
        loop {
            if let Some(value) = poll().await? {
                return Ok(value);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, polling).await.with_context(|| format!("waiting until {what}"))?
}
