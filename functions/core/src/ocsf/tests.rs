use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

use super::{
    arbitrary,
    native::{Members, text},
    *,
};
use crate::{event, member_names, schedule::Window, system_events::RESERVED_LOG_TYPES};

const SHIPPED: &str = include_str!("../../../schema/ocsf.json");
const LOGIN: &str = r#"{"id":"01K","date":"2026-11-21T10:03:12.345Z","logType":"Authentication","action":"Login","user":{"id":"usr_01","name":"Zoë","email":"zoe@acme.example"},"additionalInfo":{"ip":"192.0.2.7","tries":1.50e+2}}"#;
const PAGE: &str = include_str!("../../../../docs/ocsf.md");
const CATALOGUE: &str = include_str!("../../../schema/catalogue.json");

fn shipped() -> &'static Mapping {
    static MAPPING: LazyLock<Mapping> = LazyLock::new(|| Mapping::parse(SHIPPED).unwrap());
    &MAPPING
}

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn mapped(native: &Value) -> Value {
    serde_json::from_str(&shipped().event(&acme(), &native.to_string())).unwrap()
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
        let ocsf = shipped().event(&acme(), &line);
        prop_assert!(!ocsf.contains(['\n', '\r']));
        prop_assert_eq!(rebuild(&ocsf), Exact::parse(&line), "{}\n{}", line, ocsf);
        prop_assert_eq!(member_names::find_repeated(&ocsf), None, "{}", ocsf);
    }

    #[test]
    fn any_text_becomes_an_event(text in r#"[{}\[\]:,"\\ \n0-9a-cü]{0,40}"#) {
        let event: Value = serde_json::from_str(&shipped().event(&acme(), &text)).unwrap();
        let is_object = serde_json::from_str::<serde_json::Map<String, Value>>(&text).is_ok();
        let raw = event["raw_data"].as_str();
        prop_assert!(raw == Some(&text) || is_object, "{}", event);
        prop_assert_eq!(&event["metadata"]["tenant_uid"], "acme");
    }
}

