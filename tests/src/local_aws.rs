//! The local AWS: a ministack process with IAM enforced, on a free port, that never outlives its owner.
//!
//! [`Drop`] kills its process group, functions and the AWS CLI included. If the owner is killed, or never drops it (a
//! static), the launcher sees its stdin close and does the same.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
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

use crate::project;

/// The platform's account, and the local AWS's default.
pub const PLATFORM_ACCOUNT: &str = "111111111111";

/// The platform's region, and the default of all else.
pub const REGION: &str = "us-east-1";

/// A start usually takes a second, but longer on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running local AWS. Every account id names an account, empty at first.
#[derive(Debug)]
pub struct LocalAws {
    process: Child,
    /// Runs the AWS CLI's commands, and is in the same process group.
    cli: Option<Child>,
    endpoint: String,
    directory: TempDir,
}

impl LocalAws {
    /// Starts it and waits until it answers. An error holds the end of its log.
    pub async fn start() -> Result<Self> {
        loop {
            match Self::start_on(free_port()?).await {
                // Another process took the port after `free_port` found it.
                Err(error) if error.to_string().contains("already in use") => {}
                started => return started,
            }
        }
    }

    async fn start_on(port: u16) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("local-aws-").tempdir()?;
        let log = File::create(directory.path().join("log"))?;
        let endpoint = format!("http://127.0.0.1:{port}");
        // Only the path is inherited: the functions see ministack's environment, and a developer's AWS_* variables and
        // proxies would send them elsewhere. They also get the endpoint from it, since the template has no such variable.
        let process = Command::new(project::installed(".venv/bin/python")?)
            .arg(project::repository().join("tests/local_aws/launcher.py"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PYTHONUNBUFFERED", "1")
            .env("AUTH", "true")
            .env("BIND_HOST", "127.0.0.1")
            .env("IOT_MTLS_ENABLED", "0") // or it listens on a second, fixed port
            .env("GATEWAY_PORT", port.to_string())
            .env("AWS_ENDPOINT_URL", &endpoint)
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
        let mut aws = Self { process, cli: None, endpoint, directory };
        aws.cli = Some(aws.start_cli()?);
        aws.wait_until_ready().await?;
        Ok(aws)
    }

    /// Starts the process that runs the AWS CLI's commands. Without it, each takes more than half a second of a core.
    fn start_cli(&self) -> Result<Child> {
        let aws = self.cli();
        fs::create_dir(self.bin())?;
        let log = File::create(aws.with_extension("log"))?;
        symlink(project::repository().join("tests/local_aws/aws"), &aws)?;
        let commands = UnixListener::bind(aws.with_extension("socket"))?;
        let mut python = Command::new(project::installed(".tools/venv/bin/python")?);
        // Each command brings its own environment.
        python
            .arg(project::repository().join("tests/local_aws/cli.py"))
            .env_clear()
            .env("HOME", self.directory())
            .env("LC_ALL", "C.UTF-8")
            .stdin(OwnedFd::from(commands))
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(self.pid().try_into()?)
            .spawn()
            .context("starting the AWS CLI")
    }

    fn bin(&self) -> PathBuf {
        self.directory().join("bin")
    }

    /// The program that has the AWS CLI's process run a command, with its files, directory and environment.
    pub(crate) fn cli(&self) -> PathBuf {
        self.bin().join("aws")
    }

    /// The path for programs that call `aws` or a deployment tool. This `aws` takes a hundredth of a second to start.
    pub fn path(&self) -> Result<OsString> {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let own = [self.bin(), project::installed(".tools/venv/bin")?];
        Ok(std::env::join_paths(own.into_iter().chain(std::env::split_paths(&inherited)))?)
    }

    /// Kills it with its functions and removes its files. Dropping does the same, but only prints errors.
    pub fn stop(mut self) -> Result<()> {
        self.kill()
    }

    /// Closes its stdin without a signal, as happens if the owner is killed.
    pub fn abandon(mut self) {
        drop(self.process.stdin.take());
        std::mem::forget(self);
    }

    /// The URL of all services. It is an IP address, so that SDKs put buckets into the path and not the host name.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The id of its process and of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// A directory that is removed when it stops, and the home of command line tools.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// For SDK clients with the credentials of an account's root, in [`REGION`].
    #[must_use]
    pub fn sdk_config(&self, account: &str) -> SdkConfig {
        self.sdk_config_with(Credentials::new(account, "test", None, None, "local-aws"))
    }

    /// For SDK clients with given credentials, for example of an assumed role.
    #[must_use]
    pub fn sdk_config_with(&self, credentials: Credentials) -> SdkConfig {
        // Built and not loaded, so that a developer's profile and environment have no effect.
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&self.endpoint)
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }

    /// The environment for command line tools with the credentials of an account's root.
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
        project::last_lines(&log, 30).to_owned()
    }

    fn kill(&mut self) -> Result<()> {
        // After its end, another process may have the id.
        if self.process.try_wait()?.is_none() {
            kill_process_group(Pid::from_child(&self.process), Signal::KILL)?;
            self.process.wait()?;
        }
        if let Some(mut cli) = self.cli.take() {
            cli.kill()?;
            cli.wait()?;
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

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
