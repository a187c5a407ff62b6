//! Tests of invoking the exporter.

use audit_log_core::{
    failure::Party,
    ports::{ExporterTrigger as _, Verifier as _},
    verification::{Step, StepName, StepStatus, Verification, VerificationRequest},
};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

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
    let message = "The external ID is another one.".to_owned();
    let (status, code) = (StepStatus::Failed, Some(Code::ConfigInvalid));
    // Not the code's party, so it must be in the answer.
    let party = Some(Party::Platform);
    let step = Step { step: StepName::AssumeRole, status, code, message, hint: None, party };
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
async fn publishing_and_exporting_are_requested_once_and_not_waited_for() {
    for name in ["publish", "export"] {
        let queued = Reply::Response { status: 202, headers: Vec::new(), body: String::new() };
        let aws = Aws::new().on("Invoke", [queued]);
        let exporter = ExporterFunction::new(&aws.sdk_config(), "exporter");
        let tenant = config(Draft::default()).tenant;
        let requested = match name {
            "publish" => exporter.request_publishing(&tenant).await,
            _ => exporter.request_export(&tenant).await,
        };
        assert_eq!(requested, Ok(()));
        let [sent] = &aws.sent("Invoke")[..] else { panic!("{:?}", aws.operations()) };
        assert_eq!(sent.header("x-amz-invocation-type"), Some("Event"));
        assert!(sent.line.ends_with("/2015-03-31/functions/exporter/invocations"), "{}", sent.line);
        let payload: Value = serde_json::from_str(&sent.body).unwrap();
        assert_eq!(payload, json!({ name: { "tenantId": "acme" } }));
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_broken_connection_is_tried_again_and_once() {
    for (reply, code, tries) in [
        (Reply::dynamodb(403, "AccessDeniedException", ""), Code::PlatformDenied, 1),
        (Reply::dynamodb(429, "TooManyRequestsException", ""), Code::Throttled, 1),
        (Reply::dynamodb(500, "ServiceException", ""), Code::Unavailable, 1),
        (Reply::Silence, Code::Unavailable, 1),
        (Reply::Lost, Code::Unavailable, 2),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("Invoke", [reply]);
        let began = tokio::time::Instant::now();
        assert_eq!(request_publishing(&aws).await.map_err(|failure| failure.code), Err(code), "{case}");
        assert_eq!(aws.operations().len(), tries, "{case}");
        assert!(began.elapsed() <= Duration::from_secs(25), "{case}");
    }
}

/// Answers the first request of each connection and, after the first, closes a connection that gets a second request. So
/// does AWS with a connection that a frozen function kept for too long.
async fn serve_one_request_a_connection(server: TcpListener, body: &'static str) {
    loop {
        let (mut connection, _) = server.accept().await.unwrap();
        read_request(&mut connection).await;
        let length = body.len();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
        connection.write_all(answer.as_bytes()).await.unwrap();
        read_request(&mut connection).await;
    }
}

async fn read_request(connection: &mut TcpStream) {
    let mut request = Vec::new();
    // All payloads of this test end with this.
    while !request.ends_with(b"}}") && connection.read_buf(&mut request).await.unwrap() > 0 {}
}

#[tokio::test]
async fn a_verification_survives_a_connection_that_died_while_the_function_was_frozen() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", server.local_addr().unwrap());
    tokio::spawn(serve_one_request_a_connection(server, r#"{"steps": []}"#));
    let http = aws_smithy_http_client::Builder::new().build_http();
    let aws = Aws::new().sdk_config().into_builder().http_client(http).endpoint_url(endpoint).build();
    let exporter = ExporterFunction::new(&aws, "exporter");
    let request = VerificationRequest { tenant_id: "acme".to_owned(), draft: Draft::default() };
    for _ in 0..2 {
        assert_eq!(exporter.verify(&request).await, Ok(Verification { steps: Vec::new() }));
    }
}
