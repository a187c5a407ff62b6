//! Converts the tables' items, with the names and types of their attributes, from and to the core's types.

mod manifest_keys;
mod receipts;
mod replays;
#[cfg(test)]
mod round_trips;

use std::collections::BTreeMap;
use std::collections::HashMap;

use audit_log_core::{
    failure::{Failure, Party},
    lease::Lease,
    new_event::NewEvent,
    outbox::{self, Outbox},
    records::{ExportHealth, LastError, StoredWatermark},
    settings::{Draft, TenantConfig},
    setup_draft::SetupDraft,
    tenant::TenantId,
    timestamp,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

pub(crate) use manifest_keys::{manifest_keys, manifest_keys_key, stored_manifest_keys};
pub(crate) use receipts::{receipt, receipt_record, replayed_receipt, replayed_record, stored_receipt};
pub(crate) use replays::{replay, replay_revision, stored_replay};

pub(crate) type Item = HashMap<String, AttributeValue>;

/// The name of the map of what an unfinished setup has typed.
pub(crate) const SETUP_DRAFT: &str = "draft";

pub(crate) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(crate) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// The text of an attribute, or the digits of a number; `None` for any other type.
pub(crate) fn text(item: &Item, name: &str) -> Option<String> {
    match item.get(name) {
        Some(AttributeValue::S(text) | AttributeValue::N(text)) => Some(text.clone()),
        _ => None,
    }
}

pub(crate) fn key(tenant: &TenantId, record: &str) -> Item {
    Item::from([("tenant_id".to_owned(), s(tenant.as_str())), ("record".to_owned(), s(record))])
}

/// The record `config`, unchecked. An attribute that is missing or NULL is a field that is left out. One of another type
/// than text or number becomes a text that no field accepts, so that a damaged record fails instead of having a default.
pub(crate) fn draft(item: &Item) -> Draft {
    let field = |name| match item.get(name) {
        None | Some(AttributeValue::Null(_)) => None,
        Some(_) => Some(text(item, name).unwrap_or_else(|| "<neither text nor number>".to_owned())),
    };
    Draft {
        external_id: field("external_id"),
        pending_external_id: field("pending_external_id"),
        role_arn: field("role_arn"),
        bucket: field("bucket"),
        region: field("region"),
        prefix: field("prefix"),
        frequency_hours: field("frequency_hours"),
        format: field("format"),
        compression: field("compression"),
        schema: field("schema"),
        encryption: field("encryption"),
        kms_key_arn: field("kms_key_arn"),
        bucket_owner: field("bucket_owner"),
        event_shards: field("event_shards"),
        // Conditions compare it as a number, and would never hold for a text.
        version: match item.get("version") {
            Some(AttributeValue::S(_)) => Some("<not of type N>".to_owned()),
            _ => field("version"),
        },
    }
}

/// The map `draft` of the record `config`: what an unfinished setup has typed.
pub(crate) fn setup_draft(item: &Item) -> Option<SetupDraft> {
    let Some(AttributeValue::M(typed)) = item.get(SETUP_DRAFT) else { return None };
    Some(SetupDraft::from_fields(|name| text(typed, name)))
}

/// The reverse of [`setup_draft`].
pub(crate) fn setup_draft_map(draft: &SetupDraft) -> AttributeValue {
    AttributeValue::M(draft.fields().into_iter().map(|(name, text)| (name.to_owned(), s(text))).collect())
}

/// The version of the settings that passed a verification last; `None` also if it can't be read.
pub(crate) fn verified_version(item: &Item) -> Option<u64> {
    item.get("verified_version")?.as_n().ok()?.parse().ok()
}

/// The attributes of the record `config` that a save replaces: none where a setting is left out. External IDs aren't among
/// them.
pub(crate) fn settings(
    config: &TenantConfig,
    version: u64,
    is_verified: bool,
    saved_at: DateTime<Utc>,
) -> Vec<(&'static str, Option<AttributeValue>)> {
    let Draft {
        external_id: _,
        pending_external_id: _,
        role_arn,
        bucket,
        region,
        prefix,
        frequency_hours,
        format,
        compression,
        schema,
        encryption,
        kms_key_arn,
        bucket_owner,
        event_shards,
        version,
    } = Draft::from_config(config, version);
    let texts = [
        ("role_arn", role_arn),
        ("bucket", bucket),
        ("region", region),
        ("prefix", prefix.filter(|prefix| !prefix.is_empty())),
        ("format", format),
        ("compression", compression),
        ("schema", schema),
        ("encryption", encryption),
        ("kms_key_arn", kms_key_arn),
        ("bucket_owner", bucket_owner),
        ("settings_saved_at", Some(timestamp::seconds(saved_at))),
    ];
    let verified_version = version.clone().filter(|_| is_verified);
    let numbers = [
        ("frequency_hours", frequency_hours),
        ("event_shards", event_shards),
        ("version", version),
        ("verified_version", verified_version),
    ];
    let texts = texts.into_iter().map(|(name, value)| (name, value.map(s)));
    texts.chain(numbers.into_iter().map(|(name, value)| (name, value.map(n)))).collect()
}

/// The record `watermark`. `None` if it has no watermark: acquiring a lease creates the record, too.
pub(crate) fn watermark(item: &Item) -> Option<StoredWatermark> {
    let [exported_until, next_due, due_shard] =
        ["exported_until", "next_due", "due_shard"].map(|name| text(item, name));
    let health = health(item);
    let party = health.last_error.and_then(|error| error.party);
    let is_scheduled = exported_until.is_some() || next_due.is_some() || due_shard.is_some();
    is_scheduled.then(|| StoredWatermark {
        exported_until,
        next_due,
        due_shard,
        checkpoint: text(item, "checkpoint"),
        trailing_counts: text(item, "trailing_counts"),
        final_delivered_until: text(item, "final_delivered_until"),
        manifest_sha256: text(item, "manifest_sha256"),
        signing_failed_since: text(item, "signing_failed_since"),
        failing: health.consecutive_failures > 0,
        refused: health.consecutive_failures > 0 && party.as_deref() == Some(Party::Customer.as_str()),
    })
}

/// The lease in the record `watermark`; `None` if it can't be read.
pub(crate) fn lease(item: &Item) -> Option<Lease> {
    let token = item.get("lease")?.as_s().ok()?.clone();
    let until = item.get("lease_until")?.as_n().ok()?.parse().ok()?;
    Some(Lease { token, until: DateTime::from_timestamp_millis(until)? })
}

/// How exports went, by the record `watermark`.
pub(crate) fn health(item: &Item) -> ExportHealth {
    let instant = |name| timestamp::parse_seconds(&text(item, name)?);
    let last_error = text(item, "last_error_code").map(|code| LastError {
        code,
        message: text(item, "last_error").unwrap_or_default(),
        party: text(item, "last_error_party"),
        at: instant("last_error_at"),
    });
    ExportHealth {
        last_success_at: instant("last_success_at"),
        last_object_key: text(item, "last_object_key"),
        last_error,
        consecutive_failures: text(item, "consecutive_failures").and_then(|n| n.parse().ok()).unwrap_or(0),
        failing_since: instant("failing_since"),
        backoff_reset_at: instant("backoff_reset_at"),
    }
}

pub(crate) const FAILURE_ATTRIBUTES: [&str; 4] = ["last_error_code", "last_error", "last_error_party", "last_error_at"];

/// The part of an update expression that sets these, and its values.
pub(crate) fn failure(failure: &Failure, at: DateTime<Utc>) -> (String, Vec<(String, AttributeValue)>) {
    let values =
        [s(failure.code.as_str()), s(&failure.message), s(failure.party.to_string()), s(timestamp::seconds(at))];
    let set = FAILURE_ATTRIBUTES.map(|name| format!("{name} = :{name}")).join(", ");
    (set, FAILURE_ATTRIBUTES.iter().map(|name| format!(":{name}")).zip(values).collect())
}

/// The entries of the record `outbox` by id; `None` if they are no map.
pub(crate) fn entries(item: &Item) -> Option<&Item> {
    item.get("entries")?.as_m().ok()
}

pub(crate) fn outbox(tenant: &TenantId, item: &Item) -> Outbox {
    let number = |name| text(item, name).and_then(|number| number.parse().ok()).unwrap_or(0);
    let mut read = Outbox { sequence: number("sequence"), dropped: number("dropped"), ..Outbox::default() };
    for (id, entry) in entries(item).into_iter().flatten() {
        match entry.as_s().ok().and_then(|entry| outbox::parse(tenant, id, entry)) {
            Some(entry) => read.entries.push(entry),
            None => read.unreadable.push(id.clone()),
        }
    }
    read.entries.sort_unstable_by_key(|entry| entry.sequence);
    read.unreadable.sort_unstable();
    read
}

/// A message stays in a queue for two weeks, as long again in the dead-letter queue, and once more after it is redriven.
const ID_RETENTION: TimeDelta = TimeDelta::days(42);

pub(crate) fn event_item(event: &NewEvent) -> Item {
    let NewEvent { tenant, submitted_by, shard, stamp, action, log_type, user_email, document, .. } = event;
    let expires_at = stamp.retention.map(|retention| n((stamp.at + retention).timestamp()));
    let attributes = [
        ("tenant_shard", Some(s(format!("{tenant}#{shard}")))),
        ("recorded_at_id", Some(s(event.recorded_at_id()))),
        ("event", Some(s(document))),
        ("action", Some(s(action))),
        ("log_type", Some(s(log_type))),
        ("user_email", user_email.as_ref().map(s)),
        ("submitted_by", Some(s(submitted_by.as_str()))),
        ("expires_at", expires_at),
    ];
    attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The item that remembers an event's id. No shard of events has its `tenant_shard`, which has two hex digits of its hash: all
/// markers under one key, in ascending order, would go to one partition, and slow down recording in however many shards (by
/// "Best practices for designing and using partition keys effectively" in the DynamoDB developer guide).
pub(crate) fn event_marker(event: &NewEvent) -> Item {
    let hash = event.marker_hash();
    let bucket: String = hash.chars().take(2).collect();
    Item::from(
        [
            ("tenant_shard", s(format!("{}#id#{bucket}", event.tenant))),
            ("recorded_at_id", s(hash)),
            ("digest", s(&event.digest)),
            ("expires_at", n((event.stamp.at + ID_RETENTION).timestamp())),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}

/// The whole item as JSON with DynamoDB's type names, for an event without a text.
pub(crate) fn as_json(item: &Item) -> String {
    json_of_all(item).to_string()
}

/// Sorted by name, so that the same item always gives the same bytes.
fn json_of_all(item: &Item) -> Value {
    let sorted: BTreeMap<_, _> = item.iter().collect();
    Value::Object(sorted.into_iter().map(|(name, value)| (name.clone(), json_of(value))).collect())
}

fn json_of(value: &AttributeValue) -> Value {
    let base64 = |blob: &aws_smithy_types::Blob| aws_smithy_types::base64::encode(blob);
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(digits) => json!({ "N": digits }),
        AttributeValue::Bool(value) => json!({ "BOOL": value }),
        AttributeValue::Null(value) => json!({ "NULL": value }),
        AttributeValue::B(blob) => json!({ "B": base64(blob) }),
        AttributeValue::Ss(texts) => json!({ "SS": texts }),
        AttributeValue::Ns(numbers) => json!({ "NS": numbers }),
        AttributeValue::Bs(blobs) => json!({ "BS": blobs.iter().map(base64).collect::<Vec<_>>() }),
        AttributeValue::L(values) => json!({ "L": values.iter().map(json_of).collect::<Vec<_>>() }),
        AttributeValue::M(map) => json!({ "M": json_of_all(map) }),
        _ => json!({ "unknown": true }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use audit_log_core::{
        event::User,
        manifest::{ManifestKey, UsedKey},
        new_event::{Activity, Stamp, time_ordered_id},
        tenant::Platform,
    };

    use super::*;

    /// The attributes that docs/data-model.md names in the row of a record, and whether they are numbers. What is in
    /// parentheses are values.
    fn documented(row: &str) -> BTreeMap<String, bool> {
        let cell = row.split('|').nth(2).unwrap();
        let named: String = cell.split('(').map(|part| part.split_once(')').map_or(part, |(_, rest)| rest)).collect();
        let parts: Vec<_> = named.split('`').collect();
        parts[1..].chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].starts_with(" N"))).collect()
    }

    fn page() -> impl Iterator<Item = &'static str> {
        include_str!("../../../docs/data-model.md").lines()
    }

    #[test]
    fn the_documented_attributes_of_a_config_are_those_that_are_written() {
        let draft = Draft {
            external_id: Some("made-for-acme".to_owned()),
            pending_external_id: None,
            role_arn: Some("arn:aws:iam::222222222222:role/audit".to_owned()),
            bucket: Some("acme-audit".to_owned()),
            region: Some("eu-west-1".to_owned()),
            prefix: Some("security".to_owned()),
            frequency_hours: Some("2".to_owned()),
            format: Some("ndjson".to_owned()),
            compression: Some("gzip".to_owned()),
            schema: Some("ocsf".to_owned()),
            encryption: Some("sse-kms".to_owned()),
            kms_key_arn: Some("arn:aws:kms:eu-west-1:222222222222:key/1234".to_owned()),
            bucket_owner: Some("333333333333".to_owned()),
            event_shards: Some("4".to_owned()),
            version: Some("1".to_owned()),
        };
        let acme = TenantId::parse("acme").unwrap();
        let platform = Platform::from_function_arn("arn:aws:lambda:x:111111111111:function:exporter").unwrap();
        let saved = settings(&draft.check(&acme, &platform).unwrap(), 1, true, DateTime::default());
        let saved = saved.into_iter().map(|(name, value)| (name.to_owned(), value.unwrap().is_n()));
        let external_ids = ["external_id", "pending_external_id", SETUP_DRAFT].map(|name| (name.to_owned(), false));
        let row = page().find(|line| line.starts_with("| `config` |")).unwrap();
        assert_eq!(documented(row), saved.chain(external_ids).collect());
    }

    #[test]
    fn the_documented_attributes_of_a_watermark_are_those_that_are_read() {
        let mut attributes = documented(page().find(|line| line.starts_with("| `watermark` |")).unwrap());
        let added = page().skip_while(|line| !line.starts_with("### What the exporter adds")).skip(1);
        for row in added.take_while(|line| !line.starts_with('#')).filter(|line| line.starts_with("| `")) {
            // Here the names are in the first cell.
            attributes.extend(documented(&format!("|{row}")));
        }
        let value = |is_number| if is_number { n(7) } else { s("2026-11-21T11:00:00Z") };
        let all: Item = attributes.into_iter().map(|(name, is_number)| (name, value(is_number))).collect();
        let read = |item: &Item| (watermark(item), lease(item), health(item));
        let (watermark, lease, health) = read(&all);
        // Without `..`: a field that is added here has its attribute on the page.
        assert!(
            matches!(
                watermark,
                Some(StoredWatermark {
                    exported_until: Some(_),
                    next_due: Some(_),
                    due_shard: Some(_),
                    checkpoint: Some(_),
                    trailing_counts: Some(_),
                    final_delivered_until: Some(_),
                    manifest_sha256: Some(_),
                    signing_failed_since: Some(_),
                    failing: true,
                    refused: _,
                })
            ),
            "{watermark:?}"
        );
        assert!(lease.is_some());
        let ExportHealth {
            last_success_at: Some(_),
            last_object_key: Some(_),
            last_error: Some(LastError { code: _, message, party: Some(_), at: Some(_) }),
            consecutive_failures: 7,
            failing_since: Some(_),
            backoff_reset_at: Some(_),
        } = &health
        else {
            panic!("{health:?}")
        };
        assert!(!message.is_empty());
        for name in all.keys() {
            let mut without = all.clone();
            without.remove(name);
            assert_ne!(read(&without), read(&all), "{name} is not read");
        }
    }

    #[test]
    fn the_documented_attributes_of_the_manifest_keys_are_those_that_are_written() {
        let key = ManifestKey { name: "platform".to_owned(), public_key: vec![1] };
        let now = DateTime::default();
        let written = manifest_keys(&[UsedKey { key, first_used_at: now, retired_at: Some(now) }], 1);
        let row = page().find(|line| line.starts_with("| `manifest_keys`")).unwrap();
        let named = written.iter().map(|(name, value)| (name.clone(), value.is_n()));
        let keys = ["tenant_id", "record"];
        assert_eq!(documented(row), named.filter(|(name, _)| !keys.contains(&name.as_str())).collect());
        for name in written["keys"].as_l().unwrap()[0].as_m().unwrap().keys() {
            assert!(row.contains(&format!("`{name}`")), "{name} is not on the page");
        }
    }

    #[test]
    fn an_item_of_any_shape_becomes_stable_json() {
        let item = Item::from([
            (
                "b".to_owned(),
                AttributeValue::M(Item::from([("x".to_owned(), n(1)), ("a".to_owned(), AttributeValue::Null(true))])),
            ),
            ("a".to_owned(), AttributeValue::L(vec![s("ü"), AttributeValue::Bool(false)])),
            ("c".to_owned(), AttributeValue::B(aws_smithy_types::Blob::new([1, 2, 3]))),
        ]);
        assert_eq!(
            as_json(&item),
            r#"{"a":{"L":[{"S":"ü"},{"BOOL":false}]},"b":{"M":{"a":{"NULL":true},"x":{"N":"1"}}},"c":{"B":"AQID"}}"#
        );
    }

    #[test]
    fn an_attribute_of_another_type_is_refused_and_not_read_as_a_default() {
        let good = || {
            let texts = [
                ("external_id", "abc"),
                ("role_arn", "arn:aws:iam::222222222222:role/audit"),
                ("bucket", "acme-audit"),
            ];
            let mut item: Item = texts.iter().map(|(name, value)| ((*name).to_owned(), s(*value))).collect();
            item.extend([("region".to_owned(), s("eu-west-1")), ("frequency_hours".to_owned(), n(1))]);
            item
        };
        let acme = TenantId::parse("acme").unwrap();
        let platform = Platform::from_function_arn("arn:aws:lambda:x:111111111111:function:exporter").unwrap();
        let check = |item: &Item| draft(item).check(&acme, &platform);
        assert!(check(&good()).is_ok());
        let mut text_for_number = good();
        text_for_number.insert("version".to_owned(), s("1"));
        assert_eq!(check(&text_for_number).unwrap_err().0[0].field, "version", "no condition would ever hold");
        for field in [
            "external_id",
            "pending_external_id",
            "role_arn",
            "bucket",
            "region",
            "prefix",
            "frequency_hours",
            "format",
            "compression",
            "schema",
            "encryption",
            "kms_key_arn",
            "bucket_owner",
            "event_shards",
            "version",
        ] {
            let mut item = good();
            item.insert(field.to_owned(), AttributeValue::L(vec![]));
            assert_eq!(check(&item).unwrap_err().0[0].field, field);
            item = good();
            item.insert(field.to_owned(), AttributeValue::Null(true));
            let required = ["external_id", "role_arn", "bucket", "region", "frequency_hours"].contains(&field);
            assert_eq!(check(&item).is_err(), required, "{field}");
        }
    }

    #[test]
    fn markers_of_ids_in_ascending_order_are_spread_over_partition_keys() {
        let acme = TenantId::parse("acme").unwrap();
        let user = User::system();
        let activity = Activity { log_type: "Scan", action: "Scan Now", user: &user };
        let start: DateTime<Utc> = "2026-11-21T10:03:12.345Z".parse().unwrap();
        let markers: Vec<Item> = (0..2_000)
            .map(|millis| {
                let stamp = Stamp { at: start + TimeDelta::milliseconds(millis), retention: None };
                event_marker(&NewEvent::new(&acme, stamp, time_ordered_id(stamp.at, &[7; 10]), activity, &()))
            })
            .collect();
        let keys: BTreeSet<String> = markers.iter().filter_map(|marker| text(marker, "tenant_shard")).collect();
        assert!((250..=256).contains(&keys.len()), "{}", keys.len());
        assert!(keys.iter().all(|key| key.starts_with("acme#id#")), "{keys:?}");
        let within: BTreeSet<String> = markers.iter().filter_map(|marker| text(marker, "recorded_at_id")).collect();
        assert_eq!(within.len(), markers.len());
    }
}
