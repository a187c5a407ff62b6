//! Reading events from memory.

use super::{Fakes, Op};
use crate::{
    event::{Body, StoredEvent},
    failure::Failure,
    ports::{EventRange, Events, Page},
    timestamp,
};

impl Events for Fakes {
    async fn page(&self, stretch: EventRange<'_>) -> Result<Page, Failure> {
        self.pass(Op::Page, stretch.tenant.as_str()).await?;
        let limit = if self.page_size == 0 { usize::MAX } else { self.page_size };
        let beyond = |key: &str| stretch.after.is_none_or(|after| key > after);
        Ok(page(self.in_window(stretch).into_iter().filter(|event| beyond(&event.recorded_at_id)), limit))
    }

    async fn page_back(&self, stretch: EventRange<'_>, most: usize) -> Result<Page, Failure> {
        self.pass(Op::PageBack, stretch.tenant.as_str()).await?;
        let limit = if self.page_size == 0 { most } else { self.page_size.min(most) };
        let beyond = |key: &str| stretch.after.is_none_or(|after| key < after);
        Ok(page(self.in_window(stretch).into_iter().rev().filter(|event| beyond(&event.recorded_at_id)), limit))
    }
}

impl Fakes {
    /// The events of a stretch's shard and window, in order.
    fn in_window(&self, stretch: EventRange<'_>) -> Vec<StoredEvent> {
        let (from, to) = (timestamp::millis(stretch.window.from), timestamp::millis(stretch.window.to));
        let state = self.state();
        let shard = state.events.get(&(stretch.tenant.to_string(), stretch.shard));
        let in_window = shard.into_iter().flatten().filter(|(key, _)| **key >= from && **key <= to);
        let event = |(key, body): (&String, &Body)| StoredEvent { recorded_at_id: key.clone(), body: body.clone() };
        in_window.map(event).collect()
    }
}

fn page(events: impl Iterator<Item = StoredEvent>, limit: usize) -> Page {
    let events: Vec<StoredEvent> = events.take(limit).collect();
    let more_after = (events.len() == limit).then(|| events.last().map(|last| last.recorded_at_id.clone())).flatten();
    Page { events, more_after }
}
