//! Makes events from items that the SDK has decoded.

use audit_log_core::event::{Body, StoredEvent};
#[cfg(test)]
use audit_log_core::{failure::Failure, ports::Page};
use aws_sdk_dynamodb::types::AttributeValue;
#[cfg(test)]
use aws_sdk_dynamodb::{config::Builder as ConfigBuilder, operation::query::builders::QueryFluentBuilder};

use crate::attributes::{Item, as_json, text};
#[cfg(test)]
use crate::errors::AwsError;

/// For comparison with the decoding of its own that an export has.
#[cfg(test)]
pub(crate) async fn page_of(query: QueryFluentBuilder, retries: ConfigBuilder) -> Result<Page, Failure> {
    let sent = query.customize().config_override(retries).send().await;
    let output = sent.map_err(|error| AwsError::from_sdk(&error).events_failure())?;
    let more_after = output.last_evaluated_key.as_ref().and_then(|key| text(key, "recorded_at_id"));
    let events = output.items.unwrap_or_default().into_iter().map(event).collect();
    Ok(Page { events, more_after })
}

pub(super) fn event(mut item: Item) -> StoredEvent {
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
