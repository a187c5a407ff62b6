//! Tests that what is written to an item is read back, with random values.

use audit_log_core::{
    event::{Body, StoredEvent, User},
    failure::{Code, Party},
    late_arrivals::TrailingCounts,
    manifest::{ManifestKey, UsedKey},
    new_event::Stamp,
    new_event::{Activity, NewEvent, Submitter},
    notification::{Kind, Notification},
    outbox::{Outbox, to_text},
    records::{
        AmendedManifest, EventPosition, Location, ManifestState, Place, Progress, Receipt, Refusal, Replay,
        ReplayError, ReplayState, StopCause, StoredManifest, StoredObject, StoredReceipt,
    },
    schedule::{Schedule, Window},
    tenant::{Compression, DueShard, Format, Partition, Platform, Prefix, Region, Schema},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::events::decode_response;

const PLATFORM: &str = "arn:aws:lambda:eu-central-1:111111111111:function:exporter";

fn instant() -> impl Strategy<Value = DateTime<Utc>> {
    (0..4_102_444_800_i64, 0..1_000_000_000_u32)
        .prop_map(|(seconds, nanos)| DateTime::from_timestamp(seconds, nanos).unwrap_or_default())
}

fn whole() -> impl Strategy<Value = DateTime<Utc>> {
    instant().prop_map(timestamp::whole_seconds)
}

fn window() -> impl Strategy<Value = Window> {
    (whole(), 1..200_000_i64).prop_map(|(from, seconds)| Window { from, to: from + TimeDelta::seconds(seconds) })
}

fn tenant() -> impl Strategy<Value = TenantId> {
    "[A-Za-z0-9_-]{1,64}".prop_map(|text| TenantId::parse(&text).unwrap())
}

/// Valid settings, with or without each optional field.
fn settings() -> impl Strategy<Value = Draft> {
    let regions: Vec<_> = Region::all().filter(|region| region.partition() == Partition::Aws).collect();
    let prefix = "[A-Za-z0-9!_.'()/-]{0,40}".prop_filter("no dots alone", |text| Prefix::parse(text).is_ok());
    let needed = (
        "[A-Za-z0-9_+=,.@:/-]{2,40}",
        "[2-9][0-9]{11}",
        "[A-Za-z0-9_+=,.@-]{1,64}",
        "[a-w][a-z0-9]{2,40}",
        select(regions),
    );
    let chosen = (
        option::of(prefix),
        1..=24_u8,
        option::of(select(vec!["json", "ndjson"])),
        option::of(select(vec!["none", "gzip"])),
        option::of(select(vec!["native", "ocsf"])),
    );
    let encryption = prop_oneof![
        (option::of(Just("bucket")), option::of("[a-z0-9-]{1,64}")),
        (Just(Some("sse-s3")), Just(None)),
        (Just(Some("sse-kms")), "[a-z0-9-]{1,64}".prop_map(Some)),
    ];
    let rest = (encryption, option::of("[0-9]{12}"), option::of(1..=64_u16), option::of(0..u64::MAX));
    (needed, chosen, rest).prop_map(|((external_id, account, role, bucket, region), chosen, rest)| {
        let (prefix, hours, format, compression, schema) = chosen;
        let ((encryption, key), bucket_owner, shards, version) = rest;
        Draft {
            external_id: Some(external_id),
            pending_external_id: None,
            role_arn: Some(format!("arn:aws:iam::{account}:role/{role}")),
            bucket: Some(bucket),
            region: Some(region.to_string()),
            prefix,
            frequency_hours: Some(hours.to_string()),
            format: format.map(str::to_owned),
            compression: compression.map(str::to_owned),
            schema: schema.map(str::to_owned),
            encryption: encryption.map(str::to_owned),
            kms_key_arn: key.map(|key| format!("arn:aws:kms:{region}:{account}:key/{key}")),
            bucket_owner,
            event_shards: shards.map(|shards| shards.to_string()),
            version: version.map(|version| version.to_string()),
        }
    })
}

fn object() -> impl Strategy<Value = StoredObject> {
    let minute = (0..2_000_000_i64).prop_map(|minute| {
        let from = DateTime::from_timestamp(minute * 60, 0).unwrap_or_default();
        Window { from, to: from + TimeDelta::minutes(1) }
    });
    let sizes = (0..1_u64 << 50, 0..1_u64 << 50);
    let last_event = option::of(
        ("[ -~]{1,60}", any::<u16>()).prop_map(|(recorded_at_id, shard)| EventPosition { recorded_at_id, shard }),
    );
    ("[ -~]{1,60}", sizes, "[0-9a-f]{64}", option::of(minute), last_event).prop_map(
        |(key, (bytes, events), sha256, late, last_event)| StoredObject {
            key,
            bytes,
            events,
            sha256,
            late,
            last_event,
        },
    )
}

fn used_key() -> impl Strategy<Value = UsedKey> {
    ("[!-*,-~]{1,60}", vec(any::<u8>(), 0..100), whole(), option::of(whole())).prop_map(
        |(name, public_key, first_used_at, retired_at)| UsedKey {
            key: ManifestKey { name, public_key },
            first_used_at,
            retired_at,
        },
    )
}

fn location() -> impl Strategy<Value = Location> {
    ("[a-z0-9.-]{3,63}", "[a-z/=]{1,60}").prop_map(|(bucket, folder)| Location { bucket, folder })
}

/// In progress or ended, with or without each optional field.
fn any_replay() -> impl Strategy<Value = Replay> {
    let user = (".{1,40}", option::of(".{0,40}"), option::of(".{0,40}"));
    let request = (user, window(), location(), whole(), any::<[u64; 2]>());
    let state = prop_oneof![
        Just((ReplayState::Running, None)),
        Just((ReplayState::Completed, None)),
        Just((ReplayState::Stopped, Some(StopCause::DestinationChanged))),
        Just((ReplayState::Failed, None)),
    ];
    let optional = (option::of(".{0,40}"), option::of(whole()), option::of(".{0,200}"));
    (request, state, optional, window(), any::<bool>(), 1..u64::MAX).prop_map(
        |(
            (user, range, location, at, [windows, bytes]),
            (state, stopped),
            optional,
            refused,
            stop_requested,
            revision,
        )| {
            let requested_by = User { id: user.0, name: user.1, email: user.2 };
            let planned = Progress { windows, events: 0, bytes };
            let Location { bucket, folder } = location;
            let [owner, role_account, region, encryption] = Default::default();
            let place = Place { bucket, folder, owner, role_account, region, encryption };
            let replay = Replay::new("the id".to_owned(), range, place, planned, requested_by, at, None);
            let failed = |message| ReplayError::new(&Failure::new(Code::AccessDenied, message), at);
            let replay = replay.after_refusal(refused, Refusal::TooManyFiles, at);
            Replay {
                revision,
                state,
                stopped,
                stop_requested,
                checkpoint: optional.0,
                retry_after: optional.1,
                ended_at: optional.1,
                last_error: optional.2.map(failed),
                ..replay
            }
        },
    )
}

fn any_receipt() -> impl Strategy<Value = Receipt> {
    // Sometimes more than are listed.
    let objects = prop_oneof![9 => vec(object(), 1..12), 1 => (object(), 499..503_usize).prop_map(|(object, count)| vec![object; count])];
    let numbers = (any::<u64>(), any::<u64>(), 0..i64::from(u32::MAX));
    let amended = (any::<u32>(), "[0-9a-f]{64}", "[0-9a-f]{64}", "[a-z-]{1,20}")
        .prop_map(|(number, sha256, amends, cause)| AmendedManifest { number, sha256, amends, cause });
    let rest = (option::of("[0-9a-f]{64}"), option::of(amended));
    let manifest = ("[ -~]{1,60}", "[0-9a-f]{64}", any::<bool>(), rest).prop_map(|(key, sha256, is_signed, rest)| {
        let state = if is_signed { ManifestState::Signed } else { ManifestState::Unsigned };
        let (previous, amended) = rest;
        StoredManifest { key, sha256, state, previous, amended }
    });
    let files = (
        select(vec![Format::Json, Format::Ndjson]),
        select(vec![Compression::None, Compression::Gzip]),
        select(vec![Schema::Native, Schema::Ocsf]),
    );
    (window(), (location(), files), objects, numbers, any::<bool>(), instant(), option::of(manifest)).prop_map(
        |(window, place, objects, (late, malformed, millis), gap, exported_at, manifest)| Receipt {
            window,
            location: place.0,
            format: place.1.0,
            compression: place.1.1,
            schema: place.1.2,
            objects,
            trailing_counts: TrailingCounts::new(window),
            late,
            malformed,
            gap,
            exported_at,
            duration: TimeDelta::milliseconds(millis),
            manifest,
            signing_failure: None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn settings_are_read_back_as_they_were_saved(draft in settings(), tenant in tenant(), version in 0..u64::MAX, is_verified: bool, at in instant()) {
        let platform = Platform::from_function_arn(PLATFORM).unwrap();
        let checked = draft.check(&tenant, &platform).unwrap();
        let mut item = key(&tenant, "config");
        let external_id = ("external_id", Some(s(checked.external_id.as_str())));
        let saved = super::settings(&checked, version, is_verified, at).into_iter().chain([external_id]);
        item.extend(saved.filter_map(|(name, value)| Some((name.to_owned(), value?))));
        let read = super::draft(&item).check(&tenant, &platform);
        prop_assert_eq!(read, Ok(TenantConfig { version, ..checked }));
        prop_assert_eq!((text(&item, "tenant_id"), text(&item, "record")), (Some(tenant.to_string()), Some("config".to_owned())));
        prop_assert_eq!(text(&item, "settings_saved_at"), Some(timestamp::seconds(at)));
        prop_assert_eq!(super::verified_version(&item), is_verified.then_some(version));
    }

    #[test]
    fn an_event_is_exported_as_it_was_stored(
        tenant in tenant(), at in instant(), id in "[A-Za-z0-9_.:-]{1,128}", words in [".{1,40}", ".{1,40}"],
        user in (".{1,40}", option::of(".{0,40}"), option::of(".{0,40}")), info in vec((".{0,9}", ".{0,40}"), 0..4),
        days in option::of(1..400_i64), shard in 0..64_u16,
    ) {
        let user = User { id: user.0, name: user.1, email: user.2 };
        let activity = Activity { log_type: &words[0], action: &words[1], user: &user };
        let stamp = Stamp { at, retention: days.map(TimeDelta::days) };
        let info: std::collections::BTreeMap<_, _> = info.into_iter().collect();
        let submitted_by = Submitter::from_token(&words[0]);
        let event = NewEvent { shard, submitted_by, ..NewEvent::new(&tenant, stamp, id, activity, &info) };
        let item = event_item(&event);
        let answer = format!(r#"{{"Count":1,"Items":[{}]}}"#, as_json(&item));
        let read = StoredEvent { recorded_at_id: event.recorded_at_id(), body: Body::Text(event.document.clone()) };
        prop_assert_eq!(read.line(), (event.document.as_str().into(), false));
        prop_assert_eq!(decode_response(answer.as_bytes()).map(|page| page.events), Some(vec![read]));

        // Searches filter by copies of what the event says.
        let document: Value = serde_json::from_str(&event.document).unwrap();
        for (copy, pointer) in [("action", "/action"), ("log_type", "/logType"), ("user_email", "/user/email")] {
            prop_assert_eq!(text(&item, copy).map(Value::from), document.pointer(pointer).cloned());
        }
        prop_assert_eq!(text(&item, "tenant_shard"), Some(format!("{tenant}#{shard}")));
        prop_assert_eq!(text(&item, "submitted_by"), Some(format!("token:{}", words[0])));
        let expires = days.map(|days| (at + TimeDelta::days(days)).timestamp().to_string());
        prop_assert_eq!(text(&item, "expires_at"), expires);
    }

    #[test]
    fn a_watermark_is_read_back(
        tenant in tenant(), window in window(), texts in [option::of(".{1,40}"), option::of(".{1,40}")], failures in 0..9_u64,
        head in option::of("[0-9a-f]{64}"), since in option::of(whole()),
    ) {
        let schedule = Schedule { exported_until: window.from, next_due: window.to };
        let [checkpoint, trailing_counts] = texts;
        let connected = StoredWatermark::connected(&tenant, schedule);
        let (manifest_sha256, signing_failed_since) = (head.clone(), since.map(timestamp::seconds));
        let chain = StoredWatermark { manifest_sha256, signing_failed_since, ..connected };
        let stored = StoredWatermark { checkpoint, trailing_counts, failing: failures > 0, ..chain };
        let mut item = key(&tenant, "watermark");
        let StoredWatermark { exported_until, next_due, due_shard, checkpoint, trailing_counts, .. } = stored.clone();
        let texts = [
            ("exported_until", exported_until), ("next_due", next_due), ("due_shard", due_shard),
            ("checkpoint", checkpoint), ("trailing_counts", trailing_counts), ("manifest_sha256", head.clone()),
            ("signing_failed_since", stored.signing_failed_since.clone()),
        ];
        item.extend(texts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), s(value?)))));
        item.insert("consecutive_failures".to_owned(), n(failures));
        prop_assert_eq!(watermark(&item).map(|it| it.schedule()), Some(Ok(schedule)));
        prop_assert_eq!((stored.chain().head, stored.chain().signing_failed_since), (head.as_deref(), since));
        prop_assert_eq!(watermark(&item), Some(stored));
    }

    #[test]
    fn manifest_keys_are_read_back_in_order_and_never_in_part(
        keys in vec(used_key(), 0..5), revision in 0..u64::MAX, damaged in any::<proptest::sample::Index>(),
        damage in select(vec![s(""), s("2026-11-21"), n(7), AttributeValue::Null(true), AttributeValue::M(Item::new())]),
    ) {
        let item = manifest_keys(&keys, revision);
        prop_assert_eq!(stored_manifest_keys(&item), Some((keys.clone(), revision)));
        prop_assert!(TenantId::parse(&text(&item, "tenant_id").unwrap()).is_err(), "it is no tenant's record");
        for name in ["keys", "revision"] {
            let without: Item = item.clone().into_iter().filter(|(of, _)| of != name).collect();
            prop_assert_eq!(stored_manifest_keys(&without), None);
        }
        if !keys.is_empty() {
            for name in ["first_used_at", "retired_at"] {
                let mut item = item.clone();
                let Some(AttributeValue::L(list)) = item.get_mut("keys") else { panic!("no keys") };
                let Some(AttributeValue::M(key)) = list.get_mut(damaged.index(keys.len())) else { panic!("no key") };
                key.insert(name.to_owned(), damage.clone());
                prop_assert_eq!(stored_manifest_keys(&item), None, "{}", name);
            }
        }
    }

    #[test]
    fn a_lease_is_read_back_and_is_no_watermark(tenant in tenant(), token in any::<[u8; 16]>(), until in instant()) {
        let held = Lease::new(token, until);
        let mut item = key(&tenant, "watermark");
        let attributes = [("lease", s(&held.token)), ("lease_until", n(held.until.timestamp_millis()))];
        item.extend(attributes.map(|(name, value)| (name.to_owned(), value)));
        prop_assert_eq!(lease(&item), Some(held));
        prop_assert_eq!(watermark(&item), None);
        for (name, damage) in [("lease", n(7)), ("lease_until", s("7")), ("lease_until", n("9e99")), ("lease_until", n("0.5"))] {
            let damaged: Item = item.clone().into_iter().chain([(name.to_owned(), damage)]).collect();
            prop_assert_eq!(lease(&damaged), None);
        }
    }

    #[test]
    fn an_outbox_is_read_back_in_order_with_the_ids_of_unreadable_entries(
        tenant in tenant(), ids in proptest::collection::hash_set(".{1,20}", 0..9), at in whole(), numbers in [any::<u64>(), any::<u64>()],
        info in vec((".{0,9}", ".{0,40}"), 0..3), damage in option::of(Just(["{}", "no JSON"])),
    ) {
        let info: serde_json::Map<String, Value> = info.into_iter().map(|(name, value)| (name, value.into())).collect();
        let entries: Vec<Notification> = ids.into_iter().zip(1..).map(|(id, sequence)| {
            let kind = Kind::ALL[sequence % Kind::ALL.len()];
            Notification { kind, id, tenant: tenant.clone(), at, info: info.clone(), sequence: sequence as u64 }
        }).collect();
        let [sequence, dropped] = numbers;
        let mut unreadable = Vec::new();
        let mut map: Item = entries.iter().map(|entry| (entry.id.clone(), s(to_text(entry)))).collect();
        for (place, text) in damage.into_iter().flatten().enumerate() {
            unreadable.push(format!("longer than any of the others {place}"));
            map.insert(unreadable[place].clone(), s(text));
        }
        let mut item = key(&tenant, "outbox");
        let attributes = [("entries", AttributeValue::M(map)), ("sequence", n(sequence)), ("dropped", n(dropped))];
        item.extend(attributes.map(|(name, value)| (name.to_owned(), value)));
        prop_assert_eq!(outbox(&tenant, &item), Outbox { sequence, dropped, entries, unreadable });
    }

    #[test]
    fn a_failure_is_read_back(message in ".{0,200}", party in select(vec![Party::Customer, Party::Platform]), at in instant()) {
        for code in [Code::ConfigInvalid, Code::Unavailable, Code::RetentionExceeded] {
            let failed = Failure::by(party, code, message.clone());
            let (set, values) = failure(&failed, at);
            let item: Item = values.into_iter().map(|(name, value)| (name[1..].to_owned(), value)).collect();
            let read = LastError {
                code: code.as_str().to_owned(), message: failed.message.clone(), party: Some(party.to_string()),
                at: Some(timestamp::whole_seconds(at)),
            };
            prop_assert_eq!(health(&item).last_error, Some(read));
            let all_are_set = item.keys().all(|name| set.contains(&format!("{name} = :{name}")));
            prop_assert!(all_are_set, "{}", set);
        }
    }

    #[test]
    fn a_receipt_is_read_back_with_as_many_objects_as_it_lists(tenant in tenant(), written in any_receipt()) {
        let item = receipt(&tenant, &written);
        let all = StoredReceipt::from_receipt(&written);
        let listed = written.objects.iter().take(500).cloned().collect();
        let exported_at = timestamp::whole_seconds(written.exported_at);
        let read = Receipt { objects: listed, exported_at, ..written.clone() };
        prop_assert_eq!(stored_receipt(&item), Some(StoredReceipt { receipt: read, ..all }));
        prop_assert_eq!(text(&item, "record"), Some(receipt_record(written.window.to)));
        let replayed = replayed_receipt(&tenant, &written);
        prop_assert_eq!(text(&replayed, "record"), Some(replayed_record(written.window.to, &written.location)));
        prop_assert_eq!(stored_receipt(&replayed), stored_receipt(&item));
    }

    #[test]
    fn a_replay_is_read_back_and_is_pending_while_it_is_running(tenant in tenant(), written in any_replay()) {
        let item = replay(&tenant, "replay", &written);
        let shard = written.is_running().then(|| DueShard::from_tenant(&tenant).to_string());
        prop_assert_eq!(text(&item, "pending_shard"), shard);
        prop_assert_eq!(text(&item, "record"), Some("replay".to_owned()));
        prop_assert_eq!(stored_replay(&item), Some(written));
    }
}
