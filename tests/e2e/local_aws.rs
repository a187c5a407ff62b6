//! The local AWS itself, and the `aws` of tests: what the other tests assume about them.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::{LocalAws, PLATFORM_ACCOUNT, tools};
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

/// Run with the tests' `aws`, and with the AWS CLI in a process of its own, which takes 0.7 s of a core.
const COMMANDS: [&str; 8] = [
    "aws s3api get-object",
    "aws s3api get-object --bucket files --key none -",
    "aws s3 cp s3://files/copy - | cmp - big",
    "aws s3api list-objects-v2 --cli-input-json file://list.json --query 'Contents[].[Key, Size]'",
    "aws --region eu-west-1 s3api list-buckets --output text --query 'Buckets[].[Name, `ü`, `😀`]'",
    "unset ${!AWS_ACCESS@}; AWS_CONFIG_FILE=config aws sts get-caller-identity --profile customer",
    "unset ${!AWS_ACCESS@}; AWS_CONFIG_FILE=config AWS_PROFILE=customer aws sts get-caller-identity",
    "unset ${!AWS_ACCESS@}; aws sts get-caller-identity --profile customer",
];

#[tokio::test]
async fn a_command_does_what_it_does_with_the_aws_cli_in_a_process_of_its_own() -> Result<()> {
    let aws = LocalAws::start().await?;
    let folder = aws.directory().join("folder");
    fs::create_dir(&folder)?;
    // More than a pipe holds.
    fs::write(folder.join("big"), b"a\0\xff\r\n".repeat(60_000))?;
    fs::write(folder.join("list.json"), r#"{"Bucket": "files"}"#)?;
    let profile = "[profile customer]\naws_access_key_id = 222222222222\naws_secret_access_key = test\n";
    fs::write(folder.join("config"), profile)?;
    let run = async |script: &str| {
        let mut bash = tools::bash(&aws, PLATFORM_ACCOUNT, script)?;
        let output = bash.current_dir(&folder).output().await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        anyhow::Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
    };
    // Of the last two, each waits for the other.
    let store = "aws s3 mb s3://files && aws s3 cp - s3://files/big < big
                 aws s3 cp s3://files/big - | aws s3 cp - s3://files/copy";
    assert_eq!(run(store).await?, (Some(0), "make_bucket: files\n".to_owned(), String::new()));
    for command in COMMANDS {
        // Both are in the path, the tests' one first.
        let expected = run(&format!("PATH=${{PATH#*:}}\n{command}")).await?;
        assert_eq!(run(command).await?, expected, "{command}");
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
