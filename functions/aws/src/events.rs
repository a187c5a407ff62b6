//! The events table.

use audit_log_core::{
    event::{Body, StoredEvent},
    failure::Failure,
    ports::{Events, Page, Stretch},
    timestamp,
};
use aws_sdk_dynamodb::{Client, types::AttributeValue};

use crate::{
    answers::Answer,
    attributes::{Item, as_json, s},
};

/// The recorded events in DynamoDB.
#[derive(Debug, Clone)]
pub struct EventsTable {
    client: Client,
    table: String,
}

impl EventsTable {
    /// The table of that name.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }
}

impl Events for EventsTable {
    async fn page(&self, stretch: Stretch<'_>) -> Result<Page, Failure> {
        let partition = format!("{}#{}", stretch.tenant, stretch.shard);
        // A page is all that DynamoDB reads at once, 1 MB. Where it ended is a key, so where to go on can be made
        // from the last event alone.
        let start = stretch.after.map(|after| {
            Item::from([("tenant_shard".to_owned(), s(&partition)), ("recorded_at_id".to_owned(), s(after))])
        });
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .consistent_read(true)
            .key_condition_expression("tenant_shard = :shard AND recorded_at_id BETWEEN :from AND :to")
            .expression_attribute_values(":shard", s(&partition))
            .expression_attribute_values(":from", s(timestamp::millis(stretch.window.from)))
            .expression_attribute_values(":to", s(timestamp::millis(stretch.window.to)))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(|error| Answer::of(&error).from_dynamodb("the events were read"))?;
        let more_after =
            answer.last_evaluated_key.as_ref().and_then(|key| crate::attributes::text(key, "recorded_at_id"));
        let events = answer.items.unwrap_or_default().into_iter().map(event).collect();
        Ok(Page { events, more_after })
    }
}

fn event(mut item: Item) -> StoredEvent {
    let recorded_at_id = crate::attributes::text(&item, "recorded_at_id").unwrap_or_default();
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
