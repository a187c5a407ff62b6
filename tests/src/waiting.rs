//! Waiting for what somebody else does.

use std::time::Duration;

use anyhow::{Context as _, Result};

/// How long it may take: a function may have to start first, on a machine that compiles beside it.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// From one look to the next.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until there is something to see.
///
/// # Errors
/// When a look fails, or nothing comes.
pub async fn until<T>(what: &str, look: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let looking = async {
        loop {
            if let Some(seen) = look().await? {
                return Ok(seen);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, looking).await.with_context(|| format!("waiting until {what}"))?
}
