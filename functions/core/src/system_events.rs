//! The events that this system records of itself: what a tenant's admin did to the export, and how it fares.
//!
//! They are audit events of the tenant like all others, so they reach its bucket too. Whoever sends events from outside
//! can't use their log types, or an event could be made up that looks like the system's own word.

mod connection;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use connection::connection_checked;

use crate::{
    backoff,
    event::User,
    failure::{Failure, Party, for_the_tenant},
    new_event::{Activity, NewEvent, Stamp},
    notification::Kind,
    outbox::Announcement,
    schedule::Window,
    settings::Draft,
    tenant::{RoleArn, TenantId},
    timestamp,
};

/// The log type of all of these.
pub const LOG_TYPE: &str = "Audit Log Export";

/// What only the system itself may record: its own doings, and the heartbeats and notices of an export.
pub const RESERVED_LOG_TYPES: [&str; 2] = [LOG_TYPE, "System"];

/// How ids begin that only the system itself uses. Anyone could work them out, and whoever recorded an event under one
/// first would silence the system's own.
pub const RESERVED_ID_PREFIX: &str = "system:";

/// What an admin does: by whom, when, and under which id it is recorded.
#[derive(Debug, Clone)]
pub struct AdminChange {
    /// The admin.
    pub by: User,
    /// When.
    pub stamp: Stamp,
    /// The event's id, another one for each change.
    pub id: String,
}

impl AdminChange {
    /// The tenant is connected through a role, perhaps in the place of another. `is_connected` says whether it was before.
    pub fn connected(
        &self,
        tenant: &TenantId,
        role: &RoleArn,
        before: Option<&str>,
        is_connected: bool,
    ) -> Announcement {
        let info = json!({ "roleArn": role.as_str(), "previousRoleArn": before });
        let is_change = is_connected && before.is_some_and(|before| before != role.as_str());
        let (action, kind) =
            if is_change { ("Connector Changed", Kind::Changed) } else { ("Connector Connected", Kind::Connected) };
        self.announce(tenant, action, kind, info)
    }

    /// The tenant is taken out of the schedule.
    pub fn disconnected(&self, tenant: &TenantId) -> Announcement {
        self.announce(tenant, "Connector Disconnected", Kind::Disconnected, json!({}))
    }

    /// The settings were saved: each field that differs, as it was and as it is, and with the first save, where exports
    /// begin.
    pub fn settings_changed(
        &self,
        tenant: &TenantId,
        before: &Draft,
        after: &Draft,
        begins: Option<DateTime<Utc>>,
    ) -> Announcement {
        let changes = [
            ("roleArn", &before.role_arn, &after.role_arn),
            ("bucket", &before.bucket, &after.bucket),
            ("region", &before.region, &after.region),
            ("prefix", &before.prefix, &after.prefix),
            ("frequencyHours", &before.frequency_hours, &after.frequency_hours),
            ("format", &before.format, &after.format),
            ("compression", &before.compression, &after.compression),
            ("kmsKeyArn", &before.kms_key_arn, &after.kms_key_arn),
            ("bucketOwner", &before.bucket_owner, &after.bucket_owner),
        ];
        let blank = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let changed = changes.into_iter().filter(|(_, from, to)| blank(from) != blank(to));
        let changes: Map<String, Value> = changed
            .map(|(name, from, to)| (name.to_owned(), json!({ "from": blank(from), "to": blank(to) })))
            .collect();
        let mut info = json!({ "changes": changes });
        if let Some(begins) = begins {
            info["exportsFrom"] = timestamp::seconds(begins).into();
        }
        self.announce(tenant, "Export Settings Changed", Kind::SettingsChanged, info)
    }

    /// A connection was verified because an admin asked for it; `info` tells which, what for, and how each step went.
    pub fn checked(&self, tenant: &TenantId, passed: bool, info: &Value) -> NewEvent {
        self.event(tenant, if passed { "Connection Check Passed" } else { "Connection Check Failed" }, info)
    }

    fn event(&self, tenant: &TenantId, action: &str, info: &Value) -> NewEvent {
        let deed = Activity { log_type: LOG_TYPE, action, user: &self.by };
        NewEvent::new(tenant, self.stamp, self.id.clone(), deed, info)
    }

    /// The event, and a notification that also names the admin, as the event does.
    fn announce(&self, tenant: &TenantId, action: &str, kind: Kind, info: Value) -> Announcement {
        let event = self.event(tenant, action, &info);
        let mut info = info.as_object().cloned().unwrap_or_default();
        info.insert("by".to_owned(), json!(self.by));
        Announcement::new(event, kind, self.stamp.at, info)
    }
}

/// A failure that is announced.
#[derive(Debug, Clone, Copy)]
pub struct FailingExport<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// Where the watermark stands, as it is stored.
    pub exported_until: &'a str,
    /// When exports failed first.
    pub since: DateTime<Utc>,
    /// After how many days it is announced once more; 0 for the first failure.
    pub days: i64,
    /// How many runs have failed in a row, this one included.
    pub failures: u64,
    /// The latest failure.
    pub failure: &'a Failure,
}

