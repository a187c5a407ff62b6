//! What is published on the bus: how a tenant's exports fare, and what its admin has changed.
//!
//! A kind and the fields of its detail are a contract, as codes are: a field is added but never renamed. A notification
//! holds what the tenant itself may know, and never an external ID or an event.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{tenant::TenantId, timestamp};

/// Where all of these come from: the `source` of each event on the bus.
pub const SOURCE: &str = "audit-log-export";

/// The version of the details; raised only by a change that breaks those who read them.
pub const VERSION: &str = "1";

/// Declares each kind once, with the `detail-type` of its events on the bus.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $detail_type:literal;)*) => {
        /// What a notification is of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
            /// Every kind there is.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The `detail-type` of the event on the bus.
            pub fn detail_type(self) -> &'static str {
                match self { $(Self::$name => $detail_type,)* }
            }
        }
    };
}

kinds! {
    /// An export failed, and the one before did not.
    Failed = "Audit Log Export Failed";
    /// Exports have failed for some days.
    StillFailing = "Audit Log Export Still Failing";
    /// A window was exported after failures.
    Recovered = "Audit Log Export Recovered";
    /// The daily check of a connection found something new to be wrong.
    Drifted = "Audit Log Connection Drifted";
    /// The daily check of a connection found something to be right again.
    Restored = "Audit Log Connection Restored";
    /// An admin connected a role.
    Connected = "Audit Log Connector Connected";
    /// An admin connected another role in the place of the one before.
    Changed = "Audit Log Connector Changed";
    /// An admin stopped the exports.
    Disconnected = "Audit Log Connector Disconnected";
    /// An admin saved settings.
    SettingsChanged = "Audit Log Export Settings Changed";
}

/// One event for the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What it is of.
    pub kind: Kind,
    /// That of the audit event, and the same however often it is published: at least once.
    pub id: String,
    /// The tenant.
    pub tenant: TenantId,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What the kind has to tell beside these.
    pub info: Map<String, Value>,
    /// Rises with each notification of the tenant, so that a consumer can tell the order; 0 before it is stored.
    pub sequence: u64,
}

impl Notification {
    /// The `detail` of the event on the bus: a JSON object with `version`, `id`, `tenantId`, `at` (UTC, whole seconds),
    /// `sequence` and what the kind has to tell.
    pub fn detail(&self) -> Value {
        let Self { kind: _, id, tenant, at, info, sequence } = self;
        let mut detail = json!({
            "version": VERSION, "id": id, "tenantId": tenant.as_str(), "at": timestamp::seconds(*at),
            "sequence": sequence,
        });
        for (name, value) in info {
            detail[name] = value.clone();
        }
        detail
    }
}
