//! Names calls of AWS by service, operation and subject.

use std::fmt;

use bytes::Bytes;
use hyper::Method;
use hyper::http::request::Parts;
use serde_json::Value;
use url::form_urlencoded;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    DynamoDb,
    EventBridge,
    Kms,
    S3,
    Sqs,
    Sts,
}

/// The same for calls that request the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallName {
    pub service: Service,
    /// The operation, with a query's index, a transaction's actions, or an update's first action and attribute.
    pub operation: String,
    /// The partition, tenant, role, object, queue, notification or digest.
    pub subject: String,
}

/// A call of a run. Equal runs make equal calls, in any order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    pub name: CallName,
    /// Counts the run's calls of that name, from 1.
    pub nth: usize,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name: CallName { operation, subject, .. }, nth } = self;
        write!(f, "{operation} of {subject}, no. {nth}")
    }
}

impl CallName {
    /// Reads the operation by protocol: JSON has it in `X-Amz-Target`, Query in `Action`, S3's REST in method, path and query.
    pub(super) fn from_request(parts: &Parts, body: &Bytes) -> Self {
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        if let Some((service, operation)) = target.rsplit_once('.') {
            let request: Value = serde_json::from_slice(body).unwrap_or_default();
            return match service {
                "AmazonSQS" => {
                    let queue = text(&request["QueueUrl"]);
                    Self::new(Service::Sqs, operation, queue.rsplit('/').next().unwrap_or_default())
                }
                "AWSEvents" => eventbridge(operation, &request),
                "TrentService" => kms(operation, &request),
                _ => dynamodb(operation, &request),
            };
        }
        if parts.uri.path() == "/" {
            let request: Vec<_> = form_urlencoded::parse(body).collect();
            let value = |name| request.iter().find(|(it, _)| it == name).map(|(_, value)| &**value).unwrap_or_default();
            return Self::new(Service::Sts, value("Action"), value("RoleArn"));
        }
        s3(parts)
    }

    fn new(service: Service, operation: impl Into<String>, subject: impl Into<String>) -> Self {
        Self { service, operation: operation.into(), subject: subject.into() }
    }
}

fn dynamodb(operation: &str, request: &Value) -> CallName {
    let shard = || text(&request["ExpressionAttributeValues"][":shard"]["S"]);
    let record = |key: &Value| format!("{} {}", text(&key["tenant_id"]["S"]), text(&key["record"]["S"]));
    match operation {
        "Query" if request.get("IndexName").is_none() && request.get("Limit").is_some() => {
            let tenant = text(&request["ExpressionAttributeValues"][":tenant"]["S"]);
            CallName::new(Service::DynamoDb, "Query receipts", tenant)
        }
        "Query" if request.get("Limit").is_some() => {
            CallName::new(Service::DynamoDb, format!("Query {}, Limit", text(&request["IndexName"])), shard())
        }
        "Query" if request.get("IndexName").is_some() => {
            CallName::new(Service::DynamoDb, format!("Query {}", text(&request["IndexName"])), shard())
        }
        "Query" => CallName::new(Service::DynamoDb, "Query", shard()),
        "BatchGetItem" => {
            let keys = request["RequestItems"].as_object().into_iter().flat_map(|tables| tables.values());
            let keys = keys.flat_map(|table| table["Keys"].as_array().into_iter().flatten());
            let mut tenants: Vec<_> = keys.map(|key| text(&key["tenant_id"]["S"])).collect();
            tenants.dedup();
            CallName::new(Service::DynamoDb, operation, tenants.join(", "))
        }
        "TransactWriteItems" => {
            let items = request["TransactItems"].as_array().map(Vec::as_slice).unwrap_or_default();
            let actions: Vec<_> = items.iter().filter_map(|item| item.as_object()?.keys().next()).cloned().collect();
            let first = items.first().and_then(|item| item.as_object()?.values().next()).map(|item| &item["Key"]);
            let subject = first.map(record).unwrap_or_default();
            CallName::new(Service::DynamoDb, format!("{operation} {}", actions.join("+")), subject)
        }
        "GetItem" if text(&request["Key"]["record"]["S"]) == "manifest_keys" => {
            CallName::new(Service::DynamoDb, format!("{operation} manifest_keys"), record(&request["Key"]))
        }
        "PutItem" => CallName::new(Service::DynamoDb, operation, record(&request["Item"])),
        "UpdateItem" => {
            let expression = text(&request["UpdateExpression"]);
            let mut words = expression.split([' ', ',', '.']);
            let (action, attribute) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            CallName::new(Service::DynamoDb, format!("{operation} {action} {attribute}"), record(&request["Key"]))
        }
        _ => CallName::new(Service::DynamoDb, operation, record(&request["Key"])),
    }
}

/// Named by what is signed, or by the key.
fn kms(operation: &str, request: &Value) -> CallName {
    let [message, key] = ["Message", "KeyId"].map(|name| text(&request[name]));
    CallName::new(Service::Kms, operation, if message.is_empty() { key } else { message })
}

/// Named by the first entry, since the exporter sends one at a time.
fn eventbridge(operation: &str, request: &Value) -> CallName {
    let entry = &request["Entries"][0];
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap_or_default()).unwrap_or_default();
    let subject = format!("{} {}", text(&detail["tenantId"]), text(&entry["DetailType"]));
    CallName::new(Service::EventBridge, operation, subject)
}

/// The bucket is in the path, since the endpoint is an IP address.
fn s3(parts: &Parts) -> CallName {
    let query: Vec<_> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).collect();
    let value = |name| query.iter().find(|(it, _)| it == name).map(|(_, value)| &**value);
    let object = parts.uri.path().trim_start_matches('/');
    let operation = match (&parts.method, value("uploadId"), value("uploads")) {
        (&Method::PUT, None, _) if object.ends_with(".manifest") => "PutObject of a manifest",
        (&Method::PUT, None, _) => "PutObject",
        (&Method::PUT, Some(_), _) => {
            let part = value("partNumber").unwrap_or_default();
            return CallName::new(Service::S3, "UploadPart", format!("{object} part {part}"));
        }
        (&Method::POST, None, Some(_)) => "CreateMultipartUpload",
        (&Method::POST, Some(_), _) => "CompleteMultipartUpload",
        (&Method::DELETE, Some("no-such-upload"), _) => "AbortMultipartUpload of none",
        (&Method::DELETE, Some(_), _) => "AbortMultipartUpload",
        (method, ..) => return CallName::new(Service::S3, method.as_str(), object),
    };
    CallName::new(Service::S3, operation, object)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