#[test]
fn a_login_has_its_user_address_and_product() {
    insta::assert_snapshot!(shipped().event(&acme(), LOGIN), @r#"{"category_uid":3,"class_uid":3002,"class_name":"Authentication","type_uid":300201,"severity_id":1,"status_id":1,"activity_id":1,"activity_name":"Logon","time":1795255392345,"message":"Login","metadata":{"version":"1.8.0","product":{"name":"Audit Log Export","vendor_name":"Audit Log Export"},"tenant_uid":"acme","uid":"01K","log_name":"Authentication","event_code":"Login","original_time":"2026-11-21T10:03:12.345Z"},"actor":{"user":{"uid":"usr_01","name":"Zoë","email_addr":"zoe@acme.example"}},"user":{"uid":"usr_01","name":"Zoë","email_addr":"zoe@acme.example"},"service":{"name":"Audit Log Export"},"src_endpoint":{"ip":"192.0.2.7"},"unmapped":{"additionalInfo":{"ip":"192.0.2.7","tries":1.50e+2}}}"#);
}

#[test]
fn the_docs_show_a_login_and_say_of_what_class_each_action_is() {
    let example = PAGE.split("```json\n").nth(1).and_then(|rest| rest.lines().next());
    assert_eq!(example, Some(shipped().event(&acme(), LOGIN).as_str()));
    let rows: BTreeSet<(String, String, String)> = PAGE
        .lines()
        .filter_map(|line| {
            let [log_type, actions, class, activity] =
                line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect::<Vec<_>>()[..].try_into().ok()?;
            Some((log_type, actions, format!("{class} {activity}")))
        })
        .flat_map(|(log_type, actions, class): (&str, &str, String)| {
            let actions = actions.split(", ").map(|action| action.trim_matches('`').to_owned());
            let log_type = log_type.trim_matches('`').to_owned();
            actions.map(move |action| (log_type.clone(), action, class.clone())).collect::<Vec<_>>()
        })
        .collect();
    let data: Value = serde_json::from_str(SHIPPED).unwrap();
    for (log_type, action) in shipped().actions() {
        let entry = &data["logTypes"][log_type]["actions"][action];
        let (class, activity) = (entry["class"].as_str().unwrap(), entry["activity"].as_str().unwrap());
        let uid = shipped().entry(Some(log_type), Some(action)).class.uid();
        let row = (log_type.to_owned(), action.to_owned(), format!("{class} ({uid}) {activity}"));
        assert!(rows.contains(&row), "{row:?}");
    }
    assert_eq!(rows.iter().filter(|(log_type, ..)| log_type != "log type").count(), shipped().actions().count());
}

#[test]
fn events_about_a_window_and_malformed_ones_have_entries() {
    let window = Window { from: "2026-11-21T10:00:00Z".parse().unwrap(), to: "2026-11-21T11:00:00Z".parse().unwrap() };
    insta::assert_snapshot!(shipped().event(&acme(), &event::heartbeat(&acme(), window)), @r#"{"category_uid":6,"class_uid":6002,"class_name":"Application Lifecycle","type_uid":600299,"severity_id":1,"status_id":1,"activity_id":99,"activity_name":"Audit Log Export Completed","time":1795258800000,"message":"Audit Log Export Completed","metadata":{"version":"1.8.0","product":{"name":"Audit Log Export","vendor_name":"Audit Log Export"},"tenant_uid":"acme","uid":"6f2e4a09-7892-5b9b-b7d7-45cc4e37464c","log_name":"System","event_code":"Audit Log Export Completed","original_time":"2026-11-21T11:00:00.000Z","profiles":["host"]},"actor":{"user":{"uid":"system","name":"System"}},"app":{"name":"Audit Log Export"},"unmapped":{"additionalInfo":{"windowFrom":"2026-11-21T10:00:00Z","windowTo":"2026-11-21T11:00:00Z","eventCount":0}}}"#);
    let exceeded: Value =
        serde_json::from_str(&shipped().event(&acme(), &event::retention_exceeded(&acme(), window))).unwrap();
    assert_eq!((&exceeded["severity_id"], &exceeded["status_id"]), (&json!(4), &json!(2)));
    let stored = event::StoredEvent {
        recorded_at_id: "2026-11-21T10:03:12.345Z#01K".to_owned(),
        body: event::Body::Text("oops".to_owned()),
    };
    let malformed: Value = serde_json::from_str(&shipped().event(&acme(), &stored.line().0)).unwrap();
    assert_eq!(malformed["class_uid"], 0);
    assert_eq!(malformed["unmapped"]["additionalInfo"]["raw"], "oops");
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
        ("Authentication", "MFA Enabled", json!({}), 3001),
        ("Member", "Member Joined", json!({}), 3001),
        ("Member", "Member Removed", json!({}), 0),
        ("Member", "Member Removed", json!({ "memberId": 7 }), 0),
        ("Member", "Member Removed", json!({ "memberId": "usr_02" }), 3001),
        ("Member", "Member Invited", json!({ "email": "new@acme.example" }), 3001),
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
    for nobody in [json!(null), json!("usr_01"), json!({}), json!({ "id": 1 }), json!({ "email": "no address" })] {
        assert_eq!(event("Authentication", "Login", &nobody, json!({})), 0, "{nobody}");
    }
    assert_eq!(event("Authentication", "Login", &json!({ "email": "a@acme.example" }), json!({})), 3002);
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
    let default: Value = serde_json::from_str(&Mapping::default().event(&acme(), r#"{"action":"Login"}"#)).unwrap();
    assert_eq!(default["class_uid"], 0);
}

#[test]
fn the_time_is_that_of_the_date_and_1970_without_one() {
    for (date, millis) in [
        (json!("2026-11-21T10:03:12.345Z"), 1_795_255_392_345_i64),
        (json!("2026-11-21T12:03:12.345999+02:00"), 1_795_255_392_345),
        (json!("1969-12-31T23:59:59.999Z"), -1),
        (json!("2026-11-21"), 0),
        (json!(1_795_255_392_345_i64), 0),
    ] {
        let event = mapped(&json!({ "date": date }));
        assert_eq!(event["time"], json!(millis), "{date}");
        let kept = if date.is_string() { &event["metadata"]["original_time"] } else { &event["unmapped"]["date"] };
        assert_eq!(kept, &date);
    }
}

#[test]
fn a_platform_can_map_the_other_actions_of_a_log_type() {
    let mapping = Mapping::parse(
        r#"{"product":{"name":"Acme \"Cloud\""},"addresses":[],"logTypes":{"Billing":{"object":{"type":"Invoice","uid":["invoice/number"]},"actions":{"*":{"class":"Entity Management","activity":"Other","severity":"High"}}}}}"#,
    )
    .unwrap();
    let native = r#"{"logType":"Billing","action":"Invoice Paid","additionalInfo":{"invoice":{"number":"R-17"}}}"#;
    let event: Value = serde_json::from_str(&mapping.event(&acme(), native)).unwrap();
    assert_eq!(event["entity"], json!({ "type": "Invoice", "type_id": 99, "uid": "R-17" }));
    assert_eq!(
        (&event["activity_name"], &event["type_uid"], &event["severity_id"]),
        (&json!("Invoice Paid"), &json!(300_499), &json!(4))
    );
    assert_eq!(event["metadata"]["product"], json!({ "name": "Acme \"Cloud\"" }));
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
        (with(r#"{"class":"Authentication","activity":"Logon","object":{"uid":["a//b"]}}"#), "name is empty"),
        (
            with(r#"{"class":"Base Event","activity":"Other"},"Scan Now":{"class":"Base Event","activity":"Other"}"#),
            "/Scan Now occurs twice",
        ),
        (SHIPPED.replacen("\"Audit Log Export\"", "\"\"", 1), "product without a name"),
    ] {
        let error = Mapping::parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("the OCSF mapping ") && error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn each_action_of_the_catalogue_and_each_system_event_of_the_docs_has_an_entry_and_no_other_has() {
    let catalogue: BTreeMap<String, BTreeSet<String>> = serde_json::from_str(CATALOGUE).unwrap();
    let page = include_str!("../../../../docs/exported-objects.md");
    let (_, page) = page.split_once("## System events").unwrap();
    let mut system = BTreeSet::new();
    for row in page.lines().filter(|line| *line != "| `action` | when |").filter_map(|line| line.strip_prefix("| `")) {
        let (names, _) = row.split_once(" | ").unwrap();
        system.extend(names.split(['`', ',']).map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    }
    let mapping = shipped();
    let (own, recorded): (BTreeSet<_>, BTreeSet<_>) =
        mapping.actions().partition(|(log_type, _)| RESERVED_LOG_TYPES.contains(log_type));
    let own: BTreeSet<_> = own.into_iter().map(|(_, action)| action.to_owned()).collect();
    assert_eq!(own, system);
    let expected: BTreeSet<_> = catalogue
        .iter()
        .flat_map(|(log_type, actions)| actions.iter().map(|action| (log_type.as_str(), action.as_str())))
        .collect();
    assert_eq!(recorded, expected);
}
