//! The events table.

use audit_log_core::{
    event::{Body, StoredEvent},
    failure::Failure,
    ports::{Events, Page, Stretch},
    record::NewEvent,
    timestamp,
};
use aws_sdk_dynamodb::{
    Client,
    operation::query::builders::QueryFluentBuilder,
    types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem},
};

use crate::{
    answers::Answer,
    attributes::{Item, as_json, event_item, event_marker, s, text},
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

    /// What stores an event for good: the event, and the marker of its id, which must not be there yet.
    pub(crate) fn puts(&self, event: &NewEvent) -> [TransactWriteItem; 2] {
        let put = |item| Put::builder().table_name(&self.table).set_item(Some(item));
        let marker = put(event_marker(event))
            .condition_expression("attribute_not_exists(tenant_shard)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        // Each has all that its builder asks for; should one not, DynamoDB refuses the whole transaction.
        [put(event_item(event)), marker].map(|put| TransactWriteItem::builder().set_put(put.build().ok()).build())
    }

    /// Asks for a stretch's events, beginning beyond `after` in the direction of reading.
    fn query(&self, stretch: Stretch<'_>) -> QueryFluentBuilder {
        let partition = format!("{}#{}", stretch.tenant, stretch.shard);
        // A page is all that DynamoDB reads at once, 1 MB. Where it ended is a key, so where to go on can be made
        // from the last event alone.
        let start = stretch.after.map(|after| {
            Item::from([("tenant_shard".to_owned(), s(&partition)), ("recorded_at_id".to_owned(), s(after))])
        });
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("tenant_shard = :shard AND recorded_at_id BETWEEN :from AND :to")
            .expression_attribute_values(":shard", s(&partition))
            .expression_attribute_values(":from", s(timestamp::millis(stretch.window.from)))
            .expression_attribute_values(":to", s(timestamp::millis(stretch.window.to)))
            .set_exclusive_start_key(start)
    }
}

async fn page_of(query: QueryFluentBuilder) -> Result<Page, Failure> {
    let answer = query.send().await.map_err(|error| Answer::of(&error).from_dynamodb("the events were read"))?;
    let more_after = answer.last_evaluated_key.as_ref().and_then(|key| text(key, "recorded_at_id"));
    let events = answer.items.unwrap_or_default().into_iter().map(event).collect();
    Ok(Page { events, more_after })
}

impl Events for EventsTable {
    async fn page(&self, stretch: Stretch<'_>) -> Result<Page, Failure> {
        page_of(self.query(stretch).consistent_read(true)).await
    }

    async fn page_back(&self, stretch: Stretch<'_>, most: usize) -> Result<Page, Failure> {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        page_of(self.query(stretch).scan_index_forward(false).limit(most)).await
    }
}

fn event(mut item: Item) -> StoredEvent {
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
