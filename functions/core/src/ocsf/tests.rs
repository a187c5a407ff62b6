//! Events and refusals are tested by a mapping of the tests' own, so that no extension of the shipped one fails them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

use super::{
    arbitrary,
    native::{Members, text},
    *,
};
use crate::{event, member_names, schedule::Window, system_events::RESERVED_LOG_TYPES, tenant::Schema};

const SHIPPED: &str = include_str!("../../../schema/ocsf.json");
const FIXTURE: &str = include_str!("fixture.json");
/// A login, a malformed event, a gap and a heartbeat. The verifier's tests read them, too.
const EXAMPLES: &str = include_str!("../../../schema/examples/ocsf.ndjson");
const LOGIN: &str = r#"{"id":"01K","date":"2026-11-21T10:03:12.345Z","logType":"Authentication","action":"Login","user":{"id":"usr_01","name":"Zoë","email":"zoe@acme.example"},"additionalInfo":{"ip":"192.0.2.7","tries":1.50e+2}}"#;
const PAGE: &str = include_str!("../../../../docs/ocsf.md");
const CATALOGUE: &str = include_str!("../../../schema/catalogue.json");

fn shipped() -> &'static Mapping {
    static MAPPING: LazyLock<Mapping> = LazyLock::new(|| Mapping::parse(SHIPPED).unwrap());
    &MAPPING
}

pub(crate) fn fixture() -> Arc<Mapping> {
    static MAPPING: LazyLock<Arc<Mapping>> = LazyLock::new(|| Arc::new(Mapping::parse(FIXTURE).unwrap()));
    Arc::clone(&MAPPING)
}

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn mapped(native: &Value) -> Value {
    serde_json::from_str(&fixture().event(&acme(), &native.to_string(), None)).unwrap()
}

fn class_of(native: &Value) -> u64 {
    mapped(native)["class_uid"].as_u64().unwrap()
}

/// Parsed JSON with numbers and texts as they are written.
#[derive(Debug, PartialEq)]
enum Exact {
    Scalar(String),
    List(Vec<Exact>),
    Object(BTreeMap<String, Exact>),
}

impl Exact {
    fn parse(json: &str) -> Self {
        match json.as_bytes()[0] {
            b'{' => Self::Object(members(json).into_iter().map(|(name, value)| (name, Self::parse(value))).collect()),
            b'[' => {
                let values: Vec<&RawValue> = serde_json::from_str(json).unwrap();
                Self::List(values.iter().map(|value| Self::parse(value.get())).collect())
            }
            _ => Self::Scalar(json.to_owned()),
        }
    }
}

/// The members by their names, as they would be read.
fn members(json: &str) -> BTreeMap<String, &str> {
    let Members(members) = serde_json::from_str(json).unwrap();
    let name = |name: &str| text(name).map_or_else(|| name.to_owned(), |text| text.into_owned());
    members.into_iter().map(|(raw, value)| (name(raw), value)).collect()
}

/// The native event of an OCSF event, as docs/ocsf.md has it.
fn rebuild(ocsf: &str) -> Exact {
    let event = members(ocsf);
    let under = |name: &str| event.get(name).copied().map(members).unwrap_or_default();
    let renamed = |from: &BTreeMap<String, &str>, names: &[(&str, &str)]| -> BTreeMap<String, Exact> {
        let found = names.iter().filter_map(|(native, name)| Some((*native, from.get(*name)?)));
        found.map(|(native, value)| (native.to_owned(), Exact::parse(value))).collect()
    };
    let origin = [("id", "uid"), ("date", "original_time"), ("logType", "log_name"), ("action", "event_code")];
    let mut native = renamed(&under("metadata"), &origin);
    if let Some(user) = under("actor").get("user").copied() {
        let user = renamed(&members(user), &[("id", "uid"), ("name", "name"), ("email", "email_addr")]);
        native.insert("user".to_owned(), Exact::Object(user));
    }
    native.extend(under("unmapped").into_iter().map(|(name, value)| (name, Exact::parse(value))));
    Exact::Object(native)
}

