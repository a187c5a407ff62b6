//! Tests of invoking the exporter.

use audit_log_core::{
    ports::{PublishTrigger as _, Verifier as _},
    verification::{Step, StepName, StepStatus, Verification, VerificationRequest},
};
use serde_json::{Value, json};

use super::*;
use crate::verifier::ExporterFunction;

#[tokio::test(start_paused = true)]
async fn a_verification_is_requested_with_all_its_fields_and_the_answer_is_returned() {
    let text = |text: &str| Some(text.to_owned());
    let draft = Draft {
        role_arn: text("role"),
        external_id: text("id"),
        bucket: text("bucket"),
        region: text("region"),
        prefix: text("prefix"),
        encryption: text("encryption"),
        kms_key_arn: text("key"),
        bucket_owner: text("owner"),
        ..Draft::default()
    };
    let message = "The role can be assumed.".to_owned();
    let status = StepStatus::Passed;
    let step = Step { step: StepName::AssumeRole, status, code: None, message, hint: None, party: None };
    let verification = Verification { steps: vec![step] };
    let aws = Aws::new().on("Invoke", [Reply::ok(serde_json::to_string(&verification).unwrap())]);
    let request = VerificationRequest { tenant_id: "acme".to_owned(), draft };
    assert_eq!(ExporterFunction::new(&aws.sdk_config(), "exporter").verify(&request).await, Ok(verification));
    let payload: Value = serde_json::from_str(&aws.sent("Invoke")[0].body).unwrap();
    let fields = json!({
        "tenantId": "acme", "roleArn": "role", "externalId": "id", "bucket": "bucket", "region": "region",
        "prefix": "prefix", "encryption": "encryption", "kmsKeyArn": "key", "bucketOwner": "owner",
    });
    assert_eq!(payload, json!({ "verify": fields }));
}

async fn request_publishing(aws: &Aws) -> Result<(), Failure> {
    let exporter = ExporterFunction::new(&aws.sdk_config(), "exporter");
    exporter.request_publishing(&config(Draft::default()).tenant).await.inspect_err(assert_no_secrets)
}

#[tokio::test(start_paused = true)]
async fn publishing_is_requested_once_and_not_waited_for() {
    let queued = Reply::Response { status: 202, headers: Vec::new(), body: String::new() };
    let aws = Aws::new().on("Invoke", [queued]);
    assert_eq!(request_publishing(&aws).await, Ok(()));
    let [sent] = &aws.sent("Invoke")[..] else { panic!("{:?}", aws.operations()) };
    assert_eq!(sent.header("x-amz-invocation-type"), Some("Event"));
    assert!(sent.line.ends_with("/2015-03-31/functions/exporter/invocations"), "{}", sent.line);
    let payload: Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(payload, json!({ "publish": { "tenantId": "acme" } }));
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_a_failure_and_not_retried() {
    for (reply, code) in [
        (Reply::dynamodb(403, "AccessDeniedException", ""), Code::PlatformDenied),
        (Reply::dynamodb(429, "TooManyRequestsException", ""), Code::Throttled),
        (Reply::Lost, Code::Unavailable),
    ] {
        let aws = Aws::new().on("Invoke", [reply]);
        assert_eq!(request_publishing(&aws).await.map_err(|failure| failure.code), Err(code));
        assert_eq!(aws.operations(), ["Invoke"]);
    }
}
