//! A window's events in order, page by page, from however many shards.

use std::collections::VecDeque;

use crate::{
    event::StoredEvent,
    failure::Failure,
    ports::{Events, Stretch},
    schedule::Window,
    settings::TenantConfig,
    tenant::TenantId,
    timestamp,
};

/// Holds at most one page of each shard and merges by `recorded_at_id`.
pub(super) struct Reader<'a, E> {
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
    fn first_key(&self) -> Option<&str> {
        self.page.front().map(|event| event.recorded_at_id.as_str())
    }
}

/// What is known of the part of a shard that was not read yet.
enum Rest {
    FromTheStart,
    After(String),
    Nothing,
}

impl<'a, E: Events> Reader<'a, E> {
    pub(super) fn new(events: &'a E, config: &'a TenantConfig, window: Window) -> Self {
        let shard = |number| Shard { number, page: VecDeque::new(), rest: Rest::FromTheStart };
        Self {
            events,
            tenant: &config.tenant,
            window,
            end: timestamp::millis(window.to),
            shards: config.event_shards.iter().map(shard).collect(),
        }
    }

    /// The next event, or none at the window's end.
    pub(super) async fn next(&mut self) -> Result<Option<StoredEvent>, Failure> {
        for shard in &mut self.shards {
            while shard.page.is_empty() {
                let after = match &shard.rest {
                    Rest::FromTheStart => None,
                    Rest::After(last) => Some(last.as_str()),
                    Rest::Nothing => break,
                };
                let stretch = Stretch { tenant: self.tenant, shard: shard.number, window: self.window, after };
                let page = self.events.page(stretch).await?;
                // A range key is compared as text, both bounds included; whatever begins at the window's end
                // belongs to the next one.
                shard.page = page.events.into_iter().take_while(|event| event.recorded_at_id < self.end).collect();
                shard.rest = page.more_after.map_or(Rest::Nothing, Rest::After);
            }
        }
        let next = match &mut self.shards[..] {
            [only] => only.page.pop_front(),
            shards => {
                let waiting = shards.iter_mut().filter(|shard| !shard.page.is_empty());
                let first = waiting.min_by(|a, b| a.first_key().cmp(&b.first_key()));
                first.and_then(|shard| shard.page.pop_front())
            }
        };
        Ok(next)
    }
}
