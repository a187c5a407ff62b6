//! The four tenants. Each shows a situation that every platform has.

use audit_log_core::settings::Draft;
use chrono::TimeDelta;

pub(crate) struct TenantSpec {
    pub(crate) tenant: &'static str,
    pub(crate) account: &'static str,
    /// What it shows.
    pub(crate) about: &'static str,
    /// The time of day at which its exports begin. It has no earlier events.
    pub(crate) export_start: TimeDelta,
    pub(crate) every_hours: u8,
    /// Events in a whole day.
    pub(crate) events: usize,
    pub(crate) prefix: &'static str,
    pub(crate) format: &'static str,
    pub(crate) compression: &'static str,
}

/// The tenant that deletes its role.
pub(crate) const BROKEN: &str = "globex";

/// The tenant without events.
pub(crate) const QUIET: &str = "umbrella";

/// The tenant with most events.
pub(crate) const BUSY: &str = "acme";

/// The time of day at which the stack of [`BROKEN`] is deleted.
pub(crate) const BROKEN_AT: TimeDelta = TimeDelta::minutes(10 * 60 + 30);

pub(crate) const TENANTS: [TenantSpec; 4] = [
    TenantSpec {
        tenant: BUSY,
        account: "222222222222",
        about: "busy",
        export_start: TimeDelta::zero(),
        every_hours: 1,
        events: 6_000,
        prefix: "",
        format: "json",
        compression: "none",
    },
    TenantSpec {
        tenant: BROKEN,
        account: "333333333333",
        about: "deletes its role at 10:30",
        export_start: TimeDelta::zero(),
        every_hours: 1,
        events: 1_200,
        prefix: "",
        format: "ndjson",
        compression: "none",
    },
    TenantSpec {
        tenant: "initech",
        account: "444444444444",
        about: "connects at 05:20",
        export_start: TimeDelta::minutes(5 * 60 + 20),
        every_hours: 6,
        events: 900,
        prefix: "security/saas",
        format: "ndjson",
        compression: "gzip",
    },
    TenantSpec {
        tenant: QUIET,
        account: "555555555555",
        about: "quiet, without events",
        export_start: TimeDelta::zero(),
        every_hours: 1,
        events: 0,
        prefix: "",
        format: "json",
        compression: "none",
    },
];

impl TenantSpec {
    /// The settings that its admin enters.
    pub(crate) fn choices(&self) -> Draft {
        let non_empty = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Draft {
            prefix: non_empty(self.prefix),
            frequency_hours: Some(self.every_hours.to_string()),
            format: non_empty(self.format),
            compression: non_empty(self.compression),
            ..Draft::default()
        }
    }

    pub(crate) fn schedule(&self) -> String {
        if self.every_hours == 1 { "hourly".to_owned() } else { format!("every {} h", self.every_hours) }
    }

    pub(crate) fn folder(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{slash}audit-logs/tenant={}", self.prefix, self.tenant)
    }

    pub(crate) fn extension(&self) -> String {
        format!("{}{}", self.format, if self.compression == "gzip" { ".gz" } else { "" })
    }
}
