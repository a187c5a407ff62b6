//! The exporter, asked by the console.

use audit_log_core::ports::PublishTrigger as _;
use serde_json::{Value, json};

use super::*;
use crate::verifier::ExporterFunction;

async fn request(aws: &Aws) -> Result<(), Failure> {
    let exporter = ExporterFunction::new(&aws.sdk_config(), "exporter");
    exporter.request_publishing(&config(Draft::default()).tenant).await.inspect_err(tells_no_secret)
}

#[tokio::test(start_paused = true)]
async fn publishing_is_asked_for_once_and_not_waited_for() {
    let taken = Reply::AwsError { status: 202, headers: Vec::new(), body: String::new() };
    let aws = Aws::new().on("Invoke", [taken]);
    assert_eq!(request(&aws).await, Ok(()));
    let [sent] = &aws.sent("Invoke")[..] else { panic!("{:?}", aws.operations()) };
    assert_eq!(sent.header("x-amz-invocation-type"), Some("Event"));
    assert!(sent.line.ends_with("/2015-03-31/functions/exporter/invocations"), "{}", sent.line);
    let payload: Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(payload, json!({ "publish": { "tenantId": "acme" } }));
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_a_failure_and_not_tried_again() {
    for (reply, code) in [
        (Reply::dynamodb(403, "AccessDeniedException", ""), Code::PlatformDenied),
        (Reply::dynamodb(429, "TooManyRequestsException", ""), Code::Throttled),
        (Reply::Lost, Code::Unavailable),
    ] {
        let aws = Aws::new().on("Invoke", [reply]);
        assert_eq!(request(&aws).await.map_err(|failure| failure.code), Err(code));
        assert_eq!(aws.operations(), ["Invoke"]);
    }
}
