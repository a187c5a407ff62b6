//! DynamoDB: the operations of an export, over AWS JSON 1.0.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Reply, unknown};
use crate::data::{self, Page, Partition, WINDOW_FROM, WINDOW_TO};
use crate::world::{Tenant, World};

pub(crate) const TENANTS: &str = "tenants";
pub(crate) const EVENTS: &str = "events";

pub(super) async fn answer(world: &World, operation: &str, body: &[u8]) -> Reply {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return unknown(world, format!("{operation} with a body that is no JSON"));
    };
    let answered = match (operation, request["TableName"].as_str()) {
        ("Query", Some(EVENTS)) => return query_events(world, &request).await,
        ("Query", Some(TENANTS)) => {
            world.count("Query due");
            query_due(world, &request)
        }
        ("Scan", Some(TENANTS)) => {
            world.count("Scan pending");
            Some(json!({ "Count": 0, "Items": [], "ScannedCount": 0 }))
        }
        ("BatchGetItem", _) => {
            world.count("BatchGetItem");
            batch_get(world, &request)
        }
        ("GetItem", Some(TENANTS)) => {
            world.count("GetItem");
            Some(record(world, &request["Key"]).map_or(json!({}), |item| json!({ "Item": item })))
        }
        ("TransactWriteItems", _) => {
            world.count("TransactWriteItems");
            transact(world, &request)
        }
        ("UpdateItem", Some(TENANTS)) => {
            world.count("UpdateItem");
            update_lease(world, &request).or_else(|| move_watermark(world, &request))
        }
        ("PutItem", _) => {
            world.count("PutItem");
            Some(json!({}))
        }
        _ => None,
    };
    match answered {
        Some(answer) => {
            let body = Bytes::from(answer.to_string());
            send(crc32fast::hash(&body), body)
        }
        None => unknown(world, format!("{operation} {request}")),
    }
}

/// With the checksum header that DynamoDB sends.
fn send(crc32: u32, body: Bytes) -> Reply {
    Response::builder()
        .status(StatusCode::OK)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-crc32", crc32)
        .header("x-amzn-requestid", "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEF")
        .body(Full::new(body))
        .unwrap_or_default()
}

/// A page of a partition's events, in the order of their keys.
async fn query_events(world: &World, request: &Value) -> Reply {
    world.count("Query events");
    let Some((partition, start, end)) = requested_range(world, request) else {
        return unknown(world, format!("Query {request}"));
    };
    world.pace(partition).await;
    let most = request["Limit"].as_u64();
    let end = most.map_or(end, |most| end.min(start + most));
    let Page { body, crc32, .. } = match world.data.prepared_page(partition, start, end) {
        Some(page) => page,
        None => world.data.pool.page(partition, start..end),
    };
    send(crc32, body)
}

/// The events that a Query requests. Clients choose the names of values, so values are recognized by their content.
fn requested_range<'a>(world: &'a World, request: &Value) -> Option<(&'a Partition, u64, u64)> {
    for unserved in ["ProjectionExpression", "FilterExpression", "IndexName"] {
        if !request[unserved].is_null() {
            return None;
        }
    }
    let values = request["ExpressionAttributeValues"].as_object()?;
    let mut texts: Vec<&str> = values.values().filter_map(|value| value["S"].as_str()).collect();
    let at = texts.iter().position(|text| world.data.by_partition.contains_key(*text))?;
    let (tenant, place) = *world.data.by_partition.get(texts.remove(at))?;
    let partition = &world.data.tenants[tenant].partitions[place];
    texts.sort_unstable();
    let [from, to] = texts[..] else { return None };
    let range = data::between(partition, from, to)?;
    let start = match request["ExclusiveStartKey"]["recorded_at_id"]["S"].as_str() {
        Some(after) => data::event_number(after)? + 1,
        None => range.start,
    };
    Some((partition, start.min(range.end), range.end))
}

fn query_due(world: &World, request: &Value) -> Option<Value> {
    let values = request["ExpressionAttributeValues"].as_object()?;
    let shard = values.values().filter_map(|value| value["S"].as_str()).find(|text| text.len() == 1)?;
    let due = world.data.tenants.iter().filter(|tenant| tenant.due_shard == shard);
    let due = due.map(|tenant| watermark(world, tenant));
    let items: Vec<Value> = due.collect();
    Some(json!({ "Count": items.len(), "Items": items, "ScannedCount": items.len() }))
}

fn batch_get(world: &World, request: &Value) -> Option<Value> {
    let keys = request["RequestItems"][TENANTS]["Keys"].as_array()?;
    let items: Vec<Value> = keys.iter().filter_map(|key| record(world, key)).collect();
    Some(json!({ "Responses": { TENANTS: items }, "UnprocessedKeys": {} }))
}

