//! The four tenants, each there for something that every platform will meet.

use audit_log_core::settings::Draft;
use chrono::TimeDelta;

/// A tenant of the demo.
pub(crate) struct Part {
    /// Its id in the platform.
    pub(crate) tenant: &'static str,
    /// Its AWS account.
    pub(crate) account: &'static str,
    /// Why it is here.
    pub(crate) about: &'static str,
    /// When in the day its settings are saved; it has events from then on.
    pub(crate) connected: TimeDelta,
    /// How often it wants an export.
    pub(crate) every_hours: u8,
    /// How many events it would have in a whole day.
    pub(crate) events: usize,
    /// The folder in its bucket.
    pub(crate) prefix: &'static str,
    /// How events are laid out.
    pub(crate) format: &'static str,
    /// How objects are compressed.
    pub(crate) compression: &'static str,
}

/// The one whose role goes away.
pub(crate) const BROKEN: &str = "globex";

/// The one whose hours are empty.
pub(crate) const QUIET: &str = "umbrella";

/// The one with most events.
pub(crate) const BUSY: &str = "acme";

/// When the broken one's stack is deleted.
pub(crate) const BROKEN_AT: TimeDelta = TimeDelta::minutes(10 * 60 + 30);

/// All of them, in the order in which they are shown.
pub(crate) const PARTS: [Part; 4] = [
    Part {
        tenant: BUSY,
        account: "222222222222",
        about: "busy",
        connected: TimeDelta::zero(),
        every_hours: 1,
        events: 6_000,
        prefix: "",
        format: "json",
        compression: "none",
    },
    Part {
        tenant: BROKEN,
        account: "333333333333",
        about: "deletes its role at 10:30",
        connected: TimeDelta::zero(),
        every_hours: 1,
        events: 1_200,
        prefix: "",
        format: "ndjson",
        compression: "none",
    },
    Part {
        tenant: "initech",
        account: "444444444444",
        about: "connects at 05:20",
        connected: TimeDelta::minutes(5 * 60 + 20),
        every_hours: 6,
        events: 900,
        prefix: "security/saas",
        format: "ndjson",
        compression: "gzip",
    },
    Part {
        tenant: QUIET,
        account: "555555555555",
        about: "quiet: nothing happens",
        connected: TimeDelta::zero(),
        every_hours: 1,
        events: 0,
        prefix: "",
        format: "json",
        compression: "none",
    },
];

impl Part {
    /// What its admin fills in.
    pub(crate) fn choices(&self) -> Draft {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Draft {
            prefix: given(self.prefix),
            frequency_hours: Some(self.every_hours.to_string()),
            format: given(self.format),
            compression: given(self.compression),
            ..Draft::default()
        }
    }

    /// Its schedule in words.
    pub(crate) fn schedule(&self) -> String {
        if self.every_hours == 1 { "hourly".to_owned() } else { format!("every {} h", self.every_hours) }
    }

    /// The folder of all its objects.
    pub(crate) fn folder(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}{slash}audit-logs/tenant={}", self.prefix, self.tenant)
    }

    /// How its objects' names end.
    pub(crate) fn extension(&self) -> String {
        format!("{}{}", self.format, if self.compression == "gzip" { ".gz" } else { "" })
    }
}
