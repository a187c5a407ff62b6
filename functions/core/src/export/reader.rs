//! Reads a window's events in order: merges the pages of all event shards.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use futures::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Either, select},
    stream::FuturesUnordered,
};

use super::{
    AbortReason, Run,
    budget::{Budget, BudgetPermit},
    report::Deferral,
};
use crate::{
    event::StoredEvent,
    failure::Failure,
    ports::{EventRange, Events, Page},
    records::EventPosition,
    schedule::Window,
    settings::TenantConfig,
    tenant::TenantId,
    timestamp,
};

/// The memory that a page takes at most: DynamoDB reads 1 MB at once (by "Query" in its API reference).
const PAGE_BYTES: usize = 1 << 20;

/// Merges the shards by `recorded_at_id`. Holds one page of each shard and, as far as the budget allows, the next one, while
/// the page after that is requested: all shards are read side by side, also while other work is awaited.
///
/// It prefetches two pages and not one: while the merge waits for one shard, each of the others can go on for as long.
pub(super) struct Reader<'a, E> {
    source: Source<'a, E>,
    shards: Vec<Shard>,
    /// The requests that wait for an answer, one of a shard at most.
    requests: FuturesUnordered<PendingPage<'a>>,
    /// Whether a page was begun since `should_stop` was called.
    has_new_page: bool,
}

struct Source<'a, E> {
    events: &'a E,
    tenant: &'a TenantId,
    window: Window,
    end: String,
    budget: &'a Budget,
}

/// The index of the shard, and what DynamoDB answered.
type PendingPage<'a> = BoxFuture<'a, (usize, Result<Page, Failure>)>;

struct Shard {
    number: u16,
    page: VecDeque<StoredEvent>,
    /// The page after that one.
    prefetched: Option<PrefetchedPage>,
    request: Option<PageRequest>,
    unrequested: Unrequested,
    /// The last `recorded_at_id` that was written.
    written_until: Option<String>,
}

/// The part of a shard that was not requested yet.
enum Unrequested {
    All,
    After(String),
    Nothing,
}

struct PrefetchedPage {
    events: VecDeque<StoredEvent>,
    _permit: Option<BudgetPermit>,
}

struct PageRequest {
    /// None while the request waits for its answer.
    answer: Option<Result<Page, Failure>>,
    /// None for a page that the merge waits for.
    permit: Option<BudgetPermit>,
}

/// An event and the index of its shard.
pub(super) struct ReadEvent {
    pub(super) event: StoredEvent,
    shard: usize,
}

impl ReadEvent {
    /// As in [`EventPosition`].
    pub(super) fn position(&self) -> (&str, u16) {
        (&self.event.recorded_at_id, u16::try_from(self.shard).unwrap_or(u16::MAX))
    }
}

impl Shard {
    fn first_key(&self) -> Option<&str> {
        self.page.front().map(|event| event.recorded_at_id.as_str())
    }

    /// Whether the merge has to wait for this shard's next event.
    fn is_waiting(&self) -> bool {
        let has_more = || !matches!(self.unrequested, Unrequested::Nothing);
        self.page.is_empty() && (self.prefetched.is_some() || self.request.is_some() || has_more())
    }

    /// Whether a page or an error has arrived.
    fn is_ready(&self) -> bool {
        self.prefetched.is_some() || self.request.as_ref().is_some_and(|request| request.answer.is_some())
    }

    /// Returns the error of the shard's request, if it has failed.
    fn take_failure(&mut self) -> Option<Failure> {
        let failed = |request: &mut PageRequest| matches!(request.answer, Some(Err(_)));
        match self.request.take_if(failed)?.answer {
            Some(Err(failure)) => Some(failure),
            _ => None,
        }
    }
}

impl<'a, E: Events> Reader<'a, E> {
    /// Begins at the window's beginning, or where an earlier run stopped reading each shard.
    pub(super) fn new(
        events: &'a E,
        config: &'a TenantConfig,
        window: Window,
        read_until: &[Option<String>],
        budget: &'a Budget,
    ) -> Self {
        let shard = |number: u16| {
            let written_until = read_until.get(usize::from(number)).cloned().flatten();
            let unrequested = written_until.clone().map_or(Unrequested::All, Unrequested::After);
            Shard { number, page: VecDeque::new(), prefetched: None, request: None, unrequested, written_until }
        };
        let shards = config.event_shards.iter().map(shard).collect();
        let source = Source { events, tenant: &config.tenant, window, end: timestamp::millis(window.to), budget };
        Self { source, shards, requests: FuturesUnordered::new(), has_new_page: false }
    }

    /// Returns the next event, or none at the window's end. Fails if the time is up, which is checked once a page: for each
    /// event it would cost more than passing it on.
    pub(super) async fn next_in_time(&mut self, run: Run<'_>) -> Result<Option<ReadEvent>, AbortReason> {
        let next = self.next().await?;
        if next.is_some() && std::mem::take(&mut self.has_new_page) && (run.should_stop)() {
            return Err(AbortReason::Deferred(Deferral::OutOfTime));
        }
        Ok(next)
    }

