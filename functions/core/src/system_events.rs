//! The events that this system records itself: admins' changes, failures and recoveries, and findings of connection
//! checks.
//!
//! They are audit events of the tenant, so they are exported too. The recorder refuses their log types: otherwise a
//! sender could forge them.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    backoff,
    event::User,
    failure::{Failure, Party, message_for_tenant},
    new_event::{Activity, NewEvent, Stamp},
    notification::Kind,
    outbox::Announcement,
    records::{
        ConnectionChange, ConnectionCheck, FinalDelivery, Location, Place, Progress, Receipt, RefusedWindow, Replay,
        ReplayError, ReplayState,
    },
    schedule::Window,
    settings::Draft,
    tenant::{ExternalId, RoleArn, TenantId},
    timestamp,
};

/// How many refused windows an event of a replay lists; it counts all.
const MAX_LISTED_REFUSALS: usize = 10;

/// The log type of all system events but those about a window.
pub const LOG_TYPE: &str = "Audit Log Export";

/// The log types that the recorder refuses; events about a window have "System".
pub const RESERVED_LOG_TYPES: [&str; 2] = [LOG_TYPE, "System"];

/// The recorder refuses ids with this prefix: consumers find a notification's event by its id, and must not find a sender's.
pub const RESERVED_ID_PREFIX: &str = "system:";

/// From where a user sent a request. An event has what is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The id that the issuer gave the access token, or the session's token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
}

/// The user, time and event id of a change, or of another act that is audited.
#[derive(Debug, Clone)]
pub struct AdminChange {
    pub by: User,
    pub client: Client,
    pub stamp: Stamp,
    /// Unique for each change.
    pub id: String,
}

impl AdminChange {
    /// `before` has the fields before the change; `is_connected` says whether the tenant was connected then.
    pub fn connected(&self, tenant: &TenantId, role: &RoleArn, before: &Draft, is_connected: bool) -> Announcement {
        let previous = before.role_arn.as_deref();
        let after = Draft { role_arn: Some(role.as_str().to_owned()), ..before.clone() };
        let info = json!({
            "roleArn": role.as_str(), "previousRoleArn": previous,
            "destination": after.destination(), "previousDestination": before.destination().filter(|_| is_connected),
        });
        let is_change = is_connected && previous.is_some_and(|previous| previous != role.as_str());
        let (action, kind) =
            if is_change { ("Connector Changed", Kind::Changed) } else { ("Connector Connected", Kind::Connected) };
        self.announce(tenant, action, kind, info)
    }

    /// `before` has the fields before the change.
    pub fn disconnected(&self, tenant: &TenantId, before: &Draft) -> Announcement {
        let info = json!({
            "previousRoleArn": before.role_arn, "destination": null, "previousDestination": before.destination(),
        });
        self.announce(tenant, "Connector Disconnected", Kind::Disconnected, info)
    }

    /// Lists each changed field with its old and new value and, after the first save, where exports begin.
    pub fn settings_changed(
        &self,
        tenant: &TenantId,
        before: &Draft,
        after: &Draft,
        begins: Option<DateTime<Utc>>,
    ) -> Announcement {
        let changed = audited_fields(before).into_iter().zip(audited_fields(after)).filter(|(from, to)| from != to);
        let changes: Map<String, Value> =
            changed.map(|((name, from), (_, to))| (name.to_owned(), json!({ "from": from, "to": to }))).collect();
        let mut info = json!({
            "changes": changes, "destination": after.destination(), "previousDestination": before.destination(),
        });
        if let Some(begins) = begins {
            info["exportsFrom"] = timestamp::seconds(begins).into();
        }
        self.announce(tenant, "Export Settings Changed", Kind::SettingsChanged, info)
    }

    /// The audit event of a verification that an admin requested.
    pub fn checked(&self, tenant: &TenantId, passed: bool, info: &Value) -> NewEvent {
        self.event(tenant, if passed { "Connection Check Passed" } else { "Connection Check Failed" }, info)
    }

