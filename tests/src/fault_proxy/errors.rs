//! AWS's error responses in each service's protocol, by "Common error types" of each service's API reference.

use bytes::Bytes;
use hyper::{Response, StatusCode};
use serde_json::json;

use super::{CallName, Fault, Service};

/// The response of a fault that isn't forwarded; none for other faults.
pub(super) fn response(fault: Fault, name: &CallName) -> Option<Response<Bytes>> {
    let (status, code) = match (name.service, fault) {
        (Service::Sts, Fault::InternalError) => (500, "InternalFailure"),
        (Service::S3, Fault::InternalError) => (500, "InternalError"),
        (Service::Kms, Fault::InternalError) => (500, "KMSInternalException"),
        (_, Fault::InternalError) => (500, "InternalServerError"),
        (Service::S3, Fault::Throttle) => (503, "SlowDown"),
        (Service::Sts, Fault::Throttle) => (400, "Throttling"),
        (Service::DynamoDb, Fault::Throttle) if name.operation.starts_with("Query") => {
            (400, "ProvisionedThroughputExceededException")
        }
        (_, Fault::Throttle) => (400, "ThrottlingException"),
        (Service::S3 | Service::Sts, Fault::Deny) => (403, "AccessDenied"),
        (_, Fault::Deny) => (400, "AccessDeniedException"),
        (_, Fault::Conflict) if name.operation.starts_with("UpdateItem") => (400, "TransactionConflictException"),
        (_, Fault::Conflict) => (400, "TransactionCanceledException"),
        (_, Fault::LateError) => (200, "InternalError"),
        _ => return None,
    };
    let message = "Injected fault.";
    let (content_type, body) = match name.service {
        Service::S3 => (
            "application/xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>"
            ),
        ),
        Service::Sts => (
            "text/xml",
            format!(
                r#"<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId></ErrorResponse>"#
            ),
        ),
        Service::DynamoDb | Service::EventBridge | Service::Kms | Service::Sqs => {
            let shape = match name.service {
                Service::Sqs => "com.amazonaws.sqs",
                Service::EventBridge => "com.amazonaws.events",
                Service::Kms => "com.amazonaws.kms",
                _ => "com.amazonaws.dynamodb.v20120810",
            };
            let mut body = json!({ "__type": format!("{shape}#{code}"), "message": message });
            if code == "TransactionCanceledException" {
                // A reason for each item, in their order.
                let items = name.operation.split('+').skip(1).map(|_| json!({ "Code": "None" }));
                let reasons = std::iter::once(json!({ "Code": "TransactionConflict", "Message": message }));
                body["CancellationReasons"] = reasons.chain(items).collect();
            }
            ("application/x-amz-json-1.0", body.to_string())
        }
    };
    let builder = Response::builder().status(StatusCode::from_u16(status).unwrap_or_default());
    builder.header("content-type", content_type).body(Bytes::from(body)).ok()
}
