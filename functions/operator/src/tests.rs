//! Tests of the dialogue, on the fakes.

use audit_log_core::{
    event::{Body, StoredEvent},
    failure::{Code, Failure},
    fakes::{FakeTenant, Fakes, Fault, Op},
    lease::Lease,
    records::StoredWatermark,
    settings::Draft,
    tenant::TenantId,
};

use super::*;

/// A tenant that has left, with two events.
fn left() -> Fakes {
    let fakes = Fakes::default();
    let acme = TenantId::parse("acme").unwrap();
    let config = Draft { bucket: Some("acme-audit".to_owned()), ..Draft::default() };
    let watermark =
        StoredWatermark { exported_until: Some("2026-11-21T10:00:00Z".to_owned()), ..StoredWatermark::default() };
    let tenant = FakeTenant { config: Some(config), watermark: Some(watermark), ..FakeTenant::default() };
    fakes.state().tenants.insert("acme".to_owned(), tenant);
    for id in ["2026-11-21T09:00:00.000Z#a", "2026-11-21T09:30:00.000Z#b"] {
        fakes.put_event(&acme, 0, StoredEvent { recorded_at_id: id.to_owned(), body: Body::Text("{}".to_owned()) });
    }
    fakes
}

async fn operate(fakes: &Fakes, flags: &str, typed: &str) -> (Result<End>, String) {
    let line = format!("--tenants-table t --events-table e --tenant acme {flags}");
    let options = Options::from_arguments(line.split_whitespace().map(str::to_owned)).unwrap();
    let mut screen = Vec::new();
    let console = Console { answers: typed.as_bytes(), screen: &mut screen };
    let end = run(fakes, fakes, &options, || "2026-11-22T09:00:00Z".parse().unwrap(), console).await;
    (end, String::from_utf8(screen).unwrap())
}

fn events(fakes: &Fakes) -> usize {
    fakes.state().events.values().map(|shard| shard.len()).sum()
}

#[tokio::test]
async fn the_tenant_is_erased_once_its_id_is_typed() {
    for (flags, typed) in [("", "acme\n"), ("", "acme\r\n"), ("--yes", "")] {
        let fakes = left();
        let (end, printed) = operate(&fakes, flags, typed).await;
        assert_eq!(end.unwrap(), End::Done, "{printed}");
        assert!(printed.contains("Bucket: s3://acme-audit. Delivered until: 2026-11-21T10:00:00Z."), "{printed}");
        assert!(printed.contains("Erased: events 2, id markers 0, receipts 0, other records 2."), "{printed}");
        assert!(!printed.contains("delivered nowhere"), "{printed}");
        assert_eq!((events(&fakes), fakes.state().tenants.len()), (0, 0));
    }
}

#[tokio::test]
async fn without_the_id_or_in_a_dry_run_nothing_is_erased() {
    let flags_and_ends = [
        ("", "yes\n", End::Refused),
        ("", "ACME\n", End::Refused),
        ("", "", End::Refused),
        ("--dry-run --yes", "", End::Done),
    ];
    for (flags, typed, expected) in flags_and_ends {
        let fakes = left();
        let (end, printed) = operate(&fakes, flags, typed).await;
        assert_eq!(end.unwrap(), expected, "{printed}");
        assert!(printed.contains("Nothing was erased"), "{printed}");
        assert_eq!((events(&fakes), fakes.calls(Op::BeginErasure)), (2, 0));
    }
}

#[tokio::test]
async fn an_obstacle_is_named_before_anything_is_asked() {
    let fakes = left();
    let watermark = |state: &mut FakeTenant| state.watermark.as_mut().unwrap().due_shard = Some("8".to_owned());
    watermark(fakes.state().tenants.get_mut("acme").unwrap());
    let (end, printed) = operate(&fakes, "", "acme\n").await;
    assert_eq!(end.unwrap(), End::Refused);
    assert!(printed.contains("- The tenant is connected.") && !printed.contains("Type the"), "{printed}");
    assert_eq!(events(&fakes), 2);
}

#[tokio::test]
async fn events_without_a_delivery_are_named() {
    let fakes = left();
    fakes.state().tenants.get_mut("acme").unwrap().watermark = None;
    let (_, printed) = operate(&fakes, "--dry-run", "").await;
    assert!(printed.contains("Delivered until: never.") && printed.contains("delivered nowhere"), "{printed}");
}

#[tokio::test]
async fn while_events_are_still_recorded_the_tenant_is_not_erased_and_the_command_fails() {
    let fakes = left();
    for n in 0..1_000 {
        let services = fakes.clone();
        let another = move || {
            let event = StoredEvent {
                recorded_at_id: format!("2026-11-22T09:00:00.000Z#{n}"),
                body: Body::Text("{}".to_owned()),
            };
            services.put_event(&TenantId::parse("acme").unwrap(), 0, event);
        };
        fakes.once(Op::Erase, Some("acme"), Fault::After(Box::new(another)));
    }
    let (end, printed) = operate(&fakes, "--yes", "").await;
    assert_eq!(end.unwrap(), End::Refused, "{printed}");
    assert!(printed.contains("still being recorded") && printed.contains("run the command again"), "{printed}");
    assert!(fakes.state().tenants["acme"].erasing_since.is_some(), "nobody can connect it");
}

/// The operator answers an hour later, and a lease of the time between has expired.
#[tokio::test]
async fn the_time_is_that_after_the_answer() {
    let fakes = left();
    let line = "--tenants-table t --events-table e --tenant acme".split_whitespace().map(str::to_owned);
    let options = Options::from_arguments(line).unwrap();
    let asked = std::cell::Cell::new(0);
    let now = || {
        asked.set(asked.get() + 1);
        let reading = if asked.get() == 1 { "2026-11-22T09:00:00Z" } else { "2026-11-22T10:00:00Z" };
        reading.parse().unwrap()
    };
    let until = "2026-11-22T09:30:00Z".parse().unwrap();
    let console = Console { answers: "acme\n".as_bytes(), screen: Vec::new() };
    let taken = fakes.clone();
    let take_lease = move || {
        taken.state().tenants.get_mut("acme").unwrap().lease = Some(Lease::new([7; 16], until));
    };
    fakes.once(Op::BeginErasure, Some("acme"), Fault::After(Box::new(take_lease)));
    assert_eq!(run(&fakes, &fakes, &options, now, console).await.unwrap(), End::Done);
}

#[tokio::test]
async fn after_an_interruption_the_command_says_so_and_finishes() {
    let fakes = left();
    fakes.always(Op::Erase, Some("acme"), Failure::new(Code::Throttled, "DynamoDB is busy."));
    let (end, _) = operate(&fakes, "--yes", "").await;
    let stopped = format!("{:#}", end.unwrap_err());
    assert!(stopped.contains("DynamoDB is busy.") && stopped.contains("Run the command again"), "{stopped}");
    fakes.heal();
    let (end, printed) = operate(&fakes, "", "acme\n").await;
    assert_eq!(end.unwrap(), End::Done);
    assert!(printed.contains("An erasure was begun and not finished."), "{printed}");
    let (end, printed) = operate(&fakes, "", "").await;
    assert_eq!(end.unwrap(), End::Done);
    assert!(printed.contains("There is nothing to erase."), "{printed}");
}
