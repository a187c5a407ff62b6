//! Reads a window's events newest first, merging the shards.

use std::collections::VecDeque;

use super::Scope;
use crate::{
    event::StoredEvent,
    failure::Failure,
    ports::{EventRange, Events},
    schedule::Window,
    tenant::TenantId,
    timestamp,
};

/// The events read at a time, of all shards together; DynamoDB's limit of 1 MB may end a page earlier.
const PAGE_EVENTS: usize = 500;

/// Of each shard. A search reads a page of each, so a smaller one costs less, and a larger one needs fewer requests.
const MIN_PAGE_EVENTS: usize = 50;

/// Holds at most one page of each shard and merges by `recorded_at_id`.
pub(super) struct NewestFirst<'a, E> {
    events: &'a E,
    tenant: &'a TenantId,
    window: Window,
    end: String,
    page_events: usize,
    shards: Vec<ReverseShard>,
}

struct ReverseShard {
    number: u16,
    page: VecDeque<StoredEvent>,
    unread: Unread,
}

impl ReverseShard {
    fn next_key(&self) -> Option<&str> {
        self.page.front().map(|event| event.recorded_at_id.as_str())
    }
}

/// The part of a shard that is not read yet.
#[derive(Clone)]
enum Unread {
    All,
    Before(String),
    None,
}

impl<'a, E: Events> NewestFirst<'a, E> {
    /// Begins before a `recorded_at_id`, or at the window's end if that is earlier.
    pub(super) fn new(events: &'a E, scope: Scope<'a>, window: Window, before: Option<&str>) -> Self {
        let (first, end) = (timestamp::millis(window.from), timestamp::millis(window.to));
        let unread = match before {
            // DynamoDB refuses a start key outside of the range.
            Some(before) if *before < *first => Unread::None,
            Some(before) if *before < *end => Unread::Before(before.to_owned()),
            _ => Unread::All,
        };
        let shard = |number| ReverseShard { number, page: VecDeque::new(), unread: unread.clone() };
        let shards: Vec<_> = scope.shards.iter().map(shard).collect();
        let page_events = PAGE_EVENTS.div_ceil(shards.len().max(1)).max(MIN_PAGE_EVENTS);
        Self { events, tenant: scope.tenant, window, end, page_events, shards }
    }

    /// Returns the next earlier event, or none at the window's beginning.
    pub(super) async fn next(&mut self) -> Result<Option<StoredEvent>, Failure> {
        self.fill().await?;
        let nonempty = self.shards.iter_mut().filter(|shard| !shard.page.is_empty());
        let latest = nonempty.max_by(|a, b| a.next_key().cmp(&b.next_key()));
        Ok(latest.and_then(|shard| shard.page.pop_front()))
    }

    pub(super) async fn has_more(&mut self) -> Result<bool, Failure> {
        self.fill().await?;
        Ok(self.shards.iter().any(|shard| !shard.page.is_empty()))
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        for shard in &mut self.shards {
            while shard.page.is_empty() {
                let after = match &shard.unread {
                    Unread::All => None,
                    Unread::Before(last) => Some(last.as_str()),
                    Unread::None => break,
                };
                let range = EventRange { tenant: self.tenant, shard: shard.number, window: self.window, after };
                let page = self.events.page_back(range, self.page_events).await?;
                // The range includes its end, the window doesn't.
                shard.page = page.events.into_iter().filter(|event| event.recorded_at_id < self.end).collect();
                shard.unread = page.more_after.map_or(Unread::None, Unread::Before);
            }
        }
        Ok(())
    }
}