    pub fn rotation_started(&self, tenant: &TenantId) -> Announcement {
        Announcement::silent(self.event(tenant, "External ID Rotation Started", &json!({})))
    }

    pub fn rotation_cancelled(&self, tenant: &TenantId) -> Announcement {
        Announcement::silent(self.event(tenant, "External ID Rotation Cancelled", &json!({})))
    }

    /// The audit event of a request to deliver windows again; `replay` is the request.
    pub fn replay_requested(&self, tenant: &TenantId, replay: &Replay) -> Announcement {
        let mut info = replay_info(replay);
        let Progress { windows, events, bytes } = replay.planned;
        info.extend(object(json!({ "windows": windows, "events": events, "bytes": bytes })));
        Announcement::silent(self.event(tenant, "Export Replay Requested", &json!(info)))
    }

    /// The audit event of a sign-in to the pages; the session ends at `until`.
    pub fn signed_in(&self, tenant: &TenantId, until: DateTime<Utc>) -> NewEvent {
        self.event(tenant, "Signed In", &json!({ "sessionUntil": timestamp::seconds(until) }))
    }

    pub fn signed_out(&self, tenant: &TenantId) -> NewEvent {
        self.event(tenant, "Signed Out", &json!({}))
    }

    /// The audit event of a download of audit logs; `info` says which.
    pub fn downloaded(&self, tenant: &TenantId, info: &Value) -> NewEvent {
        self.event(tenant, "Audit Logs Downloaded", info)
    }

    /// The audit event of the first look at the tenant's external ID.
    pub fn external_id_viewed(&self, tenant: &TenantId) -> NewEvent {
        self.event(tenant, "External ID Viewed", &json!({}))
    }

    fn event(&self, tenant: &TenantId, action: &str, info: &Value) -> NewEvent {
        let activity = Activity { log_type: LOG_TYPE, action, user: &self.by };
        let mut info = info.clone();
        if self.client != Client::default()
            && let Some(members) = info.as_object_mut()
        {
            members.insert("client".to_owned(), json!(self.client));
        }
        NewEvent::new(tenant, self.stamp, self.id.clone(), activity, &info)
    }

    /// The notification has the event's `info` without the client, and names the admin too.
    fn announce(&self, tenant: &TenantId, action: &str, kind: Kind, info: Value) -> Announcement {
        let event = self.event(tenant, action, &info);
        let mut info = info.as_object().cloned().unwrap_or_default();
        info.insert("by".to_owned(), json!(self.by));
        Announcement::new(event, kind, self.stamp.at, info)
    }
}

/// Whether a save of `after` changes a field that is audited.
pub fn has_changes(before: &Draft, after: &Draft) -> bool {
    audited_fields(before) != audited_fields(after)
}

/// The fields whose changes are audited, by their names in the event; blank and absent are the same.
fn audited_fields(draft: &Draft) -> [(&'static str, Option<&str>); 11] {
    // Without `..`, so that a new setting does not compile until it is audited or left out.
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
        event_shards: _,
        version: _,
    } = draft;
    [
        ("roleArn", role_arn),
        ("bucket", bucket),
        ("region", region),
        ("prefix", prefix),
        ("frequencyHours", frequency_hours),
        ("format", format),
        ("compression", compression),
        ("schema", schema),
        ("encryption", encryption),
        ("kmsKeyArn", kms_key_arn),
        ("bucketOwner", bucket_owner),
    ]
    .map(|(name, field)| (name, field.as_deref().filter(|text| !text.is_empty())))
}

/// A failure that is announced: the first one after a success, or one of exports that have failed for days.
#[derive(Debug, Clone, Copy)]
pub struct FailingExport<'a> {
    pub tenant: &'a TenantId,
    /// As stored in the watermark.
    pub exported_until: &'a str,
    pub since: DateTime<Utc>,
    /// The number of days for which exports have failed; 0 for the first failure.
    pub days: i64,
    /// Consecutive failures, with this one.
    pub failures: u64,
    pub failure: &'a Failure,
}

