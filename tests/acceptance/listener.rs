//! A rule on the notification bus and a queue, for the notifications of the throw-away tenant.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};

use crate::{
    act::Run,
    aws::{argument, list, text},
    platform::Deployment,
    report::{Found, passed},
};

#[derive(Clone, Debug)]
pub(crate) struct Listener {
    queue_url: String,
    received: Vec<Value>,
}

/// EventBridge refuses single targets in an answer that is no error ("PutTargets" in the Amazon EventBridge API reference).
pub(crate) fn ensure_all_taken(answer: &Value) -> Result<()> {
    let refused = answer["FailedEntryCount"].as_u64().unwrap_or(0);
    ensure!(refused == 0, "EventBridge refused the rule's target: {}", answer["FailedEntries"]);
    Ok(())
}

impl Listener {
    pub(crate) async fn begin(run: &Run<'_>) -> Result<Found<()>> {
        let Deployment { platform, platform_account, partition, region, stack, names, .. } = run.deployment;
        let (bus, name) = (stack.output("NotificationBusName")?, names.resource.as_str());
        let queue_arn = format!("arn:{partition}:sqs:{region}:{platform_account}:{name}");
        let rule_arn = format!("arn:{partition}:events:{region}:{platform_account}:rule/{bus}/{name}");
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "events.amazonaws.com" }, "Action": "sqs:SendMessage",
            "Resource": queue_arn, "Condition": { "ArnEquals": { "aws:SourceArn": rule_arn } },
        }] });
        let attributes = platform.input(&json!({ "Policy": policy.to_string() }).to_string())?;
        let tag = format!("audit-log-acceptance={}", names.run);
        let create =
            ["sqs", "create-queue", "--queue-name", name, "--attributes", &argument(&attributes), "--tags", &tag];
        let queue = platform.call(&create).await?;
        let queue_url = queue["QueueUrl"].as_str().context("a queue without a URL")?.to_owned();

        let pattern = json!({ "source": ["audit-log-export"], "detail": { "tenantId": [names.tenant] } }).to_string();
        let tag = format!("Key=audit-log-acceptance,Value={}", names.run);
        let put = ["events", "put-rule", "--event-bus-name", bus, "--name", name, "--event-pattern", &pattern];
        platform.call(&[&put[..], &["--tags", &tag]].concat()).await?;
        let target = format!("Id=queue,Arn={queue_arn}");
        let put = ["events", "put-targets", "--event-bus-name", bus, "--rule", name, "--targets", &target];
        ensure_all_taken(&platform.call(&put).await?)?;
        let listener = Self { queue_url, received: Vec::new() };
        *run.listener.lock().map_err(|_| anyhow!("the listener is lost"))? = Some(listener);
        passed((), format!("the rule and the queue {name}"))
    }

    /// Receives until all of these detail types have come. Returns all that came since the run began.
    pub(crate) async fn expect(run: &Run<'_>, expected: &[&str], limit: Duration) -> Result<Vec<Value>> {
        let take = || anyhow::Ok(run.listener.lock().map_err(|_| anyhow!("the listener is lost"))?.clone());
        let Some(listener) = take()? else { return Ok(Vec::new()) };
        let platform = &run.deployment.platform;
        let receive = ["sqs", "receive-message", "--queue-url", &listener.queue_url, "--max-number-of-messages", "10"];
        let receive = [&receive[..], &["--wait-time-seconds", "3"]].concat();
        let all = platform.poll(limit, Duration::ZERO, async || {
            let received = platform.call(&receive).await?;
            for message in list(&received["Messages"]) {
                let event = serde_json::from_str(text(&message["Body"])).context("a notification isn't JSON")?;
                let delete = ["sqs", "delete-message", "--queue-url", &listener.queue_url, "--receipt-handle"];
                platform.call(&[&delete[..], &[text(&message["ReceiptHandle"])]].concat()).await?;
                if let Some(listener) = run.listener.lock().map_err(|_| anyhow!("the listener is lost"))?.as_mut() {
                    listener.received.push(event);
                }
            }
            let received = take()?.map(|listener| listener.received).unwrap_or_default();
            let kinds: BTreeSet<&str> = received.iter().map(|it| text(&it["detail-type"])).collect();
            let is_complete = expected.iter().all(|kind| kinds.contains(kind));
            Ok(is_complete.then_some(received))
        });
        match all.await? {
            Some(received) => Ok(received),
            None => {
                let received = take()?.map(|listener| listener.received).unwrap_or_default();
                let kinds: Vec<&str> = received.iter().map(|it| text(&it["detail-type"])).collect();
                Err(anyhow!("after {} s, the bus has delivered only {kinds:?} of {expected:?}", limit.as_secs()))
            }
        }
    }
}
