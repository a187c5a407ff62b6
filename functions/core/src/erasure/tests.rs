//! Tests of erasures: what goes, what stays, what is refused, and what an interruption leaves.

use futures::FutureExt as _;

use super::*;
use crate::{
    event::{Body, StoredEvent, User},
    failure::{Code, Failure},
    fakes::{Fakes, Fault, Op},
    late_arrivals::TrailingCounts,
    lease::Lease,
    new_event::{Activity, NewEvent, Stamp, time_ordered_id},
    onboarding::{
        self, Verified,
        tests::{at, change_at},
    },
    ports::{Recorder as _, Recording, Settings as _, SlotKind},
    records::{FinalDeliveries, Location, Place, Receipt},
    settings::{
        Draft,
        tests::{draft, platform},
    },
    system_events::EndedDelivery,
    tenant::ExternalId,
};

type SetUp = fn(&Fakes);

const SAVED: &str = "2026-11-21T10:03:00Z";
const LEFT: &str = "2026-11-21T12:30:00Z";
const NOW: &str = "2026-11-22T09:00:00Z";

fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

/// Records an event of a tenant, with its marker.
fn record(fakes: &Fakes, id: &str, at: DateTime<Utc>, seed: u8) {
    let user = User::system();
    let activity = Activity { log_type: "Scan", action: "Scan Now", user: &user };
    let stamp = Stamp { at, retention: None };
    let event = NewEvent::new(&tenant(id), stamp, time_ordered_id(at, &[seed; 10]), activity, &());
    now(fakes.record(&event)).unwrap();
}

fn save(fakes: &Fakes, id: &str, time: &str) -> Result<Conditional, Failure> {
    let tenant = tenant(id);
    let as_read = now(fakes.records(&tenant)).unwrap();
    let version = as_read.config.as_ref().and_then(|config| config.version.clone());
    let config = Draft { version, ..draft() }.check(&tenant, &platform()).unwrap();
    now(onboarding::save(fakes, &as_read, &config, None, Verified::NotTried, &change_at(at(time))))
}

fn disconnect(fakes: &Fakes, id: &str) {
    let as_read = now(fakes.records(&tenant(id))).unwrap();
    let disconnected = now(onboarding::disconnect(fakes, &as_read, &tenant(id), &change_at(at(LEFT))));
    assert_eq!(disconnected, Ok(Conditional::Written));
}

/// An admin's look at the external ID, which makes it.
fn look(fakes: &Fakes, id: &str, candidate: &ExternalId) -> Result<String, Failure> {
    let viewed = change_at(at(SAVED) - TimeDelta::minutes(1)).external_id_viewed(&tenant(id));
    now(fakes.external_id(&tenant(id), candidate, &viewed))
}

/// Tenants with settings, events in several shards, markers and an external ID.
fn fleet(ids: &[&str]) -> Fakes {
    let fakes = Fakes::default();
    for id in ids {
        let external_id = ExternalId::parse("made-first").unwrap();
        look(&fakes, id, &external_id).unwrap();
        assert_eq!(save(&fakes, id, SAVED), Ok(Conditional::Written));
        for n in 0..25 {
            record(&fakes, id, at(SAVED) + TimeDelta::seconds(n.into()), n);
        }
        // Written straight into the table, into a shard that no config names.
        let recorded_at_id = format!("{}#by-hand", timestamp::millis(at(SAVED)));
        let event = StoredEvent { recorded_at_id, body: Body::Text("{}".to_owned()) };
        fakes.put_event(&tenant(id), 63, event);
        assert!(now(fakes.take_slot(&tenant(id), SlotKind::Verification, at(SAVED), 5)).unwrap());
        publish(&fakes, id);
    }
    fakes
}

/// Empties the outbox, as the exporter does after each change.
fn publish(fakes: &Fakes, id: &str) {
    let mut state = fakes.state();
    let outbox = &mut state.tenants.get_mut(id).unwrap().outbox;
    let ids: Vec<String> = outbox.entries.iter().map(|entry| entry.id.clone()).collect();
    outbox.remove(&ids);
}

