//! Credentials of the deployed functions' roles, for tests that run a function's code or call AWS themselves.

use anyhow::{Context as _, Result};
use audit_log_aws::sdk::{credentials::Credentials, sts};
use serde_json::json;

use crate::{LocalAws, PLATFORM_ACCOUNT, Platform, tools};

/// Lets the platform's account assume the exporter's role, which trusts Lambda alone.
pub async fn open_exporter_role(aws: &LocalAws, platform: &Platform<'_>) -> Result<()> {
    open_role(aws, &platform.outputs().exporter_role_arn).await
}

/// A session of the exporter's role, for an hour, as the function has it: with the function's name, which `launcher.py` reads.
/// Call [`open_exporter_role`] first.
pub async fn exporter_session(aws: &LocalAws, platform: &Platform<'_>) -> Result<Credentials> {
    let outputs = platform.outputs();
    session_named(aws, &outputs.exporter_role_arn, &outputs.exporter_function_name).await
}

/// Lets the platform's account assume one of its roles, in addition to Lambda.
pub async fn open_role(aws: &LocalAws, role_arn: &str) -> Result<()> {
    let role = role_arn.rsplit('/').next().unwrap_or_default();
    let root = format!("arn:aws:iam::{PLATFORM_ACCOUNT}:root");
    let trusted = json!({"AWS": root, "Service": "lambda.amazonaws.com"});
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": trusted},
    ]});
    let trust = trust.to_string();
    let update = ["iam", "update-assume-role-policy", "--role-name", role, "--policy-document", &trust];
    tools::aws_cli(aws, PLATFORM_ACCOUNT, &update).await?;
    Ok(())
}

/// A session of a role, for an hour. Call [`open_role`] first.
pub async fn role_session(aws: &LocalAws, role_arn: &str) -> Result<Credentials> {
    session_named(aws, role_arn, "a-session").await
}

async fn session_named(aws: &LocalAws, role_arn: &str, name: &str) -> Result<Credentials> {
    let sts = sts::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT));
    let session = sts.assume_role().role_arn(role_arn).role_session_name(name).send().await?;
    let given = session.credentials.context("a session without credentials")?;
    let token = Some(given.session_token);
    Ok(Credentials::new(given.access_key_id, given.secret_access_key, token, None, "role"))
}
