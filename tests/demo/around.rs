//! How to look around in what `--keep` leaves running.

use anyhow::{Context as _, Result};
use audit_log_tests::{LocalAws, PLATFORM_ACCOUNT, tools};
use chrono::{DurationRound as _, TimeDelta, Utc};

use crate::cast::{BUSY, PARTS};
use crate::records;
use crate::screen::Screen;
use crate::setup::Stage;

/// Lets the rules fire and prints the commands.
pub(crate) async fn print(screen: &Screen, aws: &LocalAws, stage: &Stage<'_>) -> Result<()> {
    stage.platform.resume_rules().await?;
    let outputs = stage.platform.outputs();
    let busy = stage.tenant(BUSY)?;
    let (account, bucket) = (busy.part.account, &busy.customer.stack.outputs.bucket_name);
    let (_, receipts) = records::of(&stage.platform, BUSY).await?;
    let key = &receipts.first().context("nothing was exported")?.key;
    let (exporter, tenants) = (&outputs.exporter_function_name, &outputs.tenants_table_name);
    let api = stage.platform.api();
    let (admin, writer) = (api.token(BUSY, &["audit-logs:admin"]), api.token(BUSY, &["events:write"]));
    let newcomer = api.token("newcomer", &["audit-logs:admin"]);
    let queue = &outputs.ingestion_queue_url;
    let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
    let tick = stage.platform.rule_event(hour + TimeDelta::minutes(1))?;
    let log_group = stage.platform.log_group();

    screen.section(&format!("Still running, as process {}, until Ctrl-C", std::process::id()))?;
    screen.prose(&format!(
        "The rule for ticks fires at minute 1 of every hour, next at {} UTC, and the check's at minute 31. In another terminal:",
        next_tick().format("%H:%M")
    ))?;
    let bin = tools::repository().join(".tools/venv/bin");
    let commands = [
        (
            "act as the platform's account; a customer's commands below name theirs",
            format!(
                "unset AWS_PROFILE AWS_SESSION_TOKEN; export PATH=\"{}:$PATH\" NO_PROXY=127.0.0.1 AWS_ENDPOINT_URL={} \\\n  \
                 AWS_DEFAULT_REGION={} AWS_ACCESS_KEY_ID={PLATFORM_ACCOUNT} AWS_SECRET_ACCESS_KEY=test",
                bin.display(),
                aws.endpoint(),
                audit_log_tests::REGION,
            ),
        ),
        ("list a customer's bucket", format!("AWS_ACCESS_KEY_ID={account} aws s3 ls --recursive s3://{bucket}/")),
        ("read a file", format!("AWS_ACCESS_KEY_ID={account} aws s3 cp s3://{bucket}/{key} -")),
        (
            "a tenant's settings, watermark and receipts",
            format!(
                "aws dynamodb query --table-name {tenants} --key-condition-expression 'tenant_id = :t' \\\n  \
                 --expression-attribute-values '{{\":t\": {{\"S\": \"{BUSY}\"}}}}'"
            ),
        ),
        (
            "the exporter's log",
            format!(
                "aws logs filter-log-events --log-group-name {log_group} --query 'events[].[message]' --output text"
            ),
        ),
        (
            "the pages, as each tenant's admin: open in a browser within the hour, which is how long a token is good for",
            PARTS
                .iter()
                .map(|part| {
                    let (link, about) = (api.token(part.tenant, &["audit-logs:admin"]), part.about);
                    format!("{} ({about}):\n{}/#token={link}", part.tenant, api.base())
                })
                .chain([format!("newcomer (has connected nothing yet):\n{}/#token={newcomer}", api.base())])
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        (
            &format!("the API, as an admin of {BUSY}"),
            format!(
                "export API='{}' TOKEN={admin}\ncurl -s -H \"Authorization: Bearer $TOKEN\" \"$API/v1/status\"",
                api.base()
            ),
        ),
        (
            "that tenant's audit logs; /openapi.json describes the rest",
            "curl -s -H \"Authorization: Bearer $TOKEN\" \"$API/v1/audit-logs?action=Login&pageSize=3\"".to_owned(),
        ),
        (
            "record an event, as your services would; it is in the bucket after the next tick of the rule",
            format!(
                "curl -s -H \"Authorization: Bearer {writer}\" -H 'Content-Type: application/json' \"$API/v1/events\" \\\n  \
                 -d '{{\"events\": [{{\"logType\": \"Authentication\", \"action\": \"Login\", \"user\": {{\"id\": \"me\"}}}}]}}'"
            ),
        ),
        (
            "the same through the queue (this CLI overlooks the endpoint in the environment for SQS)",
            format!(
                "aws sqs send-message --endpoint-url \"$AWS_ENDPOINT_URL\" --queue-url {queue} \\\n  \
                 --message-body file://functions/recorder/schema/examples/message.json"
            ),
        ),
        (
            "the first look of a tenant that is new here: its external ID, and all three ways to make the role",
            format!("curl -s -H \"Authorization: Bearer {newcomer}\" \"$API/v1/connector\""),
        ),
        (
            "invoke a tick by hand, for the hour that began last: it brings up to date whoever is due",
            format!("aws lambda invoke --function-name {exporter} --payload '{tick}' /dev/stdout"),
        ),
    ];
    for (what, command) in commands {
        screen.blank()?;
        screen.line(&format!("# {what}"))?;
        for line in command.lines() {
            screen.line(line)?;
        }
    }
    Ok(())
}

/// When the rule fires next.
fn next_tick() -> chrono::DateTime<Utc> {
    let now = Utc::now();
    let this = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now) + TimeDelta::minutes(1);
    if this > now { this } else { this + TimeDelta::hours(1) }
}
