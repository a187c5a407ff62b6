//! A window's events from the latest to the first, page by page, from however many shards.

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

/// How many events are read at a time; DynamoDB's own limit, 1 MB, may come first.
const PAGE: usize = 500;

/// Holds at most one page of each shard and merges by `recorded_at_id`, backwards.
pub(super) struct NewestFirst<'a, E> {
    events: &'a E,
    tenant: &'a TenantId,
    window: Window,
    end: String,
    shards: Vec<Shard>,
}

struct Shard {
    number: u16,
    page: VecDeque<StoredEvent>,
    rest: Rest,
}

impl Shard {
    fn next_key(&self) -> Option<&str> {
        self.page.front().map(|event| event.recorded_at_id.as_str())
    }
}

/// What is known of the part of a shard that was not read yet.
#[derive(Clone)]
enum Rest {
    FromTheEnd,
    Before(String),
    Nothing,
}

impl<'a, E: Events> NewestFirst<'a, E> {
    /// Begins before a `recorded_at_id`, or at the window's end where that is earlier.
    pub(super) fn new(events: &'a E, of: Scope<'a>, window: Window, beyond: Option<&str>) -> Self {
        let (first, end) = (timestamp::millis(window.from), timestamp::millis(window.to));
        let rest = match beyond {
            // DynamoDB refuses to go on from a key outside of what is asked for.
            Some(beyond) if *beyond < *first => Rest::Nothing,
            Some(beyond) if *beyond < *end => Rest::Before(beyond.to_owned()),
            _ => Rest::FromTheEnd,
        };
        let shard = |number| Shard { number, page: VecDeque::new(), rest: rest.clone() };
        Self { events, tenant: of.tenant, window, end, shards: of.shards.iter().map(shard).collect() }
    }

    /// The next earlier event, or none at the window's beginning.
    pub(super) async fn next(&mut self) -> Result<Option<StoredEvent>, Failure> {
        self.fill().await?;
        let waiting = self.shards.iter_mut().filter(|shard| !shard.page.is_empty());
        let latest = waiting.max_by(|a, b| a.next_key().cmp(&b.next_key()));
        Ok(latest.and_then(|shard| shard.page.pop_front()))
    }

    /// Whether there is one.
    pub(super) async fn has_more(&mut self) -> Result<bool, Failure> {
        self.fill().await?;
        Ok(self.shards.iter().any(|shard| !shard.page.is_empty()))
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        for shard in &mut self.shards {
            while shard.page.is_empty() {
                let after = match &shard.rest {
                    Rest::FromTheEnd => None,
                    Rest::Before(last) => Some(last.as_str()),
                    Rest::Nothing => break,
                };
                let stretch = EventRange { tenant: self.tenant, shard: shard.number, window: self.window, after };
                let page = self.events.page_back(stretch, PAGE).await?;
                // Both bounds are included; whatever begins at the window's end is not in it.
                shard.page = page.events.into_iter().filter(|event| event.recorded_at_id < self.end).collect();
                shard.rest = page.more_after.map_or(Rest::Nothing, Rest::Before);
            }
        }
        Ok(())
    }
}