impl FailingExport<'_> {
    /// The first failure after exports went well, or one that has lasted for days; of events that are kept for as long as the
    /// stamp says.
    pub fn announce(&self, stamp: Stamp) -> Announcement {
        let Self { tenant, exported_until, since, days, failures, failure } = *self;
        let Failure { code, party, message } = failure;
        let hint = (*party == Party::Customer).then(|| code.hint());
        let mut info = object(json!({
            "exportedUntil": exported_until,
            "code": code,
            "party": party,
            "message": for_the_tenant(*party, code.as_str(), message),
            "hint": hint,
        }));
        let lasting = object(json!({ "failingSince": timestamp::seconds(since), "days": days }));
        let (kind, event) = if days == 0 {
            (Kind::Failed, by_the_system(tenant, stamp, exported_until, "Export Failed", &json!(info)))
        } else {
            let mut of_event = info.clone();
            of_event.extend(lasting.clone());
            let point = format!("{exported_until}/{days}");
            (Kind::StillFailing, by_the_system(tenant, stamp, &point, "Export Still Failing", &json!(of_event)))
        };
        info.extend(lasting);
        let kept_until = backoff::kept_until(exported_until, stamp.retention).map(timestamp::seconds);
        info.extend(object(json!({ "consecutiveFailures": failures, "eventsKeptUntil": kept_until })));
        Announcement::new(event, kind, stamp.at, info)
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The first window that was exported after failures since an instant.
pub fn export_recovered(tenant: &TenantId, stamp: Stamp, window: Window, since: Option<DateTime<Utc>>) -> Announcement {
    let (from, to) = (timestamp::seconds(window.from), timestamp::seconds(window.to));
    let mut info = object(json!({ "windowFrom": from, "windowTo": to }));
    let event = by_the_system(tenant, stamp, &from, "Export Recovered", &json!(info));
    info.insert("failingSince".to_owned(), json!(since.map(timestamp::seconds)));
    Announcement::new(event, Kind::Recovered, stamp.at, info)
}

/// The same failure or recovery has the same id, whichever run records it: the watermark stands at one point for one failure
/// and its recovery.
fn id_of(tenant: &TenantId, point: &str, action: &str) -> String {
    /// The namespace of these ids; never changes.
    const NAMESPACE: Uuid = Uuid::from_u128(0x3d0f_5c1e_7a42_4f0b_8e19_2b6a_94c7_d583);
    let name = Uuid::new_v5(&NAMESPACE, format!("{tenant}/{point}/{action}").as_bytes());
    format!("{RESERVED_ID_PREFIX}{name}")
}

fn by_the_system(tenant: &TenantId, stamp: Stamp, point: &str, action: &str, info: &Value) -> NewEvent {
    let id = id_of(tenant, point, action);
    NewEvent::new(tenant, stamp, id, Activity { log_type: LOG_TYPE, action, user: &User::system() }, info)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        failure::Code,
        settings::tests::{draft, platform},
    };

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    fn change() -> AdminChange {
        let stamp = Stamp { at: "2026-11-21T10:03:12.345Z".parse().unwrap(), retention: None };
        let by = User { id: "u-17".to_owned(), name: Some("Ada".to_owned()), email: None };
        AdminChange { by, stamp, id: "01K".to_owned() }
    }

    fn info(event: &NewEvent) -> Value {
        let document: Value = serde_json::from_str(&event.document).unwrap();
        document["additionalInfo"].clone()
    }

    #[test]
    fn a_change_of_settings_tells_what_was_and_what_is_but_never_the_external_id() {
        let after = Draft::of(&draft().check(&acme(), &platform()).unwrap(), 1);
        let first = change().settings_changed(&acme(), &Draft::default(), &after, Some(change().stamp.at));
        assert_eq!(info(&first.event)["changes"]["bucket"], json!({ "from": null, "to": "acme-audit" }));
        assert_eq!(info(&first.event)["exportsFrom"], "2026-11-21T10:03:12Z");
        assert!(!first.event.document.contains("3f6c1d2e-external"), "{first:?}");
        let moved = Draft { bucket: Some("elsewhere".to_owned()), prefix: None, ..after.clone() };
        let second = change().settings_changed(&acme(), &after, &moved, None);
        assert_eq!(
            info(&second.event),
            json!({ "changes": { "bucket": { "from": "acme-audit", "to": "elsewhere" } } })
        );
    }

    #[test]
    fn what_two_runs_tell_of_one_failure_is_one_event() {
        let told = |at: &str, until: &str, days| {
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
        let failed = |at: &str, until: &str| told(at, until, 0).id;
        let id = failed("2026-11-21T11:01:00Z", "2026-11-21T10:00:00Z");
        assert_eq!(id, failed("2026-11-21T11:02:00Z", "2026-11-21T10:00:00Z"));
        assert_ne!(id, failed("2026-11-21T11:02:00Z", "2026-11-21T11:00:00Z"), "another failure");
        let [one, three] = [1, 3].map(|days| told("2026-11-21T11:02:00Z", "2026-11-21T10:00:00Z", days));
        assert!(one.id != id && one.id != three.id, "each mark is news of its own");
        assert_eq!((info(&three)["days"].as_i64(), &info(&three)["code"]), (Some(3), &json!("access_denied")));
    }
}
