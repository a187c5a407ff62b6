//! The lease: the exclusive right to export a tenant for one run.
//!
//! A run acquires it before it reads a window, and every write to the tenant's record `watermark` holds only under it. A
//! run that is killed leaves its lease to expire: until then, what the run has asked S3 for may still be carried out.

use chrono::{DateTime, TimeDelta, Utc};

/// For how long a lease outlives the deadline of its run. It must be at least how late S3 may carry out a request that was
/// given up, plus by how much two clocks differ, plus how long a run may go on after its deadline.
pub const LEASE_MARGIN: TimeDelta = TimeDelta::minutes(30);

/// How long a lease is that is acquired for publishing alone: nothing is stored under it.
pub const PUBLISHING_LEASE: TimeDelta = TimeDelta::minutes(2);

/// No run asks for more: the exporter's timeout is Lambda's longest, 15 minutes (by "Lambda quotas" in the Lambda developer
/// guide). A lease that ends later than this is damage, and counts as expired.
pub const MAX_LEASE: TimeDelta = TimeDelta::hours(2);

/// A lease as the record `watermark` holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// 16 random bytes in hex, made anew by each run for each tenant.
    pub token: String,
    /// Until when it excludes other runs, in whole milliseconds.
    pub until: DateTime<Utc>,
}

impl Lease {
    /// With that token, until an instant.
    pub fn new(token: [u8; 16], until: DateTime<Utc>) -> Self {
        let token = token.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { token, until: DateTime::from_timestamp_millis(until.timestamp_millis()).unwrap_or(until) }
    }

    /// Whether it keeps other runs away. An expired one doesn't, nor one that no run can have asked for.
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
