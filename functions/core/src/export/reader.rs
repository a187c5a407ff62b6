//! A window's events in order, page by page, from however many shards.

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

use super::budget::{Budget, Taken};
use crate::{
    event::StoredEvent,
    failure::Failure,
    ports::{Events, Page, Stretch},
    schedule::Window,
    settings::TenantConfig,
    tenant::TenantId,
    timestamp,
};

/// What a page may take in memory, in bytes: DynamoDB reads 1 MB at once (by "Query" in its API reference).
const PAGE_BYTES: usize = 1 << 20;

/// Merges the shards by `recorded_at_id`. Holds a page of each, and where the budget allows it, has the next one on its
/// way: all shards are read side by side, and while something else is awaited.
pub(super) struct Reader<'a, E> {
    events: &'a E,
    tenant: &'a TenantId,
    window: Window,
    end: String,
    budget: &'a Budget,
    shards: Vec<Shard<'a>>,
    pages: u64,
}

struct Shard<'a> {
    number: u16,
    page: VecDeque<StoredEvent>,
    rest: Rest,
    reading: Option<Reading<'a>>,
    /// The last `recorded_at_id` that was done with.
    done: Option<String>,
}

/// What is known of the part of a shard that was not asked for yet.
enum Rest {
    FromTheStart,
    After(String),
    Nothing,
}

/// A page that was asked for.
struct Reading<'a> {
    state: State<'a>,
    /// None of a page that had to be read all the same.
    _taken: Option<Taken>,
}

enum State<'a> {
    OnItsWay(BoxFuture<'a, Result<Page, Failure>>),
    Here(Result<Page, Failure>),
}

/// An event, and which shard it is of.
#[cfg_attr(feature = "planted-bugs", derive(Clone))]
pub(super) struct Read {
    pub(super) event: StoredEvent,
    shard: usize,
}

impl Shard<'_> {
    fn first_key(&self) -> Option<&str> {
        self.page.front().map(|event| event.recorded_at_id.as_str())
    }

    /// Whether nothing is known of what comes next.
    fn is_waiting(&self) -> bool {
        self.page.is_empty() && self.reading.is_some()
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if let Some(Reading { state, .. }) = &mut self.reading
            && let State::OnItsWay(page) = state
            && let Poll::Ready(page) = page.poll_unpin(context)
        {
            *state = State::Here(page);
        }
    }
}

impl<'a, E: Events> Reader<'a, E> {
    /// From the window's beginning, or from where the reading of each shard stood.
    pub(super) fn new(
        events: &'a E,
        config: &'a TenantConfig,
        window: Window,
        read_until: &[Option<String>],
        budget: &'a Budget,
    ) -> Self {
        let shard = |number: u16| {
            let done = read_until.get(usize::from(number)).cloned().flatten();
            let rest = done.clone().map_or(Rest::FromTheStart, Rest::After);
            Shard { number, page: VecDeque::new(), rest, reading: None, done }
        };
        let most = if planted!(OnlyTheFirstShard) { 1 } else { usize::MAX };
        let shards = config.event_shards.iter().take(most).map(shard).collect();
        Self { events, tenant: &config.tenant, window, end: timestamp::millis(window.to), budget, shards, pages: 0 }
    }

    /// How many pages were taken so far.
    pub(super) fn pages(&self) -> u64 {
        self.pages
    }

    /// The next event, or none at the window's end.
    pub(super) async fn next(&mut self) -> Result<Option<Read>, Failure> {
        if self.shards.iter().any(|shard| shard.page.is_empty() && !matches!(shard.rest, Rest::Nothing))
            || self.shards.iter().any(Shard::is_waiting)
        {
            self.fill().await?;
        }
        let waiting = self.shards.iter().enumerate().filter(|(_, shard)| !shard.page.is_empty());
        let first = waiting.min_by(|(_, a), (_, b)| a.first_key().cmp(&b.first_key())).map(|(shard, _)| shard);
        if planted!(TwinsAreOne)
            && let Some(key) = first.and_then(|first| self.shards[first].first_key()).map(str::to_owned)
        {
            let others = self.shards.iter_mut().enumerate().filter(|(at, _)| Some(*at) != first);
            others.for_each(|(_, shard)| shard.page.retain(|event| event.recorded_at_id != key));
        }
        Ok(first.and_then(|shard| Some(Read { event: self.shards[shard].page.pop_front()?, shard })))
    }

