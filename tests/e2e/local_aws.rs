//! The local AWS itself: what the other tests assume about it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::LocalAws;
use rustix::process::{Pid, test_kill_process_group};

#[tokio::test]
async fn after_a_stop_no_process_and_no_file_is_left() -> Result<()> {
    let aws = LocalAws::start().await?;
    let (pid, directory) = (aws.pid(), aws.directory().to_owned());
    ensure!(is_running(pid)? && directory.exists());
    aws.stop()?;
    ensure!(!is_running(pid)? && !directory.exists());
    Ok(())
}

#[tokio::test]
async fn after_its_owner_ends_no_process_and_no_file_is_left() -> Result<()> {
    let aws = LocalAws::start().await?;
    let (pid, directory) = (aws.pid(), aws.directory().to_owned());
    aws.abandon();
    let abandoned = Instant::now();
    while runs(pid)? || directory.exists() {
        ensure!(abandoned.elapsed() < Duration::from_secs(5), "the local AWS {pid} outlived its owner");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Whether a process runs. A zombie, which waits for this test, doesn't.
fn runs(pid: u32) -> Result<bool> {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return Ok(false) };
    let state = stat.rsplit(") ").next().context("no state")?;
    Ok(!state.starts_with('Z'))
}

/// Whether any process of a group exists, zombies included.
fn is_running(group: u32) -> Result<bool> {
    let group = Pid::from_raw(group.try_into()?).context("not a process id")?;
    Ok(test_kill_process_group(group).is_ok())
}
