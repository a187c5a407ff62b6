//! How long a delivery outside of the schedule is tried: a final one, or a window of a replay.

use chrono::{DateTime, TimeDelta, Utc};

use crate::failure::Party;

/// If the customer's role or bucket refuses it.
pub(super) const TRIED_FOR: TimeDelta = TimeDelta::days(1);

/// If the platform fails: the customer can do nothing about it, so this is longer.
pub(super) const TRIED_FOR_BY_PLATFORM: TimeDelta = TimeDelta::days(7);

/// Whether a delivery that has just failed by that party's fault is tried no more. The time counts from its first failure, or first
/// refusal by the customer: a fleet that couldn't try for a day must not give up at its first try.
pub(super) fn is_given_up(
    party: Party,
    failing_since: Option<DateTime<Utc>>,
    refused_since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> bool {
    let (since, tried_for) = match party {
        Party::Customer => (refused_since, TRIED_FOR),
        Party::Platform => (failing_since, TRIED_FOR_BY_PLATFORM),
    };
    since.is_some_and(|since| now - since >= tried_for)
}
