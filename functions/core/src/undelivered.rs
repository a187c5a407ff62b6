//! The events of a disconnected tenant that are in no bucket, and whether they are deleted soon.
//!
//! A disconnect, or an operator's pause, stops the exports and not the recording. Nothing delivers these events before a role
//! is connected again, and no tick would ever notice.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::{
    backoff,
    event::{Body, StoredEvent},
    failure::Failure,
    ports::{EventRange, Events},
    records::{StoredWatermark, TenantRecords},
    schedule::Window,
    system_events::{LOG_TYPE, RESERVED_ID_PREFIX},
    tenant::{EventShards, TenantId},
    timestamp,
};

/// Small, since the first event mostly settles it.
const EVENTS_PER_PAGE: usize = 5;

/// How long after a disconnect its final delivery is awaited before the events up to it count.
const WAIT_FOR_FINAL_DELIVERY: TimeDelta = TimeDelta::hours(2);

/// Events of a disconnected tenant that were not delivered; there is at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Undelivered {
    /// All events recorded before this were delivered.
    pub since: DateTime<Utc>,
    /// Before this, none of them is deleted; none: never.
    pub kept_until: Option<DateTime<Utc>>,
    /// Whether some of them are deleted soon.
    pub near_retention: bool,
}

/// Returns the undelivered events of a tenant. Reads nothing if the tenant is connected or was never scheduled.
///
/// # Errors
/// If the events can't be read.
pub async fn undelivered<E: Events>(
    events: &E,
    tenant: &TenantId,
    records: &TenantRecords,
    retention: Option<TimeDelta>,
    now: DateTime<Utc>,
) -> Result<Option<Undelivered>, Failure> {
    let Some(since) = undelivered_since(records) else { return Ok(None) };
    let kept = Window { from: kept_since(since, retention, now), to: now };
    if !any_recorded(events, tenant, records, kept).await? {
        return Ok(None);
    }
    let near_retention = near_retention(events, tenant, records, retention, now).await?;
    let is_just_left = |at: DateTime<Utc>| now - at < WAIT_FOR_FINAL_DELIVERY;
    if !near_retention && records.final_deliveries.places.iter().any(|it| is_just_left(it.left_at)) {
        return Ok(None);
    }
    let kept_until = retention.and_then(|retention| since.checked_add_signed(retention));
    Ok(Some(Undelivered { since, kept_until, near_retention }))
}

/// Whether a disconnected tenant has undelivered events that are deleted soon. Reads events only if there may be some.
///
/// # Errors
/// If the events can't be read.
pub async fn near_retention<E: Events>(
    events: &E,
    tenant: &TenantId,
    records: &TenantRecords,
    retention: Option<TimeDelta>,
    now: DateTime<Utc>,
) -> Result<bool, Failure> {
    let (Some(since), Some(kept)) = (undelivered_since(records), retention) else { return Ok(false) };
    let old = Window { from: kept_since(since, retention, now), to: now - backoff::age_near_retention(kept) };
    any_recorded(events, tenant, records, old).await
}

/// Since when a disconnected tenant's events are not delivered. All, if a damaged watermark doesn't say.
fn undelivered_since(records: &TenantRecords) -> Option<DateTime<Utc>> {
    let stopped = records.watermark.as_ref().filter(|watermark| watermark.due_shard.is_none())?;
    let StoredWatermark { exported_until, final_delivered_until, .. } = stopped;
    let instants = [exported_until, final_delivered_until].into_iter().flatten();
    Some(instants.filter_map(|text| timestamp::parse_seconds(text)).max().unwrap_or(DateTime::UNIX_EPOCH))
}

/// Expired events are lost, even where DynamoDB has not deleted them yet.
fn kept_since(since: DateTime<Utc>, retention: Option<TimeDelta>, now: DateTime<Utc>) -> DateTime<Utc> {
    retention.map_or(since, |retention| since.max(now - retention))
}

