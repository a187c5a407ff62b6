//! Tests of the made-up events.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use chrono::Timelike as _;

use super::*;

fn day() -> Result<Spread> {
    Ok(Spread::OfficeDay(NaiveDate::from_ymd_opt(2026, 11, 20).context("no such day")?))
}

#[test]
fn a_day_is_the_same_in_every_run() -> Result<()> {
    let events = generate("acme", 3, day()?);
    let documents: Vec<_> = events.iter().map(|event| event.document.as_str()).collect();
    assert_eq!(
        documents[0],
        r#"{"id":"01a1f899-2c53-7b42-ab8e-7c4a91ebce5d","date":"2026-11-20T10:55:50.355Z","logType":"Scan","action":"Scan Now","user":{"id":"usr_08","name":"Oluwaseun Adeyemi","email":"seun.adeyemi@acme.example"},"additionalInfo":{"scanId":"scan_3c4ad0d8be0a","target":"shop.acme.example"}}"#
    );
    assert_eq!(events, generate("acme", 3, day()?));
    assert_ne!(events, generate("globex", 3, day()?));
    Ok(())
}

#[test]
fn a_day_has_most_events_in_office_hours_and_several_kinds() -> Result<()> {
    let events = generate("acme", 2000, day()?);
    let during =
        |hours: std::ops::Range<u32>| events.iter().filter(|event| hours.contains(&event.recorded_at.hour())).count();
    assert_eq!(during(0..24), 2000);
    assert!(during(8..18) > 10 * during(20..24));
    let kinds: BTreeSet<_> = events.iter().map(|event| event.action.as_str()).collect();
    assert!(kinds.len() > 10, "{kinds:?}");
    assert!(events.iter().any(|event| !event.document.is_ascii()));
    Ok(())
}

#[test]
fn an_item_is_as_the_tables_contract_says() -> Result<()> {
    for event in generate("acme", 200, day()?) {
        let key = event.recorded_at_id();
        let (at, id) = key.split_once('#').context("no id in the key")?;
        assert_eq!((at.len(), &at[19..20], &at[23..]), (24, ".", "Z"));
        let document: Value = serde_json::from_str(&event.document)?;
        assert_eq!((&document["id"], &document["date"]), (&Value::from(id), &Value::from(at)));
        assert_eq!(document["action"], event.action.as_str());
        assert_eq!(document["logType"], event.log_type.as_str());
        assert_eq!(document["user"]["email"].as_str(), event.user_email.as_deref());
        assert!(document["additionalInfo"].is_object());
    }
    Ok(())
}

#[test]
fn a_window_has_all_its_events_in_order() -> Result<()> {
    let from = "2026-11-20T10:00:00Z".parse()?;
    let to = from + Duration::hours(1);
    let events = generate("acme", 500, Spread::Window { from, to });
    assert!(events.iter().all(|event| (from..to).contains(&event.recorded_at)));
    assert!(events.is_sorted_by_key(|event| event.recorded_at));
    let keys: BTreeSet<_> = events.iter().map(Event::recorded_at_id).collect();
    assert_eq!(keys.len(), 500);
    Ok(())
}
