//! Who was told what of failures and of their end: tenants in audit events, and whoever listens on the bus.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use anyhow::{Context as _, Result};
use audit_log_core::record::own::recovery_id;
use audit_log_core::tenant::TenantId;
use audit_log_tests::{LocalAws, PLATFORM_ACCOUNT, tools};
use serde_json::{Value, json};

use crate::world::World;

/// How often something was told of one failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Times {
    failed: usize,
    /// After some days.
    still_failing: usize,
    recovered: usize,
}

/// What was told, by failure: its tenant, and the id that its end has.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Told(BTreeMap<String, Times>);

impl Told {
    /// Notes an audit event.
    pub(crate) fn note_event(&mut self, tenant: &str, event: &Value) -> Result<()> {
        self.note(tenant, event["action"].as_str(), &event["id"], &event["additionalInfo"])
    }

    /// Notes an event of the bus.
    fn note_notice(&mut self, event: &Value) -> Result<()> {
        let kind = event["detail-type"].as_str().and_then(|kind| kind.strip_prefix("Audit Log "));
        let detail = &event["detail"];
        self.note(detail["tenantId"].as_str().context("nobody's notice")?, kind, &detail["id"], detail)
    }

    fn note(&mut self, tenant: &str, kind: Option<&str>, id: &Value, info: &Value) -> Result<()> {
        let until = info["exportedUntil"].as_str();
        let ended_by = until.map(|until| anyhow::Ok(recovery_id(&TenantId::parse(tenant)?, until))).transpose()?;
        let failure = ended_by.as_deref().or(id.as_str()).context("no id")?;
        let times = self.0.entry(format!("{tenant} {failure}")).or_default();
        match kind.context("no kind")? {
            "Export Failed" => times.failed += 1,
            "Export Still Failing" => times.still_failing += 1,
            "Export Recovered" => times.recovered += 1,
            kind => anyhow::bail!("nobody should tell of {kind}"),
        }
        Ok(())
    }

    /// The same, with what was told more than once told once: a bus may repeat itself, and so may who publishes there.
    fn heard(&self) -> Self {
        let once = |Times { failed, still_failing, recovered }: Times| Times {
            failed: failed.min(1),
            still_failing: still_failing.min(1),
            recovered: recovered.min(1),
        };
        Self(self.0.iter().map(|(failure, times)| (failure.clone(), once(*times))).collect())
    }

    /// What is told otherwise than without a fault. A failure that is a fault's own is told of once, and so is its end; one
    /// that is older may be told of once more, since it has lasted for days.
    pub(crate) fn differences(&self, what: &str, undisturbed: &Self, differences: &mut Vec<String>) {
        let failures: BTreeSet<&String> = self.0.keys().chain(undisturbed.0.keys()).collect();
        for failure in failures {
            let is = self.0.get(failure).copied().unwrap_or_default();
            let should = undisturbed.0.get(failure);
            let once = [is.failed, is.still_failing, is.recovered].iter().all(|times| *times <= 1);
            let as_it_should = match should {
                Some(should) => Times { still_failing: 0, ..is } == *should,
                None => is.failed + is.still_failing > 0 && is.recovered > 0,
            };
            if !once || !as_it_should {
                differences.push(format!("{what} {failure} is {is:?} and should be {should:?}"));
            }
        }
    }
}

/// A queue that gets whatever is published on the platform's bus; its URL.
pub(crate) async fn listen(aws: &LocalAws, bus: &str) -> Result<String> {
    let call = async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await;
    let queue = call(&["sqs", "create-queue", "--queue-name", "heard"]).await?;
    let queue = queue["QueueUrl"].as_str().context("a queue without a URL")?.to_owned();
    let arn = ["sqs", "get-queue-attributes", "--attribute-names", "QueueArn", "--queue-url", &queue];
    let arn = call(&arn).await?;
    let arn = arn["Attributes"]["QueueArn"].as_str().context("a queue without an ARN")?;
    let pattern = json!({ "source": ["audit-log-export"] }).to_string();
    call(&["events", "put-rule", "--event-bus-name", bus, "--name", "heard", "--event-pattern", &pattern]).await?;
    let target = format!("Id=queue,Arn={arn}");
    call(&["events", "put-targets", "--event-bus-name", bus, "--rule", "heard", "--targets", &target]).await?;
    Ok(queue)
}

impl World {
    /// What was heard on the bus since it was forgotten. The local AWS hands events over before it answers who published them.
    pub(crate) async fn heard(&self) -> Result<Told> {
        let queue = &self.notices_queue;
        loop {
            let receive = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10);
            let messages = receive.visibility_timeout(3600).send().await?.messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let notice = serde_json::from_str(message.body().context("no body")?)?;
                self.heard.lock().unwrap_or_else(PoisonError::into_inner).note_notice(&notice)?;
                let delete = self.sqs.delete_message().queue_url(queue).set_receipt_handle(message.receipt_handle);
                delete.send().await?;
            }
        }
        Ok(self.heard.lock().unwrap_or_else(PoisonError::into_inner).heard())
    }

    /// Forgets it.
    pub(crate) async fn forget_heard(&self) -> Result<()> {
        self.heard().await?;
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Told::default();
        Ok(())
    }
}
