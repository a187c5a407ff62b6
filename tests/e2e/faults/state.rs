//! What lies in the tables and the buckets, and what was heard on the bus, read at the end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::object::sha256;
use audit_log_tests::{Item, gunzip};
use chrono::{DateTime, Utc};
use futures::future;

use crate::announcements::{self, Announcement};
use crate::scenario::Scenario;
use crate::start::{attribute, is_record};
use crate::world::{World, clock};

/// What differs between two runs that did the same: times, and the lease, which is looked at apart.
const DIFFERS: [&str; 9] = [
    "exported_at",
    "duration_ms",
    "expires_at",
    "last_success_at",
    "last_error_at",
    "failing_since",
    "backoff_reset_at",
    "lease",
    "lease_until",
];

/// What is counted, and one more by each run that does it; or has times in it.
const COUNTED: [&str; 2] = ["consecutive_failures", "checkpoint"];

/// More than a lease lasts: it ends half an hour after its run, and that may take a quarter of an hour.
const AN_HOUR: i64 = 60 * 60 * 1_000;

/// What is promised to be the same, however a run was disturbed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// Size and ETag of every object, by bucket and key. The ETag is the MD5 of an object's bytes, or of those of its
    /// parts.
    pub(crate) objects: BTreeMap<String, String>,
    /// Every receipt and watermark, by tenant and record.
    records: BTreeMap<String, BTreeMap<String, AttributeValue>>,
    /// The audit events that tell of failures and their end.
    events: Vec<Announcement>,
    /// What was heard on the bus, with its sequence numbers.
    heard: Vec<(u64, Announcement)>,
    /// What was waiting in the outboxes when the run began.
    before: BTreeSet<Announcement>,
    /// What waits in the outboxes now.
    waiting: Vec<(u64, Announcement)>,
    /// The tenants that are leased, or were and have a lease that has ended.
    pub(crate) leased: BTreeSet<String>,
    /// Uploads that were begun and neither finished nor aborted, by bucket and key.
    pub(crate) unfinished: Vec<String>,
}

/// All that is stored of some tenants, as it is.
#[derive(Debug, PartialEq)]
pub(crate) struct Stored {
    records: BTreeMap<String, Item>,
    contents: Vec<Contents>,
}

/// A bucket: its name, each object's key with size and ETag, and the keys of unfinished uploads.
type Contents = (String, Vec<(String, String)>, Vec<String>);

impl World {
    /// What lies in a tenant's bucket.
    async fn contents(&self, tenant: &str) -> Result<Contents> {
        let (bucket, s3) = self.bucket(tenant)?;
        let (objects, uploads) =
            tokio::try_join!(async { anyhow::Ok(s3.list_objects_v2().bucket(&bucket).send().await?) }, async {
                anyhow::Ok(s3.list_multipart_uploads().bucket(&bucket).send().await?)
            },)?;
        let objects = objects.contents.unwrap_or_default().into_iter().map(|object| {
            let (size, e_tag) = (object.size.unwrap_or_default(), object.e_tag.unwrap_or_default());
            (object.key.unwrap_or_default(), format!("{size} bytes {e_tag}"))
        });
        let uploads = uploads.uploads.unwrap_or_default().into_iter().filter_map(|upload| upload.key);
        Ok((bucket, objects.collect(), uploads.collect()))
    }

