//! What others hear on a bus of events of how exports fare: whoever runs the platform, its support, its billing.
//!
//! A kind and the fields of its detail are a contract, as codes are: a field is added but never renamed. A notice holds what
//! the tenant itself may know, and never an external ID or an event.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use crate::{
    patience,
    record::own::{self, Failing},
    schedule::Window,
    tenant::TenantId,
    timestamp,
};

/// Where all of these come from: the `source` of each event on the bus.
pub const SOURCE: &str = "audit-log-export";

/// The version of the details; raised only by a change that breaks those who read them.
pub const VERSION: &str = "1";

/// What a notice is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An export failed, and the one before did not.
    Failed,
    /// Exports have failed for some days.
    StillFailing,
    /// A window was exported after failures.
    Recovered,
    /// The daily check of a connection found something new to be wrong.
    Drifted,
    /// The daily check of a connection found something to be right again.
    Restored,
}

impl Kind {
    /// The `detail-type` of the event on the bus.
    pub fn detail_type(self) -> &'static str {
        match self {
            Self::Failed => "Audit Log Export Failed",
            Self::StillFailing => "Audit Log Export Still Failing",
            Self::Recovered => "Audit Log Export Recovered",
            Self::Drifted => "Audit Log Connection Drifted",
            Self::Restored => "Audit Log Connection Restored",
        }
    }
}

/// One event for the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What it is of.
    pub kind: Kind,
    /// The same for the same news, however often they are told: a bus delivers at least once, and so does whoever publishes.
    pub id: String,
    /// Whose news.
    pub tenant: TenantId,
    /// When.
    pub at: DateTime<Utc>,
    /// What the kind has to tell beside these.
    pub info: Map<String, Value>,
}

impl Notice {
    /// Of a failure that is told of in an audit event of that id; `failures` in a row, and of events that are kept for
    /// `retention`.
    pub fn failing(
        failing: &Failing<'_>,
        id: String,
        at: DateTime<Utc>,
        failures: u64,
        retention: Option<TimeDelta>,
    ) -> Self {
        let Failing { tenant, exported_until, since, days, .. } = *failing;
        let kept_until = patience::kept_until(exported_until, retention).map(timestamp::seconds);
        let mut info = failing.info();
        info.extend(
            [
                ("failingSince", json!(timestamp::seconds(since))),
                ("days", json!(days)),
                ("consecutiveFailures", json!(failures)),
                ("eventsKeptUntil", json!(kept_until)),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let kind = if days == 0 { Kind::Failed } else { Kind::StillFailing };
        Self { kind, id, tenant: tenant.clone(), at, info }
    }

    /// Of the end of a failure at which the watermark stood at `exported_until`: `window` is exported.
    pub fn recovered(
        tenant: &TenantId,
        exported_until: &str,
        since: Option<DateTime<Utc>>,
        window: Window,
        at: DateTime<Utc>,
    ) -> Self {
        let info = [
            ("failingSince", json!(since.map(timestamp::seconds))),
            ("windowFrom", json!(timestamp::seconds(window.from))),
            ("windowTo", json!(timestamp::seconds(window.to))),
        ];
        let info = info.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        Self { kind: Kind::Recovered, id: own::recovery_id(tenant, exported_until), tenant: tenant.clone(), at, info }
    }

    /// The `detail` of the event on the bus: a JSON object with `version`, `id`, `tenantId`, `at` (UTC, whole seconds) and
    /// what the kind has to tell.
    pub fn detail(&self) -> Value {
        let Self { id, tenant, at, info, .. } = self;
        let mut detail = json!({
            "version": VERSION, "id": id, "tenantId": tenant.as_str(), "at": timestamp::seconds(*at),
        });
        for (name, value) in info {
            detail[name] = value.clone();
        }
        detail
    }
}
