//! The events that this system records of itself: what a tenant's admin did to the export, and how it fares.
//!
//! They are audit events of the tenant like all others, so they reach its bucket too. Whoever sends events from outside
//! can't use their log types, or an event could be made up that looks like the system's own word.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

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

/// The first failure after exports went well. `exported_until` is where the watermark stands, as it is stored.
pub fn export_failed(tenant: &TenantId, stamp: Stamp, exported_until: &str, failure: &Failure) -> NewEvent {
    let Failure { code, party, message } = failure;
    let hint = (*party == Party::Customer).then(|| code.hint());
    let message = for_the_tenant(*party, code.as_str(), message);
    let info = json!({
        "exportedUntil": exported_until, "code": code, "party": party, "message": message, "hint": hint,
    });
    by_the_system(tenant, stamp, exported_until, "Export Failed", &info)
}

/// The first window that was exported after failures.
pub fn export_recovered(tenant: &TenantId, stamp: Stamp, window: Window) -> NewEvent {
    let (from, to) = (timestamp::seconds(window.from), timestamp::seconds(window.to));
    by_the_system(tenant, stamp, &from, "Export Recovered", &json!({ "windowFrom": from, "windowTo": to }))
}

/// What two runs may both want to tell has an id that follows from what it tells, so that it is told once: the watermark
/// stands at one point for one failure and its recovery, and never at that point again.
fn by_the_system(tenant: &TenantId, stamp: Stamp, exported_until: &str, action: &str, info: &Value) -> NewEvent {
    /// The namespace of these ids; never changes.
    const NAMESPACE: Uuid = Uuid::from_u128(0x3d0f_5c1e_7a42_4f0b_8e19_2b6a_94c7_d583);
    let name = Uuid::new_v5(&NAMESPACE, format!("{tenant}/{exported_until}/{action}").as_bytes());
    let id = format!("{RESERVED_ID_PREFIX}{name}");
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
        let failed = |at: &str, until: &str| {
            let stamp = Stamp { at: at.parse().unwrap(), retention: None };
            export_failed(&acme(), stamp, until, &Failure::new(Code::AccessDenied, "S3 refused it.")).id
        };
        let id = failed("2026-11-21T11:01:00Z", "2026-11-21T10:00:00Z");
        assert_eq!(id, failed("2026-11-21T11:02:00Z", "2026-11-21T10:00:00Z"));
        assert_ne!(id, failed("2026-11-21T11:02:00Z", "2026-11-21T11:00:00Z"), "another failure");
    }
}
