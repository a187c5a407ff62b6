//! A role that lets anybody in, and what the API says to that.

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::{LocalAws, PLATFORM_ACCOUNT, tools};
use serde_json::json;

use crate::screen::Screen;
use crate::setup::Stage;

/// A fifth tenant, whose admin wrote the role by hand, and its account.
const TENANT: &str = "hooli";
const ACCOUNT: &str = "666666666666";

/// Tries to connect it.
pub(crate) async fn refused(screen: &Screen, aws: &LocalAws, stage: &Stage<'_>) -> Result<()> {
    screen.section(&format!("{TENANT} has written its role by hand, and forgotten the external ID"))?;
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "AWS": format!("arn:aws:iam::{PLATFORM_ACCOUNT}:role/audit-log-exporter") },
    }] });
    let create = ["iam", "create-role", "--role-name", "homemade", "--assume-role-policy-document", &trust.to_string()];
    let role = tools::aws_cli(aws, ACCOUNT, &create).await?;
    let role = role["Role"]["Arn"].as_str().context("a role without an ARN")?;

    let body = json!({ "roleArn": role });
    let answer = stage.platform.api().admin(TENANT, "PUT", "/v1/connector", Some(&body)).await?;
    let refused = answer.status == 422 && answer.body["code"] == "role_refused";
    ensure!(refused, "a role that anybody can have the platform use was let through: {answer:?}");
    screen.line(&format!("  PUT /v1/connector {body}"))?;
    screen.line(&format!("  {} {}", answer.status, answer.body["code"].as_str().unwrap_or_default()))?;
    screen.blank()?;
    for part in ["detail", "hint"] {
        screen.paragraph("    ", answer.body[part].as_str().unwrap_or_default())?;
    }
    let connector = stage.platform.api().admin(TENANT, "GET", "/v1/connector", None).await?.ok()?;
    ensure!(connector["status"] == "not_connected", "it was connected all the same: {}", connector["status"]);
    Ok(())
}
