//! The events table in memory, to read and to record events.

use super::{Fakes, Op};
use crate::{
    event::{Body, StoredEvent},
    failure::{Code, Failure},
    new_event::NewEvent,
    ports::{EventRange, Events, Page, Recorder, Recording},
    tenant::{EventShards, Invalid, TenantId},
    timestamp,
};

impl Events for Fakes {
    async fn page(&self, range: EventRange<'_>) -> Result<Page, Failure> {
        self.inject(Op::Page, range.tenant.as_str()).await?;
        let limit = if self.page_size == 0 { usize::MAX } else { self.page_size };
        let beyond = |key: &str| range.after.is_none_or(|after| key > after);
        Ok(page(self.in_window(range).into_iter().filter(|event| beyond(&event.recorded_at_id)), limit))
    }

    async fn page_back(&self, range: EventRange<'_>, most: usize) -> Result<Page, Failure> {
        self.inject(Op::PageBack, range.tenant.as_str()).await?;
        let limit = if self.page_size == 0 { most } else { self.page_size.min(most) };
        let beyond = |key: &str| range.after.is_none_or(|after| key < after);
        Ok(page(self.in_window(range).into_iter().rev().filter(|event| beyond(&event.recorded_at_id)), limit))
    }
}

impl Recorder for Fakes {
    async fn record(&self, event: &NewEvent) -> Result<Recording, Failure> {
        self.inject(Op::Record, event.tenant.as_str()).await?;
        Ok(self.state().record(event))
    }

    async fn event_shards(&self, tenant: &TenantId) -> Result<EventShards, Failure> {
        self.inject(Op::EventShards, tenant.as_str()).await?;
        let shards = self.state().records(tenant).config.and_then(|config| config.event_shards);
        let damaged = |invalid: Invalid| Failure::new(Code::ConfigInvalid, invalid.0);
        shards.map_or(Ok(EventShards::ONE), |text| EventShards::parse(&text).map_err(damaged))
    }
}

impl Fakes {
    fn in_window(&self, range: EventRange<'_>) -> Vec<StoredEvent> {
        let (from, to) = (timestamp::millis(range.window.from), timestamp::millis(range.window.to));
        let state = self.state();
        let shard = state.events.get(&(range.tenant.to_string(), range.shard));
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