impl FailingExport<'_> {
    pub fn announce(&self, stamp: Stamp) -> Announcement {
        let Self { tenant, exported_until, since, days, failures, failure } = *self;
        let Failure { code, party, message } = failure;
        let hint = (*party == Party::Customer).then(|| code.hint());
        let mut info = object(json!({
            "exportedUntil": exported_until,
            "code": code,
            "party": party,
            "message": message_for_tenant(*party, code.as_str(), message),
            "hint": hint,
        }));
        let lasting = object(json!({ "failingSince": timestamp::seconds(since), "days": days }));
        let (kind, event) = if days == 0 {
            (Kind::Failed, system_event(tenant, stamp, exported_until, "Export Failed", &json!(info)))
        } else {
            let mut event_info = info.clone();
            event_info.extend(lasting.clone());
            let point = format!("{exported_until}/{days}");
            (Kind::StillFailing, system_event(tenant, stamp, &point, "Export Still Failing", &json!(event_info)))
        };
        info.extend(lasting);
        let retained_until = backoff::retained_until(exported_until, stamp.retention).map(timestamp::seconds);
        info.extend(object(json!({ "consecutiveFailures": failures, "eventsKeptUntil": retained_until })));
        Announcement::new(event, kind, stamp.at, info)
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Announces the first window that was exported after failures, and whether its manifest is unsigned.
pub fn export_recovered(
    tenant: &TenantId,
    stamp: Stamp,
    window: Window,
    is_unsigned: bool,
    since: Option<DateTime<Utc>>,
) -> Announcement {
    let (from, to) = (timestamp::seconds(window.from), timestamp::seconds(window.to));
    let mut info = object(json!({ "windowFrom": from, "windowTo": to }));
    if is_unsigned {
        info.insert("unsigned".to_owned(), true.into());
    }
    let event = system_event(tenant, stamp, &from, "Export Recovered", &json!(info));
    info.insert("failingSince".to_owned(), json!(since.map(timestamp::seconds)));
    Announcement::new(event, Kind::Recovered, stamp.at, info)
}

/// Announces that a window was delivered without proof: its manifest is not signed.
pub fn window_unsigned(tenant: &TenantId, stamp: Stamp, receipt: &Receipt) -> Announcement {
    let [from, to] = [receipt.window.from, receipt.window.to].map(timestamp::seconds);
    let manifest = receipt.manifest.as_ref().map(|manifest| &manifest.key);
    let info = object(json!({ "windowFrom": from, "windowTo": to, "manifest": manifest }));
    // A final delivery can begin where a window begins.
    let point = manifest.map_or(from.as_str(), String::as_str);
    let event = system_event(tenant, stamp, point, "Window Unsigned", &json!(info));
    Announcement::new(event, Kind::WindowUnsigned, stamp.at, info)
}

/// Announces that a replay replaced files of a window by others, since the window's events are no longer the same: the window has
/// another manifest from then on.
pub fn manifest_amended(tenant: &TenantId, stamp: Stamp, receipt: &Receipt) -> Announcement {
    let [from, to] = [receipt.window.from, receipt.window.to].map(timestamp::seconds);
    let Location { bucket, folder } = &receipt.location;
    let manifest = receipt.manifest.as_ref();
    let amended = manifest.and_then(|manifest| manifest.amended.as_ref());
    let info = object(json!({
        "windowFrom": from, "windowTo": to, "bucket": bucket, "manifest": manifest.map(|manifest| &manifest.key),
        "amends": amended.map(|amended| &amended.amends), "cause": amended.map(|amended| &amended.cause),
    }));
    let number = amended.map_or(0, |amended| amended.number);
    let event =
        system_event(tenant, stamp, &format!("{from}/{number}/{bucket}/{folder}"), "Manifest Amended", &json!(info));
    Announcement::new(event, Kind::ManifestAmended, stamp.at, info)
}

/// Announces the end of a replay.
pub fn replay_ended(tenant: &TenantId, stamp: Stamp, replay: &Replay) -> Announcement {
    let (action, kind) = match replay.state {
        ReplayState::Failed => ("Export Replay Failed", Kind::ReplayFailed),
        ReplayState::Stopped => ("Export Replay Stopped", Kind::ReplayStopped),
        ReplayState::Completed | ReplayState::Running => ("Export Replay Completed", Kind::ReplayCompleted),
    };
    let mut info = replay_info(replay);
    let Progress { windows, events, bytes } = replay.delivered;
    let refused = replay.refused.iter().map(|RefusedWindow { window, reason }| {
        json!({ "windowFrom": timestamp::seconds(window.from), "windowTo": timestamp::seconds(window.to), "reason": reason })
    });
    info.extend(object(json!({
        "requestedBy": replay.requested_by, "windows": windows, "events": events, "bytes": bytes, "amended": replay.amended,
        "refused": replay.refused_count, "refusedWindows": refused.take(MAX_LISTED_REFUSALS).collect::<Vec<_>>(),
    })));
    if let Some(cause) = replay.stopped {
        info.insert("cause".to_owned(), json!(cause));
        if let Some(by) = &replay.stop_requested_by {
            info.insert("stoppedBy".to_owned(), json!(by));
        }
    }
    if replay.state == ReplayState::Failed
        && let Some(error) = &replay.last_error
    {
        let ReplayError { code, party, message, hint, .. } = error;
        info.extend(object(json!({ "code": code, "party": party, "message": message, "hint": hint })));
    }
    let event = system_event(tenant, stamp, &replay.id, action, &json!(info));
    Announcement::new(event, kind, stamp.at, info)
}

/// Which windows a replay delivers again, and where.
fn replay_info(Replay { range, location, requested_at, .. }: &Replay) -> Map<String, Value> {
    let [from, to, at] = [range.from, range.to, *requested_at].map(timestamp::seconds);
    let Location { bucket, folder } = location;
    object(json!({ "from": from, "to": to, "bucket": bucket, "folder": folder, "requestedAt": at }))
}

/// A final delivery that ends.
#[derive(Debug, Clone, Copy)]
pub struct EndedDelivery<'a> {
    pub tenant: &'a TenantId,
    pub delivery: &'a FinalDelivery,
}