fn kinds() -> Vec<(String, String)> {
    let mut kinds: Vec<_> =
        shipped().actions().map(|(log_type, action)| (log_type.to_owned(), action.to_owned())).collect();
    kinds.sort();
    kinds.push(("Billing".to_owned(), "Invoice Paid".to_owned()));
    kinds
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn the_native_event_can_be_rebuilt_from_the_ocsf_event(line in arbitrary::event(kinds())) {
        let ocsf = shipped().event(&acme(), &line, None);
        prop_assert!(!ocsf.contains(['\n', '\r']));
        prop_assert_eq!(rebuild(&ocsf), Exact::parse(&line), "{}\n{}", line, ocsf);
        prop_assert_eq!(member_names::find_repeated(&ocsf), None, "{}", ocsf);
    }

    #[test]
    fn any_text_becomes_an_event(text in r#"[{}\[\]:,"\\ \n0-9a-cü]{0,40}"#) {
        let event: Value = serde_json::from_str(&shipped().event(&acme(), &text, None)).unwrap();
        let is_object = serde_json::from_str::<serde_json::Map<String, Value>>(&text).is_ok();
        let raw = event["raw_data"].as_str();
        prop_assert!(raw == Some(&text) || is_object, "{}", event);
        prop_assert_eq!(&event["metadata"]["tenant_uid"], "acme");
    }
}

#[test]
fn the_examples_are_what_the_export_writes() {
    let window = Window { from: "2026-11-21T10:00:00Z".parse().unwrap(), to: "2026-11-21T11:00:00Z".parse().unwrap() };
    let recorded_at_id = "2026-11-21T10:03:12.345Z#01K".to_owned();
    let stored = event::StoredEvent { recorded_at_id, body: event::Body::Text("oops".to_owned()) };
    let (malformed, _) = stored.line();
    let [gap, heartbeat] = [event::retention_exceeded(&acme(), window), event::heartbeat(&acme(), window)];
    let events = [LOGIN, &malformed, &gap, &heartbeat].map(|line| fixture().event(&acme(), line, None));
    assert_eq!(EXAMPLES.lines().collect::<Vec<_>>(), events);
}

