//! The events table in memory, to read and to record events.

use serde_json::Value;

use super::{FakeState, Fakes, Op};
use crate::{
    event::{Body, StoredEvent},
    failure::{Code, Failure},
    filter::CopyFilter,
    new_event::NewEvent,
    ports::{EventRange, Events, Page, PageBack, Recorder, Recording},
    tenant::{EventShards, Invalid, TenantId},
    timestamp,
};

/// What DynamoDB reads for a page, at most.
const PAGE_BYTES: u64 = 1 << 20;

impl Events for Fakes {
    async fn page(&self, range: EventRange<'_>) -> Result<Page, Failure> {
        self.inject(Op::Page, range.tenant.as_str()).await?;
        let limit = if self.page_size == 0 { usize::MAX } else { self.page_size };
        let state = self.state();
        let beyond = in_window(&state, range).filter(|(key, _)| range.after.is_none_or(|after| key.as_str() > after));
        let event = |(key, body): (&String, &Body)| StoredEvent { recorded_at_id: key.clone(), body: body.clone() };
        let events: Vec<StoredEvent> = beyond.map(event).take(limit).collect();
        let last = events.last().map(|last| last.recorded_at_id.clone());
        Ok(Page { more_after: last.filter(|_| events.len() == limit), events })
    }

    async fn page_back(
        &self,
        range: EventRange<'_>,
        most: usize,
        filter: Option<CopyFilter<'_>>,
    ) -> Result<PageBack, Failure> {
        self.inject(Op::PageBack, range.tenant.as_str()).await?;
        let most = if self.page_size == 0 { most } else { self.page_size.min(most) };
        let (state, mut page) = (self.state(), PageBack::default());
        for (key, body) in in_window(&state, range).rev() {
            if range.after.is_some_and(|after| key.as_str() >= after) {
                continue;
            }
            let event = StoredEvent { recorded_at_id: key.clone(), body: body.clone() };
            page.scanned.events += 1;
            page.scanned.bytes += event.len();
            if filter.is_none_or(|filter| passes(filter, body)) {
                page.events.push(event);
            }
            if u64::try_from(most).is_ok_and(|most| page.scanned.events >= most) || page.scanned.bytes >= PAGE_BYTES {
                page.more_after = Some(key.clone());
                break;
            }
        }
        Ok(page)
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

fn in_window<'a>(
    state: &'a FakeState,
    range: EventRange<'_>,
) -> impl DoubleEndedIterator<Item = (&'a String, &'a Body)> {
    let (from, to) = (timestamp::millis(range.window.from), timestamp::millis(range.window.to));
    let shard = state.events.get(&(range.tenant.to_string(), range.shard));
    shard.into_iter().flatten().filter(move |(key, _)| **key >= from && **key <= to)
}

/// An item has copies of what its event has.
fn passes(filter: CopyFilter<'_>, body: &Body) -> bool {
    let event: Value = match body {
        Body::Text(text) => serde_json::from_str(text).unwrap_or_default(),
        Body::NoText(_) => Value::Null,
    };
    filter.passes(event["action"].as_str(), event["logType"].as_str())
}
