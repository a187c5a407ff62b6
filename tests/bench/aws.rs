//! A fake AWS on the loopback interface: the operations of DynamoDB, STS and S3 that an export needs.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use audit_log_core::object::sha256;
use audit_log_tests::server::{Reply, Server, acceptor, body, reply};
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, StatusCode};
use serde_json::{Value, json};

use crate::data::Data;

/// The certificate of the server, for 127.0.0.1, and its key.
pub(crate) const CERTIFICATE: &str = include_str!("localhost.pem");

/// Longer windows' objects don't fit into memory.
const MAX_KEPT_EVENTS: usize = 100_000;

pub(crate) struct Aws {
    data: Arc<Data>,
    /// Pages of events come after 300 ms, answers of STS and S3 after 100 ms.
    slow: bool,
    trial: Mutex<Trial>,
}

/// What a trial took, and what the fake AWS saw of it.
#[derive(Default)]
pub(crate) struct Trial {
    /// User and system time of all threads, without the start.
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_mebibytes: f64,
    /// The number of calls by operation.
    pub(crate) calls: BTreeMap<String, usize>,
    /// The tenants whose watermark moved to the window's end.
    pub(crate) exported: HashSet<String>,
    /// What S3 received, by path and number of the part.
    pub(crate) objects: BTreeMap<(String, usize), Bytes>,
}

impl Aws {
    pub(crate) async fn start(data: &Arc<Data>, slow: bool, tls: bool) -> Result<(Arc<Self>, Server)> {
        let aws = Arc::new(Self { data: Arc::clone(data), slow, trial: Mutex::default() });
        let shared = Arc::clone(&aws);
        let tls = tls.then(|| acceptor(CERTIFICATE)).transpose()?;
        let server = Server::start_with(tls, move |request| {
            let aws = Arc::clone(&shared);
            async move { Ok(aws.answer(request).await) }
        });
        Ok((aws, server.await?))
    }

    pub(crate) fn trial(&self) -> MutexGuard<'_, Trial> {
        self.trial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Reply {
        let (head, content) = request.into_parts();
        let body = body(Request::new(content)).await;
        let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()?.split_once('.'));
        let answer = match target {
            Some((_, operation)) => self.dynamodb(operation, &serde_json::from_slice(&body).unwrap_or_default()).await,
            None if body.starts_with(b"Action=AssumeRole") => {
                self.count("AssumeRole", 100).await;
                Some(reply(StatusCode::OK, "text/xml", include_str!("assumed-role.xml")))
            }
            None => self.s3(&head, &body).await,
        };
        answer.unwrap_or_else(|| {
            eprintln!("  unknown to the fake AWS: {} {} {target:?} {body:.800?}", head.method, head.uri);
            reply(StatusCode::BAD_REQUEST, "application/json", r#"{"__type":"ValidationException"}"#)
        })
    }

    async fn count(&self, operation: &str, milliseconds: u64) {
        *self.trial().calls.entry(operation.to_owned()).or_default() += 1;
        if self.slow {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        }
    }

    async fn dynamodb(&self, operation: &str, request: &Value) -> Option<Reply> {
        let values = |name| request["ExpressionAttributeValues"][name]["S"].as_str();
        if operation == "Query" && request["TableName"] == "events" {
            self.count("Query of events", 300).await;
            let (_, shard) = values(":shard")?.split_once('#')?;
            let whole = values(":from")? <= "2025-11-21T10:00:00.000Z" && values(":to")? >= "2025-11-21T11:00:00.000Z";
            let after = request["ExclusiveStartKey"]["recorded_at_id"]["S"].as_str().or(values(":from"))?;
            let served = whole && request["Limit"].is_null();
            return from_dynamodb(self.data.page_after(shard.parse().ok()?, after).filter(|_| served)?);
        }
        self.count(operation, 0).await;
        let answer = match operation {
            "Query" => {
                let tenants = (0..self.data.tenants).map(|number| format!("tenant-{number:05}"));
                let due = tenants.filter(|tenant| values(":shard") == Some(&due_shard(tenant)));
                let items: Vec<_> = due.filter_map(|tenant| self.record(&tenant, "watermark")).collect();
                json!({ "Count": items.len(), "Items": items, "ScannedCount": items.len() })
            }
            // No tenant has anything pending.
            "Scan" => json!({ "Count": 0, "Items": [], "ScannedCount": 0 }),
            "BatchGetItem" => {
                let keys = request["RequestItems"]["tenants"]["Keys"].as_array()?.iter();
                let keys = keys.filter_map(|key| Some((key["tenant_id"]["S"].as_str()?, key["record"]["S"].as_str()?)));
                let items: Vec<_> = keys.filter_map(|(tenant, record)| self.record(tenant, record)).collect();
                json!({ "Responses": { "tenants": items }, "UnprocessedKeys": {} })
            }
            "UpdateItem" => self.update(request)?,
            "TransactWriteItems" => {
                let updates = request["TransactItems"].as_array()?.iter().filter_map(|item| item.get("Update"));
                updates.map(|update| self.update(update)).collect::<Option<Vec<_>>>()?;
                json!({})
            }
            _ => return None,
        };
        from_dynamodb(Bytes::from(answer.to_string()))
    }

