//! The events that this system records of itself: what a tenant's admin did to the export, and how it fares.
//!
//! They are audit events of the tenant like all others, so they reach its bucket too. Whoever sends events from outside
//! can't use their log types, or an event could be made up that looks like the system's own word.

mod connection;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use connection::connection_checked;

use super::{Deed, NewEvent, Stamp};
use crate::{
    event::User,
    failure::{Failure, Party, for_the_tenant},
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

const RECOVERED: &str = "Export Recovered";

/// What an admin does: by whom, when, and under which id it is recorded.
#[derive(Debug, Clone)]
pub struct Change {
    /// The admin.
    pub by: User,
    /// When.
    pub stamp: Stamp,
    /// The event's id, another one for each change.
    pub id: String,
}

impl Change {
    /// The tenant is connected through a role, perhaps in the place of another.
    pub fn connected(&self, tenant: &TenantId, role: &RoleArn, before: Option<&str>) -> NewEvent {
        let info = json!({ "roleArn": role.as_str(), "previousRoleArn": before });
        self.event(tenant, "Connector Connected", &info)
    }

    /// The tenant is taken out of the schedule.
    pub fn disconnected(&self, tenant: &TenantId) -> NewEvent {
        self.event(tenant, "Connector Disconnected", &json!({}))
    }

    /// The settings were saved: each field that differs, as it was and as it is, and with the first save, where exports
    /// begin.
    pub fn settings_changed(
        &self,
        tenant: &TenantId,
        before: &Draft,
        after: &Draft,
        begins: Option<DateTime<Utc>>,
    ) -> NewEvent {
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
        self.event(tenant, "Export Settings Changed", &info)
    }

    /// A connection was verified; `info` tells which, what for, and how each step went.
    pub fn verified(&self, tenant: &TenantId, info: &Value) -> NewEvent {
        self.event(tenant, "Connection Verified", info)
    }

    fn event(&self, tenant: &TenantId, action: &str, info: &Value) -> NewEvent {
        let deed = Deed { log_type: LOG_TYPE, action, user: &self.by };
        NewEvent::new(tenant, self.stamp, self.id.clone(), deed, info)
    }
}

/// A failure as it is told of.
#[derive(Debug, Clone, Copy)]
pub struct Failing<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// Where the watermark stands, as it is stored.
    pub exported_until: &'a str,
    /// When exports failed first.
    pub since: DateTime<Utc>,
    /// After how many days it is told of once more; 0 for the first failure.
    pub days: i64,
    /// The latest failure.
    pub failure: &'a Failure,
}

impl Failing<'_> {
    /// What a tenant is told of it.
    pub(crate) fn info(&self) -> Map<String, Value> {
        let Failure { code, party, message } = self.failure;
        let hint = (*party == Party::Customer).then(|| code.hint());
        let message = for_the_tenant(*party, code.as_str(), message);
        let told = [
            ("exportedUntil", json!(self.exported_until)),
            ("code", json!(code)),
            ("party", json!(party)),
            ("message", json!(message)),
            ("hint", json!(hint)),
        ];
        told.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }

    /// The first failure after exports went well, or one that has lasted for days.
    pub fn event(&self, stamp: Stamp) -> NewEvent {
        let Self { tenant, exported_until, since, days, .. } = *self;
        let mut info = self.info();
        if days == 0 {
            return by_the_system(tenant, stamp, exported_until, "Export Failed", &info.into());
        }
        info.insert("failingSince".to_owned(), timestamp::seconds(since).into());
        info.insert("days".to_owned(), days.into());
        let point = format!("{exported_until}/{days}");
        by_the_system(tenant, stamp, &point, "Export Still Failing", &info.into())
    }
}

/// The first window that was exported after failures.
pub fn export_recovered(tenant: &TenantId, stamp: Stamp, window: Window) -> NewEvent {
    let (from, to) = (timestamp::seconds(window.from), timestamp::seconds(window.to));
    by_the_system(tenant, stamp, &from, RECOVERED, &json!({ "windowFrom": from, "windowTo": to }))
}

/// The id of the recovery from a failure at which the watermark stood at `exported_until`.
pub fn recovery_id(tenant: &TenantId, exported_until: &str) -> String {
    id_of(tenant, exported_until, RECOVERED)
}

/// What two runs may both want to tell has an id that follows from what it tells, so that it is told once: the watermark
/// stands at one point for one failure and its recovery, and never at that point again.
fn id_of(tenant: &TenantId, point: &str, action: &str) -> String {
    /// The namespace of these ids; never changes.
    const NAMESPACE: Uuid = Uuid::from_u128(0x3d0f_5c1e_7a42_4f0b_8e19_2b6a_94c7_d583);
    let name = Uuid::new_v5(&NAMESPACE, format!("{tenant}/{point}/{action}").as_bytes());
    format!("{RESERVED_ID_PREFIX}{name}")
}

fn by_the_system(tenant: &TenantId, stamp: Stamp, point: &str, action: &str, info: &Value) -> NewEvent {
    let id = id_of(tenant, point, action);
    NewEvent::new(tenant, stamp, id, Deed { log_type: LOG_TYPE, action, user: &User::system() }, info)
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

    fn change() -> Change {
        let stamp = Stamp { at: "2026-11-21T10:03:12.345Z".parse().unwrap(), retention: None };
        let by = User { id: "u-17".to_owned(), name: Some("Ada".to_owned()), email: None };
        Change { by, stamp, id: "01K".to_owned() }
    }

    fn info(event: &NewEvent) -> Value {
        let document: Value = serde_json::from_str(&event.document).unwrap();
        document["additionalInfo"].clone()
    }

    #[test]
    fn a_change_of_settings_tells_what_was_and_what_is_but_never_the_external_id() {
        let after = Draft::of(&draft().check(&acme(), &platform()).unwrap(), 1);
        let first = change().settings_changed(&acme(), &Draft::default(), &after, Some(change().stamp.at));
        assert_eq!(info(&first)["changes"]["bucket"], json!({ "from": null, "to": "acme-audit" }));
        assert_eq!(info(&first)["exportsFrom"], "2026-11-21T10:03:12Z");
        assert!(!first.document.contains("3f6c1d2e-external"), "{}", first.document);
        let moved = Draft { bucket: Some("elsewhere".to_owned()), prefix: None, ..after.clone() };
        let second = change().settings_changed(&acme(), &after, &moved, None);
        assert_eq!(info(&second), json!({ "changes": { "bucket": { "from": "acme-audit", "to": "elsewhere" } } }));
    }

    #[test]
    fn what_two_runs_tell_of_one_failure_is_one_event() {
        let told = |at: &str, until: &str, days| {
            let stamp = Stamp { at: at.parse().unwrap(), retention: None };
            let failure = Failure::new(Code::AccessDenied, "S3 refused it.");
            Failing { tenant: &acme(), exported_until: until, since: stamp.at, days, failure: &failure }.event(stamp)
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