    /// Says that an event is written, and with it all before it.
    pub(super) fn done_with(&mut self, Read { event, shard }: Read) {
        self.shards[shard].done = Some(event.recorded_at_id);
    }

    /// Where the reading of each shard stands, by what is written.
    pub(super) fn read_until(&self) -> Vec<Option<String>> {
        self.shards.iter().map(|shard| shard.done.clone()).collect()
    }

    /// Does something else, and goes on reading meanwhile.
    pub(super) async fn meanwhile<R>(&mut self, other: impl Future<Output = R>) -> R {
        let shards = &mut self.shards;
        let reading = poll_fn(|context| {
            shards.iter_mut().for_each(|shard| shard.poll(context));
            Poll::<Infallible>::Pending
        });
        match select(pin!(other), reading).await {
            Either::Left((done, _)) => done,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Reads until there is an event of every shard that has one left.
    async fn fill(&mut self) -> Result<(), Failure> {
        loop {
            for shard in 0..self.shards.len() {
                if self.shards[shard].page.is_empty() && self.shards[shard].reading.is_none() {
                    self.ask(shard, None);
                }
            }
            if !self.shards.iter().any(Shard::is_waiting) {
                return Ok(());
            }
            // Whoever else is at work gets a turn between two pages, however fast they come.
            yield_once().await;
            poll_fn(|context| {
                self.shards.iter_mut().for_each(|shard| shard.poll(context));
                let is_here = |shard: &Shard<'_>| {
                    shard.is_waiting() && matches!(shard.reading, Some(Reading { state: State::Here(_), .. }))
                };
                if self.shards.iter().any(is_here) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            for shard in 0..self.shards.len() {
                if self.shards[shard].page.is_empty() {
                    self.take(shard)?;
                }
            }
        }
    }

    /// Asks for a shard's next page, if there is one.
    fn ask(&mut self, shard: usize, taken: Option<Taken>) {
        let Shard { number, rest, reading, .. } = &mut self.shards[shard];
        let after = match std::mem::replace(rest, Rest::Nothing) {
            Rest::FromTheStart => None,
            Rest::After(last) => Some(last),
            Rest::Nothing => return,
        };
        let (events, tenant, number, window) = (self.events, self.tenant, *number, self.window);
        let page = async move { events.page(Stretch { tenant, shard: number, window, after: after.as_deref() }).await };
        *reading = Some(Reading { state: State::OnItsWay(page.boxed()), _taken: taken });
    }

    /// Takes a page that has come, and asks for the next one if there is room for it.
    fn take(&mut self, shard: usize) -> Result<(), Failure> {
        let end = &self.end;
        let Shard { page, rest, reading, .. } = &mut self.shards[shard];
        let came = match reading.take() {
            Some(Reading { state: State::Here(Err(_)), .. }) if planted!(HeartbeatOnError) => Page::default(),
            Some(Reading { state: State::Here(came), .. }) => came?,
            other => {
                *reading = other;
                return Ok(());
            }
        };
        // A range key is compared as text, both bounds included; whatever begins at the window's end belongs to the
        // next one.
        let is_before = |id: &str| id < end.as_str() || planted!(WindowHoldsItsEnd) && id.starts_with(end.as_str());
        let more_after = came.more_after.filter(|_| !(planted!(EmptyPageEnds) && came.events.is_empty()));
        *page = came.events.into_iter().take_while(|event| is_before(&event.recorded_at_id)).collect();
        *rest = more_after.map_or(Rest::Nothing, Rest::After);
        self.pages += 1;
        if matches!(rest, Rest::After(_))
            && let Some(taken) = self.budget.try_take(PAGE_BYTES)
        {
            self.ask(shard, Some(taken));
        }
        Ok(())
    }
}

/// Lets whoever else waits for this thread go first.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
