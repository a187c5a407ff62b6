//! What is recorded, and so what each consumer must find: office events, hours without events, and what breaks consumers.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_tests::Item;
use audit_log_tests::events::{Event, Spread, generate, timestamp};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

/// Exported by as many ticks.
pub(crate) const HOURS: usize = 8;

/// Hours from the start in which nothing is recorded.
const EMPTY_HOURS: [i64; 3] = [2, 3, 6];

/// The size of the large event's text, in bytes. An item of the events table has at most 400 KB.
const LARGE_TEXT: usize = 300_000;

/// Texts at which readers of lines, decoders and terminals stumble, as they are in the file: both bytes and escapes.
const TEXT: &str = r#"😀 \ud83d\ude00 שלום مرحبا é e\u0301 \u00e9 \" \\ \/ \n\r\t \u0001 <&'> Z"#;

/// Texts that have become events of the system, as they were recorded.
const MALFORMED: [&str; 2] = ["{\"id\": \"cut off", "{\"id\":\"1\",\"id\":\"2\"}"];

/// A tenant's events of [`HOURS`] hours around a midnight.
pub(crate) struct Recorded {
    /// Without the late one.
    pub(crate) events: Vec<Event>,
    /// Stamped in a minute that has other events, which are delivered again with it.
    pub(crate) late: Event,
    pub(crate) malformed: Vec<Item>,
}

impl Recorded {
    pub(crate) fn new(tenant: &str, start: DateTime<Utc>) -> Self {
        let at = |hour: i64, seconds: i64| start + TimeDelta::hours(hour) + TimeDelta::seconds(seconds);
        let mut events = generate(tenant, 600, Spread::Window { from: start, to: at(8, 0) });
        events.retain(|event| !EMPTY_HOURS.contains(&(event.recorded_at - start).num_hours()));
        // In the last quarter of an hour of the window, in which late arrivals are found.
        let minute = 50 * 60;
        // U+2028 and U+2029 end a line for some readers, but not in JSON.
        let text = format!("{TEXT}\u{2028}\u{2029}");
        let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(LARGE_TEXT));
        // In a later hour than those whose events readers look at to guess types.
        events.extend([
            event("text", at(5, 120), &format!(r#"{{"text":"{text}"}}"#)),
            event("large", at(5, 180), &large),
            // A field of two types. In the generated events, it is an object.
            event("other-type", at(5, 240), r#"{"findings":3,"target":{"host":"www"},"list":[1,"two",null]}"#),
            // Two events with the same id.
            event("same-id", at(4, 60), "{}"),
            event("same-id", at(5, 60), "{}"),
            // Delivered twice, and found by the page's queries only once.
            failed_login("beside-the-late-1", at(4, minute + 10)),
            event("beside-the-late-2", at(4, minute + 40), "{}"),
        ]);
        let malformed = MALFORMED.iter().zip(1..).map(|(text, number)| {
            let recorded_at_id = format!("{}#malformed-{number}", timestamp(at(5, 300 + number)));
            let fields = [
                ("tenant_shard", format!("{tenant}#0")),
                ("recorded_at_id", recorded_at_id),
                ("event", (*text).to_owned()),
            ];
            HashMap::from(fields.map(|(name, text)| (name.to_owned(), AttributeValue::S(text))))
        });
        Self { late: event("late", at(4, minute + 20), "{}"), malformed: malformed.collect(), events }
    }

    /// What a consumer must find, from the recorded documents alone.
    pub(crate) fn expectation(&self) -> Result<Value> {
        let mut events = Vec::new();
        let mut failed_logins = Vec::new();
        for event in self.events.iter().chain([&self.late]) {
            let document: Value = serde_json::from_str(&event.document)?;
            let name = &document["user"]["name"];
            events.push(json!([document["id"], document["date"], document["logType"], document["action"], name]));
            if event.action == "Login Failed" {
                failed_logins.push(json!([document["date"], name, document["additionalInfo"]["ip"]]));
            }
        }
        for item in &self.malformed {
            let key = audit_log_tests::attribute(item, "recorded_at_id");
            let (date, id) = key.split_once('#').context("a key without an id")?;
            events.push(json!([id, date, "System", "Malformed Audit Event", "System"]));
        }
        let minute = TimeDelta::minutes(1);
        let late = self.late.recorded_at.duration_trunc(minute)?;
        let repeated =
            self.events.iter().filter(|event| late <= event.recorded_at && event.recorded_at < late + minute);
        let text: String = serde_json::from_str(&format!("\"{TEXT}\u{2028}\u{2029}\""))?;
        Ok(json!({
            "events": events, "failedLogins": failed_logins, "heartbeats": EMPTY_HOURS.len(), "repeated": repeated.count(),
            "text": text, "largeText": LARGE_TEXT, "malformed": MALFORMED,
        }))
    }
}

fn event(id: &str, at: DateTime<Utc>, info: &str) -> Event {
    with_action(("Scan", "Scan Now"), id, at, info)
}

fn failed_login(id: &str, at: DateTime<Utc>) -> Event {
    with_action(("Authentication", "Login Failed"), id, at, r#"{"ip":"192.0.2.7"}"#)
}

fn with_action((log_type, action): (&str, &str), id: &str, at: DateTime<Utc>, info: &str) -> Event {
    let date = timestamp(at);
    let user = format!(r#"{{"id":"usr_99","name":"Zoë {TEXT}","email":"zoe@shop.example"}}"#);
    let document = format!(
        r#"{{"id":"{id}","date":"{date}","logType":"{log_type}","action":"{action}","user":{user},"additionalInfo":{info}}}"#
    );
    let (log_type, action) = (log_type.to_owned(), action.to_owned());
    Event { shard: 0, id: id.to_owned(), recorded_at: at, log_type, action, user_email: None, document }
}