/// Disconnects the tenant, and makes the final delivery and publishes the outbox as the exporter does.
fn leave(fakes: &Fakes, id: &str) {
    disconnect(fakes, id);
    publish(fakes, id);
    let mut state = fakes.state();
    let stored = state.tenants.get_mut(id).unwrap();
    let FinalDeliveries { revision, places, .. } = stored.final_deliveries.clone();
    stored.final_deliveries = FinalDeliveries { revision: revision + 1, ..FinalDeliveries::default() };
    let delivered_until = places.iter().map(|place| timestamp::seconds(place.until)).max();
    stored.watermark.as_mut().unwrap().final_delivered_until = delivered_until;
    drop(state);
    for delivery in &places {
        let stamp = Stamp { at: at(LEFT) + TimeDelta::minutes(31), retention: None };
        let counts = TrailingCounts::new(delivery.window());
        let Place { bucket, folder, .. } = delivery.place.clone();
        let receipt = Receipt::empty(delivery.window(), Location { bucket, folder }, counts);
        let completed = EndedDelivery { tenant: &tenant(id), delivery }.completed(stamp, &receipt);
        assert_eq!(now(fakes.record(&completed.event)), Ok(Recording::Created));
    }
}

fn erase_now(fakes: &Fakes, id: &str) -> Result<Outcome, Failure> {
    now(erase(fakes, &tenant(id), at(NOW), |_| {}))
}

/// All that there is of a tenant.
fn items(fakes: &Fakes, id: &str) -> (Counts, String) {
    let counts = now(survey(fakes, fakes, &tenant(id), at(NOW))).unwrap().counts;
    let state = fakes.state();
    let events: Vec<_> = state.events.iter().filter(|((of, _), _)| of == id).collect();
    let markers: Vec<_> = state.markers.iter().filter(|((of, _), _)| of == id).collect();
    (counts, format!("{:?} {events:?} {markers:?}", state.tenants.get(id)))
}

#[test]
fn all_of_the_tenant_is_erased_and_nothing_of_another() {
    let fakes = fleet(&["acme", "acme-2", "ACME", "acme_0"]);
    let others = ["acme-2", "ACME", "acme_0"];
    let before = others.map(|id| items(&fakes, id));
    leave(&fakes, "acme");

    let (counts, _) = items(&fakes, "acme");
    // 25 events, one by hand, three of what the admin did, and the end of the final delivery; all but the one have markers.
    assert_eq!(counts, Counts { events: 30, markers: 29, receipts: 0, records: 5 });
    let mut steps = Vec::new();
    let erased = now(erase(&fakes, &tenant("acme"), at(NOW), |so_far| steps.push(so_far.total())));
    assert_eq!(erased, Ok(Outcome::Erased(counts)));
    assert!(steps.len() > 5 && steps.is_sorted(), "{steps:?}");

    let state = fakes.state();
    assert!(!state.tenants.contains_key("acme"));
    assert!(state.events.iter().all(|((of, _), events)| of != "acme" || events.is_empty()));
    assert!(state.markers.keys().all(|(of, _)| of != "acme"));
    drop(state);
    assert_eq!(others.map(|id| items(&fakes, id)), before);
    assert_eq!(erase_now(&fakes, "acme"), Ok(Outcome::Erased(Counts::default())), "a second time");
}

#[test]
fn a_tenant_that_is_connected_leased_or_waited_for_is_not_touched() {
    let setups: [(&str, SetUp, Obstacle); 5] = [
        ("scheduled", |_| {}, Obstacle::Connected),
        (
            "a role, and no settings yet",
            |fakes| fakes.state().tenants.get_mut("acme").unwrap().watermark = None,
            Obstacle::Connected,
        ),
        (
            "leased",
            |fakes| {
                leave(fakes, "acme");
                fakes.state().tenants.get_mut("acme").unwrap().lease = Some(Lease::new([7; 16], at(NOW)));
            },
            Obstacle::LeasedUntil(at(NOW)),
        ),
        (
            "a notification waits",
            |fakes| {
                leave(fakes, "acme");
                let change = change_at(at(LEFT)).disconnected(&tenant("acme"), &draft());
                let mut state = fakes.state();
                let outbox = &mut state.tenants.get_mut("acme").unwrap().outbox;
                outbox.add(outbox.addition(&change.notification.unwrap()));
            },
            Obstacle::Pending("outbox".to_owned()),
        ),
        (
            "a final delivery waits",
            |fakes| {
                disconnect(fakes, "acme");
                publish(fakes, "acme");
            },
            Obstacle::Pending("final_delivery".to_owned()),
        ),
    ];
    for (title, set_up, obstacle) in setups {
        let fakes = fleet(&["acme"]);
        set_up(&fakes);
        let before = items(&fakes, "acme");
        assert_eq!(erase_now(&fakes, "acme"), Ok(Outcome::Refused(vec![obstacle.clone()])), "{title}");
        let survey = now(survey(&fakes, &fakes, &tenant("acme"), at(NOW))).unwrap();
        assert_eq!(survey.obstacles, [obstacle], "{title}");
        assert_eq!(items(&fakes, "acme"), before, "{title}");
        assert_eq!((fakes.calls(Op::BeginErasure), fakes.calls(Op::Erase)), (0, 0), "{title}");
    }
}

