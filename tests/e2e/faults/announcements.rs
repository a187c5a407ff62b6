//! What is announced of a tenant: its audit events, what its outbox holds, and the notifications that are heard on the bus.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use anyhow::{Context as _, Result};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::{notification::Notification, outbox, tenant::TenantId};
use audit_log_tests::{Item, LocalAws, PLATFORM_ACCOUNT, tools};
use serde_json::{Value, json};

use crate::start::attribute;
use crate::world::World;

/// How the `detail-type` of a notification begins; after that comes the action of its audit event.
const OF_THIS_SYSTEM: &str = "Audit Log ";

/// An audit event, a notification, or an entry of an outbox: those of one change are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Announcement {
    tenant: String,
    action: String,
    id: String,
    /// Of a failure or its end: up to where the tenant is exported.
    exported_until: Option<String>,
}

impl Announcement {
    fn new(tenant: &str, action: &str, id: &str, info: &Value) -> Self {
        let [failed, recovered] = ["exportedUntil", "windowFrom"].map(|field| info[field].as_str());
        Self {
            tenant: tenant.to_owned(),
            action: action.to_owned(),
            id: id.to_owned(),
            exported_until: failed.or(recovered).map(str::to_owned),
        }
    }

    /// An audit event, as a document.
    pub(crate) fn of_event(tenant: &str, event: &Value) -> Result<Self> {
        let action = event["action"].as_str().context("an audit event without an action")?;
        let id = event["id"].as_str().context("an audit event without an id")?;
        Ok(Self::new(tenant, action, id, &event["additionalInfo"]))
    }

    /// The entries of a record `outbox`, with their sequence numbers.
    pub(crate) fn in_outbox(record: &Item) -> Result<Vec<(u64, Self)>> {
        let tenant = TenantId::parse(attribute(record, "tenant_id"))?;
        let entries = record.get("entries").and_then(|entries| entries.as_m().ok()).into_iter().flatten();
        let parsed = entries.map(|(id, entry)| {
            let entry = entry.as_s().ok().and_then(|text| outbox::parse(&tenant, id, text));
            let Notification { kind, sequence, info, .. } = entry.with_context(|| format!("the entry {id}"))?;
            let action = kind.detail_type().strip_prefix(OF_THIS_SYSTEM).unwrap_or_default();
            Ok((sequence, Self::new(tenant.as_str(), action, id, &info.into())))
        });
        parsed.collect()
    }

    /// An event of the bus, with its sequence number.
    fn of_bus(event: &Value) -> Result<(u64, Self)> {
        let detail = &event["detail"];
        let kind = event["detail-type"].as_str().and_then(|kind| kind.strip_prefix(OF_THIS_SYSTEM));
        let [tenant, id] = ["tenantId", "id"].map(|field| detail[field].as_str());
        let announcement = Self::new(
            tenant.context("a notification of no tenant")?,
            kind.context("another system's notification")?,
            id.context("a notification without an id")?,
            detail,
        );
        Ok((detail["sequence"].as_u64().context("a notification without a sequence number")?, announcement))
    }
}

/// What is announced otherwise than without a fault. A failure that a fault has made is announced once, and its end, too. One
/// that is older may be announced once more, since it has lasted for days.
pub(crate) fn differences(is: &[Announcement], should: &[Announcement]) -> Vec<String> {
    let by_failure = |announcements: &[Announcement]| {
        let mut actions: BTreeMap<(String, Option<String>), Vec<String>> = BTreeMap::new();
        for Announcement { tenant, action, exported_until, .. } in announcements {
            actions.entry((tenant.clone(), exported_until.clone())).or_default().push(action.clone());
        }
        actions.values_mut().for_each(|actions| actions.sort_unstable());
        actions
    };
    let (is, should) = (by_failure(is), by_failure(should));
    let of_a_fault = ["Export Failed", "Export Recovered"].map(str::to_owned);
    let failures: BTreeSet<_> = is.keys().chain(should.keys()).collect();
    let differences = failures.into_iter().filter_map(|failure| {
        let is = is.get(failure).cloned().unwrap_or_default();
        let should = should.get(failure).map_or(of_a_fault.as_slice(), Vec::as_slice);
        let (lasting, others): (Vec<_>, Vec<_>) =
            is.iter().cloned().partition(|action| action == "Export Still Failing");
        let differs = others != should || lasting.len() > 1;
        differs.then(|| format!("of {failure:?}, {is:?} is announced, and should be {should:?}"))
    });
    differences.collect()
}

/// What of these announcements was not heard, or not in their order, or is none of them. A repetition is no difference.
pub(crate) fn unheard(heard: &[(u64, Announcement)], announced: &BTreeSet<Announcement>) -> Vec<String> {
    let mut differences = Vec::new();
    let mut latest: BTreeMap<&str, u64> = BTreeMap::new();
    let mut once = BTreeSet::new();
    for (sequence, announcement) in heard {
        if once.insert(announcement.clone()) {
            let before = latest.insert(&announcement.tenant, *sequence);
            if before.is_some_and(|before| before >= *sequence) {
                differences.push(format!("{announcement:?} is no. {sequence}, and was heard after no. {before:?}"));
            }
        }
    }
    differences.extend(announced.difference(&once).map(|it| format!("{it:?} was not heard")));
    differences.extend(once.difference(announced).map(|it| format!("{it:?} was heard and never announced")));
    differences
}

/// Makes a queue that gets what is published on the platform's bus; its URL.
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
    /// What was heard on the bus since it was forgotten, in the order in which it came. The local AWS hands events over before
    /// it answers, and its queues keep their order.
    pub(crate) async fn heard(&self) -> Result<Vec<(u64, Announcement)>> {
        let queue = &self.notifications_queue;
        loop {
            let receive = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10);
            let messages = receive.visibility_timeout(3600).send().await?.messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let event = serde_json::from_str(message.body().context("no body")?)?;
                let heard = Announcement::of_bus(&event)?;
                self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
                let delete = self.sqs.delete_message().queue_url(queue).set_receipt_handle(message.receipt_handle);
                delete.send().await?;
            }
        }
        Ok(self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Forgets it.
    pub(crate) async fn forget_heard(&self) -> Result<()> {
        self.heard().await?;
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

/// Whether a record `outbox` is in the index `pending`.
pub(crate) fn is_pending(outbox: &Item) -> bool {
    matches!(outbox.get("pending_shard"), Some(AttributeValue::S(_)))
}
