//! Stores events in the events table, and reads them in pages.

pub(crate) mod back;
pub(crate) mod decoding;
mod keys;
mod page;
#[cfg(test)]
mod tests;

use audit_log_core::{
    failure::Failure,
    filter::CopyFilter,
    new_event::NewEvent,
    ports::{EventRange, Events, Page, PageBack},
    timestamp,
};
use aws_sdk_dynamodb::{
    Client,
    config::{Builder as ConfigBuilder, retry::RetryPartition},
    operation::query::builders::QueryFluentBuilder,
    types::{Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem},
};

use self::decoding::page_of;
use crate::attributes::{Item, event_item, event_marker, s};

/// Decodes the body of a response to Query; `None` if it is damaged. For tests with hostile input.
#[cfg(any(test, feature = "test-util"))]
pub fn decode_response(body: &[u8]) -> Option<Page> {
    page::decode(body).ok()
}

/// The index of the marker among [`EventsTable::puts`].
pub(crate) const MARKER: usize = 1;

#[derive(Debug, Clone)]
pub struct EventsTable {
    client: Client,
    table: String,
}

impl EventsTable {
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into() }
    }

    /// The puts that store an event: the event and its marker. Neither may exist. The marker tells whether the event was stored
    /// before; an event alone under the key is another submitter's, with the same id and time.
    pub(crate) fn puts(&self, event: &NewEvent) -> [TransactWriteItem; 2] {
        let put = |item| {
            let put = Put::builder().table_name(&self.table).set_item(Some(item));
            put.condition_expression("attribute_not_exists(tenant_shard)")
        };
        let marker = put(event_marker(event))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        // `build` can't fail: both have all required fields. Without one, DynamoDB would refuse the whole transaction.
        [put(event_item(event)), marker].map(|put| TransactWriteItem::builder().set_put(put.build().ok()).build())
    }

    /// The query for a range, from beyond `after` in the direction of reading.
    ///
    /// It has no projection, although most items are needed only for key and event. DynamoDB counts what it reads and not
    /// what it sends, so a projection would cost the same capacity and as many pages, and save a tenth of the decoding. But
    /// of an item without a text it would leave out what has to be exported, and that item could be gone before it is read
    /// again.
    pub(crate) fn query(&self, range: EventRange<'_>) -> QueryFluentBuilder {
        let partition = format!("{}#{}", range.tenant, range.shard);
        // A page is the 1 MB that DynamoDB reads at once. The position where it ends is a key, so the last event is enough
        // to make it.
        let start = range.after.map(|after| {
            Item::from([("tenant_shard".to_owned(), s(&partition)), ("recorded_at_id".to_owned(), s(after))])
        });
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("tenant_shard = :shard AND recorded_at_id BETWEEN :from AND :to")
            .expression_attribute_values(":shard", s(&partition))
            .expression_attribute_values(":from", s(timestamp::millis(range.window.from)))
            .expression_attribute_values(":to", s(timestamp::millis(range.window.to)))
            .set_exclusive_start_key(start)
    }
}

/// The SDK has one budget of retries for a service in a region. A partition of the table that is too busy would use it up
/// for all requests, so queries have another one.
pub(crate) fn separate_retries() -> ConfigBuilder {
    ConfigBuilder::new().retry_partition(RetryPartition::custom("events").build())
}

impl Events for EventsTable {
    async fn page(&self, range: EventRange<'_>) -> Result<Page, Failure> {
        page_of(self.query(range).consistent_read(true), separate_retries()).await
    }

    async fn page_back(
        &self,
        range: EventRange<'_>,
        most: usize,
        filter: Option<CopyFilter<'_>>,
    ) -> Result<PageBack, Failure> {
        let query = self.query(range).scan_index_forward(false).limit(i32::try_from(most).unwrap_or(i32::MAX));
        back::page_of(back::with_filter(query, filter), separate_retries()).await
    }
}