impl EndedDelivery<'_> {
    /// Announces that the place has everything up to the change that left it. It needs no notification, since the change had one,
    /// unless its manifest is not signed.
    pub fn completed(&self, stamp: Stamp, receipt: &Receipt) -> Announcement {
        let mut info = self.info();
        info.extend(object(
            json!({ "events": receipt.events(), "objects": receipt.objects.len(), "gap": receipt.gap }),
        ));
        if receipt.is_unsigned() {
            info.insert("unsigned".to_owned(), true.into());
            let event = self.event(stamp, "Final Delivery Completed", &info);
            let manifest = receipt.manifest.as_ref().map(|manifest| &manifest.key);
            let [from, to] = [receipt.window.from, receipt.window.to].map(timestamp::seconds);
            let unsigned = object(json!({ "windowFrom": from, "windowTo": to, "manifest": manifest }));
            return Announcement::new(event, Kind::WindowUnsigned, stamp.at, unsigned);
        }
        Announcement::silent(self.event(stamp, "Final Delivery Completed", &info))
    }

    /// Announces that the place refuses its last events. If the exports to it failed already when it was left, as after an
    /// admin's mistake that the change corrects, nobody needs a notification.
    pub fn failed(&self, stamp: Stamp, failure: &Failure) -> Announcement {
        let Failure { code, party, message } = failure;
        let hint = (*party == Party::Customer).then(|| code.hint());
        let mut info = self.info();
        info.extend(object(json!({
            "code": code,
            "party": party,
            "message": message_for_tenant(*party, code.as_str(), message),
            "hint": hint,
        })));
        let event = self.event(stamp, "Final Delivery Failed", &info);
        if self.delivery.was_failing {
            return Announcement::silent(event);
        }
        Announcement::new(event, Kind::FinalDeliveryFailed, stamp.at, info)
    }

    fn info(&self) -> Map<String, Value> {
        let FinalDelivery { place, from, until, since, .. } = self.delivery;
        let [from, until, since] = [from, until, since].map(|at| timestamp::seconds(*at));
        object(json!({
            "bucket": place.bucket, "folder": place.folder, "windowFrom": from, "windowTo": until, "leftAt": since,
        }))
    }

    fn event(&self, stamp: Stamp, action: &str, info: &Map<String, Value>) -> NewEvent {
        let Place { bucket, folder, owner, role_account, region, encryption } = &self.delivery.place;
        let until = timestamp::seconds(self.delivery.until);
        let point = format!("{until}/{bucket}/{folder}/{owner}/{role_account}/{region}/{encryption}");
        system_event(self.tenant, stamp, &point, action, &json!(info))
    }
}

