//! Credentials of the deployed exporter's role, for tests that run the exporter's code themselves.

use anyhow::{Context as _, Result};
use audit_log_aws::sdk::{credentials::Credentials, sts};
use serde_json::json;

use crate::{LocalAws, PLATFORM_ACCOUNT, Platform, tools};

/// Lets the platform's account assume the exporter's role, which trusts Lambda alone.
pub async fn open_exporter_role(aws: &LocalAws, platform: &Platform<'_>) -> Result<()> {
    let role = platform.outputs().exporter_role_arn.rsplit('/').next().unwrap_or_default();
    let root = format!("arn:aws:iam::{PLATFORM_ACCOUNT}:root");
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": root}},
    ]});
    let trust = trust.to_string();
    let update = ["iam", "update-assume-role-policy", "--role-name", role, "--policy-document", &trust];
    tools::aws_cli(aws, PLATFORM_ACCOUNT, &update).await?;
    Ok(())
}

/// A session of the exporter's role, for an hour. Call [`open_exporter_role`] first.
pub async fn exporter_session(aws: &LocalAws, platform: &Platform<'_>) -> Result<Credentials> {
    let role_arn = &platform.outputs().exporter_role_arn;
    let sts = sts::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT));
    let session = sts.assume_role().role_arn(role_arn).role_session_name("exporter").send().await?;
    let given = session.credentials.context("a session without credentials")?;
    let token = Some(given.session_token);
    Ok(Credentials::new(given.access_key_id, given.secret_access_key, token, None, "exporter"))
}
