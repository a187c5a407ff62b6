//! Which events are accepted and which are refused; accepted ones stay unchanged.

use std::{collections::BTreeSet, iter, sync::LazyLock};

use jsonschema::Validator;
use proptest::{collection, option, prelude::*, sample::select};

use super::*;
use crate::event::{Body, StoredEvent};

const CATALOGUE: &str = include_str!("../../../schema/catalogue.json");

fn validator(extra: &str) -> EventValidator {
    let catalogue = Catalogue::parse(CATALOGUE).unwrap().extended(Catalogue::parse(extra).unwrap());
    EventValidator::new(catalogue)
}

/// The document of an event that is accepted.
fn document(validator: &EventValidator, text: &str) -> Result<String, String> {
    let incoming = validator.check(text).map_err(|refused| refused.to_string())?;
    let acme = TenantId::parse("acme").unwrap();
    let stamp = Stamp { at: "2026-11-21T10:03:12.345Z".parse().unwrap(), retention: None };
    let id = incoming.id.as_deref().unwrap_or("01K");
    Ok(incoming.stamped(&acme, &Submitter::from_token("scanner"), EventShards::ONE, stamp, id).document)
}

fn login() -> Value {
    json!({ "logType": "Authentication", "action": "Login", "user": { "id": "u-17" } })
}

fn with(pointer: &str, value: Value) -> String {
    let mut event = login();
    match pointer.rsplit_once('/') {
        Some((parent, name)) => event.pointer_mut(parent).unwrap()[name] = value,
        None => event = value,
    }
    event.to_string()
}

