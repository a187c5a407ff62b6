//! One platform on one local AWS, shared by all tests of a binary.
//!
//! Deploying takes seconds. A tick exports all due tenants, so tests run one after the other and begin with empty tables.
//! Each test uses its own tenants and accounts.

use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use tokio::runtime::Runtime;

use crate::{LocalAws, Platform, deploy_platform};

/// Not opened: the local AWS has no CloudFormation console.
const TEMPLATE_URL: &str = "https://templates.s3.amazonaws.com/audit-log-export-role/v1.0.0.yaml";

/// Of the page that the browser's visitors sign in from, as in `tests/browser/browser.js`. It is another site than the pages.
const PLATFORM_ORIGIN: &str = "http://localhost:5173";

#[derive(Debug)]
pub struct Fixture {
    pub aws: &'static LocalAws,
    /// With empty tables.
    pub platform: Platform<'static>,
}

/// Shared, since the SDK's connections end with the runtime that made them.
static RUNTIME: LazyLock<Result<Runtime>> = LazyLock::new(|| Ok(Runtime::new()?));

static AWS: LazyLock<Result<LocalAws>> = LazyLock::new(|| runtime()?.block_on(LocalAws::start()));

static FIXTURE: LazyLock<Result<Fixture>> = LazyLock::new(|| {
    let aws = AWS.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    let parameters = [
        // Tests export days in the past, which must not be past retention.
        ("EventsRetentionDays", "0"),
        // Final deliveries wait for that long. Half of it must be enough for a write on a busy machine.
        ("SettleSeconds", "20"),
        ("CustomerTemplateUrl", TEMPLATE_URL),
        ("SignInOrigins", PLATFORM_ORIGIN),
    ];
    let platform = runtime()?.block_on(async {
        let platform = deploy_platform(aws, &parameters).await?;
        platform.pause_rules().await.map(|()| platform)
    })?;
    Ok(Fixture { aws, platform })
});

fn runtime() -> Result<&'static Runtime> {
    RUNTIME.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// Runs a test on the shared platform, alone.
pub fn run_on_platform(test: impl AsyncFnOnce(&Fixture) -> Result<()>) -> Result<()> {
    static LOCK: Mutex<()> = Mutex::new(());
    let _lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let fixture = FIXTURE.as_ref().map_err(|error| anyhow!("{error:#}"))?;
    runtime()?.block_on(async {
        fixture.platform.clear().await?;
        test(fixture).await
    })
}
