//! The lease: the exclusive right to export a tenant for one run.
//!
//! A run acquires it before it reads a window, and writes to the tenant's record `watermark` only under it. If a run is
//! killed, its lease expires: until then, S3 may still carry out the run's last requests.

use chrono::{DateTime, TimeDelta, Utc};

/// How long a lease outlives its run's deadline. It must be at least the sum of: how late S3 may carry out a request that
/// failed, how much two clocks differ, and how long a run may go on after its deadline.
pub const LEASE_MARGIN: TimeDelta = TimeDelta::minutes(30);

/// The duration of a lease for publishing an outbox. Nothing is stored under it.
pub const PUBLISHING_LEASE: TimeDelta = TimeDelta::minutes(2);

/// No run asks for a longer lease: Lambda's longest timeout is 15 minutes (by "Lambda quotas" in the Lambda developer
/// guide). A lease that ends later is damaged, and counts as expired.
pub const MAX_LEASE: TimeDelta = TimeDelta::hours(2);

/// A lease as the record `watermark` holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// 16 random bytes in hex; each run makes another token for each tenant.
    pub token: String,
    /// When it expires, in whole milliseconds.
    pub until: DateTime<Utc>,
}

impl Lease {
    pub fn new(token: [u8; 16], until: DateTime<Utc>) -> Self {
        let token = token.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { token, until: DateTime::from_timestamp_millis(until.timestamp_millis()).unwrap_or(until) }
    }

    /// Whether it excludes other runs. An expired one doesn't, nor one that is longer than [`MAX_LEASE`].
    pub fn excludes_others(&self, now: DateTime<Utc>) -> bool {
        (now..=now + MAX_LEASE).contains(&self.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_excludes_others_until_its_very_end_unless_it_ends_implausibly_late() {
        let now: DateTime<Utc> = "2026-11-21T11:00:00Z".parse().unwrap();
        let lease = |until: TimeDelta| Lease::new([7; 16], now + until);
        assert_eq!(lease(TimeDelta::zero()).token, "07070707070707070707070707070707");
        for (until, excludes) in [
            (TimeDelta::milliseconds(-1), false),
            (TimeDelta::zero(), true),
            (MAX_LEASE, true),
            (MAX_LEASE + TimeDelta::milliseconds(1), false),
        ] {
            assert_eq!(lease(until).excludes_others(now), excludes, "{until}");
        }
    }
}