#[test]
fn an_expired_lease_is_no_obstacle() {
    let fakes = fleet(&["acme"]);
    leave(&fakes, "acme");
    let expired = Lease::new([7; 16], at(NOW) - TimeDelta::milliseconds(1));
    fakes.state().tenants.get_mut("acme").unwrap().lease = Some(expired);
    assert!(matches!(erase_now(&fakes, "acme"), Ok(Outcome::Erased(_))));
}

/// Between the look and the first write.
#[test]
fn a_tenant_that_comes_back_meanwhile_is_not_erased() {
    let fakes = fleet(&["acme"]);
    leave(&fakes, "acme");
    let again = fakes.clone();
    let reconnect = move || assert_eq!(save(&again, "acme", "2026-11-22T08:59:59Z"), Ok(Conditional::Written));
    fakes.once(Op::BeginErasure, Some("acme"), Fault::After(Box::new(reconnect)));
    let (before, _) = items(&fakes, "acme");
    assert_eq!(erase_now(&fakes, "acme"), Ok(Outcome::Refused(vec![Obstacle::Changed])));
    let (after, _) = items(&fakes, "acme");
    assert_eq!((after.events, after.markers), (before.events + 1, before.markers + 1), "the save's own event");
    assert_eq!(now(fakes.records(&tenant("acme"))).unwrap().config.unwrap().bucket.as_deref(), Some("acme-audit"));
}

/// The command runs twice, and the tenant comes back after the later run has ended.
#[test]
fn an_erasure_stops_at_each_step_once_another_has_begun() {
    let alone = fleet(&["acme"]);
    leave(&alone, "acme");
    assert!(matches!(erase_now(&alone, "acme"), Ok(Outcome::Erased(_))));
    let steps = alone.calls(Op::Erase);
    for step in (1..steps).step_by(40).chain([steps - 1, steps]) {
        let fakes = fleet(&["acme"]);
        leave(&fakes, "acme");
        (1..step).for_each(|_| fakes.once(Op::Erase, Some("acme"), Fault::After(Box::new(|| {}))));
        let others = fakes.clone();
        let come_back = move || {
            // The faults of the other run are not planned yet.
            assert!(matches!(erase_now(&others, "acme"), Ok(Outcome::Erased(_))), "step {step}");
            let external_id = ExternalId::parse("made-second").unwrap();
            look(&others, "acme", &external_id).unwrap();
            assert_eq!(save(&others, "acme", NOW), Ok(Conditional::Written));
            record(&others, "acme", at(NOW), 77);
        };
        fakes.once(Op::Erase, Some("acme"), Fault::After(Box::new(come_back)));
        assert_eq!(erase_now(&fakes, "acme"), Ok(Outcome::Refused(vec![Obstacle::Changed])), "step {step}");
        let (counts, _) = items(&fakes, "acme");
        assert_eq!((counts.events, counts.markers, counts.records), (3, 3, 3), "step {step}");
    }
}

