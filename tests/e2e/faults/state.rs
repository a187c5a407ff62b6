//! What lies in the tables and the buckets, and what others have heard, read at the end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::object::sha256;
use audit_log_core::records::Doubt;
use audit_log_tests::{Item, gunzip};
use chrono::{DateTime, Utc};
use futures::future;

use crate::scenario::Scenario;
use crate::start::attribute;
use crate::told::Told;
use crate::world::World;

/// What differs between two runs that did the same: times, and whether a run has warned another. What others were told of a
/// failure is compared apart.
const DIFFERS: [&str; 9] = [
    "exported_at",
    "duration_ms",
    "expires_at",
    "last_success_at",
    "last_error_at",
    "failing_since",
    "renewed_at",
    "told",
    "disturbed",
];

/// What is counted, and one more by each run that does it; or has times in it.
const COUNTED: [&str; 3] = ["consecutive_failures", "amended", "progress"];

/// What is promised to be the same, however a run was disturbed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// Size and ETag of every object, by bucket and key. The ETag is the MD5 of an object's bytes, or of those of its
    /// parts.
    pub(crate) objects: BTreeMap<String, String>,
    /// Every receipt and watermark, by tenant and record.
    pub(crate) records: BTreeMap<String, BTreeMap<String, AttributeValue>>,
    /// What the tenants' audit events tell of failures.
    pub(crate) told: Told,
    /// What was heard of failures on the bus.
    pub(crate) heard: Told,
    /// Of which failure others have still to hear the end, by tenant.
    pub(crate) owed: BTreeMap<String, String>,
    /// Uploads that were begun and neither finished nor aborted, by bucket and key.
    pub(crate) unfinished: Vec<String>,
}

/// Takes the marks away that are of windows which nobody has committed yet: whoever does so looks after them then.
fn without_marks_of_what_is_due(watermark: &mut BTreeMap<String, AttributeValue>) -> Result<()> {
    let Some(AttributeValue::S(until)) = watermark.get("exported_until") else { return Ok(()) };
    let until: DateTime<Utc> = until.parse()?;
    if let Some(AttributeValue::Ss(marks)) = watermark.get_mut("doubts") {
        marks.retain(|mark| Doubt::parse(mark).is_none_or(|doubt| doubt.window.to <= until));
        if marks.is_empty() {
            watermark.remove("doubts");
        }
    }
    Ok(())
}

impl World {
    /// A tenant's bucket: its name, each object's key with size and ETag, and the keys of unfinished uploads.
    async fn contents(&self, tenant: &str) -> Result<(String, Vec<(String, String)>, Vec<String>)> {
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
        let mut state = State::default();
        for item in self.records().await? {
            if attribute(&item, "record") == "config" {
                continue;
            }
            let tenant = attribute(&item, "tenant_id").to_owned();
            let name = format!("{tenant} {}", attribute(&item, "record"));
            if item.contains_key("told") {
                state.owed.insert(tenant, attribute(&item, "told").to_owned());
            }
            let mut record: BTreeMap<_, _> =
                item.into_iter().filter(|(name, _)| !DIFFERS.contains(&name.as_str())).collect();
            without_marks_of_what_is_due(&mut record)?;
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
                state.told.note_event(tenant, &serde_json::from_str(attribute(&item, "event"))?)?;
            }
        }
        state.heard = self.heard().await?;
        for (bucket, contents, uploads) in future::try_join_all(tenants.iter().map(|it| self.contents(it))).await? {
            state.objects.extend(contents.into_iter().map(|(key, what)| (format!("{bucket}/{key}"), what)));
            state.unfinished.extend(uploads.into_iter().map(|key| format!("{bucket}/{key}")));
        }
        Ok(state)
    }
}

impl World {
    /// Compares each receipt with the objects, byte for byte, and the objects' texts with the events that were recorded.
    pub(crate) async fn check_receipts(&self, scenario: Scenario) -> Result<()> {
        let receipts = self.records().await?;
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
            for event in self.events(tenant)? {
                let after = rest.split_once(event).map(|(_, after)| after);
                rest = after.with_context(|| format!("an event of {tenant} is missing, or not in order"))?;
            }
        }
        Ok(())
    }
}

impl State {
    /// What differs of what is stored, in words; empty where nothing does. Unfinished uploads are looked at apart.
    pub(crate) fn differs_from(&self, other: &Self) -> String {
        let mut differences = Vec::new();
        differ("object", &self.objects, &other.objects, &mut differences);
        differ("record", &self.records, &other.records, &mut differences);
        self.told.differences("told of", &other.told, &mut differences);
        differences.join("; ")
    }

    /// Whether others know of each end that there was: who is owed one is failing still.
    pub(crate) fn owes_no_end(&self) -> bool {
        let failures = |tenant| self.records.get(&format!("{tenant} watermark"))?.get("consecutive_failures");
        self.owed.keys().all(|tenant| failures(tenant).is_some_and(|count| *count != AttributeValue::N("0".to_owned())))
    }

    /// What others have heard otherwise, or have still to hear.
    pub(crate) fn is_heard_otherwise_than(&self, other: &Self) -> String {
        let mut differences = Vec::new();
        differ("owed", &self.owed, &other.owed, &mut differences);
        self.heard.differences("heard of", &other.heard, &mut differences);
        differences.join("; ")
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
