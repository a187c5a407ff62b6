//! Notifications: the events on the bus about a tenant's exports, connection and settings.
//!
//! Kinds and the fields of their details are a contract, as codes are: add fields, but rename none. A notification may
//! hold what the tenant may know, but no external ID and no event.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{tenant::TenantId, timestamp};

/// The `source` of each event on the bus.
pub const SOURCE: &str = "audit-log-export";

/// The version of the details. Raise it only for a change that breaks consumers.
pub const VERSION: &str = "1";

/// Declares each kind once, with the `detail-type` of its events on the bus.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $detail_type:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind {
            $($(#[$doc])* $name,)*
        }

        impl Kind {
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
    /// A connection check has a new finding.
    Drifted = "Audit Log Connection Drifted";
    /// A connection check finds a connection in order again.
    Restored = "Audit Log Connection Restored";
    /// An admin connected a role.
    Connected = "Audit Log Connector Connected";
    /// An admin replaced the connected role.
    Changed = "Audit Log Connector Changed";
    /// An admin stopped the exports.
    Disconnected = "Audit Log Connector Disconnected";
    /// An admin saved settings.
    SettingsChanged = "Audit Log Export Settings Changed";
    /// A place that an admin left does not have the last events.
    FinalDeliveryFailed = "Audit Log Final Delivery Failed";
    /// Every window of a replay was delivered again, or left as it is.
    ReplayCompleted = "Audit Log Export Replay Completed";
    /// An admin, a disconnect or another destination ended a replay.
    ReplayStopped = "Audit Log Export Replay Stopped";
    /// A replay's next window failed for too long.
    ReplayFailed = "Audit Log Export Replay Failed";
    /// A replay replaced files by others, and the window's manifest by one that amends it.
    ManifestAmended = "Audit Log Manifest Amended";
    /// A window was delivered with a manifest that is not signed.
    WindowUnsigned = "Audit Log Window Unsigned";
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    pub kind: Kind,
    /// The audit event's id. It is the same however often the notification is published.
    pub id: String,
    pub tenant: TenantId,
    pub at: DateTime<Utc>,
    /// Further fields of the detail, by kind.
    pub info: Map<String, Value>,
    /// Rises with each notification of the tenant; 0 before the notification is stored.
    pub sequence: u64,
}

impl Notification {
    /// Returns the `detail` of the event on the bus: `version`, `id`, `tenantId`, `at` (UTC, whole seconds), `sequence` and the
    /// kind's fields.
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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    type Fields = BTreeSet<String>;

    /// The cells of each row of the first table after a heading of the page.
    fn rows(heading: &str) -> impl Iterator<Item = Vec<&'static str>> {
        let page = include_str!("../../../docs/notifications.md");
        let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
        let table = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        table.skip(2).map(|row| row.trim_matches('|').split('|').collect())
    }

    fn code_spans(cell: &str) -> Fields {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_webhooks_template_accepts_each_detail_type() {
        let template = include_str!("../../../infra/webhook.yaml");
        let (_, pattern) = template.split_once("AllowedPattern: \"^(|(Audit Log (\\\n").unwrap();
        let (names, _) = pattern.split_once(")(,").unwrap();
        let accepted = names.split('|').map(|name| format!("Audit Log {}", name.trim_matches([' ', '\\', '\n'])));
        assert_eq!(
            accepted.collect::<BTreeSet<_>>(),
            Kind::ALL.iter().map(|kind| kind.detail_type().to_owned()).collect()
        );
    }

    #[test]
    fn the_schema_and_the_page_describe_each_kind_with_the_same_fields() {
        let schema: Value = serde_json::from_str(include_str!("../../schema/notifications.json")).unwrap();
        let own = |definition: &Value| definition["properties"].as_object().cloned().unwrap_or_default();
        let fields = |kind: &Kind| {
            let definition = &schema["$defs"][kind.detail_type()];
            let parts = definition["allOf"].as_array().unwrap().iter().map(|part| part["$ref"].as_str().unwrap());
            let parts = parts.map(|path| own(schema.pointer(path.trim_start_matches('#')).unwrap()));
            parts.chain([own(definition)]).flatten().map(|(name, _)| name).collect::<Fields>()
        };
        let common: Fields = own(&schema["$defs"]["common"]).into_iter().map(|(name, _)| name).collect();
        let by_type: BTreeMap<_, Fields> =
            Kind::ALL.iter().map(|kind| (kind.detail_type(), &fields(kind) - &common)).collect();
        let types = schema["oneOf"].as_array().unwrap().iter();
        let types = types.map(|branch| branch["properties"]["detail-type"]["const"].as_str().unwrap());
        assert_eq!(types.collect::<BTreeSet<_>>(), by_type.keys().copied().collect());

        let documented = rows("Detail types").map(|row| (row[0].trim_matches([' ', '`']), code_spans(row[2])));
        assert_eq!(documented.collect::<BTreeMap<_, _>>(), by_type);
        let described: Fields = rows("Fields").flat_map(|row| code_spans(row[0])).collect();
        assert_eq!(described, by_type.into_values().flatten().chain(common).collect());
    }
}
