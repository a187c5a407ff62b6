//! Reads a window's events newest first, from several places at once.
//!
//! The first round of reads is a small page of each shard. Each further round reads what the search still needs, by what it
//! has found so far, and at most [`GROWTH`] times as much as all rounds before. So a search that finds enough soon has read
//! little, and one that finds nothing soon reads [`MAX_READS`] pages at a time. To read a shard in several places, its time is
//! cut into slices that have about a page each, by how dense the events of the last round were.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures::{StreamExt as _, stream};

use super::{Scope, SearchLimits, recorded_at};
use crate::{
    event::StoredEvent,
    failure::{Code, Failure},
    filter::CopyFilter,
    ports::{EventRange, Events, PageBack, Scanned},
    schedule::Window,
    tenant::TenantId,
    timestamp,
};

/// The events read in the first round, of all shards together.
const FIRST_EVENTS: u64 = 500;

/// Of each shard. A search reads a page of each, so a smaller one costs less, and a larger one needs fewer requests.
const MIN_PAGE_EVENTS: u64 = 50;

/// How much more a round reads than all before it, at most.
const GROWTH: u64 = 8;

/// The reads at a time.
const MAX_READS: usize = 16;

/// What DynamoDB reads for a page, at most ("Query" in its API reference).
const PAGE_BYTES: u64 = 1 << 20;

/// A limit of a search, and how much of it is used.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    used: u64,
    total: u64,
}

impl Limit {
    pub(super) fn new(used: usize, total: usize) -> Self {
        let number = |number| u64::try_from(number).unwrap_or(u64::MAX);
        Self { used: number(used), total: number(total) }
    }

    /// How many events are left to read if the next ones are like those read so far.
    fn events_left(self, read: u64) -> u64 {
        let left = self.total.saturating_sub(self.used);
        read.saturating_mul(left).checked_div(self.used).unwrap_or(u64::MAX)
    }
}

pub(super) struct NewestFirst<'a, E> {
    events: &'a E,
    tenant: &'a TenantId,
    filter: Option<CopyFilter<'a>>,
    /// Oldest first, by `before`.
    unread: Vec<Part>,
    /// Read and not yet returned, oldest first.
    ready: Vec<StoredEvent>,
    scanned: Scanned,
    sent_bytes: u64,
    /// The mean time between two events of a shard, in the last round; none before the first event.
    interval: Option<TimeDelta>,
    /// Whether a partition was too busy.
    is_throttled: bool,
}

/// A part of a shard that is not read yet.
struct Part {
    shard: u16,
    window: Window,
    /// The position in or at the end of the window before which its events are.
    before: String,
}

impl Part {
    /// Cuts off the earlier part, if there is one beyond the length.
    fn split_off(&mut self, length: TimeDelta) -> Option<Self> {
        let cut = recorded_at(&self.before)?.checked_sub_signed(length)?;
        let window = Window { from: self.window.from, to: cut };
        // Keys are compared as texts, and one that is not written as the recorder does may be in another place by its time.
        let is_earlier = window.from < window.to && timestamp::millis(cut) < self.before;
        is_earlier.then(|| {
            self.window.from = cut;
            Self { shard: self.shard, window, before: timestamp::millis(cut) }
        })
    }

    /// The time between the end of the unread part and a position, or its beginning.
    fn duration_from(&self, position: Option<&str>) -> TimeDelta {
        let from = position.and_then(recorded_at).unwrap_or(self.window.from);
        recorded_at(&self.before).map_or(TimeDelta::zero(), |end| (end - from).max(TimeDelta::zero()))
    }
}

impl<'a, E: Events> NewestFirst<'a, E> {
    /// Begins before a position, or at the window's end if that is earlier.
    pub(super) fn new(
        events: &'a E,
        scope: Scope<'a>,
        window: Window,
        before: Option<&str>,
        filter: Option<CopyFilter<'a>>,
    ) -> Self {
        let (first, end) = (timestamp::millis(window.from), timestamp::millis(window.to));
        let before = before.map_or(end.clone(), |before| end.min(before.to_owned()));
        let part = |shard| Part { shard, window, before: before.clone() };
        // DynamoDB refuses a start key outside of the range.
        let unread = if before < first { Vec::new() } else { scope.shards.iter().map(part).collect() };
        Self {
            events,
            tenant: scope.tenant,
            filter,
            unread,
            ready: Vec::new(),
            scanned: Scanned::default(),
            sent_bytes: 0,
            interval: None,
            is_throttled: false,
        }
    }

    pub(super) fn scanned(&self) -> Scanned {
        self.scanned
    }

    /// Returns the next earlier event, or none if more has to be read to know it.
    pub(super) fn next(&mut self) -> Option<StoredEvent> {
        let next = self.ready.last()?;
        let is_known = self.unread.last().is_none_or(|part| part.before <= next.recorded_at_id);
        if is_known { self.ready.pop() } else { None }
    }

    /// The position before which events are left, once [`Self::next`] has returned none; none if no events are left.
    pub(super) fn next_position(&self) -> Option<String> {
        let unread = self.unread.last().map(|part| part.before.as_str());
        let ready = self.ready.last().map(|event| event.recorded_at_id.as_str());
        unread.max(ready).map(str::to_owned)
    }