    async fn next(&mut self) -> Result<Option<ReadEvent>, Failure> {
        if self.shards.iter().any(Shard::is_waiting) {
            self.fill().await?;
        }
        let unread = self.shards.iter().enumerate().filter(|(_, shard)| !shard.page.is_empty());
        let first = unread.min_by(|(_, a), (_, b)| a.first_key().cmp(&b.first_key())).map(|(shard, _)| shard);
        Ok(first.and_then(|shard| Some(ReadEvent { event: self.shards[shard].page.pop_front()?, shard })))
    }

    /// Makes the event that was read last the next one again.
    pub(super) fn put_back(&mut self, ReadEvent { event, shard }: ReadEvent) {
        self.shards[shard].page.push_front(event);
    }

    /// Marks an event as written, and all events of its shard before it.
    pub(super) fn mark_written(&mut self, ReadEvent { event, shard }: ReadEvent) {
        self.shards[shard].written_until = Some(event.recorded_at_id);
    }

    /// Returns the last written `recorded_at_id` of each shard.
    pub(super) fn read_until(&self) -> Vec<Option<String>> {
        self.shards.iter().map(|shard| shard.written_until.clone()).collect()
    }

    /// Returns the last written event of all shards.
    pub(super) fn last_written(&self) -> Option<EventPosition> {
        let position = |shard: &Shard| {
            let recorded_at_id = shard.written_until.clone()?;
            Some(EventPosition { recorded_at_id, shard: shard.number })
        };
        self.shards.iter().filter_map(position).max()
    }

    /// Awaits other work while the requests for pages go on.
    pub(super) async fn while_prefetching<R>(&mut self, other: impl Future<Output = R>) -> R {
        let prefetching = poll_fn(|context| {
            self.receive(context);
            Poll::<Infallible>::Pending
        });
        match select(pin!(other), prefetching).await {
            Either::Left((output, _)) => output,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Reads until the next event of every shard is known.
    async fn fill(&mut self) -> Result<(), Failure> {
        loop {
            for index in 0..self.shards.len() {
                self.begin_page(index)?;
            }
            if !self.shards.iter().any(Shard::is_waiting) {
                return Ok(());
            }
            // Other tenants are polled between two pages, however fast pages come.
            yield_now().await;
            poll_fn(|context| {
                self.receive(context);
                let is_ready = self.shards.iter().any(|shard| shard.is_waiting() && shard.is_ready());
                if is_ready { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    /// Begins a shard's next page if it has read the one before. Requests it if that was not done yet.
    fn begin_page(&mut self, index: usize) -> Result<(), Failure> {
        while self.shards[index].page.is_empty() {
            let shard = &mut self.shards[index];
            if let Some(PrefetchedPage { events, .. }) = shard.prefetched.take() {
                shard.page = events;
                self.has_new_page = true;
                self.keep(index);
            } else if let Some(failure) = shard.take_failure() {
                return Err(failure);
            } else {
                if shard.request.is_none() {
                    self.request(index, None);
                }
                break;
            }
        }
        Ok(())
    }

    /// Requests a shard's next page, if there is one.
    fn request(&mut self, index: usize, permit: Option<BudgetPermit>) {
        let Self { source, shards, requests, .. } = self;
        let after = match std::mem::replace(&mut shards[index].unrequested, Unrequested::Nothing) {
            Unrequested::All => None,
            Unrequested::After(last) => Some(last),
            Unrequested::Nothing => return,
        };
        let Source { events, tenant, window, .. } = *source;
        let shard = shards[index].number;
        shards[index].request = Some(PageRequest { answer: None, permit });
        let page =
            async move { (index, events.page(EventRange { tenant, shard, window, after: after.as_deref() }).await) };
        requests.push(page.boxed());
    }

    /// Keeps the pages that have arrived. Only requests that were woken are polled: polling all of them at each wake-up would
    /// cost time that grows with the square of the shards.
    fn receive(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some((index, answer))) = self.requests.poll_next_unpin(context) {
            if let Some(request) = &mut self.shards[index].request {
                request.answer = Some(answer);
            }
            self.keep(index);
        }
    }

    /// Moves a shard's page that has arrived to the prefetched one's place, if that is free, and requests the page after it if
    /// the budget allows it.
    fn keep(&mut self, index: usize) {
        let shard = &mut self.shards[index];
        let has_arrived = |request: &mut PageRequest| matches!(request.answer, Some(Ok(_)));
        if shard.prefetched.is_some() {
            return;
        }
        let Some(PageRequest { answer: Some(Ok(page)), permit }) = shard.request.take_if(has_arrived) else { return };
        // A range key is compared as text, both bounds included. An event at the window's end belongs to the next one.
        let in_window = |event: &StoredEvent| event.recorded_at_id < self.source.end;
        let events = page.events.into_iter().take_while(in_window).collect();
        shard.prefetched = Some(PrefetchedPage { events, _permit: permit });
        if let Some(last) = page.more_after {
            shard.unrequested = Unrequested::After(last);
            if let Some(permit) = self.source.budget.try_reserve(PAGE_BYTES) {
                self.request(index, Some(permit));
            }
        }
    }
}

/// Lets other futures of this task be polled first. Unlike Tokio's function of this name, it wakes the task at once and not
/// when the scheduler gets to it, so that a run also goes on where it is polled by something else than a runtime's scheduler.
async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
