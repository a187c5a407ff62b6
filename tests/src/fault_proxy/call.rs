//! What a call is called: its service, its operation, and what it is about.

use std::fmt;

use bytes::Bytes;
use hyper::Method;
use hyper::http::request::Parts;
use serde_json::Value;
use url::form_urlencoded;

/// A service of AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the service of that name")]
pub enum Service {
    DynamoDb,
    EventBridge,
    S3,
    Sqs,
    Sts,
}

/// What two calls have in common that ask for the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The service.
    pub service: Service,
    /// The operation, with the index of a query, the actions of a transaction, and what an update does to which attribute
    /// first.
    pub operation: String,
    /// Which partition, tenant, role, object, queue or notification.
    pub subject: String,
}

/// One call of a run. Runs that do the same make the same calls, in whatever order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    /// What it asks for.
    pub name: Name,
    /// Which of the run's calls of that name, from 1.
    pub nth: usize,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name: Name { operation, subject, .. }, nth } = self;
        write!(f, "{operation} of {subject}, no. {nth}")
    }
}

impl Name {
    /// By how each service's protocol names an operation: JSON in `X-Amz-Target`, Query in `Action`, and S3's REST in
    /// method, path and query.
    pub(super) fn of(parts: &Parts, body: &Bytes) -> Self {
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
        if let Some((service, operation)) = target.rsplit_once('.') {
            let asked: Value = serde_json::from_slice(body).unwrap_or_default();
            return match service {
                "AmazonSQS" => {
                    let queue = text(&asked["QueueUrl"]);
                    Self::new(Service::Sqs, operation, queue.rsplit('/').next().unwrap_or_default())
                }
                "AWSEvents" => eventbridge(operation, &asked),
                _ => dynamodb(operation, &asked),
            };
        }
        if parts.uri.path() == "/" {
            let asked: Vec<_> = form_urlencoded::parse(body).collect();
            let value = |name| asked.iter().find(|(it, _)| it == name).map(|(_, value)| &**value).unwrap_or_default();
            return Self::new(Service::Sts, value("Action"), value("RoleArn"));
        }
        s3(parts)
    }

    fn new(service: Service, operation: impl Into<String>, subject: impl Into<String>) -> Self {
        Self { service, operation: operation.into(), subject: subject.into() }
    }
}

fn dynamodb(operation: &str, asked: &Value) -> Name {
    let shard = || text(&asked["ExpressionAttributeValues"][":shard"]["S"]);
    let record = |key: &Value| format!("{} {}", text(&key["tenant_id"]["S"]), text(&key["record"]["S"]));
    match operation {
        "Query" if asked.get("Limit").is_some() => {
            Name::new(Service::DynamoDb, format!("Query {}, Limit", text(&asked["IndexName"])), shard())
        }
        "Query" if asked.get("IndexName").is_some() => {
            Name::new(Service::DynamoDb, format!("Query {}", text(&asked["IndexName"])), shard())
        }
        "Query" => Name::new(Service::DynamoDb, "Query", shard()),
        "BatchGetItem" => {
            let keys = asked["RequestItems"].as_object().into_iter().flat_map(|tables| tables.values());
            let keys = keys.flat_map(|table| table["Keys"].as_array().into_iter().flatten());
            let mut tenants: Vec<_> = keys.map(|key| text(&key["tenant_id"]["S"])).collect();
            tenants.dedup();
            Name::new(Service::DynamoDb, operation, tenants.join(", "))
        }
        "TransactWriteItems" => {
            let items = asked["TransactItems"].as_array().map(Vec::as_slice).unwrap_or_default();
            let actions: Vec<_> = items.iter().filter_map(|item| item.as_object()?.keys().next()).cloned().collect();
            let first = items.first().and_then(|item| item.as_object()?.values().next()).map(|item| &item["Key"]);
            let subject = first.map(record).unwrap_or_default();
            Name::new(Service::DynamoDb, format!("{operation} {}", actions.join("+")), subject)
        }
        "PutItem" => Name::new(Service::DynamoDb, operation, record(&asked["Item"])),
        "UpdateItem" => {
            let expression = text(&asked["UpdateExpression"]);
            let mut words = expression.split([' ', ',', '.']);
            let (action, attribute) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            Name::new(Service::DynamoDb, format!("{operation} {action} {attribute}"), record(&asked["Key"]))
        }
        _ => Name::new(Service::DynamoDb, operation, record(&asked["Key"])),
    }
}

/// By the first entry: the exporter sends one at a time.
fn eventbridge(operation: &str, asked: &Value) -> Name {
    let entry = &asked["Entries"][0];
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap_or_default()).unwrap_or_default();
    let subject = format!("{} {}", text(&detail["tenantId"]), text(&entry["DetailType"]));
    Name::new(Service::EventBridge, operation, subject)
}

/// A bucket is in the path, since the endpoint is an address.
fn s3(parts: &Parts) -> Name {
    let query: Vec<_> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).collect();
    let value = |name| query.iter().find(|(it, _)| it == name).map(|(_, value)| &**value);
    let object = parts.uri.path().trim_start_matches('/');
    let operation = match (&parts.method, value("uploadId"), value("uploads")) {
        (&Method::PUT, None, _) => "PutObject",
        (&Method::PUT, Some(_), _) => {
            let part = value("partNumber").unwrap_or_default();
            return Name::new(Service::S3, "UploadPart", format!("{object} part {part}"));
        }
        (&Method::POST, None, Some(_)) => "CreateMultipartUpload",
        (&Method::POST, Some(_), _) => "CompleteMultipartUpload",
        (&Method::DELETE, Some("no-such-upload"), _) => "AbortMultipartUpload of none",
        (&Method::DELETE, Some(_), _) => "AbortMultipartUpload",
        (method, ..) => return Name::new(Service::S3, method.as_str(), object),
    };
    Name::new(Service::S3, operation, object)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