fn record(world: &World, key: &Value) -> Option<Value> {
    let at = *world.data.by_id.get(key["tenant_id"]["S"].as_str()?)?;
    let tenant = &world.data.tenants[at];
    match key["record"]["S"].as_str()? {
        "config" => Some(config(tenant)),
        "watermark" => Some(watermark(world, tenant)),
        // No tenant has an outbox or a final delivery.
        _ => None,
    }
}

fn config(tenant: &Tenant) -> Value {
    json!({
        "tenant_id": { "S": tenant.id }, "record": { "S": "config" }, "version": { "N": "1" },
        "external_id": { "S": "3f6c1d2e-8a55-4f0e-9a7e-0d3c5b1a9e42" },
        "role_arn": { "S": "arn:aws:iam::222222222222:role/audit-log-export" },
        "bucket": { "S": tenant.bucket() }, "region": { "S": "eu-west-1" }, "prefix": { "S": "security" },
        "frequency_hours": { "N": "1" }, "format": { "S": "json" },
        "compression": { "S": if tenant.gzip { "gzip" } else { "none" } }, "schema": { "S": tenant.schema },
        "event_shards": { "N": tenant.partitions.len().to_string() },
        "settings_saved_at": { "S": "2025-11-01T09:30:00Z" },
    })
}

fn watermark(world: &World, tenant: &Tenant) -> Value {
    let mut watermark = json!({
        "tenant_id": { "S": tenant.id }, "record": { "S": "watermark" }, "due_shard": { "S": tenant.due_shard },
        "exported_until": { "S": WINDOW_FROM }, "next_due": { "S": WINDOW_TO },
        "last_success_at": { "S": "2025-11-21T10:01:02Z" }, "consecutive_failures": { "N": "0" },
    });
    let observed = world.observed();
    for (name, attribute) in observed.leases.get(&tenant.id).into_iter().flatten() {
        watermark[name] = attribute.clone();
    }
    if let Some(checkpoint) = observed.checkpoints.get(&tenant.id) {
        watermark["checkpoint"] = json!({ "S": checkpoint });
    }
    watermark
}

/// Acquires or releases a tenant's lease. No other run has one here.
fn update_lease(world: &World, update: &Value) -> Option<Value> {
    let tenant = &world.data.tenants[*world.data.by_id.get(update["Key"]["tenant_id"]["S"].as_str()?)?];
    let values = &update["ExpressionAttributeValues"];
    match update["UpdateExpression"].as_str()? {
        "SET lease = :lease, lease_until = :until" if update["ReturnValues"] == "ALL_NEW" => {
            let lease = [("lease", values[":lease"].clone()), ("lease_until", values[":until"].clone())];
            world.observed().leases.insert(tenant.id.clone(), lease);
            Some(json!({ "Attributes": watermark(world, tenant) }))
        }
        "REMOVE lease, lease_until" => {
            world.observed().leases.remove(&tenant.id);
            Some(json!({}))
        }
        _ => None,
    }
}

fn transact(world: &World, request: &Value) -> Option<Value> {
    for item in request["TransactItems"].as_array()? {
        if item["Update"].is_object() {
            update_under_lease(world, &item["Update"])?;
        }
    }
    Some(json!({}))
}

/// Moves a tenant's watermark or stores a checkpoint, if the update names the tenant's lease.
fn update_under_lease(world: &World, update: &Value) -> Option<Value> {
    let tenant = update["Key"]["tenant_id"]["S"].as_str()?;
    let values = &update["ExpressionAttributeValues"];
    let [(_, token), _] = world.observed().leases.get(tenant).cloned()?;
    if values[":lease"] != token {
        return None;
    }
    if let Some(checkpoint) = values[":checkpoint"]["S"].as_str() {
        world.observed().checkpoints.insert(tenant.to_owned(), checkpoint.to_owned());
        return Some(json!({}));
    }
    if update["UpdateExpression"].as_str()?.contains("lease_until") {
        world.observed().leases.remove(tenant);
    }
    move_watermark(world, update)
}

/// Records the commit of a tenant's window; none for any other update.
fn move_watermark(world: &World, update: &Value) -> Option<Value> {
    let tenant = update["Key"]["tenant_id"]["S"].as_str()?;
    let moved = update["UpdateExpression"].as_str()?.contains("exported_until");
    let values = update["ExpressionAttributeValues"].as_object()?;
    if !moved || !values.values().any(|value| value["S"] == WINDOW_TO) {
        return None;
    }
    world.observed().commits.insert(tenant.to_owned(), std::time::Instant::now());
    Some(json!({}))
}
