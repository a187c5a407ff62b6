//! One local AWS with one platform deployed on it, shared by all tests of a binary.
//!
//! Deploying takes seconds, so it is done once; a tick exports whoever is due, so tests take turns and begin with
//! empty tables. Each test takes tenants and accounts of its own.

use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use tokio::runtime::Runtime;

use crate::{LocalAws, Platform, deploy_platform};

/// Nobody follows it here: the emulator has no console.
const TEMPLATE_URL: &str = "https://templates.s3.amazonaws.com/audit-log-export-role/v1.0.0.yaml";

/// What a test is given.
#[derive(Debug)]
pub struct Fixture {
    /// The emulator.
    pub aws: &'static LocalAws,
    /// The platform on it, its tables empty.
    pub platform: Platform<'static>,
}

/// The SDK's connections die with the runtime that made them, so all tests run on one.
static RUNTIME: LazyLock<Result<Runtime>> = LazyLock::new(|| Ok(Runtime::new()?));

static AWS: LazyLock<Result<LocalAws>> = LazyLock::new(|| runtime()?.block_on(LocalAws::start()));

static FIXTURE: LazyLock<Result<Fixture>> = LazyLock::new(|| {
    let aws = AWS.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    // The tests' days lie in the past: no window of theirs is ever too young, or too old.
    let parameters = [("EventsRetentionDays", "0"), ("CustomerTemplateUrl", TEMPLATE_URL)];
    let platform = runtime()?.block_on(async {
        let platform = deploy_platform(aws, &parameters).await?;
        platform.pause_rules().await.map(|()| platform)
    })?;
    Ok(Fixture { aws, platform })
});

fn runtime() -> Result<&'static Runtime> {
    RUNTIME.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// Runs a test on the shared platform, after those before it are done.
///
/// # Errors
/// When the platform can't be deployed, or the test fails.
pub fn on_the_platform(test: impl AsyncFnOnce(&Fixture) -> Result<()>) -> Result<()> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let fixture = FIXTURE.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    runtime()?.block_on(async {
        fixture.platform.clear().await?;
        test(fixture).await
    })
}
