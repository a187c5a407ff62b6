//! Tries to connect a role whose trust demands no external ID. The API refuses it.

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::{LocalAws, PLATFORM_ACCOUNT, tools};
use serde_json::json;

use crate::screen::Screen;
use crate::setup::Demo;

/// The fifth tenant and its account.
const TENANT: &str = "hooli";
const ACCOUNT: &str = "666666666666";

pub(crate) async fn try_to_connect(screen: &Screen, aws: &LocalAws, demo: &Demo<'_>) -> Result<()> {
    screen.section(&format!("{TENANT} wrote its role by hand and forgot the external ID"))?;
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": { "AWS": format!("arn:aws:iam::{PLATFORM_ACCOUNT}:role/audit-log-exporter") },
    }] });
    let create = ["iam", "create-role", "--role-name", "homemade", "--assume-role-policy-document", &trust.to_string()];
    let role = tools::aws_cli(aws, ACCOUNT, &create).await?;
    let role = role["Role"]["Arn"].as_str().context("a role without an ARN")?;

    let body = json!({ "roleArn": role });
    let answer = demo.platform.api().admin(TENANT, "PUT", "/v1/connector", Some(&body)).await?;
    let refused = answer.status == 422 && answer.body["code"] == "role_refused";
    ensure!(refused, "a role without an external ID was accepted: {answer:?}");
    screen.line(&format!("  PUT /v1/connector {body}"))?;
    screen.line(&format!("  {} {}", answer.status, answer.body["code"].as_str().unwrap_or_default()))?;
    screen.blank()?;
    for field in ["detail", "hint"] {
        screen.paragraph("    ", answer.body[field].as_str().unwrap_or_default())?;
    }
    let connector = demo.platform.api().admin(TENANT, "GET", "/v1/connector", None).await?.ok()?;
    ensure!(connector["status"] == "not_connected", "the refused role was connected: {}", connector["status"]);
    Ok(())
}