/// Whether an event was recorded in a window. Those about the export itself don't count: the end of a final delivery is always
/// recorded after it, and so is an admin's sign-in who looks why nothing is delivered.
async fn any_recorded<E: Events>(
    events: &E,
    tenant: &TenantId,
    records: &TenantRecords,
    window: Window,
) -> Result<bool, Failure> {
    if window.from >= window.to {
        return Ok(false);
    }
    let shards = records.config.as_ref().and_then(|config| config.event_shards.as_deref());
    // If their number is damaged, no shard is left out.
    let shards = shards.map_or(1, |text| EventShards::parse(text).map_or(EventShards::MAX.count(), EventShards::count));
    any_in_shards(events, tenant, shards, window).await
}

/// The same in the first `shards` shards.
pub(crate) async fn any_in_shards<E: Events>(
    events: &E,
    tenant: &TenantId,
    shards: u16,
    window: Window,
) -> Result<bool, Failure> {
    for shard in 0..shards {
        let mut after = None;
        loop {
            let range = EventRange { tenant, shard, window, after: after.as_deref() };
            let page = events.page_back(range, EVENTS_PER_PAGE, None).await?;
            if page.events.iter().any(|event| !is_about_export(event)) {
                return Ok(true);
            }
            after = page.more_after;
            if after.is_none() {
                break;
            }
        }
    }
    Ok(false)
}

