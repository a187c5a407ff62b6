//! The state after a run: records, objects and notifications.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::object::sha256;
use audit_log_tests::{Item, attribute, gunzip};
use chrono::{DateTime, Utc};
use futures::future;
use serde_json::Value;

use crate::announcements::{self, Announcement};
use crate::scenario::Scenario;
use crate::start::is_record;
use crate::world::{World, clock};

/// Attributes that differ between equal runs: times, the list of keys, which has times, and the lease, which is compared
/// separately.
const IGNORED_ATTRIBUTES: [&str; 10] = [
    "exported_at",
    "duration_ms",
    "expires_at",
    "last_success_at",
    "last_error_at",
    "failing_since",
    "backoff_reset_at",
    "lease",
    "lease_until",
    "keys",
];

/// Attributes of which only the presence is compared: they count runs or hold times.
const PRESENCE_ATTRIBUTES: [&str; 2] = ["consecutive_failures", "checkpoint"];

/// Longer than a lease, which ends half an hour after a run of at most 15 minutes.
const HOUR_MILLIS: i64 = 60 * 60 * 1_000;

/// What must be the same whatever fault a run had.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// Size and ETag of each object, by bucket and key; a manifest's text. The ETag is the MD5 of the bytes, or of the parts' MD5s.
    pub(crate) objects: BTreeMap<String, String>,
    /// The receipts and watermarks, by tenant and record.
    records: BTreeMap<String, BTreeMap<String, AttributeValue>>,
    /// The audit events of failures and recoveries.
    events: Vec<Announcement>,
    /// The notifications received from the bus, with sequence numbers.
    received: Vec<(u64, Announcement)>,
    /// The outboxes' entries when the run began.
    before: BTreeSet<Announcement>,
    /// The outboxes' entries now.
    waiting: Vec<(u64, Announcement)>,
    /// The tenants with a lease, expired or not.
    pub(crate) leased: BTreeSet<String>,
    /// Uploads that are neither completed nor aborted, by bucket and key.
    pub(crate) unfinished: Vec<String>,
}

/// All records and objects of some tenants.
#[derive(Debug, PartialEq)]
pub(crate) struct Stored {
    records: BTreeMap<String, Item>,
    contents: Vec<Contents>,
}

/// A bucket's name, its objects' keys with size and ETag or text, and the keys of unfinished uploads.
type Contents = (String, Vec<(String, String)>, Vec<String>);

impl World {
    async fn contents(&self, tenant: &str) -> Result<Contents> {
        let (bucket, s3) = self.bucket(tenant)?;
        let (objects, uploads) =
            tokio::try_join!(async { anyhow::Ok(s3.list_objects_v2().bucket(&bucket).send().await?) }, async {
                anyhow::Ok(s3.list_multipart_uploads().bucket(&bucket).send().await?)
            },)?;
        let mut contents = Vec::new();
        for object in objects.contents.unwrap_or_default() {
            let (key, size, e_tag) = (object.key.unwrap_or_default(), object.size, object.e_tag.unwrap_or_default());
            let mut what = format!("{} bytes {e_tag}", size.unwrap_or_default());
            if key.ends_with(".manifest") {
                // Two signatures of one text differ.
                let bytes = s3.get_object().bucket(&bucket).key(&key).send().await?.body.collect().await?.to_vec();
                let note = String::from_utf8(bytes)?;
                let (text, _) = note.split_once("\n\n").context("an unsigned manifest")?;
                text.clone_into(&mut what);
            }
            contents.push((key, what));
        }
        let uploads = uploads.uploads.unwrap_or_default().into_iter().filter_map(|upload| upload.key);
        Ok((bucket, contents, uploads.collect()))
    }

