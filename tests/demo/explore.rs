//! Prints commands to explore what `--keep` leaves running.

use anyhow::{Context as _, Result};
use audit_log_tests::{LocalAws, PLATFORM_ACCOUNT, project};
use chrono::{DurationRound as _, TimeDelta, Utc};

use crate::records;
use crate::screen::Screen;
use crate::setup::Demo;
use crate::tenants::{BUSY, TENANTS};

/// Enables the rules and prints the commands.
pub(crate) async fn print(screen: &Screen, aws: &LocalAws, demo: &Demo<'_>) -> Result<()> {
    demo.platform.resume_rules().await?;
    let outputs = demo.platform.outputs();
    let busy = demo.tenant(BUSY)?;
    let (account, bucket) = (busy.spec.account, &busy.customer.stack.outputs.bucket_name);
    let (_, receipts) = records::load(&demo.platform, BUSY).await?;
    let key = &receipts.first().context("nothing was exported")?.key;
    let (exporter, tenants) = (&outputs.exporter_function_name, &outputs.tenants_table_name);
    let api = demo.platform.api();
    let (admin, writer) = (api.token(BUSY, &["audit-logs:admin"]), api.token(BUSY, &["events:write"]));
    let newcomer = api.token("newcomer", &["audit-logs:admin"]);
    let queue = &outputs.ingestion_queue_url;
    let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
    let tick = demo.platform.rule_event(hour + TimeDelta::minutes(1))?;
    let log_group = demo.platform.log_group();

    screen.section(&format!("Still running as process {}, until Ctrl-C", std::process::id()))?;
    screen.prose(&format!(
        "The rule for ticks fires at minute 1 of every hour, next at {} UTC. The rule for the hourly check fires at minute 31. Run these commands in another terminal:",
        next_tick().format("%H:%M")
    ))?;
    let bin = project::repository().join(".tools/venv/bin");
    let commands = [
        (
            "use the platform's account (commands for a customer name the customer's)",
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
            "show a tenant's settings, watermark and receipts",
            format!(
                "aws dynamodb query --table-name {tenants} --key-condition-expression 'tenant_id = :t' \\\n  \
                 --expression-attribute-values '{{\":t\": {{\"S\": \"{BUSY}\"}}}}'"
            ),
        ),
        (
            "show the exporter's log",
            format!(
                "aws logs filter-log-events --log-group-name {log_group} --query 'events[].[message]' --output text"
            ),
        ),
        (
            "open the pages as a tenant's admin, in a browser (the tokens are valid for an hour)",
            TENANTS
                .iter()
                .map(|spec| {
                    let (link, about) = (api.token(spec.tenant, &["audit-logs:admin"]), spec.about);
                    format!("{} ({about}):\n{}/#token={link}", spec.tenant, api.base())
                })
                .chain([format!("newcomer (not connected yet):\n{}/#token={newcomer}", api.base())])
                .collect::<Vec<_>>()
                .join("\n"),
        ),
        (
            &format!("call the API as an admin of {BUSY}"),
            format!(
                "export API='{}'\nexport TOKEN={admin}\nexport EVENTS_TOKEN={writer}\ncurl -s -H \"Authorization: Bearer $TOKEN\" \"$API/v1/status\"",
                api.base()
            ),
        ),
        (
            "read that tenant's audit logs (/openapi.json describes all requests)",
            "curl -s -H \"Authorization: Bearer $TOKEN\" \"$API/v1/audit-logs?action=Login&pageSize=3\"".to_owned(),
        ),
        (
            "record an event as your services would (the tick after the next full hour exports it)",
            "curl -s -H \"Authorization: Bearer $EVENTS_TOKEN\" -H 'Content-Type: application/json' \"$API/v1/events\" \\\n  \
             -d '{\"events\": [{\"logType\": \"Authentication\", \"action\": \"Login\", \"user\": {\"id\": \"me\"}}]}'"
                .to_owned(),
        ),
        (
            "record an event through the queue (for SQS, this CLI ignores the endpoint in the environment)",
            format!(
                "export INGESTION_QUEUE_URL={queue}\n\
                 aws sqs send-message --endpoint-url \"$AWS_ENDPOINT_URL\" --queue-url \"$INGESTION_QUEUE_URL\" \\\n  \
                 --message-group-id {BUSY} --message-body file://functions/schema/examples/message.json"
            ),
        ),
        (
            "with these, the programs in docs/examples record events here, too",
            format!("export EVENTS_TABLE={} AWS_ENDPOINT_URL_SQS=\"$AWS_ENDPOINT_URL\"", outputs.events_table_name),
        ),
        (
            "show a new tenant's external ID and the three ways to make its role",
            format!("curl -s -H \"Authorization: Bearer {newcomer}\" \"$API/v1/connector\""),
        ),
        (
            "invoke a tick of the last hour: it exports the hours since yesterday, which are empty",
            format!("aws lambda invoke --function-name {exporter} --payload '{tick}' /dev/stdout"),
        ),
        (
            "make the newcomer's role in an account of its own, with the commands that its page shows; this local AWS can't read a \
             template of another account, so download it there, and write --template-body file://audit-log-export-role.yaml",
            "export AWS_ACCESS_KEY_ID=777777777777 AWS_SECRET_ACCESS_KEY=test".to_owned(),
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

fn next_tick() -> chrono::DateTime<Utc> {
    let now = Utc::now();
    let this_hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now) + TimeDelta::minutes(1);
    if this_hour > now { this_hour } else { this_hour + TimeDelta::hours(1) }
}