/// Announces the change that a daily connection check found; at most one a day.
pub fn connection_checked(
    tenant: &TenantId,
    stamp: Stamp,
    change: ConnectionChange,
    check: &ConnectionCheck,
) -> Announcement {
    let (action, kind) = match change {
        ConnectionChange::Drifted => ("Connection Drifted", Kind::Drifted),
        ConnectionChange::Restored => ("Connection Restored", Kind::Restored),
    };
    let day = check.due_hour.date_naive().to_string();
    let info = check.info();
    let event = system_event(tenant, stamp, &day, action, &info.clone().into());
    Announcement::new(event, kind, check.at, info)
}

/// The audit event of a verification that found the role to demand the pending external ID.
pub fn rotation_completed(tenant: &TenantId, stamp: Stamp, role: &RoleArn, pending: &ExternalId) -> Announcement {
    let point = pending.decoy("rotation");
    let info = json!({ "roleArn": role.as_str() });
    let event = system_event(tenant, stamp, point.as_str(), "External ID Rotation Completed", &info);
    Announcement::silent(event)
}

/// `point` identifies the occurrence, so that all runs that record it use the same id. For failures and recoveries it is
/// the watermark's position, which stays the same from the failure to the recovery.
fn event_id(tenant: &TenantId, point: &str, action: &str) -> String {
    /// Never changes.
    const NAMESPACE: Uuid = Uuid::from_u128(0x3d0f_5c1e_7a42_4f0b_8e19_2b6a_94c7_d583);
    let name = Uuid::new_v5(&NAMESPACE, format!("{tenant}/{point}/{action}").as_bytes());
    format!("{RESERVED_ID_PREFIX}{name}")
}