    pub(crate) async fn state(&self, scenario: Scenario) -> Result<State> {
        let tenants = scenario.tenants();
        let mut state = State { before: self.start.outbox_entries(scenario)?, ..State::default() };
        for item in self.records().await? {
            if is_record(&item, "config") {
                continue;
            }
            if is_record(&item, "outbox") {
                let entries = Announcement::from_outbox(&item)?;
                ensure!(
                    announcements::is_pending(&item) != entries.is_empty(),
                    "the index pending doesn't match the outbox: {item:?}"
                );
                state.waiting.extend(entries);
                continue;
            }
            let tenant = attribute(&item, "tenant_id").to_owned();
            let name = format!("{tenant} {}", attribute(&item, "record"));
            if let Some(lease) = item.get("lease") {
                let token = lease.as_s().ok().context("a lease without a token")?;
                ensure!(token.len() == 32 && token.bytes().all(|it| it.is_ascii_hexdigit()), "{token} is no token");
                ensure!(is_record(&item, "watermark") && lease_until(&item).is_some(), "no lease of {name}");
                state.leased.insert(tenant);
            }
            let mut record: BTreeMap<_, _> =
                item.into_iter().filter(|(name, _)| !IGNORED_ATTRIBUTES.contains(&name.as_str())).collect();
            if let Some(AttributeValue::S(replay)) = record.get_mut("replay") {
                *replay = without_times(replay)?;
                record.remove("revision");
            }
            for name in PRESENCE_ATTRIBUTES {
                if let Some(AttributeValue::S(value) | AttributeValue::N(value)) = record.get_mut(name)
                    && value != "0"
                {
                    "some".clone_into(value);
                }
            }
            state.records.insert(name, record);
        }
        for item in self.system_events(tenants).await? {
            let Some((tenant, _)) = attribute(&item, "tenant_shard").split_once('#') else { continue };
            let event = serde_json::from_str(attribute(&item, "event"))?;
            state.events.push(Announcement::from_event(tenant, &event)?);
        }
        state.received = self.received().await?;
        for (bucket, contents, uploads) in future::try_join_all(tenants.iter().map(|it| self.contents(it))).await? {
            state.objects.extend(contents.into_iter().map(|(key, what)| (format!("{bucket}/{key}"), what)));
            state.unfinished.extend(uploads.into_iter().map(|key| format!("{bucket}/{key}")));
        }
        Ok(state)
    }

    pub(crate) async fn stored(&self, tenants: &BTreeSet<String>) -> Result<Stored> {
        let records = self.records().await?.into_iter().filter(|item| tenants.contains(attribute(item, "tenant_id")));
        let name = |item: &Item| format!("{} {}", attribute(item, "tenant_id"), attribute(item, "record"));
        let records = records.map(|item| (name(&item), item)).collect();
        let contents = future::try_join_all(tenants.iter().map(|tenant| self.contents(tenant))).await?;
        Ok(Stored { records, contents })
    }

    /// Sets the end of each lease into the past, and removes the doubt of each replay.
    pub(crate) async fn expire_leases(&self) -> Result<()> {
        let mut records = self.records().await?;
        let mut replays: Vec<Item> = records.extract_if(.., |item| item.contains_key("replay")).collect();
        for record in &mut replays {
            let mut replay: Value = serde_json::from_str(attribute(record, "replay"))?;
            replay.as_object_mut().context("a replay that isn't an object")?.remove("retry_after");
            record.insert("replay".to_owned(), AttributeValue::S(replay.to_string()));
        }
        self.put_records(&replays).await?;
        records.retain(|item| item.contains_key("lease"));
        for watermark in &mut records {
            let until = lease_until(watermark).context("a lease without an end")?;
            watermark.insert("lease_until".to_owned(), AttributeValue::N((until - HOUR_MILLIS).to_string()));
        }
        self.put_records(&records).await
    }
}

/// A replay's stored form, without what differs between equal runs.
fn without_times(replay: &str) -> Result<String> {
    let mut replay: Value = serde_json::from_str(replay)?;
    let members = replay.as_object_mut().context("a replay that isn't an object")?;
    members.retain(|name, _| !["progressed_at", "ended_at"].contains(&name.as_str()));
    if members.contains_key("checkpoint") {
        members.insert("checkpoint".to_owned(), "some".into());
    }
    Ok(replay.to_string())
}

