//! Tests that pages of events are decoded as the SDK does, and that damaged responses are read again.

use std::fmt::Write as _;

use audit_log_core::{
    filter::{CopyFilter, Filter},
    ports::{EventRange, Events as _, Page, PageBack, Scanned},
};
use aws_sdk_dynamodb::{config::Builder as ConfigBuilder, types::AttributeValue};
use aws_smithy_types::Blob;
use proptest::{collection::vec, prelude::*};

use super::{dynamodb::client, *};
use crate::{
    attributes::{Item, as_json, text},
    clients::MAX_ATTEMPTS,
    errors::AwsError,
    events::{EventsTable, back, decoding},
};

const GOOD: &str = r#"{"Count":1,"Items":[{"recorded_at_id":{"S":"k"},"event":{"S":"{}"}}],"ScannedCount":1}"#;

async fn decoded_by_us(aws: &Aws) -> Result<Page, Failure> {
    let tenant = config(Draft::default()).tenant;
    let range = EventRange { tenant: &tenant, shard: 0, window: window(), after: None };
    let query = EventsTable::new(client(aws), "events").query(range);
    decoding::page_of(query, ConfigBuilder::new()).await.inspect_err(assert_no_secrets)
}

async fn decoded_by_the_sdk(aws: &Aws) -> Result<Page, Failure> {
    let tenant = config(Draft::default()).tenant;
    let range = EventRange { tenant: &tenant, shard: 0, window: window(), after: None };
    let sent = EventsTable::new(client(aws), "events").query(range).send().await;
    let output = sent.map_err(|error| AwsError::from_sdk(&error).events_failure())?;
    let more_after = output.last_evaluated_key.as_ref().and_then(|key| text(key, "recorded_at_id"));
    Ok(Page { events: output.items.unwrap_or_default().into_iter().map(back::event).collect(), more_after })
}

fn with_checksum(body: &str, checksum: u32) -> Reply {
    Reply::ok(body).with_header("x-amz-crc32", checksum.to_string().leak())
}

#[tokio::test(start_paused = true)]
async fn a_busy_partition_does_not_use_up_the_retries_of_others() {
    let read = async |aws: &Aws, tenant: &str| {
        let tenant = TenantId::parse(tenant).unwrap();
        let range = EventRange { tenant: &tenant, shard: 0, window: window(), after: None };
        EventsTable::new(client(aws), "events").page(range).await
    };
    let busy = || Reply::dynamodb(400, "ProvisionedThroughputExceededException", "");
    let hot = Aws::new().on("Query", [busy()]);
    for _ in 0..150 {
        assert_eq!(read(&hot, "hot").await.unwrap_err().code, Code::Throttled);
    }
    assert_eq!(hot.operations().len(), 150 * MAX_ATTEMPTS as usize);
    let transient = Aws::new().on("Query", [busy(), Reply::ok(GOOD)]);
    assert_eq!(read(&transient, "acme").await.map(|page| page.events.len()), Ok(1));
}

