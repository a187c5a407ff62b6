//! Tests of sending batches of due tenants to the queue.

use audit_log_core::{batch::Batch, ports::Queue};
use serde_json::{Value, json};

use super::*;
use crate::{queue::ExportQueue, tests::stub::Sent};

const OPERATION: &str = "SendMessageBatch";

fn batches(count: usize) -> Vec<Batch> {
    let tick = window().to;
    (0..count).map(|n| Batch { tick, tenants: vec![format!("t{n}")] }).collect()
}

fn entries(sent: &Sent) -> Vec<Value> {
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    body["Entries"].as_array().unwrap().clone()
}

/// SQS that refuses the messages of one tenant so many times, and accepts all others.
fn refusing(tenant: &'static str, times: usize, sender_fault: bool) -> Aws {
    let refused = std::sync::atomic::AtomicUsize::new(0);
    Aws::new().answering(OPERATION, move |sent, _| {
        let (mut accepted, mut failed) = (Vec::new(), Vec::new());
        for entry in entries(sent) {
            let body = entry["MessageBody"].as_str().unwrap();
            let fails = body.contains(&format!("\"{tenant}\""))
                && refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < times;
            if fails {
                failed.push(json!({ "Id": entry["Id"], "SenderFault": sender_fault, "Code": "ServiceUnavailable" }));
            } else {
                let md5 = "00000000000000000000000000000000";
                accepted.push(json!({ "Id": entry["Id"], "MessageId": "m", "MD5OfMessageBody": md5 }));
            }
        }
        Reply::ok(json!({ "Successful": accepted, "Failed": failed }).to_string())
    })
}

async fn send(aws: &Aws, count: usize) -> Vec<(usize, Code)> {
    let queue = ExportQueue::new(&aws.sdk_config(), "https://sqs.eu-central-1.amazonaws.com/111111111111/exports");
    queue.send(&batches(count)).await.into_iter().map(|(index, failure)| (index, failure.code)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_has_ten_batches_and_each_is_sent_once() {
    let aws = refusing("nobody", 0, false);
    assert_eq!(send(&aws, 25).await, []);
    let sizes: Vec<usize> = aws.sent(OPERATION).iter().map(|sent| entries(sent).len()).collect();
    assert_eq!(sizes, [10, 10, 5]);
    let sent = aws.sent(OPERATION);
    let mut bodies: Vec<String> = sent.iter().flat_map(entries).map(|it| it["MessageBody"].to_string()).collect();
    bodies.sort();
    bodies.dedup();
    assert_eq!(bodies.len(), 25);
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_sent_again_alone() {
    let aws = refusing("t3", 2, false);
    assert_eq!(send(&aws, 10).await, []);
    let sizes: Vec<usize> = aws.sent(OPERATION).iter().map(|sent| entries(sent).len()).collect();
    assert_eq!(sizes, [10, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_never_accepted_is_returned_by_its_index() {
    assert_eq!(send(&refusing("t13", 99, false), 20).await, [(13, Code::Unavailable)]);
    let permanent = refusing("t13", 99, true);
    assert_eq!(send(&permanent, 20).await.len(), 1);
    assert_eq!(permanent.sent(OPERATION).len(), 2, "a fault of the sender is not retried");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_refuses_everything_returns_all_batches() {
    let denied = Reply::dynamodb(400, "AccessDeniedException", "");
    let unsent = send(&Aws::new().on(OPERATION, [denied]), 12).await;
    assert_eq!(unsent.len(), 12);
    assert!(unsent.iter().all(|(_, code)| *code == Code::PlatformDenied), "{unsent:?}");
}
