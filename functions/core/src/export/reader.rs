//! Reads a window's events in order: merges the pages of all event shards.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    task::{Context, Poll},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Either, select},
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
    shards: Vec<Shard<'a>>,
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

struct Shard<'a> {
    number: u16,
    page: VecDeque<StoredEvent>,
    /// The page after that one.
    prefetched: Option<PrefetchedPage>,
    request: Option<PageRequest<'a>>,
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

struct PageRequest<'a> {
    state: RequestState<'a>,
    /// None for a page that the merge waits for.
    permit: Option<BudgetPermit>,
}

enum RequestState<'a> {
    Pending(BoxFuture<'a, Result<Page, Failure>>),
    Ready(Result<Page, Failure>),
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

impl<'a> Shard<'a> {
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
        self.prefetched.is_some() || matches!(self.request, Some(PageRequest { state: RequestState::Ready(_), .. }))
    }

    /// Requests the next page, if there is one.
    fn request<E: Events>(&mut self, source: &Source<'a, E>, permit: Option<BudgetPermit>) {
        let after = match std::mem::replace(&mut self.unrequested, Unrequested::Nothing) {
            Unrequested::All => None,
            Unrequested::After(last) => Some(last),
            Unrequested::Nothing => return,
        };
        let Source { events, tenant, window, .. } = *source;
        let shard = self.number;
        let page = async move { events.page(EventRange { tenant, shard, window, after: after.as_deref() }).await };
        self.request = Some(PageRequest { state: RequestState::Pending(page.boxed()), permit });
    }

    /// Polls the request, keeps the page that has arrived, and requests the one after it if the budget allows it.
    fn poll<E: Events>(&mut self, source: &Source<'a, E>, context: &mut Context<'_>) {
        while let Some(PageRequest { state, .. }) = &mut self.request {
            if let RequestState::Pending(page) = state
                && let Poll::Ready(page) = page.poll_unpin(context)
            {
                *state = RequestState::Ready(page);
            }
            if self.prefetched.is_some() || !matches!(state, RequestState::Ready(Ok(_))) {
                return;
            }
            let Some(PageRequest { state: RequestState::Ready(Ok(page)), permit }) = self.request.take() else {
                return;
            };
            // A range key is compared as text, both bounds included. An event at the window's end belongs to the next one.
            let in_window = |event: &StoredEvent| event.recorded_at_id < source.end;
            let events = page.events.into_iter().take_while(in_window).collect();
            self.prefetched = Some(PrefetchedPage { events, _permit: permit });
            if let Some(last) = page.more_after {
                self.unrequested = Unrequested::After(last);
                if let Some(permit) = source.budget.try_reserve(PAGE_BYTES) {
                    self.request(source, Some(permit));
                }
            }
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
        Self { source, shards, has_new_page: false }
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
        let position = |shard: &Shard<'_>| {
            let recorded_at_id = shard.written_until.clone()?;
            Some(EventPosition { recorded_at_id, shard: shard.number })
        };
        self.shards.iter().filter_map(position).max()
    }

    /// Awaits other work while the requests for pages go on.
    pub(super) async fn while_prefetching<R>(&mut self, other: impl Future<Output = R>) -> R {
        let Self { source, shards, .. } = self;
        let prefetching = poll_fn(|context| {
            shards.iter_mut().for_each(|shard| shard.poll(source, context));
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
            for shard in &mut self.shards {
                while shard.page.is_empty()
                    && let Some(PrefetchedPage { events, .. }) = shard.prefetched.take()
                {
                    shard.page = events;
                    self.has_new_page = true;
                }
                if shard.page.is_empty() && shard.request.is_none() {
                    shard.request(&self.source, None);
                }
            }
            if !self.shards.iter().any(Shard::is_waiting) {
                return Ok(());
            }
            // Other tenants are polled between two pages, however fast pages come.
            yield_now().await;
            let Self { source, shards, .. } = self;
            poll_fn(|context| {
                shards.iter_mut().for_each(|shard| shard.poll(source, context));
                let is_ready = shards.iter().any(|shard| shard.is_waiting() && shard.is_ready());
                if is_ready { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            for shard in shards.iter_mut().filter(|shard| shard.page.is_empty() && shard.prefetched.is_none()) {
                match shard.request.take() {
                    Some(PageRequest { state: RequestState::Ready(Err(failure)), .. }) => return Err(failure),
                    request => shard.request = request,
                }
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