    /// Reads on, if a search has taken what [`Self::next`] returns. Returns false if everything is read, or if a limit or a
    /// partition that is too busy ends the search. Each search reads at least the first page of each shard.
    pub(super) async fn read<const N: usize>(
        &mut self,
        of_page: [Limit; N],
        limits: SearchLimits<'_>,
    ) -> Result<bool, Failure> {
        if self.unread.is_empty() || self.is_throttled {
            return Ok(false);
        }
        let is_first = self.scanned == Scanned::default();
        let scanned = Limit { used: self.scanned.bytes, total: limits.scanned_bytes };
        let sent = Limit { used: self.sent_bytes, total: limits.sent_bytes };
        let is_over = [scanned, sent].into_iter().any(|limit| limit.used >= limit.total);
        if !is_first && (is_over || (limits.should_stop)()) {
            return Ok(false);
        }
        let read = self.scanned.events;
        let left = of_page.into_iter().chain([scanned, sent]).map(|limit| limit.events_left(read));
        // A quarter more, since the next events may match less often.
        let wanted = left.min().map_or(0, |left| left.saturating_add(left / 4)).min(read.saturating_mul(GROWTH));
        match self.read_about(if is_first { FIRST_EVENTS } else { wanted }).await {
            Err(failure) if is_first || failure.code != Code::Throttled => Err(failure),
            result => {
                self.is_throttled = result.is_err();
                Ok(true)
            }
        }
    }

    async fn read_about(&mut self, wanted: u64) -> Result<(), Failure> {
        let (parts, most) = self.plan(wanted);
        let reads = parts.into_iter().map(|part| read(self.events, self.tenant, part, most, self.filter));
        let pages: Vec<_> = stream::iter(reads).buffered(MAX_READS).collect().await;
        let (mut duration, mut events, mut result) = (TimeDelta::zero(), 0, Ok(()));
        for (mut part, page) in pages {
            let more_after = match page {
                Ok(page) => {
                    duration += part.duration_from(page.more_after.as_deref());
                    events += page.scanned.events;
                    self.scanned.bytes += page.scanned.bytes;
                    self.sent_bytes += page.events.iter().map(StoredEvent::len).sum::<u64>();
                    self.ready.extend(page.events);
                    page.more_after
                }
                Err(failure) => {
                    result = Err(failure);
                    Some(part.before.clone())
                }
            };
            if let Some(before) = more_after {
                part.before = before;
                self.unread.push(part);
            }
        }
        self.scanned.events += events;
        self.interval = match i32::try_from(events) {
            Ok(events @ 1..) => Some((duration / events).max(TimeDelta::microseconds(1))),
            // Longer by steps: where the next events are, they may be dense.
            _ => self.interval.and_then(|interval| interval.checked_mul(8)),
        };
        self.ready.sort_by(|a, b| a.recorded_at_id.cmp(&b.recorded_at_id));
        self.unread.sort_by(|a, b| a.before.cmp(&b.before));
        result
    }

    /// Takes what to read next, the newest first, and how many events of each part.
    fn plan(&mut self, wanted: u64) -> (Vec<Part>, u64) {
        let Some(interval) = self.interval else {
            let parts = std::mem::take(&mut self.unread);
            let shards = u64::try_from(parts.len()).unwrap_or(u64::MAX);
            return (parts, wanted.div_ceil(shards.max(1)).max(MIN_PAGE_EVENTS));
        };
        let page_events = (self.scanned.events * PAGE_BYTES / self.scanned.bytes.max(1)).max(1);
        let shards = self.unread.iter().map(|part| part.shard).collect::<BTreeSet<_>>().len();
        let reads = usize::try_from(wanted / page_events + 1).unwrap_or(MAX_READS).max(shards).min(MAX_READS);
        let most = (wanted / u64::try_from(reads).unwrap_or(1)).max(MIN_PAGE_EVENTS).min(page_events);
        // Most slices then have a little less than a page, and need one read.
        let length = interval.checked_mul(i32::try_from(most - most / 8).unwrap_or(i32::MAX));
        let length = length.unwrap_or(TimeDelta::MAX).max(TimeDelta::milliseconds(1));
        let mut parts = Vec::new();
        while parts.len() < reads
            && let Some(mut part) = self.unread.pop()
        {
            if let Some(rest) = part.split_off(length) {
                let at = self.unread.partition_point(|other| other.before <= rest.before);
                self.unread.insert(at, rest);
            }
            parts.push(part);
        }
        (parts, most)
    }
}

async fn read<E: Events>(
    events: &E,
    tenant: &TenantId,
    part: Part,
    most: u64,
    filter: Option<CopyFilter<'_>>,
) -> (Part, Result<PageBack, Failure>) {
    let range = EventRange { tenant, shard: part.shard, window: part.window, after: Some(&part.before) };
    let page = events.page_back(range, usize::try_from(most).unwrap_or(usize::MAX), filter).await;
    (part, page)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise, keys whose texts are between the two would be in no part, or in both.
    #[test]
    fn a_part_is_cut_only_where_the_text_is_earlier_too() {
        let window =
            Window { from: "2025-11-21T10:00:00Z".parse().unwrap(), to: "2025-11-21T14:00:00Z".parse().unwrap() };
        let cut = |before: &str| {
            let mut part = Part { shard: 0, window, before: before.to_owned() };
            let earlier = part.split_off(TimeDelta::minutes(30)).map(|earlier| earlier.before);
            (earlier, part.window.from == window.from)
        };
        assert_eq!(cut("2025-11-21T12:00:00.000Z#1"), (Some("2025-11-21T11:30:00.000Z".to_owned()), false));
        // By its time it is at noon.
        assert_eq!(cut("2025-11-21T10:30:00.000-01:30#1"), (None, true));
        assert_eq!(cut("2025-11-21T10:10:00.000Z#1"), (None, true));
        assert_eq!(cut("no time"), (None, true));
    }
}
