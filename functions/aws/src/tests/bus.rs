//! Notices on their way to the bus.

use audit_log_core::{
    notice::{Kind, Notice},
    ports::Bus,
};
use serde_json::{Map, Value, json};

use super::*;
use crate::{bus::EventBus, tests::stub::Sent};

const OPERATION: &str = "PutEvents";

fn notices(count: usize) -> Vec<Notice> {
    let tenant = |n| TenantId::parse(&format!("t{n}")).unwrap();
    let notice = |n| Notice {
        kind: Kind::Failed,
        id: format!("n{n}"),
        tenant: tenant(n),
        at: window().to,
        info: Map::from_iter([("code".to_owned(), json!("access_denied"))]),
    };
    (0..count).map(notice).collect()
}

fn entries(sent: &Sent) -> Vec<Value> {
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    body["Entries"].as_array().unwrap().clone()
}

/// EventBridge that takes all but the notices of one tenant, which it refuses so many times.
fn refusing(tenant: &'static str, times: usize, code: &'static str) -> Aws {
    let refused = std::sync::atomic::AtomicUsize::new(0);
    Aws::new().answering(OPERATION, move |sent, _| {
        let result = |entry: &Value| {
            let is_refused = entry["Detail"].as_str().unwrap().contains(&format!("\"{tenant}\""))
                && refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < times;
            if is_refused { json!({ "ErrorCode": code, "ErrorMessage": "no" }) } else { json!({ "EventId": "e" }) }
        };
        let results: Vec<Value> = entries(sent).iter().map(result).collect();
        Reply::ok(json!({ "FailedEntryCount": 0, "Entries": results }).to_string())
    })
}

async fn publish(aws: &Aws, count: usize) -> Vec<(usize, Code)> {
    let unpublished = EventBus::new(&aws.sdk_config(), "bus").publish(&notices(count)).await;
    unpublished.into_iter().map(|(place, failure)| (place, failure.code)).collect()
}

#[tokio::test(start_paused = true)]
async fn ten_notices_go_at_once_each_with_source_type_and_detail() {
    let aws = refusing("nobody", 0, "");
    assert_eq!(publish(&aws, 12).await, []);
    let sent = aws.sent(OPERATION);
    assert_eq!(sent.iter().map(|sent| entries(sent).len()).collect::<Vec<_>>(), [10, 2]);
    let entry = &entries(&sent[1])[1];
    assert_eq!((&entry["EventBusName"], &entry["Source"]), (&json!("bus"), &json!("audit-log-export")));
    assert_eq!(entry["DetailType"], "Audit Log Export Failed");
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
    assert_eq!(
        detail,
        json!({ "version": "1", "id": "n11", "tenantId": "t11", "at": "2026-11-21T11:00:00Z", "code": "access_denied" })
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_left_out_is_sent_again_alone() {
    let aws = refusing("t3", 2, "InternalFailure");
    assert_eq!(publish(&aws, 10).await, []);
    assert_eq!(aws.sent(OPERATION).iter().map(|sent| entries(sent).len()).collect::<Vec<_>>(), [10, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_never_taken_is_named_by_its_place() {
    let busy = refusing("t3", 99, "ThrottlingException");
    assert_eq!(publish(&busy, 5).await, [(3, Code::Throttled)]);
    assert_eq!(busy.sent(OPERATION).len(), 4);
    let hopeless = refusing("t3", 99, "NotAuthorizedForSourceException");
    assert_eq!(publish(&hopeless, 5).await, [(3, Code::Rejected)]);
    assert_eq!(hopeless.sent(OPERATION).len(), 1, "what fails at any further try is not tried again");
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_refuses_or_is_silent_holds_nobody_up_for_long() {
    let denied = Aws::new().on(OPERATION, [Reply::dynamodb(400, "AccessDeniedException", "")]);
    assert_eq!(publish(&denied, 2).await, [(0, Code::PlatformDenied), (1, Code::PlatformDenied)]);
    let began = tokio::time::Instant::now();
    assert_eq!(publish(&Aws::new().on(OPERATION, [Reply::Silence]), 1).await, [(0, Code::Unavailable)]);
    assert!(began.elapsed() <= std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}