#[test]
fn the_checksum_is_the_usual_crc_32() {
    assert_eq!(crc32fast::hash(BODY), 0xcbf4_3926);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_response_is_read_again() {
    let page = decoded_by_us(&Aws::new().on("Query", [Reply::ok(GOOD)])).await.unwrap();
    assert_eq!(page.events.len(), 1);
    let right = crc32fast::hash(GOOD.as_bytes());
    let cut = &GOOD[..GOOD.len() - 2];
    for damaged in [
        Reply::ok(cut),
        Reply::ok(""),
        Reply::ok("{}"),
        with_checksum(GOOD, right ^ 1),
        with_checksum(cut, right),
        with_checksum(cut, crc32fast::hash(cut.as_bytes())),
        Reply::ok(GOOD).with_header("x-amz-crc32", "no number"),
    ] {
        let case = format!("{damaged:?}");
        let aws = Aws::new().on("Query", [damaged.clone(), damaged.clone(), with_checksum(GOOD, right)]);
        assert_eq!(decoded_by_us(&aws).await.as_ref(), Ok(&page), "{case}");
        assert_eq!(aws.operations().len(), 3, "{case}");

        let aws = Aws::new().on("Query", [damaged]);
        let failure = decoded_by_us(&aws).await.unwrap_err();
        assert_eq!((failure.code, aws.operations().len()), (Code::Unavailable, MAX_ATTEMPTS as usize), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_sdk_decodes_errors_even_after_a_damaged_response() {
    for (reply, code) in [
        (Reply::dynamodb(400, "AccessDeniedException", ""), Code::EventsUnreadable),
        (Reply::dynamodb(400, "ValidationException", ""), Code::Unexpected),
        (Reply::dynamodb(400, "ThrottlingException", ""), Code::Throttled),
        (Reply::Lost, Code::Unavailable),
        // Neither an error nor a page.
        (Reply::Response { status: 204, headers: Vec::new(), body: String::new() }, Code::Unavailable),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("Query", [Reply::ok("{"), reply.clone()]);
        assert_eq!(decoded_by_us(&aws).await.map_err(|failure| failure.code), Err(code), "{case}");
    }
    let aws =
        Aws::new().on("Query", [Reply::ok("{"), Reply::dynamodb(400, "ThrottlingException", ""), Reply::ok(GOOD)]);
    assert!(decoded_by_us(&aws).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_response_without_items_is_no_empty_page() {
    let aws = Aws::new().on("Query", [Reply::ok("")]);
    assert_eq!(decoded_by_the_sdk(&aws).await, Ok(Page::default()), "the SDK decodes it so");
    assert!(decoded_by_us(&aws).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_search_has_dynamodb_leave_out_what_the_copies_exclude() {
    let filter = |only: &[&str], except: &[&str]| Filter {
        only: only.iter().map(|&value| value.to_owned()).collect(),
        except: except.iter().map(|&value| value.to_owned()).collect(),
    };
    let expression = async |actions: Filter, log_types: Filter| {
        let aws = Aws::new().on("Query", [Reply::ok(
            r#"{"Count":0,"Items":[],"ScannedCount":7,"ConsumedCapacity":{"CapacityUnits":1.5},"LastEvaluatedKey":{"tenant_shard":{"S":"acme#0"},"recorded_at_id":{"S":"k"}}}"#,
        )]);
        let tenant = config(Draft::default()).tenant;
        let range = EventRange { tenant: &tenant, shard: 0, window: window(), after: None };
        let filter = CopyFilter { actions: &actions, log_types: &log_types };
        let page = EventsTable::new(client(&aws), "events").page_back(range, 500, Some(filter)).await.unwrap();
        let scanned = Scanned { events: 7, bytes: 12_288 };
        assert_eq!(page, PageBack { events: Vec::new(), more_after: Some("k".to_owned()), scanned });
        let sent: serde_json::Value = serde_json::from_str(&aws.sent("Query")[0].body).unwrap();
        assert_eq!((&sent["Limit"], &sent["ReturnConsumedCapacity"]), (&500.into(), &"TOTAL".into()));
        (sent["FilterExpression"].as_str().unwrap_or_default().to_owned(), sent["ExpressionAttributeValues"].clone())
    };
    let (both, values) = expression(filter(&["Login", "Logout"], &["Scan"]), filter(&[], &["Alert"])).await;
    assert_eq!(
        both,
        "(NOT attribute_type(#action, :text) OR (#action IN (:ao0,:ao1) AND NOT #action IN (:ae0))) AND \
         (NOT attribute_type(#log_type, :text) OR (NOT #log_type IN (:le0)))"
    );
    assert_eq!((&values[":ao1"]["S"], &values[":text"]["S"]), (&"Logout".into(), &"S".into()));
    assert_eq!(expression(Filter::default(), Filter::default()).await.0, "");
    let hundred = filter(&["x"; 100], &["x"; 100]);
    assert!(expression(hundred.clone(), hundred).await.0.len() < 4_096);
    assert_eq!(expression(filter(&["x"; 101], &[]), Filter::default()).await.0, "", "an IN has at most 100 values");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_page_of_a_search_is_no_empty_page() {
    for damaged in ["", "{}", r#"{"Count":1,"Items":[],"ScannedCount":1}"#] {
        let aws = Aws::new().on("Query", [Reply::ok(damaged)]);
        let tenant = config(Draft::default()).tenant;
        let range = EventRange { tenant: &tenant, shard: 0, window: window(), after: None };
        let page = EventsTable::new(client(&aws), "events").page_back(range, 500, None).await;
        assert_eq!(page.map_err(|failure| failure.code), Err(Code::Unavailable), "{damaged}");
    }
}

/// A text in JSON, with every `also`th character escaped by its code.
fn quoted(text: &str, also: usize) -> String {
    let mut quoted = String::new();
    for (place, c) in text.chars().enumerate() {
        match c {
            c if also > 0 && place % also == 0 => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| write!(quoted, "\\u{unit:04x}").unwrap());
            }
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted += "\\n",
            '\0'..='\x1f' => write!(quoted, "\\u{:04X}", u32::from(c)).unwrap(),
            c => quoted.push(c),
        }
    }
    format!("\"{quoted}\"")
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        r#"\{("[a-z]{1,9}": ?("[ -~ü\n]{0,20}"|[0-9]{1,5}|\[true, null\]),?){0,6}\}"#,
        "(?s).{0,24}",
        "[\"\\\\/\u{0}-\u{1f}🦀é]{0,12}",
    ]
}

fn attribute() -> impl Strategy<Value = AttributeValue> {
    let blob = || vec(any::<u8>(), 0..8).prop_map(Blob::new);
    let number = || "-?[0-9]{1,12}(\\.[0-9]{1,5})?(E-?[0-9]{1,2})?";
    let leaf = prop_oneof![
        any_text().prop_map(AttributeValue::S),
        number().prop_map(AttributeValue::N),
        blob().prop_map(AttributeValue::B),
        vec(any_text(), 0..4).prop_map(AttributeValue::Ss),
        vec(number(), 0..4).prop_map(AttributeValue::Ns),
        vec(blob(), 0..4).prop_map(AttributeValue::Bs),
        any::<bool>().prop_map(AttributeValue::Bool),
        Just(AttributeValue::Null(true)),
    ];
    leaf.prop_recursive(4, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(AttributeValue::L),
            prop::collection::hash_map(any_text(), inner, 0..4).prop_map(AttributeValue::M),
        ]
    })
}

/// An item in DynamoDB's format, with its attributes in any order.
fn item() -> impl Strategy<Value = String> {
    let key = "2026-11-20T10:00:[0-5][0-9]\\.000Z#.{0,8}".prop_map(AttributeValue::S);
    let event = prop_oneof![
        6 => any_text().prop_map(|text| Some(AttributeValue::S(text))),
        2 => attribute().prop_map(Some),
        1 => Just(None),
    ];
    let names = prop_oneof!["action", "log_type", "user_email", "Event", "events", "S", ".{0,6}"];
    let others = vec((names, attribute()), 0..5);
    let item = (key, event, others).prop_flat_map(|(key, event, others)| {
        let mut item: Item = others.into_iter().collect();
        item.insert("recorded_at_id".to_owned(), key);
        match event {
            Some(event) => item.insert("event".to_owned(), event),
            None => item.remove("event"),
        };
        let attributes: Vec<_> = item.into_iter().collect();
        (Just(attributes).prop_shuffle(), 0..4usize, 0..4usize)
    });
    item.prop_map(|(attributes, names_also, also)| {
        let attributes = attributes.iter().map(|(name, value)| {
            let value = match value {
                AttributeValue::S(text) => format!("{{\"S\":{}}}", quoted(text, also)),
                // An item of this one attribute, without its name and the braces around both.
                value => {
                    let item = as_json(&Item::from([("x".to_owned(), value.clone())]));
                    item["{\"x\":".len()..item.len() - 1].to_owned()
                }
            };
            (quoted(name, names_also), value)
        });
        let attributes: Vec<_> = attributes.map(|(name, value)| format!("{name}:{value}")).collect();
        format!("{{{}}}", attributes.join(","))
    })
}

fn response_body() -> impl Strategy<Value = String> {
    let last = prop_oneof![
        2 => Just(String::new()),
        1 => Just(",\"LastEvaluatedKey\":{}".to_owned()),
        2 => any_text().prop_map(|key| {
            format!(",\"LastEvaluatedKey\":{{\"tenant_shard\":{{\"S\":\"acme#0\"}},\"recorded_at_id\":{{\"S\":{}}}}}", quoted(&key, 3))
        }),
    ];
    (vec(item(), 0..6), last, any::<bool>()).prop_map(|(items, last, count_first)| {
        let (count, items) = (items.len(), items.join(","));
        match count_first {
            true => format!("{{\"Count\":{count},\"Items\":[{items}]{last},\"ScannedCount\":{count}}}"),
            false => format!("{{\"Items\":[{items}],\"Unknown\":[{{}},1.5,\"x\\\"\"],\"Count\":{count}{last}}}\n"),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn pages_are_decoded_as_the_sdk_does(body in response_body()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let aws = Aws::new().on("Query", [with_checksum(&body, crc32fast::hash(body.as_bytes()))]);
        let (ours, the_sdks) = runtime.block_on(async { (decoded_by_us(&aws).await, decoded_by_the_sdk(&aws).await) });
        prop_assert!(the_sdks.is_ok(), "{:?}: {}", the_sdks, body);
        prop_assert_eq!(ours, the_sdks, "{}", body);
    }
}
