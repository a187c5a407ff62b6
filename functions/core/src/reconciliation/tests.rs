//! A healthy fleet has no findings, and each lost or damaged record is found.

use super::*;
use crate::{
    event::{Body, StoredEvent},
    fakes::{FakeTenant, Fakes, Fault, Op},
    schedule::Schedule,
    settings::{Draft, tests::draft},
};

fn at(time: &str) -> DateTime<Utc> {
    format!("2026-11-{time}:00Z").parse().unwrap()
}

fn now() -> DateTime<Utc> {
    at("21T10:31")
}

fn id(tenant: &str) -> TenantId {
    TenantId::parse(tenant).unwrap()
}

/// A tenant that exports once a day.
fn healthy(tenant: &str) -> FakeTenant {
    let schedule = Schedule { exported_until: at("20T03:00"), next_due: at("21T03:00") };
    let watermark = Some(StoredWatermark::connected(&id(tenant), schedule));
    FakeTenant { config: Some(draft()), watermark, ..FakeTenant::default() }
}

fn fleet(tenants: impl IntoIterator<Item = String>) -> Fakes {
    let fakes = Fakes::default();
    fakes.state().tenants.extend(tenants.into_iter().map(|tenant| (tenant.clone(), healthy(&tenant))));
    fakes
}

fn names(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("tenant-{number:02}"))
}

async fn reconciliation(fakes: &Fakes, now: DateTime<Utc>) -> Result<Reconciliation, Failure> {
    let connected = connected(fakes).await?;
    reconcile(fakes, fakes, &connected, now.date_naive(), now, Some(TimeDelta::days(90))).await
}

