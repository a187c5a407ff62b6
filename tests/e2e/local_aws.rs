//! The local AWS itself: what every other test takes for granted about it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::LocalAws;
use rustix::process::{Pid, test_kill_process_group};

#[tokio::test]
async fn stopping_it_leaves_no_process_and_no_file() -> Result<()> {
    let aws = LocalAws::start().await?;
    let (pid, directory) = (aws.pid(), aws.directory().to_owned());
    ensure!(is_running(pid)? && directory.exists());
    aws.stop()?;
    ensure!(!is_running(pid)? && !directory.exists());
    Ok(())
}

#[tokio::test]
async fn it_ends_with_its_owner_and_leaves_no_process_and_no_file() -> Result<()> {
    let aws = LocalAws::start().await?;
    let (pid, directory) = (aws.pid(), aws.directory().to_owned());
    aws.abandon();
    let abandoned = Instant::now();
    while runs(pid)? || directory.exists() {
        ensure!(abandoned.elapsed() < Duration::from_secs(5), "the local AWS {pid} has outlived its owner");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Whether a process does anything yet; one that ended may wait for its parent, this test, to notice.
fn runs(pid: u32) -> Result<bool> {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return Ok(false) };
    let state = stat.rsplit(") ").next().context("no state")?;
    Ok(!state.starts_with('Z'))
}

/// Whether any process of a group is left, a zombie included.
fn is_running(group: u32) -> Result<bool> {
    let group = Pid::from_raw(group.try_into()?).context("no process id")?;
    Ok(test_kill_process_group(group).is_ok())
}
