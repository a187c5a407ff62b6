//! Queries for a search: newest first, filtered by DynamoDB.
//!
//! DynamoDB reads and bills an item that a filter leaves out, but doesn't send it ("Filter expressions for the Query operation"
//! in the DynamoDB developer guide).

use audit_log_core::{
    event::{Body, StoredEvent},
    failure::Failure,
    filter::{CopyFilter, Filter},
    ports::{PageBack, Scanned},
};
use aws_sdk_dynamodb::{
    config::Builder as ConfigBuilder,
    operation::query::{QueryOutput, builders::QueryFluentBuilder},
    types::{AttributeValue, ReturnConsumedCapacity},
};

use crate::{
    attributes::{Item, as_json, s, text},
    errors::AwsError,
};

/// The values of an IN ("Comparison operator and function reference" in the DynamoDB developer guide). Four lists of them have
/// less than the 4 KB that an expression may have.
const MAX_VALUES: usize = 100;

/// The bytes of a read unit that is not consistent ("DynamoDB read and write operations" in the developer guide).
const UNIT_BYTES: f64 = 8192.0;

/// Without a filter if DynamoDB couldn't take it.
pub(super) fn with_filter(query: QueryFluentBuilder, filter: Option<CopyFilter<'_>>) -> QueryFluentBuilder {
    let Some(CopyFilter { actions, log_types }) = filter else { return query };
    let lists = [&actions.only, &actions.except, &log_types.only, &log_types.except];
    if lists.into_iter().any(|values| values.len() > MAX_VALUES) {
        return query;
    }
    // `action` is a reserved word.
    let (query, by_action) = condition(query, "#action", "a", actions);
    let (query, by_log_type) = condition(query, "#log_type", "l", log_types);
    let expression: Vec<_> = by_action.into_iter().chain(by_log_type).collect();
    if expression.is_empty() {
        return query;
    }
    query.filter_expression(expression.join(" AND ")).expression_attribute_values(":text", s("S"))
}

/// Adds names and values, and returns the condition on an attribute; none for a filter that everything passes. An attribute
/// that is missing, or no text, says nothing.
fn condition(
    mut query: QueryFluentBuilder,
    name: &str,
    prefix: &str,
    filter: &Filter,
) -> (QueryFluentBuilder, Option<String>) {
    let mut conditions = Vec::new();
    for (is_not, kind, values) in [("", "o", &filter.only), ("NOT ", "e", &filter.except)] {
        if values.is_empty() {
            continue;
        }
        let keys: Vec<_> = (0..values.len()).map(|number| format!(":{prefix}{kind}{number}")).collect();
        conditions.push(format!("{is_not}{name} IN ({})", keys.join(",")));
        for (key, value) in keys.into_iter().zip(values) {
            query = query.expression_attribute_values(key, s(value));
        }
    }
    if conditions.is_empty() {
        return (query, None);
    }
    let condition = format!("(NOT attribute_type({name}, :text) OR ({}))", conditions.join(" AND "));
    (query.expression_attribute_names(name, &name[1..]), Some(condition))
}

/// Decoded by the SDK, since most items are left out. An export decodes its pages in [`super::page`].
pub(super) async fn page_of(query: QueryFluentBuilder, retries: ConfigBuilder) -> Result<PageBack, Failure> {
    let query = query.return_consumed_capacity(ReturnConsumedCapacity::Total);
    let sent = query.customize().config_override(retries).send().await;
    let output = sent.map_err(|error| AwsError::from_sdk(&error).events_failure())?;
    let QueryOutput { items, count, scanned_count, last_evaluated_key, consumed_capacity, .. } = output;
    // The SDK decodes a damaged response without items as an empty page.
    let damaged = || AwsError::invalid_response("ResponseError").events_failure();
    let items = items.filter(|items| i32::try_from(items.len()) == Ok(count)).ok_or_else(damaged)?;
    let more_after = match last_evaluated_key.filter(|key| !key.is_empty()) {
        Some(key) => Some(text(&key, "recorded_at_id").ok_or_else(damaged)?),
        None => None,
    };
    let units = consumed_capacity.and_then(|capacity| capacity.capacity_units).unwrap_or_default();
    Ok(PageBack {
        events: items.into_iter().map(event).collect(),
        more_after,
        scanned: Scanned {
            events: u64::try_from(scanned_count).unwrap_or_default(),
            // A fraction of a byte doesn't matter, and no page has more bytes than a number.
            bytes: (units * UNIT_BYTES) as u64,
        },
    })
}

pub(crate) fn event(mut item: Item) -> StoredEvent {
    let recorded_at_id = text(&item, "recorded_at_id").unwrap_or_default();
    let body = match item.remove("event") {
        Some(AttributeValue::S(text)) => Body::Text(text),
        Some(other) => {
            item.insert("event".to_owned(), other);
            Body::NoText(as_json(&item))
        }
        None => Body::NoText(as_json(&item)),
    };
    StoredEvent { recorded_at_id, body }
}