    /// What lies there now.
    pub(crate) async fn state(&self, scenario: Scenario) -> Result<State> {
        let tenants = scenario.tenants();
        let mut state = State { before: self.start.in_outboxes(scenario)?, ..State::default() };
        for item in self.records().await? {
            if is_record(&item, "config") {
                continue;
            }
            if is_record(&item, "outbox") {
                let entries = Announcement::in_outbox(&item)?;
                ensure!(announcements::is_pending(&item) != entries.is_empty(), "the index pending is wrong: {item:?}");
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
                item.into_iter().filter(|(name, _)| !DIFFERS.contains(&name.as_str())).collect();
            for counted in COUNTED {
                if let Some(AttributeValue::S(value) | AttributeValue::N(value)) = record.get_mut(counted)
                    && value != "0"
                {
                    "some".clone_into(value);
                }
            }
            state.records.insert(name, record);
        }
        for item in self.recorded_since(tenants).await? {
            let Some((tenant, _)) = attribute(&item, "tenant_shard").split_once('#') else { continue };
            // Beside each event lies the marker of its id.
            if item.contains_key("event") {
                let event = serde_json::from_str(attribute(&item, "event"))?;
                state.events.push(Announcement::of_event(tenant, &event)?);
            }
        }
        state.heard = self.heard().await?;
        for (bucket, contents, uploads) in future::try_join_all(tenants.iter().map(|it| self.contents(it))).await? {
            state.objects.extend(contents.into_iter().map(|(key, what)| (format!("{bucket}/{key}"), what)));
            state.unfinished.extend(uploads.into_iter().map(|key| format!("{bucket}/{key}")));
        }
        Ok(state)
    }

    /// All that is stored of these tenants.
    pub(crate) async fn stored(&self, tenants: &BTreeSet<String>) -> Result<Stored> {
        let records = self.records().await?.into_iter().filter(|item| tenants.contains(attribute(item, "tenant_id")));
        let name = |item: &Item| format!("{} {}", attribute(item, "tenant_id"), attribute(item, "record"));
        let records = records.map(|item| (name(&item), item)).collect();
        let contents = future::try_join_all(tenants.iter().map(|tenant| self.contents(tenant))).await?;
        Ok(Stored { records, contents })
    }

    /// Lets an hour pass for every lease that there is: all of them have ended then.
    pub(crate) async fn let_leases_end(&self) -> Result<()> {
        let mut records = self.records().await?;
        records.retain(|item| item.contains_key("lease"));
        for watermark in &mut records {
            let until = lease_until(watermark).context("a lease without an end")?;
            watermark.insert("lease_until".to_owned(), AttributeValue::N((until - AN_HOUR).to_string()));
        }
        self.put_records(&records).await
    }
}

fn lease_until(watermark: &Item) -> Option<i64> {
    watermark.get("lease_until")?.as_n().ok()?.parse().ok()
}

impl World {
    /// Compares each receipt that a run has written with the objects, byte for byte, and the objects' texts with the events
    /// that were recorded.
    pub(crate) async fn check_receipts(&self, scenario: Scenario) -> Result<()> {
        let mut receipts = self.records().await?;
        receipts.retain(|item| !self.start.of(scenario).any(|before| before == item));
        for tenant in scenario.tenants() {
            let (bucket, s3) = self.bucket(tenant)?;
            let mut texts = String::new();
            let is_ours = |item: &&Item| attribute(item, "tenant_id") == *tenant;
            let mut receipts: Vec<_> = receipts.iter().filter(is_ours).collect();
            receipts.sort_by_key(|item| attribute(item, "record"));
            for object in receipts.into_iter().filter_map(|item| item.get("objects")?.as_l().ok()).flatten() {
                let object = object.as_m().ok().context("an object that is no map")?;
                let key = attribute(object, "key");
                let bytes = s3.get_object().bucket(&bucket).key(key).send().await?.body.collect().await?.to_vec();
                ensure!(sha256(&bytes) == attribute(object, "sha256"), "{bucket}/{key} is not what its receipt says");
                texts += &if key.ends_with(".gz") { gunzip(&bytes)? } else { String::from_utf8(bytes)? };
            }
            let mut rest = texts.as_str();
            for event in self.events(tenant)?.filter(|_| scenario.delivers()) {
                let after = rest.split_once(event).map(|(_, after)| after);
                rest = after.with_context(|| format!("an event of {tenant} is missing, or not in order"))?;
            }
        }
        Ok(())
    }
}

impl State {
    /// What differs of what is stored and announced, in words; empty where nothing does. Leases, outboxes and unfinished
    /// uploads are looked at apart.
    pub(crate) fn differs_from(&self, other: &Self) -> String {
        let mut differences = announcements::differences(&self.events, &other.events);
        differ("object", &self.objects, &other.objects, &mut differences);
        differ("record", &self.records, &other.records, &mut differences);
        differences.join("; ")
    }

    /// What is still to be done for others, in words: leases are left, outboxes hold something, or what was announced was
    /// not heard.
    pub(crate) fn is_unsettled(&self) -> String {
        let announced = self.before.iter().chain(&self.events).cloned().collect();
        let mut differences = announcements::unheard(&self.heard, &announced);
        differences.extend(self.waiting.iter().map(|(sequence, it)| format!("{it:?} waits as no. {sequence}")));
        differences.extend(self.leased.iter().map(|tenant| format!("a lease of {tenant} is left")));
        differences.join("; ")
    }

    /// The tenants with a lease that a tick of that hour finds due.
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

fn differ<V: PartialEq + std::fmt::Debug>(
    what: &str,
    is: &BTreeMap<String, V>,
    should: &BTreeMap<String, V>,
    differences: &mut Vec<String>,
) {
    let keys: BTreeSet<&String> = is.keys().chain(should.keys()).collect();
    for key in keys {
        let (is, should) = (is.get(key), should.get(key));
        if is != should {
            differences.push(format!("{what} {key} is {is:?} and should be {should:?}"));
        }
    }
}