    /// A tenant's config or watermark. No tenant has another record, such as an outbox.
    fn record(&self, tenant: &str, record: &str) -> Option<Value> {
        let records = include_str!("records.json").replace("<tenant>", tenant);
        let records = records.replace("<due shard>", &due_shard(tenant));
        let records = records.replace("<compression>", if self.data.gzip { "gzip" } else { "none" });
        let records = records.replace("<shards>", &self.data.shards.to_string());
        serde_json::from_str::<Value>(&records).ok()?.get(record).cloned()
    }

    /// Acquires or releases a lease, saves a checkpoint, or moves a watermark. No other run interferes.
    fn update(&self, update: &Value) -> Option<Value> {
        let tenant = update["Key"]["tenant_id"]["S"].as_str()?;
        let (mut watermark, values) = (self.record(tenant, "watermark")?, &update["ExpressionAttributeValues"]);
        let moved = update["UpdateExpression"].as_str()?.contains("exported_until");
        if moved && values[":until"]["S"] == watermark["next_due"]["S"] {
            self.trial().exported.insert(tenant.to_owned());
        }
        (watermark["lease"], watermark["lease_until"]) = (values[":lease"].clone(), values[":until"].clone());
        Some(if update["ReturnValues"] == "ALL_NEW" { json!({ "Attributes": watermark }) } else { json!({}) })
    }

    async fn s3(&self, head: &Parts, body: &Bytes) -> Option<Reply> {
        let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
        let part = query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")?.parse().ok());
        let operation = match (head.method.as_str(), query.contains("uploadId="), query.contains("uploads")) {
            ("PUT", false, _) => "PutObject",
            ("PUT", true, _) => "UploadPart",
            ("POST", false, true) => "InitiateMultipartUpload",
            ("POST", true, _) => "CompleteMultipartUpload",
            _ => return None,
        };
        self.count(operation, 100).await;
        if head.method == "PUT" && self.data.events() <= MAX_KEPT_EVENTS {
            self.trial().objects.insert((path.to_owned(), part.unwrap_or(0)), body.clone());
        }
        let xml = format!("<{operation}Result><UploadId>upload</UploadId><ETag>\"0-2\"</ETag></{operation}Result>");
        let mut reply =
            reply(StatusCode::OK, "application/xml", if head.method == "PUT" { String::new() } else { xml });
        reply.headers_mut().insert("etag", "\"0123456789abcdef0123456789abcdef\"".parse().ok()?);
        // As S3 does, with the client's checksums.
        let checksums = head.headers.iter().filter(|(name, _)| name.as_str().starts_with("x-amz-checksum-"));
        reply.headers_mut().extend(checksums.map(|(name, value)| (name.clone(), value.clone())));
        Some(reply)
    }
}

/// The first hex digit of the id's SHA-256.
fn due_shard(tenant: &str) -> String {
    sha256(tenant.as_bytes())[..1].to_owned()
}

/// With the checksum that DynamoDB sends.
fn from_dynamodb(body: Bytes) -> Option<Reply> {
    let crc32 = crc32fast::hash(&body);
    let mut reply = reply(StatusCode::OK, "application/x-amz-json-1.0", body);
    reply.headers_mut().insert("x-amz-crc32", crc32.into());
    Some(reply)
}