fn system_event(tenant: &TenantId, stamp: Stamp, point: &str, action: &str, info: &Value) -> NewEvent {
    let id = event_id(tenant, point, action);
    NewEvent::new(tenant, stamp, id, Activity { log_type: LOG_TYPE, action, user: &User::system() }, info)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::{
        failure::Code,
        fakes::schema_errors,
        late_arrivals::TrailingCounts,
        notification::Notification,
        records::{AmendedManifest, Finding, ManifestState, Refusal, StopCause, StoredManifest},
        settings::tests::{draft, platform},
    };

    /// The account of the role of [`draft`].
    const OWNER: &str = "222222222222";

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    fn saved() -> Draft {
        let draft = Draft { prefix: Some("security".to_owned()), ..draft() };
        Draft::from_config(&draft.check(&acme(), &platform()).unwrap(), 1)
    }

    fn change() -> AdminChange {
        let stamp = Stamp { at: "2026-11-21T10:03:12.345Z".parse().unwrap(), retention: None };
        let by = User { id: "u-17".to_owned(), name: Some("Ada".to_owned()), email: None };
        AdminChange { by, client: Client::default(), stamp, id: "01K".to_owned() }
    }

    fn info(event: &NewEvent) -> Value {
        let document: Value = serde_json::from_str(&event.document).unwrap();
        document["additionalInfo"].clone()
    }

    #[test]
    fn a_change_of_settings_has_old_and_new_values_but_not_the_external_id() {
        let after = saved();
        let first = change().settings_changed(&acme(), &Draft::default(), &after, Some(change().stamp.at));
        assert_eq!(info(&first.event)["changes"]["bucket"], json!({ "from": null, "to": "acme-audit" }));
        assert_eq!(info(&first.event)["exportsFrom"], "2026-11-21T10:03:12Z");
        assert!(!first.event.document.contains("3f6c1d2e-external"), "{first:?}");
        let (bucket, encryption) = (Some("elsewhere".to_owned()), Some("sse-s3".to_owned()));
        let moved = Draft { bucket, encryption, prefix: None, ..after.clone() };
        let second = change().settings_changed(&acme(), &after, &moved, None);
        assert_eq!(
            info(&second.event),
            json!({
                "changes": {
                    "bucket": { "from": "acme-audit", "to": "elsewhere" },
                    "prefix": { "from": "security", "to": null },
                    "encryption": { "from": "bucket", "to": "sse-s3" },
                },
                "destination": { "bucket": "elsewhere", "region": "eu-west-1", "prefix": "", "bucketOwner": OWNER },
                "previousDestination":
                    { "bucket": "acme-audit", "region": "eu-west-1", "prefix": "security", "bucketOwner": OWNER },
            })
        );
        assert_eq!(info(&first.event)["previousDestination"], Value::Null);
    }

    /// An admin token that diverts an export shows where it went before, and where it goes now.
    #[test]
    fn each_change_of_the_connector_names_the_old_and_the_new_destination() {
        let before = saved();
        let at = |owner: &str| json!({ "bucket": "acme-audit", "region": "eu-west-1", "prefix": "security", "bucketOwner": owner });
        let role = RoleArn::parse("arn:aws:iam::333333333333:role/audit").unwrap();
        let places = |announcement: Announcement| {
            let detail = announcement.notification.unwrap().detail();
            let places = [detail["previousDestination"].clone(), detail["destination"].clone()];
            let recorded = info(&announcement.event);
            assert_eq!([recorded["previousDestination"].clone(), recorded["destination"].clone()], places);
            (detail["previousRoleArn"].clone(), places)
        };
        let previous = json!(before.role_arn);
        let changed = change().connected(&acme(), &role, &before, true);
        assert_eq!(changed.notification.as_ref().unwrap().kind, Kind::Changed);
        assert_eq!(places(changed), (previous.clone(), [at(OWNER), at("333333333333")]));
        assert_eq!(
            places(change().connected(&acme(), &role, &before, false)),
            (previous.clone(), [Value::Null, at("333333333333")]),
            "a disconnected tenant's events went nowhere"
        );
        assert_eq!(places(change().disconnected(&acme(), &before)), (previous, [at(OWNER), Value::Null]));
        let fixed = Draft { bucket_owner: Some("444444444444".to_owned()), ..before };
        let owned = at("444444444444");
        assert_eq!(places(change().connected(&acme(), &role, &fixed, true)).1, [owned.clone(), owned]);
        let unsaved = Draft { bucket: None, ..fixed };
        assert_eq!(places(change().connected(&acme(), &role, &unsaved, true)).1, [Value::Null, Value::Null]);
    }

    #[test]
    fn the_event_of_a_change_has_the_client_as_far_as_it_is_known_and_the_notification_has_not() {
        let ip_address = Some("203.0.113.7".to_owned());
        let client = Client { ip_address, user_agent: None, token_id: Some("t-1".to_owned()) };
        let change = AdminChange { client, ..change() };
        let Announcement { event, notification, .. } = change.disconnected(&acme(), &saved());
        assert_eq!(info(&event)["client"], json!({ "ipAddress": "203.0.113.7", "tokenId": "t-1" }));
        assert!(!format!("{notification:?}").contains("203.0.113.7"), "{notification:?}");
        for event in [
            change.checked(&acme(), true, &json!({ "steps": [] })),
            change.signed_in(&acme(), change.stamp.at),
            change.signed_out(&acme()),
            change.downloaded(&acme(), &json!({ "events": 3 })),
            change.external_id_viewed(&acme()),
            change.rotation_started(&acme()).event,
            change.rotation_cancelled(&acme()).event,
        ] {
            assert_eq!(info(&event)["client"]["ipAddress"], "203.0.113.7", "{}", event.action);
        }
    }

    #[test]
    fn two_runs_record_the_same_failure_as_one_event() {
        let event = |at: &str, until: &str, days| {
            let stamp = Stamp { at: at.parse().unwrap(), retention: None };
            let failure = Failure::new(Code::AccessDenied, "S3 refused it.");
            let failing = FailingExport {
                tenant: &acme(),
                exported_until: until,
                since: stamp.at,
                days,
                failures: 1,
                failure: &failure,
            };
            failing.announce(stamp).event
        };
        let failed = |at: &str, until: &str| event(at, until, 0).id;
        let id = failed("2026-11-21T11:01:00Z", "2026-11-21T10:00:00Z");
        assert_eq!(id, failed("2026-11-21T11:02:00Z", "2026-11-21T10:00:00Z"));
        assert_ne!(id, failed("2026-11-21T11:02:00Z", "2026-11-21T11:00:00Z"), "another failure");
        let [one, three] = [1, 3].map(|days| event("2026-11-21T11:02:00Z", "2026-11-21T10:00:00Z", days));
        assert!(one.id != id && one.id != three.id, "each of these days has its own event");
        assert_eq!((info(&three)["days"].as_i64(), &info(&three)["code"]), (Some(3), &json!("access_denied")));
    }

    /// An example of each kind, with the least and the most members that it can have.
    fn announcements(kind: Kind) -> Vec<Announcement> {
        let (tenant, change, at) = (acme(), change(), "2026-11-21T11:00:00Z".parse().unwrap());
        let window = Window { from: at, to: at + TimeDelta::hours(1) };
        let location = Location { bucket: "acme-audit".to_owned(), folder: "audit-logs/tenant=acme/".to_owned() };
        let failures =
            [Failure::new(Code::AccessDenied, "S3 refused it."), Failure::new(Code::Throttled, "S3 is busy.")];
        let failing = |days: &[i64]| {
            let announce = |(days, failure): (&i64, &Failure)| {
                let (exported_until, since) = ("2026-11-21T10:00:00Z", change.stamp.at);
                let failing =
                    FailingExport { tenant: &tenant, exported_until, since, days: *days, failures: 2, failure };
                failing.announce(Stamp { retention: Some(TimeDelta::days(90)), ..change.stamp })
            };
            days.iter().flat_map(|days| failures.iter().map(move |failure| announce((days, failure)))).collect()
        };
        let checked = |change_since, is_failure| {
            let (step, code) = ("put_object".to_owned(), "access_denied".to_owned());
            let finding = Finding { step, is_failure, code, message: "S3 refused it.".to_owned() };
            let check = ConnectionCheck { due_hour: at, at, version: 1, findings: vec![finding] };
            let none = ConnectionCheck { findings: Vec::new(), ..check.clone() };
            [check, none].map(|check| connection_checked(&tenant, change.stamp, change_since, &check)).into()
        };
        let place = Place::of(&tenant, &saved()).unwrap();
        let replay = |state, stopped| {
            let (id, planned, user) = ("01R".to_owned(), Progress::default(), change.by.clone());
            let replay = Replay::new(id, window, place.clone(), planned, user, at, None);
            let refused = replay.after_failure(&failures[0], at).after_refusal(window, Refusal::NoReceipt, at);
            let ends = [replay.stopping(change.by.clone()), refused, replay];
            ends.map(|replay| {
                let failed = replay.after_failure(&failures[0], at).ended(state, stopped, at);
                replay_ended(&tenant, change.stamp, &failed)
            })
            .into()
        };
        let manifest = StoredManifest {
            key: "audit-logs/tenant=acme/_audit-log-export/manifests/x".to_owned(),
            sha256: "a".repeat(64),
            state: ManifestState::Unsigned,
            previous: None,
            amended: Some(AmendedManifest {
                number: 1,
                sha256: "b".repeat(64),
                amends: "a".repeat(64),
                cause: "late-events".to_owned(),
            }),
        };
        let trailing_counts = TrailingCounts::new(window);
        let receipt = Receipt { manifest: Some(manifest), ..Receipt::empty(window, location, trailing_counts) };
        let role = RoleArn::parse("arn:aws:iam::333333333333:role/audit").unwrap();
        match kind {
            Kind::Failed => failing(&[0]),
            Kind::StillFailing => failing(&[1, 3, 7]),
            Kind::Recovered => [(true, Some(at)), (false, None)]
                .map(|(is_unsigned, since)| export_recovered(&tenant, change.stamp, window, is_unsigned, since))
                .into(),
            Kind::Drifted => checked(ConnectionChange::Drifted, true),
            Kind::Restored => checked(ConnectionChange::Restored, false),
            Kind::Connected => vec![change.connected(&tenant, &role, &Draft::default(), false)],
            Kind::Changed => vec![change.connected(&tenant, &role, &saved(), true)],
            Kind::Disconnected => [saved(), Draft::default()].map(|draft| change.disconnected(&tenant, &draft)).into(),
            Kind::SettingsChanged => vec![
                change.settings_changed(&tenant, &Draft::default(), &saved(), Some(at)),
                change.settings_changed(&tenant, &saved(), &Draft::default(), None),
            ],
            Kind::FinalDeliveryFailed => {
                let at = timestamp::seconds(at);
                let delivery = json!({
                    "place": place, "config": saved(), "from": at, "until": at, "since": at, "left_at": at,
                    "was_failing": false, "times_left": 1,
                });
                let ended = EndedDelivery { tenant: &tenant, delivery: &serde_json::from_value(delivery).unwrap() };
                failures.map(|failure| ended.failed(change.stamp, &failure)).into()
            }
            Kind::ReplayCompleted => replay(ReplayState::Completed, None),
            Kind::ReplayStopped => replay(ReplayState::Stopped, Some(StopCause::Requested)),
            Kind::ReplayFailed => replay(ReplayState::Failed, None),
            Kind::ManifestAmended => vec![manifest_amended(&tenant, change.stamp, &receipt)],
            Kind::WindowUnsigned => vec![window_unsigned(&tenant, change.stamp, &receipt)],
        }
    }

    #[test]
    fn each_kind_of_notification_matches_its_published_schema_which_names_all_members() {
        for kind in Kind::ALL {
            for announcement in announcements(*kind) {
                let notification = Notification { sequence: 1, ..announcement.notification.unwrap() };
                assert_eq!((notification.kind, schema_errors(&notification)), (*kind, vec![]), "{notification:?}");
                let mut unknown = notification.clone();
                unknown.info.insert("unknown".to_owned(), 1.into());
                let mut lacking = notification.clone();
                lacking.info.clear();
                let mut nested = notification;
                let objects = nested.info.values_mut().filter_map(|value| match value {
                    Value::Array(items) => items.first_mut().and_then(Value::as_object_mut),
                    value => value.as_object_mut(),
                });
                let count = objects.map(|object| object.insert("unknown".to_owned(), 1.into())).count();
                assert!(!schema_errors(&unknown).is_empty(), "{unknown:?}");
                assert!(!schema_errors(&lacking).is_empty(), "{lacking:?}");
                assert!(count == 0 || !schema_errors(&nested).is_empty(), "{nested:?}");
            }
        }
    }
}
