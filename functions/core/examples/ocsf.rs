//! Prints native events and what they are in OCSF, one pair a line, for `make ocsf` to validate: two of each action of a
//! mapping, the system's own about windows and about what users did, and many that are made by chance, the same in every run.
#![forbid(unsafe_code)]

#[path = "../src/ocsf/arbitrary.rs"]
mod arbitrary;

use std::{collections::BTreeMap, io::Write as _};

use audit_log_core::{
    event::{self, Body, StoredEvent, User},
    new_event::Stamp,
    ocsf::Mapping,
    schedule::Window,
    system_events::{AdminChange, Client},
    tenant::TenantId,
};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use serde_json::{Value, json};

const USAGE: &str = "usage: ocsf MAPPING GENERATED-EVENTS";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, count] = &arguments[..] else { return Err(USAGE.into()) };
    let text = std::fs::read_to_string(path)?;
    let mapping = Mapping::parse(&text)?;
    let tenant = TenantId::parse("acme")?;
    let kinds = kinds(&serde_json::from_str(&text)?);

    let mut lines = Vec::new();
    for (log_type, action) in &kinds {
        lines.extend(typical(log_type, action).map(|event| event.to_string()));
    }
    lines.extend(system_events(&tenant)?);
    let mut runner = TestRunner::deterministic();
    let strategy = arbitrary::event(kinds);
    for _ in 0..count.parse()? {
        let event = strategy.new_tree(&mut runner).map_err(|reason| reason.to_string())?;
        lines.push(event.current());
    }

    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{{\"native\":{line},\"ocsf\":{}}}", mapping.event(&tenant, &line, None))?;
    }
    Ok(())
}

/// Log types with their actions. The other actions of a log type are one that nobody knows.
fn kinds(mapping: &Value) -> Vec<(String, String)> {
    let log_types: BTreeMap<String, Value> = serde_json::from_value(mapping["logTypes"].clone()).unwrap_or_default();
    let actions = |(log_type, value): (String, Value)| {
        let names = value["actions"].as_object().into_iter().flat_map(|actions| actions.keys().cloned());
        names.map(move |name| (log_type.clone(), name)).collect::<Vec<_>>()
    };
    let all = log_types.into_iter().flat_map(actions);
    all.chain([("Billing".to_owned(), "Invoice Paid".to_owned())]).collect()
}

/// With all that the shipped mapping looks for, and with nothing.
fn typical(log_type: &str, action: &str) -> [Value; 2] {
    let event = |info: Value| {
        json!({
            "id": "01a1fd8f-5859-7fff-bfff-ffffffffffff", "date": "2026-11-21T10:03:12.345Z", "logType": log_type,
            "action": action, "user": { "id": "usr_01", "name": "Zoë", "email": "zoe@acme.example" },
            "additionalInfo": info,
        })
    };
    let known = json!({
        "ip": "203.0.113.7", "sessionId": "s-1", "scanId": "scan_1", "alertId": "a-1", "ruleId": "r-1", "key": "SEC-17",
        "summary": "Outdated TLS", "memberId": "usr_02", "member": "José", "email": "jose@acme.example", "keyId": "k-1",
    });
    [event(known), event(json!({}))]
}

/// Events that the system itself writes, by the code that writes them.
fn system_events(tenant: &TenantId) -> Result<Vec<String>, Box<dyn std::error::Error>> {
    let window = Window { from: "2026-11-21T10:00:00Z".parse()?, to: "2026-11-21T11:00:00Z".parse()? };
    let stored = |body| StoredEvent { recorded_at_id: "2026-11-21T10:03:12.345Z#01K".to_owned(), body };
    let malformed = [Body::Text("oops \"\\\n".to_owned()), Body::NoText(r#"{"event":{"M":{}}}"#.to_owned())];
    let mut lines = vec![event::heartbeat(tenant, window), event::retention_exceeded(tenant, window)];
    lines.extend(malformed.map(|body| stored(body).line().0.into_owned()));
    let change = AdminChange {
        by: User { id: "usr_01".to_owned(), name: None, email: Some("zoe@acme.example".to_owned()) },
        client: Client { ip_address: Some("203.0.113.7".to_owned()), user_agent: None, token_id: None },
        stamp: Stamp { at: window.from, retention: None },
        id: "01a1fd8f-5859-7fff-bfff-ffffffffffff".to_owned(),
    };
    let events = [
        change.signed_in(tenant, window.to),
        change.signed_out(tenant),
        change.downloaded(tenant, &json!({ "events": 3 })),
        change.external_id_viewed(tenant),
        change.checked(tenant, true, &json!({ "steps": [] })),
        change.checked(tenant, false, &json!({ "steps": [] })),
        change.rotation_started(tenant).event,
        change.rotation_cancelled(tenant).event,
    ];
    lines.extend(events.map(|event| event.document));
    Ok(lines)
}