#[test]
fn an_event_is_stamped_and_gets_the_order_of_the_schema() {
    let text = r#"{
        "additionalInfo": { "b" : 1.50e+2, "a": ["x  y", "\u00e9\ud83e\udd80"], "c": { "b": 2 } },
        "user": { "email": "ada@acme.example", "id": "u-17", "name": "Ada" },
        "action": "Scan Now", "logType": "Scan", "id": "scan:7"
    }"#;
    insta::assert_snapshot!(document(&validator("{}"), text).unwrap(), @r#"{"id":"scan:7","date":"2026-11-21T10:03:12.345Z","logType":"Scan","action":"Scan Now","user":{"id":"u-17","name":"Ada","email":"ada@acme.example"},"additionalInfo":{"b":1.50e+2,"a":["x  y","\u00e9\ud83e\udd80"],"c":{"b":2}}}"#);
    insta::assert_snapshot!(document(&validator("{}"), &login().to_string()).unwrap(), @r#"{"id":"01K","date":"2026-11-21T10:03:12.345Z","logType":"Authentication","action":"Login","user":{"id":"u-17"},"additionalInfo":{}}"#);
}

#[test]
fn an_event_has_the_shard_of_its_id_and_a_copy_of_the_email_address() {
    let incoming = validator("{}").check(&with("/user/email", json!("ada@acme.example"))).unwrap();
    let stamp = Stamp { at: "2026-11-21T10:03:12.345Z".parse().unwrap(), retention: None };
    let shards = EventShards::parse("64").unwrap();
    let (acme, scanner) = (TenantId::parse("acme").unwrap(), Submitter::from_token("scanner"));
    let event = incoming.stamped(&acme, &scanner, shards, stamp, "01K");
    assert_eq!((event.shard, event.user_email.as_deref()), (shard("01K", shards), Some("ada@acme.example")));
    assert_eq!(event.submitted_by, scanner);
}

#[test]
fn a_refusal_names_the_place_and_the_rule() {
    for (text, words) in [
        (with("/date", json!("secret")), "/date is stamped by the recorder; put another time under /additionalInfo/oc"),
        (with("/tenantId", json!("secret")), "/tenantId is not known here; put additional data under /additionalInfo"),
        (with("/a~b", json!("secret")), "/a~0b is not known here"),
        (with("/user/role", json!("secret")), "/user/role is not known here"),
        (with("/user", json!({ "name": "secret" })), "/user/id is required"),
        (with("/user", json!("secret")), "/user must be of type object"),
        (with("/user/name", json!(null)), "/user/name must be of type string"),
        (with("/user/id", json!("")), "/user/id must not be empty"),
        (with("/user/email", json!("secret".repeat(54))), "/user/email has 320 characters at most"),
        (with("/id", json!("secret id")), "/id has 1 to 128 letters, digits or any of _.:-"),
        (with("/id", json!("x".repeat(129))), "/id has 1 to 128"),
        (with("/id", json!("x\n")), "/id has 1 to 128"),
        (with("/id", json!("system:secret")), "does not begin with system:"),
        (with("/id", json!(7)), "/id must be of type string"),
        (with("/action", json!("Log\u{85}in")), "/action must not have control"),
        (with("/logType", json!("System\u{200b}")), "/logType must not have control or invisible"),
        (with("/additionalInfo", json!([])), "/additionalInfo must be of type object"),
        (with("/additionalInfo", json!(null)), "/additionalInfo must be of type object"),
        (with("", json!(["secret"])), "the event must be of type object"),
        (json!({ "user": {} }).to_string(), "/logType is required; /action is required; /user/id is required"),
        (with("/logType", json!("System")), "/logType is reserved for this system's own events"),
        (with("/logType", json!("Biling")), "/logType is not in the catalogue"),
        (with("/logType", json!("authentification")), "(did you mean \"Authentication\"?); GET"),
        (with("/action", json!("LogIn ")), "/action is not one that the catalogue has for Authentication (did you"),
        (with("/action", json!("secret")), "the platform extends it with EXTRA_ACTIONS"),
        (
            login().to_string().replace("{\"id\"", "{\"id\":\"secret\",\"id\""),
            "/user/id occurs twice in the same object",
        ),
        (login().to_string().replacen('{', "{\"action\":\"secret\",", 1), "/action occurs twice"),
        (
            login().to_string().replacen('{', "{\"Action\":\"secret\",", 1),
            "/action occurs twice in the same object; names that dif",
        ),
        (
            with("/additionalInfo", json!({ "a": [{}, { "URL": 7, "Url": "secret" }] })),
            "/additionalInfo/a/1/Url occurs twice",
        ),
        (
            with("/additionalInfo", json!({ "Zoë": 7, "x": 8 })).replace('x', "ZO\\u00cb"),
            "/additionalInfo/ZOË occurs twice",
        ),
        (
            with("/additionalInfo", json!({ "_replacedCharacters": 7 })),
            "/additionalInfo/_replacedCharacters is the recorder's own",
        ),
        (
            with("/additionalInfo", json!({ "_replacedcharacterS": 7 })),
            "/additionalInfo/_replacedcharacterS is the recorder's",
        ),
        (with("/additionalInfo", json!({ "a": 7 })).replace('7', "1e999"), "the event can't be read as JSON"),
        ("{\"logType\":\"secret\"".to_owned(), "the event can't be read as JSON"),
        ("[1 2]".to_owned(), "the event can't be read as JSON"),
        (String::new(), "the event can't be read as JSON"),
    ] {
        let refusal = document(&validator("{}"), &text).unwrap_err();
        assert!(refusal.contains(words), "{text}: {refusal}");
        assert!(!refusal.contains("secret"), "{refusal}");
    }
}

#[test]
fn a_refusal_has_five_reasons_at_most_in_the_order_of_the_schema() {
    let event = json!({
        "extra": 1, "additionalInfo": 2, "user": { "role": 3, "name": 4, "id": "" }, "action": "", "logType": "System", "id": "",
    });
    let refusal = document(&validator("{}"), &event.to_string()).unwrap_err();
    insta::assert_snapshot!(refusal, @"/id has 1 to 128 letters, digits or any of _.:-, and does not begin with system:; /logType is reserved for this system's own events; choose another one; /action must not be empty; /user/id must not be empty; /user/name must be of type string");
}

#[test]
fn half_a_character_is_replaced_and_marked() {
    let half = |text: &str| text.replace("HALF", "\\ud83d");
    let event = |text: &str| document(&validator("{}"), &half(text)).unwrap();
    let name = with("/user/name", json!("Ada HALF"));
    insta::assert_snapshot!(event(&name), @r#"{"id":"01K","date":"2026-11-21T10:03:12.345Z","logType":"Authentication","action":"Login","user":{"id":"u-17","name":"Ada �"},"additionalInfo":{"_replacedCharacters":1}}"#);
    let info = with("/additionalInfo", json!({ "HALF": "HALF!", "kept": "\u{1f600}" }));
    insta::assert_snapshot!(event(&info), @r#"{"id":"01K","date":"2026-11-21T10:03:12.345Z","logType":"Authentication","action":"Login","user":{"id":"u-17"},"additionalInfo":{"\ufffd":"\ufffd!","kept":"😀","_replacedCharacters":2}}"#);
    let nested = with("/additionalInfo", json!({ "a": { "_replacedCharacters": "HALF" } }));
    assert!(
        event(&nested).ends_with(r#""additionalInfo":{"a":{"_replacedCharacters":"\ufffd"},"_replacedCharacters":1}}"#)
    );
    for forged in ["_replacedCharacters", "_REPLACEDCharacters", "_replacedCharacter\u{73}"] {
        let refusal =
            document(&validator("{}"), &half(&with("/additionalInfo", json!({ forged: "HALF" })))).unwrap_err();
        assert!(refusal.contains("is the recorder's own"), "{refusal}");
    }
    let halves = with("/additionalInfo", json!({ "HALF": 1, "x": 2 })).replace('x', "\\ud83e");
    let refusal = document(&validator("{}"), &half(&halves)).unwrap_err();
    assert!(refusal.contains("/additionalInfo/\u{fffd} occurs twice"), "{refusal}");

    let check = |text: &str| validator("{}").check(&half(text)).unwrap();
    assert_eq!((check(&info).replaced_characters, check(&login().to_string()).replaced_characters), (2, 0));
    assert!(check(&info).has_same_content(&check(&info)));
    assert!(!check(&name).has_same_content(&check(&with("/user/name", json!("Ada \u{fffd}")))), "the mark is content");
    let refusal = document(&validator("{}"), &half(&with("/id", json!("scan-HALF")))).unwrap_err();
    assert!(refusal.starts_with("/id has 1 to 128 letters"), "{refusal}");
}

#[test]
fn an_event_has_256_kib_of_compact_json_at_most() {
    let padded = |length| with("/additionalInfo", json!({ "text": "x".repeat(length) }));
    let rest = padded(0).len();
    let full = padded(MAX_EVENT_BYTES - rest);
    assert!(document(&validator("{}"), &full.replace(':', " : ")).is_ok());
    let refusal = document(&validator("{}"), &padded(MAX_EVENT_BYTES - rest + 1)).unwrap_err();
    assert_eq!(refusal, "the event has 262145 bytes of compact JSON, and 262144 at most");
}

#[test]
fn the_platform_extends_the_catalogue_but_not_by_reserved_log_types() {
    let of = |log_type: &str, action: &str| {
        json!({ "logType": log_type, "action": action, "user": { "id": "u" } }).to_string()
    };
    let extended = validator(r#"{"Billing": ["Invoice Paid"], "Scan": ["*"]}"#);
    for (log_type, action, good) in [
        ("Billing", "Invoice Paid", true),
        ("Billing", "Invoice Sent", false),
        ("Scan", "Anything", true),
        ("Scan", "Scan Now", true),
        ("Member", "Anything", false),
    ] {
        assert_eq!(document(&extended, &of(log_type, action)).is_ok(), good, "{log_type} {action}");
    }
    let anything = validator(r#"{"*": ["*"]}"#);
    assert!(document(&anything, &of("Whatever", "Happens")).is_ok());
    for reserved in ["System", "system", " System", "Audit Log Export", "AUDIT  LOG\u{a0}EXPORT"] {
        assert!(document(&anything, &of(reserved, "x")).unwrap_err().contains("reserved"), "{reserved:?}");
    }
}

#[test]
fn an_invalid_catalogue_is_refused() {
    for (text, words) in [
        ("", "is JSON like"),
        ("[]", "is JSON like"),
        (r#"{"Scan": "*"}"#, "is JSON like"),
        (r#"{"System": ["*"]}"#, "only this system"),
        (r#"{"audit log export": ["x"]}"#, "only this system"),
        (r#"{"Scan": []}"#, "at least one action"),
        (r#"{"*": ["Scan Now"]}"#, "\"*\" exactly"),
        (r#"{"*": ["*", "Scan Now"]}"#, "\"*\" exactly"),
        (r#"{"Scan": ["Scan\nNow"]}"#, "control character"),
        (r#"{"": ["x"]}"#, "1 to 100"),
    ] {
        assert!(Catalogue::parse(text).unwrap_err().0.contains(words), "{text}");
    }
}

#[test]
fn the_published_schema_has_the_reserved_log_types_and_valid_examples() {
    let schema: Value = serde_json::from_str(EVENT_SCHEMA).unwrap();
    assert_eq!(schema["properties"]["logType"]["not"]["enum"], json!(super::super::system_events::RESERVED_LOG_TYPES));
    let examples = schema["examples"].as_array().unwrap();
    for example in examples {
        assert_eq!(document(&validator("{}"), &example.to_string()).err(), None);
    }
    assert!(!examples.is_empty());
}

/// Where an event may have a member, and where it may not.
const PLACES: [&str; 10] = [
    "/id",
    "/logType",
    "/action",
    "/user",
    "/user/id",
    "/user/name",
    "/user/email",
    "/additionalInfo",
    "/extra",
    "/user/extra",
];

/// Members on both sides of each rule: each type, each limit in characters of one to four bytes, ids, and names of the mark.
fn members() -> Vec<Value> {
    let others = [json!(null), json!(true), json!(7), json!([]), json!({}), json!({ "id": "u" })];
    let lengths = [0, 1, 2, 99, 100, 101, 127, 128, 129, 255, 256, 257, 319, 320, 321];
    let long = lengths.into_iter().flat_map(|length| ["x", "é", "€", "😀"].map(|text| text.repeat(length).into()));
    let ids =
        ["system:", "system:x", "System:x", "xsystem:", "systemx:", "System", "Audit Log Export"].map(Value::from);
    let characters = ('\0'..='\u{17f}').chain(['\u{200b}', '\u{2060}', '\u{feff}']);
    let texts = characters.flat_map(|character| [format!("{character}x"), format!("x{character}")].map(Value::from));
    let other_case = |c: char| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let marks = (0..MARK.len())
        .map(|at| MARK.chars().enumerate().map(|(index, c)| if index == at { other_case(c) } else { c }).collect());
    let similar = ["_REPLACEDCHARACTERS", "replacedCharacters", "_replacedCharacter", "_replacedCharacter\u{17f}"];
    let similar = similar.into_iter().chain(["_replacedCharacters\n", "_replacedCharactersx", "x_replacedCharacters"]);
    let marked = marks.chain(similar.map(str::to_owned)).map(|name: String| json!({ "id": "u", name: 7 }));
    others.into_iter().chain(long).chain(ids).chain(texts).chain(marked).collect()
}

/// Sets a member or removes it, unless there is no object to have it.
fn change(event: &mut Value, place: &str, member: Option<Value>) {
    let (parent, name) = place.rsplit_once('/').unwrap();
    let Some(object) = event.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    match member {
        Some(member) => object.insert(name.to_owned(), member),
        None => object.shift_remove(name),
    };
}

/// The places of all rules in a schema.
fn rules(schema: &Value, place: &str) -> Vec<String> {
    let Some(keywords) = schema.as_object() else { return vec![place.to_owned()] };
    let of_keyword = |(keyword, value): (&String, &Value)| match (keyword.as_str(), value) {
        ("$schema" | "$id" | "title" | "description" | "examples" | "x-catalogue", _) => Vec::new(),
        ("properties" | "patternProperties", Value::Object(members)) => {
            members.iter().flat_map(|(name, schema)| rules(schema, &format!("{place}/{keyword}/{name}"))).collect()
        }
        _ => vec![format!("{place}/{keyword}")],
    };
    keywords.iter().flat_map(of_keyword).collect()
}

#[test]
fn an_event_has_a_reason_for_each_rule_of_the_published_schema_that_it_breaks() {
    let (validator, published) = &CATALOGUES[2];
    let mut broken = BTreeSet::new();
    let mut check = |event: &Value| {
        let errors: Vec<_> = published.iter_errors(event).map(|error| error.schema_path().to_string()).collect();
        let reasons = shape::reasons(event);
        assert_eq!(reasons.len(), errors.len(), "{event}: {reasons:?} {errors:?}");
        assert_eq!(validator.check(&event.to_string()).is_ok(), errors.is_empty(), "{event}");
        broken.extend(errors);
    };
    members().iter().for_each(&mut check);
    for place in PLACES {
        for member in members().into_iter().map(Some).chain(iter::once(None)) {
            let mut event = login();
            change(&mut event, place, member);
            check(&event);
        }
    }
    assert_eq!(broken, rules(&validator.schema(), "").into_iter().collect());
}

#[test]
fn the_same_characters_are_invisible_as_in_the_published_schema() {
    let schema: Value = serde_json::from_str(EVENT_SCHEMA).unwrap();
    let (invisible, visible): (Vec<_>, Vec<_>) = ('\0'..=char::MAX).partition(|it| shape::is_invisible(*it));
    for name in ["logType", "action"] {
        let pattern = json!({ "pattern": schema["properties"][name]["pattern"] });
        let published = jsonschema::draft202012::new(&pattern).unwrap();
        assert!(published.is_valid(&visible.iter().collect::<String>().into()));
        for character in &invisible {
            assert!(!published.is_valid(&character.to_string().into()), "{character:?}");
        }
    }
}

/// Names in the catalogue, others, and invalid ones.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec!["Scan", "Scan Now", "Member", "Billing", "Invoice Paid", "System", "system ", "*", ""])
            .prop_map(str::to_owned),
        "\\PC{0,6}",
        any::<String>(),
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            collection::btree_map(prop_oneof![any::<String>(), "[abA]|_[Rr]eplacedCharacters"], inner, 0..4)
                .prop_map(|members| members.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// Each kind of catalogue, and the schema that is published with it.
static CATALOGUES: LazyLock<[(EventValidator, Validator); 3]> = LazyLock::new(|| {
    ["{}", r#"{"Billing": ["Invoice Paid"], "Scan": ["*"]}"#, r#"{"*": ["*"]}"#].map(|extra| {
        let validator = validator(extra);
        let published = jsonschema::draft202012::new(&validator.schema()).unwrap();
        (validator, published)
    })
});

proptest! {
    #[test]
    fn the_published_schema_accepts_exactly_the_valid_events(
        log_type in word(), action in word(), id in prop_oneof![Just(None), "[a-z:]{0,3}".prop_map(Some), any::<Option<String>>()],
        user in "\\PC{0,3}", info in any_json(), pretty in any::<bool>(),
        changes in collection::vec((select(&PLACES[..]), option::of(select(members()))), 0..3),
    ) {
        let mut event = json!({ "logType": log_type, "action": action, "user": { "id": user, "name": action } });
        if let Some(id) = id {
            event["id"] = id.into();
        }
        if !info.is_null() {
            event["additionalInfo"] = info;
        }
        for (place, member) in changes {
            change(&mut event, place, member);
        }
        let is_reserved = event["logType"].as_str().is_some_and(catalogue::is_reserved);
        let text = if pretty { format!("{event:#}") } else { event.to_string() };
        for (validator, published) in &*CATALOGUES {
            let document = document(validator, &text);
            // JSON Schema has no rule for the case of names, nor of reserved log types.
            let valid =
                published.is_valid(&event) && !is_reserved && member_names::find_repeated(&text).is_none();
            prop_assert_eq!(document.is_ok(), valid, "{:?}", document);
            let Ok(document) = document else { continue };

            let stored = StoredEvent { recorded_at_id: "2026-11-21T10:03:12.345Z#x".to_owned(), body: Body::Text(document) };
            let (line, malformed) = stored.line();
            prop_assert!(!malformed && !line.contains(['\n', '\r']));
            let mut exported: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(exported["date"].take(), json!("2026-11-21T10:03:12.345Z"));
            exported.as_object_mut().unwrap().remove("date");
            prop_assert!(published.is_valid(&exported));
            exported.as_object_mut().unwrap().retain(|name, _| event.get(name).is_some());
            prop_assert_eq!(&exported, &event);
        }
    }
}
