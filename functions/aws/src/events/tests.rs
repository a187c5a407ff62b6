//! Tests of decoding valid and damaged responses.

use audit_log_core::{
    event::{Body, StoredEvent},
    ports::Page,
};
use proptest::prelude::*;
use serde_json::Value;

use super::page::{Damage, decode};

fn event(recorded_at_id: &str, body: Body) -> StoredEvent {
    StoredEvent { recorded_at_id: recorded_at_id.to_owned(), body }
}

fn text(text: &str) -> Body {
    Body::Text(text.to_owned())
}

/// The body of a response with these items.
fn body_with(items: &[&str]) -> String {
    format!("{{\"Count\":{},\"Items\":[{}],\"ScannedCount\":9}}", items.len(), items.join(","))
}

fn only(item: &str) -> Result<StoredEvent, Damage> {
    decode(body_with(&[item]).as_bytes()).map(|mut page| page.events.remove(0))
}

const USUAL: &str = r#"{"recorded_at_id":{"S":"k"},"event":{"S":"{}"}}"#;

/// A body with every kind of value, and its page.
fn sample() -> (String, Page) {
    let body = concat!(
        r#"{"Count":3,"Items":[{"log_type":{"S":"Scan \"x\" \\"},"event":{"S":"{\"name\":\"J\u00fcrgen ☃ \ud83e\udd80\",\"a\":\"\\n\\\"\"}"},"#,
        r#""expires_at":{"N":"17"},"recorded_at_id":{"S":"2026-11-20T10:00:00.000Z#1"},"flag":{"BOOL":true},"list":{"L":[{"NULL":true},{"S":"]}"}]}},"#,
        "\n  { \"recorded_at_id\" : {\"S\": \"2026-11-20T10:00:00.000Z#2\"},\t\"event\":\r\n{\"S\" :\"\" } } ,",
        r#"{"recorded_at_id":{"S":"2026-11-20T10:00:00.000Z#3"},"event":{"N":"42"},"b":{"B":"AQID"}}],"ScannedCount":3,"ConsumedCapacity":{"CapacityUnits":1.5e0},"#,
        r#""LastEvaluatedKey":{"tenant_shard":{"S":"acme#0"},"recorded_at_id":{"S":"2026-11-20T10:00:00.000Z#3"}}}"#,
    );
    let third = r#"{"b":{"B":"AQID"},"event":{"N":"42"},"recorded_at_id":{"S":"2026-11-20T10:00:00.000Z#3"}}"#;
    let events = vec![
        event("2026-11-20T10:00:00.000Z#1", text("{\"name\":\"Jürgen ☃ 🦀\",\"a\":\"\\n\\\"\"}")),
        event("2026-11-20T10:00:00.000Z#2", text("")),
        event("2026-11-20T10:00:00.000Z#3", Body::NoText(third.to_owned())),
    ];
    (body.to_owned(), Page { events, more_after: Some("2026-11-20T10:00:00.000Z#3".to_owned()) })
}

#[test]
fn a_response_is_decoded() {
    let (body, page) = sample();
    assert_eq!(decode(body.as_bytes()), Ok(page));
    assert_eq!(decode(body_with(&[]).as_bytes()), Ok(Page::default()));
}

#[test]
fn a_response_that_is_cut_off_anywhere_is_damaged() {
    let (body, _) = sample();
    for end in 0..body.len() {
        assert!(decode(&body.as_bytes()[..end]).is_err(), "accepted as a page: {:?}", body.get(..end));
    }
}

/// Without its checksum, a damaged body may still be a valid one. But it must never be a page with more or fewer events.
#[test]
fn a_response_without_some_bytes_or_with_another_byte_is_never_a_page_of_another_length() {
    let (body, page) = sample();
    let same_length = |bytes: &[u8], what: &str| {
        if let Ok(decoded) = decode(bytes) {
            assert_eq!(decoded.events.len(), page.events.len(), "{what}");
        }
    };
    for start in 0..body.len() {
        for length in [1, 2, 7, 50, 200, 400] {
            let end = (start + length).min(body.len());
            let rest = [&body.as_bytes()[..start], &body.as_bytes()[end..]].concat();
            same_length(&rest, &format!("without {start}..{end}"));
        }
        for byte in [0, b' ', b'"', b'\\', b'{', b'}', b']', b',', b'0', 0xff] {
            let mut other = body.clone().into_bytes();
            other[start] = byte;
            same_length(&other, &format!("with {byte} at {start}"));
        }
    }
}