#[tokio::test(start_paused = true)]
async fn nothing_is_found_at_any_hour_in_a_healthy_fleet_that_exports_once_a_day() {
    let fakes = fleet(names(40));
    for hour in 0..72 {
        let (day, is_exported) = (hour / 24, hour % 24 >= 3);
        let next_due = at("21T03:00") + TimeDelta::days(day + i64::from(is_exported));
        for tenant in fakes.state().tenants.values_mut() {
            tenant.watermark.as_mut().unwrap().next_due = Some(timestamp::seconds(next_due));
        }
        let found = reconciliation(&fakes, at("21T00:31") + TimeDelta::hours(hour)).await.unwrap();
        let connected_before = (hour >= 24).then_some(40);
        let (none, connected) = (Vec::new(), 40);
        let expected = Reconciliation {
            connected,
            connected_before,
            shrunken: false,
            watermarks_without_config: none.clone(),
            settings_without_watermark: none,
            event_reads_refused: false,
            everyone_fails: false,
            backlogs_near_retention: 0,
            undelivered_near_retention: Vec::new(),
        };
        assert_eq!(found, expected, "{hour}");
    }
    assert_eq!(fakes.calls(Op::Load), 0, "only the two lists are read");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_no_tick_can_export_is_found_and_named() {
    let some = |text: &str| Some(text.to_owned());
    let with = |change: &dyn Fn(&mut StoredWatermark)| {
        let mut tenant = healthy("odd");
        tenant.watermark.iter_mut().for_each(change);
        tenant
    };
    let without_config = |config| FakeTenant { config, ..healthy("odd") };
    let external_id_only = Draft { external_id: some("new-external-id"), ..Draft::default() };
    let with_role = Draft { role_arn: draft().role_arn, ..external_id_only.clone() };
    let (no_config, never_due) = ((1, 0), (0, 1));
    for (what, tenant, expected) in [
        ("config gone", without_config(None), no_config),
        ("config gone, with a new external ID", without_config(Some(external_id_only.clone())), no_config),
        ("config gone, with a new role", without_config(Some(with_role.clone())), no_config),
        ("watermark gone", FakeTenant { watermark: None, ..healthy("odd") }, never_due),
        ("in an unknown shard", with(&|it| it.due_shard = some("x")), never_due),
        ("without next_due", with(&|it| it.next_due = None), never_due),
        ("due at an invalid time", with(&|it| it.next_due = some("tomorrow")), never_due),
        ("due in a year", with(&|it| it.next_due = some("2027-11-21T11:00:00Z")), never_due),
        ("due in 24 hours", with(&|it| it.next_due = some("2026-11-22T10:31:00Z")), (0, 0)),
        ("due for weeks", with(&|it| it.next_due = some("2026-11-01T11:00:00Z")), (0, 0)),
        ("disconnected", with(&|it| it.due_shard = None), (0, 0)),
        ("never connected", FakeTenant { config: Some(external_id_only.clone()), ..FakeTenant::default() }, (0, 0)),
        ("not saved yet", FakeTenant { config: Some(with_role.clone()), ..FakeTenant::default() }, (0, 0)),
        ("neither", FakeTenant::default(), (0, 0)),
    ] {
        let fakes = fleet(names(3));
        fakes.state().tenants.insert("odd".to_owned(), tenant);
        let found = reconciliation(&fakes, now()).await.unwrap();
        let Reconciliation { watermarks_without_config, settings_without_watermark, .. } = found;
        assert_eq!((watermarks_without_config.len(), settings_without_watermark.len()), expected, "{what}");
        assert!(watermarks_without_config.iter().chain(&settings_without_watermark).all(|id| id == "odd"), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_is_saved_or_removed_during_the_reads_is_no_finding() {
    let incomplete = || {
        let fakes = fleet(names(2));
        let mut state = fakes.state();
        state.tenants.insert("saving".to_owned(), FakeTenant { watermark: None, ..healthy("saving") });
        state.tenants.insert("leaving".to_owned(), FakeTenant { config: None, ..healthy("leaving") });
        drop(state);
        fakes
    };
    let complete = |fakes: &Fakes| {
        let fakes = fakes.clone();
        Fault::After(Box::new(move || {
            fakes.state().tenants.insert("saving".to_owned(), healthy("saving"));
            fakes.state().tenants.remove("leaving");
        }))
    };
    // The first read loads two tenants, so the third load is the first of the second read.
    for reads_before in [0, 2] {
        let fakes = incomplete();
        (0..reads_before).for_each(|_| fakes.once(Op::Load, None, Fault::After(Box::new(|| ()))));
        fakes.once(Op::Load, None, complete(&fakes));
        let found = reconciliation(&fakes, now()).await.unwrap();
        assert_eq!((found.watermarks_without_config, found.settings_without_watermark), (vec![], vec![]));
    }
    let found = reconciliation(&incomplete(), now()).await.unwrap();
    assert_eq!(found.watermarks_without_config, ["leaving"]);
    assert_eq!(found.settings_without_watermark, ["saving"]);
}

#[test]
fn a_fleet_is_shrunken_if_many_tenants_are_gone_at_once() {
    for (before, now, expected) in [
        (0, 0, false),
        (2, 0, false),
        (3, 0, true),
        (4, 2, false),
        (10, 7, false),
        (10, 6, true),
        (1000, 701, false),
        (1000, 700, false),
        (1000, 699, true),
        (5, 500, false),
        (u64::MAX, 0, true),
    ] {
        assert_eq!(is_shrunken(before, now), expected, "{before} {now}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shrunken_fleet_is_reported_until_the_day_after() {
    let fakes = fleet(names(10));
    let shrunken = async |time: &str| {
        let Reconciliation { shrunken, connected_before, .. } = reconciliation(&fakes, at(time)).await.unwrap();
        (shrunken, connected_before)
    };
    assert_eq!(shrunken("20T23:31").await, (false, None), "there is nothing to compare with");
    assert_eq!(shrunken("21T00:31").await, (false, Some(10)));
    fakes.state().tenants.retain(|tenant, _| tenant.as_str() < "tenant-05");
    assert_eq!(shrunken("21T01:31").await, (true, Some(10)));
    assert_eq!(shrunken("21T01:31").await, (true, Some(10)), "a repeated reconciliation finds the same");
    assert_eq!(shrunken("20T05:31").await, (true, Some(10)), "a late event of an earlier day changes nothing");
    assert_eq!(shrunken("22T00:31").await, (true, Some(10)));
    assert_eq!(shrunken("23T00:31").await, (false, Some(5)), "compared with the smaller count");
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_events_table_is_found_although_no_tenant_is_due() {
    let fakes = fleet(names(3));
    for (code, expected) in [(Code::EventsUnreadable, true), (Code::Throttled, false), (Code::Unavailable, false)] {
        fakes.once(Op::PageBack, None, Fault::Fail(Failure::new(code, "DynamoDB said no.")));
        assert_eq!(reconciliation(&fakes, now()).await.unwrap().event_reads_refused, expected, "{code}");
    }
    let nobody = Fakes::default();
    nobody.always(Op::PageBack, None, Failure::new(Code::EventsUnreadable, "DynamoDB said no."));
    assert_eq!(reconciliation(&nobody, now()).await.unwrap().connected, 0);
    assert_eq!(nobody.calls(Op::PageBack), 0, "no tenant has a partition to read");
}

#[tokio::test(start_paused = true)]
async fn a_reconciliation_that_can_not_read_fails_and_stores_no_count() {
    for (op, of) in [(Op::Fleet, "8"), (Op::Fleet, "saved"), (Op::Load, "acme")] {
        let fakes = fleet(["acme".to_owned()]);
        fakes.state().tenants.insert("acme".to_owned(), FakeTenant { config: None, ..healthy("acme") });
        fakes.always(op, Some(of), Failure::new(Code::Throttled, "Too many requests."));
        assert_eq!(reconciliation(&fakes, now()).await.map_err(|failure| failure.code), Err(Code::Throttled), "{of}");
        assert_eq!(fakes.state().count, None);
    }
}

/// Nothing else notices if no function takes the batches of the ticks.
#[tokio::test(start_paused = true)]
async fn a_backlog_that_nears_the_retention_is_counted() {
    let fakes = fleet(names(2));
    let day = now() - TimeDelta::days(80);
    let until = [day - TimeDelta::hours(1), day].map(|at| Some(timestamp::seconds(at)));
    {
        let mut state = fakes.state();
        let watermark = state.tenants.values_mut().next().unwrap().watermark.as_mut().unwrap();
        [watermark.exported_until, watermark.next_due] = until;
    }
    assert_eq!(reconciliation(&fakes, now()).await.unwrap().backlogs_near_retention, 1);
}

/// An admin token, or a churned customer, disconnects: no tick ever lists the tenant again.
#[tokio::test(start_paused = true)]
async fn undelivered_events_of_disconnected_tenants_are_found_before_they_are_deleted() {
    let fakes = fleet(["acme", "globex", "initech", "umbrella"].map(str::to_owned));
    let stop = |tenant: &str| {
        let mut state = fakes.state();
        let watermark = state.tenants.get_mut(tenant).unwrap().watermark.as_mut().unwrap();
        let until = Some(timestamp::seconds(now() - TimeDelta::days(85)));
        (watermark.exported_until, watermark.due_shard) = (until, None);
    };
    ["globex", "initech", "umbrella"].into_iter().for_each(stop);
    let record = |tenant: &str, days_ago: i64| {
        let recorded_at_id = format!("{}#1", timestamp::millis(now() - TimeDelta::days(days_ago)));
        fakes.put_event(&id(tenant), 0, StoredEvent { recorded_at_id, body: Body::Text("{}".to_owned()) });
    };
    record("globex", 20);
    record("initech", 86);
    let found = async || {
        let reads = fakes.calls(Op::PageBack);
        let found = reconciliation(&fakes, now()).await.unwrap();
        (found.undelivered_near_retention, found.event_reads_refused, fakes.calls(Op::PageBack) - reads)
    };
    // One read of a connected tenant, and one of each that may have such events.
    assert_eq!(found().await, (vec![], false, 4), "recent events and exported ones");
    record("initech", 84);
    record("globex", 70);
    assert_eq!(found().await, (vec!["globex".to_owned(), "initech".to_owned()], false, 4));
    for (code, refused) in [(Code::EventsUnreadable, true), (Code::Throttled, false)] {
        fakes.always(Op::PageBack, Some("globex"), Failure::new(code, "DynamoDB said no."));
        assert_eq!(found().await, (vec!["initech".to_owned()], refused, 4), "no other is hidden");
        fakes.heal();
    }
    let until = Some(timestamp::seconds(now() - TimeDelta::days(60)));
    fakes.state().tenants.get_mut("initech").unwrap().watermark.as_mut().unwrap().final_delivered_until = until;
    assert_eq!(found().await, (vec!["globex".to_owned()], false, 3), "delivered to the place before the change");
}

#[test]
fn the_answer_names_at_most_a_hundred_tenants() {
    let reconciliation = Reconciliation {
        connected: 300,
        connected_before: None,
        shrunken: false,
        watermarks_without_config: (0..101).map(|n| n.to_string()).collect(),
        settings_without_watermark: vec!["acme".to_owned()],
        event_reads_refused: true,
        everyone_fails: false,
        backlogs_near_retention: 0,
        undelivered_near_retention: Vec::new(),
    };
    let mut answer = serde_json::to_value(&reconciliation).unwrap();
    assert_eq!(answer["watermarksWithoutConfig"].take().as_array().unwrap().len(), 100);
    let expected = serde_json::json!({
        "connected": 300, "connectedBefore": null, "shrunken": false, "watermarksWithoutConfig": null,
        "settingsWithoutWatermark": ["acme"], "eventReadsRefused": true, "everyoneFails": false,
        "backlogsNearRetention": 0, "undeliveredNearRetention": [],
    });
    assert_eq!(answer, expected);
}

#[tokio::test(start_paused = true)]
async fn a_fleet_in_which_every_export_fails_is_reported() {
    let fakes = fleet(names(240));
    let all_due = at("21T03:31");
    let fail = |failures: u64, of: usize| {
        let mut state = fakes.state();
        for tenant in state.tenants.values_mut().take(of) {
            tenant.consecutive_failures = failures;
        }
    };
    assert!(!reconciliation(&fakes, all_due).await.unwrap().everyone_fails, "they are due but don't fail");
    assert_eq!(fakes.calls(Op::Load), 100, "the first chunk shows it");
    fail(1, 239);
    assert!(!reconciliation(&fakes, all_due).await.unwrap().everyone_fails);
    fail(1, 240);
    assert!(reconciliation(&fakes, all_due).await.unwrap().everyone_fails);
    assert!(!reconciliation(&fakes, at("21T02:31")).await.unwrap().everyone_fails, "no tenant is due");
    fakes.state().tenants.retain(|name, _| name.as_str() < "tenant-02");
    assert!(!reconciliation(&fakes, all_due).await.unwrap().everyone_fails, "two may fail independently");
}
