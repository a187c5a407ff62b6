//! The exporter's own rights, for whoever stands in for it.

use anyhow::{Context as _, Result};
use audit_log_aws::sdk::{credentials::Credentials, sts};
use serde_json::json;

use crate::{LocalAws, PLATFORM_ACCOUNT, Platform, tools};

/// Lets the platform's own account assume the deployed exporter's role, whose trust is for Lambda alone.
///
/// # Errors
/// When the role can't be changed.
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

/// A session of the deployed exporter's role, for an hour; the role has to be open.
///
/// # Errors
/// When it is not.
pub async fn exporter_session(aws: &LocalAws, platform: &Platform<'_>) -> Result<Credentials> {
    let role_arn = &platform.outputs().exporter_role_arn;
    let sts = sts::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT));
    let session = sts.assume_role().role_arn(role_arn).role_session_name("exporter").send().await?;
    let given = session.credentials.context("a session without credentials")?;
    let token = Some(given.session_token);
    Ok(Credentials::new(given.access_key_id, given.secret_access_key, token, None, "exporter"))
}
