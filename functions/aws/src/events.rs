//! The events table.

#[cfg(any(test, not(feature = "stock-decoding")))]
pub(crate) mod decoding;
#[cfg(any(test, not(feature = "stock-decoding")))]
mod item;
#[cfg(any(test, not(feature = "stock-decoding")))]
mod page;
#[cfg(any(test, not(feature = "stock-decoding")))]
mod scanner;
#[cfg(any(test, feature = "stock-decoding"))]
pub(crate) mod stock;
#[cfg(test)]
mod tests;

use audit_log_core::{
    failure::Failure,
    new_event::NewEvent,
    ports::{EventRange, Events, Page},
    timestamp,
};
use aws_sdk_dynamodb::{
    Client,
    config::{Builder as ConfigBuilder, retry::RetryPartition},
    operation::query::builders::QueryFluentBuilder,
    types::{Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem},
};

#[cfg(not(feature = "stock-decoding"))]
use self::decoding::page_of;
#[cfg(feature = "stock-decoding")]
use self::stock::page_of;
use crate::attributes::{Item, event_item, event_marker, s};

/// The page that the body of Query's answer holds; none if it is damaged. For whoever throws damaged ones at it.
#[cfg(any(test, all(feature = "test-util", not(feature = "stock-decoding"))))]
pub fn decode_answer(body: &[u8]) -> Option<Page> {
    page::decode(body).ok()
}

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
    ///
    /// Whole items are asked for, although an event and its key are all that most of them are needed for. A projection
    /// would cost as much capacity and have as few items to a page, since DynamoDB counts what it reads and not what it
    /// sends; it would save a tenth of the decoding. But of an item whose writer broke the contract it would leave out
    /// what has to be exported, and by the time that such an item was asked for again, it could be gone.
    pub(crate) fn query(&self, stretch: EventRange<'_>) -> QueryFluentBuilder {
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

/// The SDK has one budget of retries for a service in a region. A partition of the table that is too busy would use it up
/// for all, so each query has its own.
pub(crate) fn own_retries() -> ConfigBuilder {
    ConfigBuilder::new().retry_partition(RetryPartition::custom("events").build())
}

impl Events for EventsTable {
    async fn page(&self, stretch: EventRange<'_>) -> Result<Page, Failure> {
        page_of(self.query(stretch).consistent_read(true), own_retries()).await
    }

    async fn page_back(&self, stretch: EventRange<'_>, most: usize) -> Result<Page, Failure> {
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        page_of(self.query(stretch).scan_index_forward(false).limit(most), own_retries()).await
    }
}