/// The actions of the catalogue, and the events that the system itself writes, by docs/exported-objects.md.
fn known_actions() -> BTreeSet<(String, String)> {
    let catalogue: BTreeMap<String, BTreeSet<String>> = serde_json::from_str(CATALOGUE).unwrap();
    let (_, page) = include_str!("../../../../docs/exported-objects.md").split_once("## System events").unwrap();
    let (system, export) = page.split_once("Everything that happens").unwrap();
    let listed = |text: &str| -> BTreeSet<String> {
        let rows =
            text.lines().filter(|line| *line != "| `action` | when |").filter_map(|line| line.strip_prefix("| `"));
        let names = rows.filter_map(|row| row.split_once(" | ")).flat_map(|(names, _)| names.split(['`', ',']));
        names.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    let [first, second] = RESERVED_LOG_TYPES;
    let reserved = [(first.to_owned(), listed(export)), (second.to_owned(), listed(system))];
    let all = catalogue.into_iter().chain(reserved);
    all.flat_map(|(log_type, actions)| actions.into_iter().map(move |action| (log_type.clone(), action))).collect()
}

#[test]
fn each_known_action_has_an_entry_and_the_docs_say_of_what_class_it_is() {
    let example = PAGE.split("```json\n").nth(1).and_then(|rest| rest.lines().next());
    assert_eq!(example, EXAMPLES.lines().next());
    let rows: BTreeSet<(String, String, String)> = PAGE
        .lines()
        .filter_map(|line| {
            let [log_type, actions, class, activity] =
                line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ").collect::<Vec<_>>()[..].try_into().ok()?;
            Some((log_type, actions, format!("{class} {activity}")))
        })
        .flat_map(|(log_type, actions, class): (&str, &str, String)| {
            let actions = actions.split(", ").map(|action| action.trim_matches('`').to_owned());
            let log_type = log_type.trim_matches('`').to_owned();
            actions.map(move |action| (log_type.clone(), action, class.clone())).collect::<Vec<_>>()
        })
        .collect();
    let data: Value = serde_json::from_str(SHIPPED).unwrap();
    let expected = known_actions().into_iter().map(|(log_type, action)| {
        let entries = &data["logTypes"][&log_type]["actions"];
        let entry = entries.get(&action).or_else(|| entries.get("*"));
        let entry = entry.unwrap_or_else(|| panic!("{action} of {log_type} has no entry"));
        let (class, activity) = (entry["class"].as_str().unwrap(), entry["activity"].as_str().unwrap());
        let uid = shipped().entry(Some(&log_type), Some(&action)).class.uid();
        (log_type, action, format!("{class} ({uid}) {activity}"))
    });
    assert_eq!(rows, expected.collect());
}

#[test]
fn the_metadata_of_objects_names_the_version() {
    assert_eq!(Schema::Ocsf.version(), format!("ocsf-{VERSION}"));
}

#[test]
fn an_event_that_lacks_what_its_class_requires_is_a_base_event() {
    let user = json!({ "id": "usr_01" });
    let event = |log_type: &str, action: &str, user: &Value, info: Value| {
        class_of(&json!({ "logType": log_type, "action": action, "user": user, "additionalInfo": info }))
    };
    let client = json!({ "client": { "ipAddress": "203.0.113.7" } });
    for (log_type, action, info, class) in [
        ("Authentication", "Login", json!({}), 3002),
        ("Authentication", "MFA Disabled", json!({}), 3001),
        ("Authentication", "MFA Disabled", json!({ "email": "nobody" }), 0),
        ("Member", "Member Removed", json!({}), 0),
        ("Member", "Member Removed", json!({ "memberId": 1.5 }), 0),
        ("Member", "Member Removed", json!({ "memberId": "usr_02" }), 3001),
        ("Member", "Member Removed", json!({ "email": "old@acme.example" }), 3001),
        ("Ticket", "Ticket Opened", json!({}), 3004),
        ("Scan", "Scan Now", json!(null), 6007),
        ("Settings", "Settings Changed", json!({}), 6002),
        ("Audit Log Export", "Audit Logs Downloaded", json!({}), 0),
        ("Audit Log Export", "Audit Logs Downloaded", json!({ "client": { "ipAddress": "unknown" } }), 0),
        ("Audit Log Export", "Audit Logs Downloaded", client, 6003),
        ("Scan", "Login", json!({}), 0),
        ("Billing", "Login", json!({}), 0),
    ] {
        assert_eq!(event(log_type, action, &user, info), class, "{action}");
    }
    for nobody in [json!(null), json!("usr_01"), json!({}), json!({ "id": true }), json!({ "email": "no address" })] {
        assert_eq!(event("Authentication", "Login", &nobody, json!({})), 0, "{nobody}");
    }
    for user in [json!({ "id": 1 }), json!({ "email": "a@acme.example" })] {
        assert_eq!(event("Authentication", "Login", &user, json!({})), 3002, "{user}");
    }
}

#[test]
fn a_changed_account_is_the_actors_own_only_if_the_event_names_no_other() {
    let admin = json!({ "uid": "usr_01" });
    for (info, user) in [
        (json!({}), &admin),
        (json!({ "userId": null }), &admin),
        (json!({ "userId": "usr_02" }), &json!({ "uid": "usr_02" })),
        (
            json!({ "userId": {}, "email": "b@acme.example" }),
            &json!({ "name": "b@acme.example", "email_addr": "b@acme.example" }),
        ),
        (json!({ "userId": {} }), &Value::Null),
    ] {
        let native = json!({
            "logType": "Authentication", "action": "MFA Disabled", "user": { "id": "usr_01" }, "additionalInfo": info,
        });
        let event = mapped(&native);
        assert_eq!((&event["user"], &event["actor"]["user"]), (user, &admin), "{info}");
    }
}

#[test]
fn an_id_that_is_a_whole_number_is_a_text_and_also_kept_as_it_is() {
    let native = json!({
        "id": 17, "logType": "Ticket", "action": "Ticket Opened", "user": { "id": -1, "name": "Zoë" },
        "additionalInfo": { "ticketId": 12_345_678_901_234_567_890_u64 },
    });
    let event = mapped(&native);
    assert_eq!(
        [&event["metadata"]["uid"], &event["actor"]["user"]["uid"], &event["entity"]["uid"]],
        ["17", "-1", "12345678901234567890"]
    );
    assert_eq!((&event["unmapped"]["id"], &event["unmapped"]["user"]), (&native["id"], &native["user"]));
}

#[test]
fn an_action_without_an_entry_is_named_by_a_base_event() {
    let event = mapped(&json!({ "logType": "Billing", "action": "Invoice Paid" }));
    assert_eq!(
        ["activity_id", "activity_name", "message", "type_uid"].map(|name| &event[name]),
        [&json!(99), &json!("Invoice Paid"), &json!("Invoice Paid"), &json!(99)]
    );
    let nameless = mapped(&json!({ "logType": "Billing" }));
    assert_eq!(
        ["activity_id", "activity_name", "message", "type_uid"].map(|name| &nameless[name]),
        [&json!(0), &json!("Unknown"), &Value::Null, &json!(0)]
    );
}

#[test]
fn the_time_is_that_of_the_date_or_else_of_the_recording() {
    let recorded_at = "2026-11-21T11:00:00.000Z";
    for (date, millis) in [
        (json!("2026-11-21T10:03:12.345Z"), 1_795_255_392_345_i64),
        (json!("2026-11-21T12:03:12.345999+02:00"), 1_795_255_392_345),
        (json!("1969-12-31T23:59:59.999Z"), -1),
        (json!("2026-11-21"), 1_795_258_800_000),
        (json!(1_795_255_392_345_i64), 1_795_258_800_000),
    ] {
        let native = json!({ "date": date }).to_string();
        let event: Value = serde_json::from_str(&fixture().event(&acme(), &native, Some(recorded_at))).unwrap();
        assert_eq!(event["time"], json!(millis), "{date}");
        let kept = if date.is_string() { &event["metadata"]["original_time"] } else { &event["unmapped"]["date"] };
        assert_eq!(kept, &date);
    }
    for recorded_at in [None, Some("yesterday")] {
        let event: Value = serde_json::from_str(&fixture().event(&acme(), "{}", recorded_at)).unwrap();
        assert_eq!(event["time"], 0);
    }
}

#[test]
fn a_platform_extends_the_shipped_mapping_as_the_docs_say() {
    let block = PAGE.split("```json\n").nth(2).and_then(|rest| rest.split("```").next()).unwrap();
    let added: Value = serde_json::from_str(&format!("{{{block}}}")).unwrap();
    let mut data: Value = serde_json::from_str(SHIPPED).unwrap();
    data["logTypes"].as_object_mut().unwrap().extend(added.as_object().unwrap().clone());
    data["product"] = json!({ "name": "Acme \"Cloud\"" });
    let mapping = Mapping::parse(&data.to_string()).unwrap();
    for (action, activity, type_uid) in [("Invoice Paid", "Update", 300_403), ("Refund", "Refund", 300_499)] {
        let native = json!({
            "logType": "Billing", "action": action, "additionalInfo": { "invoice": { "number": "R-17" } },
        });
        let event: Value = serde_json::from_str(&mapping.event(&acme(), &native.to_string(), None)).unwrap();
        assert_eq!(event["entity"], json!({ "type": "Invoice", "type_id": 99, "uid": "R-17" }));
        assert_eq!((&event["activity_name"], &event["type_uid"]), (&json!(activity), &json!(type_uid)));
        assert_eq!(event["metadata"]["product"], json!({ "name": "Acme \"Cloud\"" }));
    }
}

#[test]
fn a_wrong_mapping_is_refused_with_the_place() {
    let with = |entry: &str| {
        format!(
            r#"{{"product":{{"name":"p"}},"addresses":["ip"],"logTypes":{{"Scan":{{"actions":{{"Scan Now":{entry}}}}}}}}}"#
        )
    };
    for (text, reason) in [
        ("[]".to_owned(), "can't be read"),
        (with(r#"{"class":"Login","activity":"Logon"}"#), "unknown variant `Login`"),
        (with(r#"{"class":"Authentication","activity":"Login"}"#), "has no activity \"Login\""),
        (with(r#"{"class":"Authentication","activity":"Logon","severty":"Low"}"#), "unknown field `severty`"),
        (with(r#"{"class":"Authentication","activity":"Logon","severity":"Bad"}"#), "unknown variant `Bad`"),
        (with(r#"{"class":"Entity Management","activity":"Create"}"#), "needs an object with a type"),
        (with(r#"{"class":"Scan Activity","activity":"Started","object":{"type":""}}"#), "type is empty"),
        (with(r#"{"class":"Authentication","activity":"Logon","scanType":"Manual"}"#), "has no scanType"),
        (with(r#"{"class":"Authentication","activity":"Logon","else":"actor"}"#), "has no else"),
        (with(r#"{"class":"Account Change","activity":"Lock"}"#), "needs an object with a place"),
        (with(r#"{"class":"Authentication","activity":"Logon","object":{"uid":["a//b"]}}"#), "name is empty"),
        (
            with(r#"{"class":"Base Event","activity":"Other"},"Scan Now":{"class":"Base Event","activity":"Other"}"#),
            "/Scan Now occurs twice",
        ),
        (FIXTURE.replacen("\"Scan\"", "\"*\"", 1), "has the log type \"*\""),
        (FIXTURE.replacen("\"Audit Log Export\"", "\"\"", 1), "product without a name"),
    ] {
        let error = Mapping::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("the OCSF mapping ") && error.contains(reason), "{text}: {error}");
    }
}
