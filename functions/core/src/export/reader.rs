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

use super::{
    AbortReason, Run,
    budget::{Budget, Taken},
};
use crate::{
    event::StoredEvent,
    failure::Failure,
    ports::{EventRange, Events, Page},
    schedule::Window,
    settings::TenantConfig,
    tenant::TenantId,
    timestamp,
};

/// What a page may take in memory, in bytes: DynamoDB reads 1 MB at once (by "Query" in its API reference).
const PAGE_BYTES: usize = 1 << 20;

/// Merges the shards by `recorded_at_id`. Holds a page of each, and where the budget allows it, the next one, and has the one
/// after that on its way: all shards are read side by side, and while something else is awaited.
///
/// Two ahead and not one: while the merge waits for one shard, each of the others can go on reading for as long.
pub(super) struct Reader<'a, E> {
    source: Source<'a, E>,
    shards: Vec<Shard<'a>>,
    /// Whether a page was begun since somebody looked at the clock.
    turned: bool,
}

/// What is read.
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
    next: Option<Ahead>,
    /// What comes after those, as far as it was not asked for.
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

/// A page that has come before it was needed.
struct Ahead {
    events: VecDeque<StoredEvent>,
    _taken: Option<Taken>,
}

/// A page that was asked for.
struct Reading<'a> {
    state: State<'a>,
    /// None of a page that had to be read all the same.
    taken: Option<Taken>,
}

enum State<'a> {
    OnItsWay(BoxFuture<'a, Result<Page, Failure>>),
    Here(Result<Page, Failure>),
}

/// An event, and which shard it is of.
pub(super) struct Read {
    pub(super) event: StoredEvent,
    shard: usize,
}

impl<'a> Shard<'a> {
    fn first_key(&self) -> Option<&str> {
        self.page.front().map(|event| event.recorded_at_id.as_str())
    }

    /// Whether nothing is known of what comes next, although there may be something.
    fn is_waiting(&self) -> bool {
        self.page.is_empty() && (self.next.is_some() || self.reading.is_some() || !matches!(self.rest, Rest::Nothing))
    }

    /// Whether a wait is over.
    fn has_come(&self) -> bool {
        self.next.is_some() || matches!(self.reading, Some(Reading { state: State::Here(_), .. }))
    }

    /// Asks for the next page, if there is one.
    fn ask<E: Events>(&mut self, source: &Source<'a, E>, taken: Option<Taken>) {
        let after = match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::FromTheStart => None,
            Rest::After(last) => Some(last),
            Rest::Nothing => return,
        };
        let Source { events, tenant, window, .. } = *source;
        let shard = self.number;
        let page = async move { events.page(EventRange { tenant, shard, window, after: after.as_deref() }).await };
        self.reading = Some(Reading { state: State::OnItsWay(page.boxed()), taken });
    }

    /// Gets on with the reading: lays a page that has come aside, and asks for the one after it if there is room for it.
    fn poll<E: Events>(&mut self, source: &Source<'a, E>, context: &mut Context<'_>) {
        while let Some(Reading { state, .. }) = &mut self.reading {
            if let State::OnItsWay(page) = state
                && let Poll::Ready(page) = page.poll_unpin(context)
            {
                *state = State::Here(page);
            }
            if self.next.is_some() || !matches!(state, State::Here(Ok(_))) {
                return;
            }
            let Some(Reading { state: State::Here(Ok(came)), taken }) = self.reading.take() else { return };
            self.lay_aside(source, came, taken);
            if matches!(self.rest, Rest::After(_))
                && let Some(taken) = source.budget.try_take(PAGE_BYTES)
            {
                self.ask(source, Some(taken));
            }
        }
    }

    fn lay_aside<E>(&mut self, source: &Source<'_, E>, came: Page, taken: Option<Taken>) {
        let end = source.end.as_str();
        // A range key is compared as text, both bounds included; whatever begins at the window's end belongs to the
        // next one.
        let events = came.events.into_iter().take_while(|event| event.recorded_at_id.as_str() < end).collect();
        self.next = Some(Ahead { events, _taken: taken });
        self.rest = came.more_after.map_or(Rest::Nothing, Rest::After);
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
            Shard { number, page: VecDeque::new(), next: None, rest, reading: None, done }
        };
        let shards = config.event_shards.iter().map(shard).collect();
        let source = Source { events, tenant: &config.tenant, window, end: timestamp::millis(window.to), budget };
        Self { source, shards, turned: false }
    }

    /// The next event, or none at the window's end, if the time is not up. Looking at the clock for each event would cost more
    /// than passing it on, so that is done once a page.
    pub(super) async fn next_in_time(&mut self, run: Run<'_>) -> Result<Option<Read>, AbortReason> {
        let next = self.next().await?;
        if next.is_some() && std::mem::take(&mut self.turned) && (run.should_stop)() {
            return Err(AbortReason::OutOfTime);
        }
        Ok(next)
    }

    async fn next(&mut self) -> Result<Option<Read>, Failure> {
        if self.shards.iter().any(Shard::is_waiting) {
            self.fill().await?;
        }
        let waiting = self.shards.iter().enumerate().filter(|(_, shard)| !shard.page.is_empty());
        let first = waiting.min_by(|(_, a), (_, b)| a.first_key().cmp(&b.first_key())).map(|(shard, _)| shard);
        Ok(first.and_then(|shard| Some(Read { event: self.shards[shard].page.pop_front()?, shard })))
    }

    /// Gives an event back that was not for whoever has asked for it.
    pub(super) fn put_back(&mut self, Read { event, shard }: Read) {
        self.shards[shard].page.push_front(event);
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
        let Self { source, shards, .. } = self;
        let reading = poll_fn(|context| {
            shards.iter_mut().for_each(|shard| shard.poll(source, context));
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
            for shard in &mut self.shards {
                while shard.page.is_empty()
                    && let Some(Ahead { events, .. }) = shard.next.take()
                {
                    shard.page = events;
                    self.turned = true;
                }
                if shard.page.is_empty() && shard.reading.is_none() {
                    shard.ask(&self.source, None);
                }
            }
            if !self.shards.iter().any(Shard::is_waiting) {
                return Ok(());
            }
            // Whoever else is at work gets a turn between two pages, however fast they come.
            yield_once().await;
            let Self { source, shards, .. } = self;
            poll_fn(|context| {
                shards.iter_mut().for_each(|shard| shard.poll(source, context));
                let has_come = shards.iter().any(|shard| shard.is_waiting() && shard.has_come());
                if has_come { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            for shard in shards.iter_mut().filter(|shard| shard.page.is_empty() && shard.next.is_none()) {
                let failed = matches!(shard.reading, Some(Reading { state: State::Here(Err(_)), .. }));
                if let Some(Reading { state: State::Here(Err(failure)), .. }) = shard.reading.take_if(|_| failed) {
                    return Err(failure);
                }
            }
        }
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