/// Whether this system has recorded the event. The recorder refuses such ids and log types.
fn is_about_export(StoredEvent { recorded_at_id, body }: &StoredEvent) -> bool {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(rename = "logType", borrow)]
        log_type: Cow<'a, str>,
    }
    let has_log_type = |text: &str| serde_json::from_str(text).is_ok_and(|event: Event<'_>| event.log_type == LOG_TYPE);
    recorded_at_id.split_once('#').is_some_and(|(_, id)| id.starts_with(RESERVED_ID_PREFIX))
        || matches!(body, Body::Text(text) if has_log_type(text))
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::{
        fakes::{FakeTenant, Fakes, Op},
        records::FinalDeliveries,
        schedule::Schedule,
        settings::{Draft, tests::draft},
    };

    fn day(day: u32) -> DateTime<Utc> {
        format!("2026-11-{day:02}T10:00:00Z").parse().unwrap()
    }

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    /// A tenant that was exported until the 2nd and then disconnected.
    fn disconnected() -> Fakes {
        let fakes = Fakes::default();
        let schedule = Schedule { exported_until: day(2), next_due: day(3) };
        let watermark = StoredWatermark { due_shard: None, ..StoredWatermark::connected(&acme(), schedule) };
        let tenant = FakeTenant { config: Some(draft()), watermark: Some(watermark), ..FakeTenant::default() };
        fakes.state().tenants.insert("acme".to_owned(), tenant);
        fakes
    }

    fn record(fakes: &Fakes, shard: u16, at: DateTime<Utc>) {
        let recorded_at_id = format!("{}#1", timestamp::millis(at));
        fakes.put_event(&acme(), shard, StoredEvent { recorded_at_id, body: Body::Text("{}".to_owned()) });
    }

    fn found(fakes: &Fakes, kept_days: i64, now: DateTime<Utc>) -> Option<Undelivered> {
        let FakeTenant { config, watermark, final_deliveries, .. } = fakes.state().tenants["acme"].clone();
        let records = TenantRecords { config, watermark, final_deliveries, ..TenantRecords::default() };
        let retention = (kept_days > 0).then(|| TimeDelta::days(kept_days));
        undelivered(fakes, &acme(), &records, retention, now).now_or_never().unwrap().unwrap()
    }

    fn with(change: impl FnOnce(&mut FakeTenant)) -> Fakes {
        let fakes = disconnected();
        record(&fakes, 0, day(4));
        change(fakes.state().tenants.get_mut("acme").unwrap());
        fakes
    }

    #[test]
    fn events_after_the_last_export_are_undelivered_and_near_the_retention_by_their_own_age() {
        let fakes = disconnected();
        assert_eq!(found(&fakes, 7, day(9)), None, "nothing was recorded");
        record(&fakes, 0, day(1));
        assert_eq!(found(&fakes, 7, day(3)), None, "exported");
        record(&fakes, 0, day(4));
        let (since, kept_until) = (day(2), Some(day(9)));
        for (now, near_retention) in [(5, false), (8, false), (9, false), (10, true)] {
            let expected = Undelivered { since, kept_until, near_retention };
            assert_eq!(found(&fakes, 7, day(now)), Some(expected), "{now}");
        }
        assert_eq!(found(&fakes, 7, day(12)), None, "deleted: too late for an alarm");
        let forever = Undelivered { since, kept_until: None, near_retention: false };
        assert_eq!(found(&fakes, 0, day(28)), Some(forever));
    }

    #[test]
    fn what_was_delivered_to_the_place_before_a_change_is_not_undelivered() {
        let until = |text: &str| Some(text.to_owned());
        let of = |text| with(|tenant| tenant.watermark.as_mut().unwrap().final_delivered_until = until(text));
        assert_eq!(found(&of("2026-11-05T10:00:00Z"), 7, day(10)), None);
        let before = found(&of("2026-11-03T10:00:00Z"), 7, day(10)).unwrap();
        assert_eq!((before.since, before.near_retention), (day(3), true));
        let earlier = found(&of("2026-11-01T10:00:00Z"), 7, day(10)).unwrap();
        assert_eq!(earlier.since, day(2), "of an older change");
    }

    /// The system records the end of a final delivery after what it delivered, and an admin may sign in later.
    #[test]
    fn events_about_the_export_itself_do_not_count() {
        let fakes = disconnected();
        for (id, log_type) in [("system:1", "x"), ("1", "Audit Log Export")] {
            let recorded_at_id = format!("{}#{id}", timestamp::millis(day(4)));
            let body = Body::Text(format!(r#"{{"id":"{id}","logType":"{log_type}"}}"#));
            fakes.put_event(&acme(), 0, StoredEvent { recorded_at_id, body });
        }
        assert_eq!(found(&fakes, 7, day(10)), None);
        record(&fakes, 0, day(3));
        assert!(found(&fakes, 7, day(9)).is_some());
    }

    #[test]
    fn a_final_delivery_is_awaited_for_two_hours_and_hides_no_events_near_the_retention() {
        let fakes = with(|tenant| {
            let (config, watermark) = (tenant.config.clone().unwrap(), tenant.watermark.clone().unwrap());
            tenant.final_deliveries =
                FinalDeliveries::default().after_leaving(&acme(), &config, &watermark, day(5)).unwrap();
        });
        let after = |hours: i64| found(&fakes, 7, day(5) + TimeDelta::hours(hours));
        assert_eq!(after(1), None);
        assert!(after(2).is_some_and(|undelivered| !undelivered.near_retention));
        assert!(found(&fakes, 2, day(5) + TimeDelta::hours(1)).is_some_and(|undelivered| undelivered.near_retention));
    }

    #[test]
    fn no_event_of_a_connected_or_unscheduled_tenant_is_read() {
        let connected = with(|tenant| tenant.watermark.as_mut().unwrap().due_shard = Some("4".to_owned()));
        let unscheduled = with(|tenant| tenant.watermark = None);
        for fakes in [connected, unscheduled] {
            assert_eq!(found(&fakes, 7, day(10)), None);
            assert_eq!(fakes.calls(Op::PageBack), 0);
        }
    }

    #[test]
    fn no_shard_is_left_out_even_if_the_records_are_damaged() {
        for (shards, expected) in [("4", true), ("many", true), ("2", false)] {
            let config = Draft { event_shards: Some(shards.to_owned()), ..draft() };
            let fakes = disconnected();
            record(&fakes, 3, day(4));
            fakes.state().tenants.get_mut("acme").unwrap().config = Some(config);
            assert_eq!(found(&fakes, 7, day(10)).is_some(), expected, "{shards}");
        }
        let damaged = with(|tenant| tenant.watermark.as_mut().unwrap().exported_until = Some("then".to_owned()));
        assert!(found(&damaged, 7, day(10)).unwrap().near_retention);
    }
}