#[test]
fn what_dynamodb_can_not_have_sent_is_damaged() {
    let (good, _) = sample();
    for body in [
        "",
        " ",
        "{}",
        "[]",
        "null",
        r#"{"Count":0}"#,
        r#"{"Items":[]}"#,
        r#"{"Count":0,"Items":null}"#,
        r#"{"Count":0,"Items":{}}"#,
        r#"{"Count":1,"Items":[]}"#,
        r#"{"Count":"0","Items":[]}"#,
        r#"{"Count":0,"Items":[],}"#,
        r#"{"Count":0,"Items":[]}{}"#,
        r#"{"Count":0,"Items":[]"#,
        r#"{"Count":0,"Items":[],"Items":[]}"#,
        r#"{"Count":0,"Items":[],"Count":0}"#,
        r#"{"Count":0,"Items":[],"x":tru}"#,
        r#"{"Count":0,"Items":[],"x":'a'}"#,
        r#"{"Count":0,"Items":[],"x"}"#,
        r#"{"Count":0,"Items":[],"LastEvaluatedKey":{"tenant_shard":{"S":"acme#0"}}}"#,
        r#"{"Count":0,"Items":[],"LastEvaluatedKey":{"recorded_at_id":{"BOOL":true}}}"#,
        r#"{"Count":0,"Items":[],"LastEvaluatedKey":"k"}"#,
        &body_with(&["null"]),
        &body_with(&["[]"]),
        &good.replace("},\n", "}\n"),
        &good.replace("J\\u00fc", "J\u{1}"),
    ] {
        assert!(decode(body.as_bytes()).is_err(), "{body}");
    }
    // What is skipped needs no stack.
    let deep = format!("{{\"Count\":0,\"Items\":[],\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(decode(deep.as_bytes()), Ok(Page::default()));
    let deep = format!(
        "{{\"recorded_at_id\":{{\"S\":\"k\"}},\"event\":{}{}}}",
        "{\"L\":[".repeat(50_000),
        "]}".repeat(50_000)
    );
    assert!(only(&deep).is_err());
}

#[test]
fn invalid_utf8_is_damage_at_any_position() {
    let (body, _) = sample();
    for place in ["Jürgen", "Scan", "17", "10:00:00.000Z#3\"},\"event", "]}\"}"] {
        let body = body.replace("J\\u00fc", "Jü");
        let mut bytes = body.clone().into_bytes();
        let at = body.find(place).unwrap_or_else(|| panic!("{place}")) + 1;
        bytes[at] = 0xff;
        assert!(decode(&bytes).is_err(), "{place}");
    }
}

#[test]
fn an_empty_last_key_means_the_same_as_none() {
    for key in ["{}", "null", " { } "] {
        let body = format!("{{\"Count\":0,\"Items\":[],\"LastEvaluatedKey\":{key}}}");
        assert_eq!(decode(body.as_bytes()), Ok(Page::default()));
    }
}

#[test]
fn an_item_without_a_text_is_kept_whole_and_sorted_by_name() {
    for item in [
        r#"{"recorded_at_id":{"S":"k"}}"#,
        r#"{"event":{"N":"1.50"},"recorded_at_id":{"S":"k"}}"#,
        r#"{"event":{"NULL":true},"recorded_at_id":{"S":"k"}}"#,
        r#"{"event":{"M":{"S":{"S":"x"},"a":{"L":[{"BS":["AQ==","Ag=="]},{"NS":["1"]}]}}},"recorded_at_id":{"S":"k"}}"#,
        // A type that is not known yet is kept, too.
        r#"{"event":{"Z":{"b":[1,-2,2.5,null,{}],"c":"ü"}},"recorded_at_id":{"S":"k"}}"#,
    ] {
        assert_eq!(only(item), Ok(event("k", Body::NoText(item.to_owned()))));
    }
    let unordered = r#" { "z" : {"M":{"b":{"N":"1"},"a":{"N":"2"}}}, "recorded_at_id":{"S":"k"} }"#;
    let ordered = r#"{"recorded_at_id":{"S":"k"},"z":{"M":{"a":{"N":"2"},"b":{"N":"1"}}}}"#;
    assert_eq!(only(unordered), Ok(event("k", Body::NoText(ordered.to_owned()))));
}

#[test]
fn an_item_without_its_key_is_damaged() {
    for item in ["{}", r#"{"event":{"S":"x"}}"#, r#"{"recorded_at_id":{"N":"7"},"event":{"S":"x"}}"#] {
        assert!(only(item).is_err(), "{item}");
    }
}

#[test]
fn escaped_names_are_recognized() {
    let item = r#"{"recorded\u005fat_id":{"\u0053":"k"},"\u0065vent":{"S":"x"}}"#;
    assert_eq!(only(item), Ok(event("k", text("x"))));
    let body = r#"{"Count":0,"Items":[],"\u004castEvaluatedKey":{"recorded_at_id":{"S":"k"}}}"#;
    assert_eq!(decode(body.as_bytes()).map(|page| page.more_after), Ok(Some("k".to_owned())));
}

#[test]
fn a_duplicate_or_an_attribute_of_two_types_is_damage() {
    for item in [
        r#"{"recorded_at_id":{"S":"k"},"event":{"S":"x"},"event":{"S":"y"}}"#,
        r#"{"recorded_at_id":{"S":"k"},"event":{"S":"x"},"\u0065vent":{"S":"y"}}"#,
        r#"{"recorded_at_id":{"S":"k"},"recorded_at_id":{"S":"k"},"event":{"S":"x"}}"#,
        r#"{"recorded_at_id":{"S":"k"},"event":{"S":"x","S":"y"}}"#,
        r#"{"recorded_at_id":{"S":"k"},"event":{"S":"x","N":"1"}}"#,
        r#"{"recorded_at_id":{"S":"k"},"event":{}}"#,
        r#"{"recorded_at_id":{"S":"k"},"event":"x"}"#,
        r#"{"recorded_at_id":{"S":"k"},"event":null}"#,
    ] {
        assert!(only(item).is_err(), "{item}");
    }
}

#[test]
fn half_a_surrogate_pair_or_an_unknown_escape_is_damage() {
    assert_eq!(
        only(&USUAL.replace("{}", r"\ud83e\uDD80\/\b\f\r\t")).map(|event| event.body),
        Ok(text("🦀/\u{8}\u{c}\r\t"))
    );
    for escaped in [
        r"\ud83e",
        r"\udd80",
        r"\ud83e\ud83e",
        r"\ud83ex",
        r"\ud83e\n",
        r"\ud83e\\udd80",
        r"\u12 ",
        r"\u12g4",
        r"\u+123",
        r"\x41",
        r"\'",
        "\n",
        "\u{0}",
    ] {
        for item in [USUAL.replace("{}", escaped), USUAL.replace("{}", &format!("1234567{escaped}1234567890"))] {
            assert!(only(&item).is_err(), "{item}");
        }
    }
}

/// A text in JSON, with every `also`th character escaped by its code.
fn quoted(text: &str, also: usize) -> String {
    let escaped = |(place, c): (usize, char)| match c {
        '"' | '\\' if place % 2 == 0 => format!("\\{c}"),
        '"' | '\\' | '\0'..='\x1f' => format!("\\u{:04X}", u32::from(c)),
        c if also > 0 && place % also == 0 => {
            c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
        }
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().enumerate().map(escaped).collect::<String>())
}

proptest! {
    #[test]
    fn an_escaped_text_is_read_as_it_was_written(text in "(?s)[\"\\\\/a-f\u{0}-\u{1f}ü☃🦀]{0,40}.{0,30}", also in 0..5usize) {
        let quoted = quoted(&text, also);
        prop_assert_eq!(serde_json::from_str::<Value>(&quoted).unwrap(), Value::from(text.clone()));
        let item = format!(r#"{{"a":{{"S":{quoted}}},"event":{{"S":{quoted}}},"recorded_at_id":{{"S":"k"}}}}"#);
        prop_assert_eq!(only(&item), Ok(event("k", Body::Text(text))));
    }

    #[test]
    fn any_input_is_a_page_or_damage_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in r#"[{}\[\]",:\\uSCount0 ]{0,60}"#) {
        prop_assert!(decode(&bytes).is_err());
        let _ = decode(text.as_bytes());
        let _ = decode(body_with(&[&text]).as_bytes());
        let _ = only(&USUAL.replace("{}", &text));
    }
}