#[test]
fn nobody_can_connect_the_tenant_between_an_interruption_and_the_repetition() {
    // Each call but the first, in which nothing is erased yet.
    for call in 1..=40 {
        let fakes = fleet(&["acme"]);
        leave(&fakes, "acme");
        let stale = now(fakes.records(&tenant("acme"))).unwrap();
        let pass = |op| fakes.once(op, Some("acme"), Fault::After(Box::new(|| {})));
        (1..call).for_each(|_| pass(Op::Erase));
        fakes.once(Op::Erase, Some("acme"), Fault::Fail(Failure::new(Code::Throttled, "DynamoDB is busy.")));
        assert_eq!(erase_now(&fakes, "acme").unwrap_err().code, Code::Throttled, "call {call}");

        let another = ExternalId::parse("made-second").unwrap();
        assert_eq!(look(&fakes, "acme", &another), Err(crate::ports::being_erased()));
        let config = draft().check(&tenant("acme"), &platform()).unwrap();
        let saved = now(onboarding::save(&fakes, &stale, &config, None, Verified::NotTried, &change_at(at(NOW))));
        assert_eq!(saved, Ok(Conditional::ConditionFailed), "call {call}");

        assert!(matches!(erase_now(&fakes, "acme"), Ok(Outcome::Erased(_))));
        assert_eq!(items(&fakes, "acme").0, Counts::default());
        assert_eq!(look(&fakes, "acme", &another).as_deref(), Ok("made-second"), "a new external ID");
    }
}

#[test]
fn events_that_are_recorded_meanwhile_are_erased_too_and_the_erasure_goes_on_while_there_is_no_end_of_them() {
    let fakes = fleet(&["acme"]);
    leave(&fakes, "acme");
    let services = fakes.clone();
    let one_more = move || record(&services, "acme", at(NOW), 99);
    (0..70).for_each(|_| fakes.once(Op::Erase, Some("acme"), Fault::After(Box::new(|| {}))));
    fakes.once(Op::Erase, Some("acme"), Fault::After(Box::new(one_more)));
    let Ok(Outcome::Erased(counts)) = erase_now(&fakes, "acme") else { panic!("not erased") };
    assert_eq!((counts.events, counts.markers), (31, 30));
    assert_eq!(items(&fakes, "acme").0, Counts::default());

    let fakes = fleet(&["acme"]);
    leave(&fakes, "acme");
    for n in 0..1_000_u32 {
        let services = fakes.clone();
        let seed = n.to_be_bytes()[3];
        let another = move || record(&services, "acme", at(NOW) + TimeDelta::milliseconds(n.into()), seed);
        fakes.once(Op::Erase, Some("acme"), Fault::After(Box::new(another)));
    }
    assert!(matches!(erase_now(&fakes, "acme"), Ok(Outcome::StillRecorded(_))));
    let another = ExternalId::parse("made-second").unwrap();
    assert_eq!(look(&fakes, "acme", &another), Err(crate::ports::being_erased()));
    fakes.heal();
    assert!(matches!(erase_now(&fakes, "acme"), Ok(Outcome::Erased(_))));
    assert_eq!(items(&fakes, "acme").0, Counts::default());
}

#[test]
fn events_that_were_delivered_nowhere_are_reported() {
    let fakes = fleet(&["acme"]);
    let undelivered = |fakes: &Fakes| now(survey(fakes, fakes, &tenant("acme"), at(NOW))).unwrap().undelivered;
    disconnect(&fakes, "acme");
    assert!(undelivered(&fakes), "before the final delivery");
    let fakes = fleet(&["acme"]);
    leave(&fakes, "acme");
    assert!(!undelivered(&fakes), "the end of the final delivery is recorded after it");
    let late = format!("{}#by-hand", timestamp::millis(at(LEFT) + TimeDelta::hours(1)));
    fakes.put_event(&tenant("acme"), 63, StoredEvent { recorded_at_id: late, body: Body::Text("{}".to_owned()) });
    assert!(undelivered(&fakes), "in a shard that no config names");
}

#[test]
fn an_obstacle_says_what_to_do() {
    for (obstacle, words) in [
        (Obstacle::Connected, "disconnect it"),
        (Obstacle::LeasedUntil(at(NOW)), "until 2026-11-22T09:00:00Z. Wait"),
        (Obstacle::Pending("outbox".to_owned()), "The hourly check publishes them"),
        (Obstacle::Pending("final_delivery".to_owned()), "The next tick delivers it"),
        (Obstacle::Pending("replay".to_owned()), "the next tick or hourly check ends it"),
        (Obstacle::Pending("another".to_owned()), "The tenant's record another waits"),
        (Obstacle::Changed, "Run it again"),
    ] {
        assert!(obstacle.to_string().contains(words), "{obstacle}");
    }
}
