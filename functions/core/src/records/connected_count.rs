//! How many tenants are connected, day by day.

use chrono::NaiveDate;

/// The first count of connected tenants of a day, beside that of the day before which anybody was counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectedCount {
    /// The day.
    pub day: NaiveDate,
    /// How many were connected at the day's first reconciliation.
    pub connected: u64,
    /// How many at the first reconciliation of the last day before it.
    pub before: Option<u64>,
}

impl ConnectedCount {
    /// The count to go on with, after so many were found on a day.
    #[must_use]
    pub fn after(last: Option<Self>, day: NaiveDate, connected: u64) -> Self {
        match last {
            Some(last) if last.day >= day => last,
            last => Self { day, connected, before: last.map(|last| last.connected) },
        }
    }
}
