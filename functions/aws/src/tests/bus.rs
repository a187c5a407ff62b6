//! Tests of publishing notifications on the bus.

use audit_log_core::{
    notification::{Kind, Notification},
    ports::Bus,
};
use serde_json::{Map, Value, json};

use super::*;
use crate::bus::EventBus;

const OPERATION: &str = "PutEvents";

fn notification() -> Notification {
    Notification {
        kind: Kind::Failed,
        id: "n7".to_owned(),
        tenant: config(Draft::default()).tenant,
        at: window().to,
        info: Map::from_iter([("code".to_owned(), json!("access_denied"))]),
        sequence: 7,
    }
}

/// A response that accepts the event, or refuses it with a code.
fn response(refused: Option<&str>) -> Reply {
    let entry = match refused {
        Some(code) => json!({ "ErrorCode": code, "ErrorMessage": "no" }),
        None => json!({ "EventId": "e" }),
    };
    Reply::ok(json!({ "FailedEntryCount": u8::from(refused.is_some()), "Entries": [entry] }).to_string())
}

async fn publish(aws: &Aws) -> Result<(), Code> {
    let published = EventBus::new(&aws.sdk_config(), "bus").publish(&notification()).await;
    published.inspect_err(assert_no_secrets).map_err(|failure| failure.code)
}

#[tokio::test(start_paused = true)]
async fn a_notification_has_source_type_and_detail() {
    let aws = Aws::new().on(OPERATION, [response(None)]);
    assert_eq!(publish(&aws).await, Ok(()));
    let body: Value = serde_json::from_str(&aws.sent(OPERATION)[0].body).unwrap();
    let [entry] = &body["Entries"].as_array().unwrap()[..] else { panic!("{body}") };
    assert_eq!((&entry["EventBusName"], &entry["Source"]), (&json!("bus"), &json!("audit-log-export")));
    assert_eq!(entry["DetailType"], "Audit Log Export Failed");
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
    assert_eq!(
        detail,
        json!({
            "version": "1", "id": "n7", "tenantId": "acme", "at": "2026-11-21T11:00:00Z", "sequence": 7,
            "code": "access_denied",
        })
    );
}

#[tokio::test(start_paused = true)]
async fn transient_refusals_are_retried_and_others_are_not() {
    let transient = Aws::new()
        .on(OPERATION, [response(Some("InternalFailure")), response(Some("InternalException")), response(None)]);
    assert_eq!((publish(&transient).await, transient.operations().len()), (Ok(()), 3));
    let busy = Aws::new().on(OPERATION, [response(Some("ThrottlingException"))]);
    assert_eq!((publish(&busy).await, busy.operations().len()), (Err(Code::Throttled), 4));
    let permanent = Aws::new().on(OPERATION, [response(Some("NotAuthorizedForSourceException"))]);
    assert_eq!((publish(&permanent).await, permanent.operations().len()), (Err(Code::PlatformDenied), 1));
    let empty = Aws::new().on(OPERATION, [Reply::ok(r#"{"FailedEntryCount":0,"Entries":[]}"#), response(None)]);
    assert_eq!((publish(&empty).await, empty.operations().len()), (Ok(()), 2), "only an event with an id is published");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_refuses_or_never_answers_costs_five_seconds_at_most() {
    let denied = Aws::new().on(OPERATION, [Reply::dynamodb(400, "AccessDeniedException", "")]);
    assert_eq!(publish(&denied).await, Err(Code::PlatformDenied));
    let start_time = tokio::time::Instant::now();
    assert_eq!(publish(&Aws::new().on(OPERATION, [Reply::Silence])).await, Err(Code::Unavailable));
    assert!(start_time.elapsed() <= std::time::Duration::from_secs(5), "{:?}", start_time.elapsed());
}