fn lease_until(watermark: &Item) -> Option<i64> {
    watermark.get("lease_until")?.as_n().ok()?.parse().ok()
}

impl World {
    /// Compares the receipts of a run with the objects, and the objects with the recorded events.
    pub(crate) async fn check_receipts(&self, scenario: Scenario) -> Result<()> {
        let mut receipts = self.records().await?;
        receipts.retain(|item| !self.start.records(scenario).any(|before| before == item));
        for tenant in scenario.tenants() {
            let (bucket, s3) = self.bucket(tenant)?;
            let mut texts = String::new();
            let is_ours = |item: &&Item| attribute(item, "tenant_id") == *tenant;
            let mut receipts: Vec<_> = receipts.iter().filter(is_ours).collect();
            receipts.sort_by_key(|item| attribute(item, "record"));
            for object in receipts.into_iter().filter_map(|item| item.get("objects")?.as_l().ok()).flatten() {
                let object = object.as_m().ok().context("an object isn't a map")?;
                let key = attribute(object, "key");
                let bytes = s3.get_object().bucket(&bucket).key(key).send().await?.body.collect().await?.to_vec();
                ensure!(sha256(&bytes) == attribute(object, "sha256"), "{bucket}/{key} differs from its receipt");
                texts += &if key.ends_with(".gz") { gunzip(&bytes)? } else { String::from_utf8(bytes)? };
            }
            let mut rest = texts.as_str();
            for event in self.events(tenant)?.filter(|_| scenario.delivers()) {
                let after = rest.split_once(event).map(|(_, after)| after);
                rest = after.with_context(|| format!("an event of {tenant} is missing or out of order"))?;
            }
        }
        Ok(())
    }
}

impl State {
    /// The differences of records, objects and audit events, as text; empty if there are none.
    pub(crate) fn differs_from(&self, other: &Self) -> String {
        let mut differences = announcements::differences(&self.events, &other.events);
        add_differences("object", &self.objects, &other.objects, &mut differences);
        add_differences("record", &self.records, &other.records, &mut differences);
        differences.join("; ")
    }

    /// Leases that are left, outbox entries, and notifications that are missing, as text; empty if there are none.
    pub(crate) fn open_work(&self) -> String {
        let announced = self.before.iter().chain(&self.events).cloned().collect();
        let mut differences = announcements::notification_differences(&self.received, &announced);
        differences.extend(
            self.waiting
                .iter()
                .map(|(sequence, it)| format!("{it:?} is in the outbox with sequence number {sequence}")),
        );
        differences.extend(self.leased.iter().map(|tenant| format!("a lease of {tenant} is left")));
        differences.join("; ")
    }

    /// The leased tenants that are due at an hour.
    pub(crate) fn leased_and_due(&self, hour: &str) -> Result<BTreeSet<String>> {
        let tick = clock(hour)?;
        let is_due = |tenant: &&String| {
            let watermark = self.records.get(&format!("{tenant} watermark"));
            let next_due = watermark.and_then(|it| it.get("next_due")?.as_s().ok()?.parse().ok());
            next_due.is_some_and(|next_due: DateTime<Utc>| next_due <= tick)
        };
        Ok(self.leased.iter().filter(is_due).cloned().collect())
    }
}

fn add_differences<V: PartialEq + std::fmt::Debug>(
    what: &str,
    actual: &BTreeMap<String, V>,
    expected: &BTreeMap<String, V>,
    differences: &mut Vec<String>,
) {
    let keys: BTreeSet<&String> = actual.keys().chain(expected.keys()).collect();
    for key in keys {
        let (actual, expected) = (actual.get(key), expected.get(key));
        if actual != expected {
            differences.push(format!("{what} {key} is {actual:?}, expected {expected:?}"));
        }
    }
}
