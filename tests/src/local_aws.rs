//! The local AWS: one ministack process with IAM enforced, on a free port, that never outlives its owner.
//!
//! Two things end it: [`Drop`] kills its process group, functions included, and where nothing of ours runs
//! any more (SIGKILL, a test binary's statics), its launcher sees its stdin close and does the same.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use audit_log_aws::sdk::config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use audit_log_aws::sdk::credentials::{Credentials, provider::SharedCredentialsProvider};
use audit_log_aws::sdk::sts;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::tools;

/// The account that the platform is deployed in, and the local AWS's default.
pub const PLATFORM_ACCOUNT: &str = "111111111111";

/// The region of the platform, and of everything that doesn't say otherwise.
pub const REGION: &str = "us-east-1";

/// About a second is usual; a loaded machine that compiles beside it needs more.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running local AWS with as many accounts as one names, all empty at first.
#[derive(Debug)]
pub struct LocalAws {
    process: Child,
    endpoint: String,
    directory: TempDir,
}

impl LocalAws {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// When it isn't installed, or ends or stays silent instead of answering: then with the tail of its log.
    pub async fn start() -> Result<Self> {
        loop {
            match Self::start_on(free_port()?).await {
                // Someone took the port in the moment between finding it free and listening on it.
                Err(error) if error.to_string().contains("already in use") => {}
                started => return started,
            }
        }
    }

    async fn start_on(port: u16) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("local-aws-").tempdir()?;
        let log = File::create(directory.path().join("log"))?;
        // Nothing is inherited but the path: the functions see ministack's environment, and a developer's
        // own AWS_* and proxies would steer them elsewhere.
        let process = Command::new(tools::installed(".venv/bin/python")?)
            .arg(tools::repository().join("tests/local_aws/launcher.py"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PYTHONUNBUFFERED", "1")
            .env("AUTH", "true")
            .env("BIND_HOST", "127.0.0.1")
            .env("IOT_MTLS_ENABLED", "0") // or it listens on a second, fixed port
            .env("GATEWAY_PORT", port.to_string())
            .env("MINISTACK_ACCOUNT_ID", PLATFORM_ACCOUNT)
            .env("STATE_DIR", directory.path())
            .env("TMPDIR", directory.path())
            .env("HOME", directory.path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("starting the local AWS")?;
        let mut aws = Self { process, endpoint: format!("http://127.0.0.1:{port}"), directory };
        aws.wait_until_ready().await?;
        Ok(aws)
    }

    /// Kills it with its functions and removes what it wrote. Dropping does the same, without a word.
    ///
    /// # Errors
    /// When the processes can't be signalled or waited for.
    pub fn stop(mut self) -> Result<()> {
        self.kill()
    }

    /// Leaves it to itself, as an owner does that is killed: its stdin closes, and nobody signals it.
    pub fn abandon(mut self) {
        drop(self.process.stdin.take());
        std::mem::forget(self);
    }

    /// The URL of all its services, by address: the SDKs then put buckets into the path, not the host name.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Its process id, which is also its process group's.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it logs to, until it stops.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// A place for files that go when it goes, and the home of the command line tools that talk to it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Configuration for SDK clients that act as an account's root in [`REGION`].
    #[must_use]
    pub fn sdk_config(&self, account: &str) -> SdkConfig {
        self.sdk_config_with(Credentials::new(account, "test", None, None, "local-aws"))
    }

    /// Configuration for SDK clients that act with given credentials, an assumed role's for example. For
    /// another region: `config.into_builder().region(Region::new(…)).build()`.
    #[must_use]
    pub fn sdk_config_with(&self, credentials: Credentials) -> SdkConfig {
        // Built, and not loaded: a developer's own profile and environment have no say here.
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&self.endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }

    /// The environment in which command line tools talk to it as an account's root.
    #[must_use]
    pub fn env(&self, account: &str) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", account),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_PAGER", ""),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let config = self.sdk_config(PLATFORM_ACCOUNT).into_builder().retry_config(RetryConfig::disabled()).build();
        let sts = sts::Client::new(&config);
        let started = Instant::now();
        while let Err(silence) = sts.get_caller_identity().send().await {
            if let Some(status) = self.process.try_wait()? {
                bail!("the local AWS ended at its start ({status}):\n{}", self.log_tail());
            }
            if started.elapsed() > START_TIMEOUT {
                return Err(silence).with_context(|| {
                    format!("the local AWS did not answer within {START_TIMEOUT:?}:\n{}", self.log_tail())
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        tools::last_lines(&log, 30).to_owned()
    }

    fn kill(&mut self) -> Result<()> {
        // Once waited for, its id may be another's: only the one that is still ours is signalled.
        if self.process.try_wait()?.is_none() {
            kill_process_group(Pid::from_child(&self.process), Signal::KILL)?;
            self.process.wait()?;
        }
        Ok(())
    }
}

impl Drop for LocalAws {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("the local AWS could not be stopped: {error:#}");
        }
    }
}

/// A port that is free at this moment.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
