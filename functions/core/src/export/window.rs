//! One window of one tenant: read, encode, store.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Export, Run,
    reader::Reader,
    tenant::TenantExport,
    writer::{OWN, RECORDED, Writer},
};
use crate::{
    event,
    failure::Failure,
    late::Tail,
    ports::{Buckets, Bus, Conditional, Events, Tenants},
    progress::Progress,
    records::{Receipt, StoredObject, StoredWatermark},
    schedule::Window,
    settings::TenantConfig,
};

/// For how long a tenant's records are taken to be as they were read. A run can take many minutes; storing a window
/// that another run committed meanwhile would put an older reading over a newer one.
const FRESH: TimeDelta = TimeDelta::seconds(10);

/// By how much the clock of whoever deletes may be ahead of this one.
const CLOCKS: TimeDelta = TimeDelta::minutes(1);

/// Why a window was given up.
pub(super) enum Why {
    /// The run's time is over.
    OutOfTime,
    /// The records are no longer as they were read.
    Overtaken,
    Failed(Failure),
}

impl From<Failure> for Why {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is known of a window before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State<'a> {
    /// The watermark stands at its beginning, and has to stand there still.
    Due,
    /// It is committed, so the watermark is beyond it and may move on. These minutes of the window before were delivered
    /// again with it.
    Committed(&'a BTreeSet<Window>),
}

/// A window that was given up. Its first objects may be stored, the last of them only if its answer was lost; of an
/// object that was still on its way, nothing is left.
pub(super) struct GivenUp {
    pub(super) why: Why,
    pub(super) stored: Vec<StoredObject>,
}

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
    /// Stores all objects of a window, or those that are still missing, and tells what was stored. Moves nothing.
    pub(super) async fn store_window(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        state: State<'_>,
    ) -> Result<Receipt, GivenUp> {
        let started = (run.now)();
        let limit = self.options.max_object_bytes;
        let TenantExport { config, bucket, watermark, read_at, kept, .. } = tenant;
        let progress = match state {
            State::Due => Progress::of(watermark, config, window, limit),
            State::Committed(_) => None,
        };
        let mut progress = progress.unwrap_or_else(|| Progress {
            window,
            version: config.version,
            max_object_bytes: limit,
            read_until: Vec::new(),
            objects: Vec::new(),
            tail: Tail::of(window),
            late: 0,
            malformed: 0,
            gap: false,
            started,
        });
        // Also of a window that was begun in time: what an earlier run has not stored may have been deleted since.
        let resumed = !progress.objects.is_empty();
        let may_lack_some = |at: DateTime<Utc>| {
            let hidden = planted!(GapIsHidden) || planted!(GapIsHiddenOnResume) && resumed;
            self.may_be_deleted(window.from, at) && !hidden
        };
        progress.gap |= may_lack_some(started);
        let as_read = AsRead { run, tenants: &self.tenants, config, watermark, state, read_at };
        let mut writer = Writer::new(&self.buckets, &self.options, config, window, bucket, &progress);
        match self.copy_events(as_read, &progress, &mut writer, kept).await {
            Ok(()) => {
                // Once more: reading takes a while.
                let ended = (run.now)();
                let gap = progress.gap || writer.late_gap || may_lack_some(ended);
                Ok(writer.into_receipt(gap, progress.started, ended))
            }
            Err(why) => Err(GivenUp { why, stored: writer.abort().await }),
        }
    }

    /// Whether what was recorded at an instant may be deleted by now.
    pub(super) fn may_be_deleted(&self, recorded: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.options.retention.is_some_and(|retention| recorded < now + CLOCKS - retention)
    }

    async fn copy_events(
        &self,
        mut as_read: AsRead<'_, T>,
        from: &Progress,
        writer: &mut Writer<'_, B>,
        kept: &AtomicU64,
    ) -> Result<(), Why> {
        let (run, config, window) = (as_read.run, as_read.config, from.window);
        let mut before = None;
        if from.objects.is_empty() {
            as_read.forget().await?;
            before = as_read.tail(window);
        }
        let begin = before.as_ref().and_then(Tail::from).unwrap_or(window.from);
        let read = Window { from: begin, ..window };
        let mut reader = Reader::new(&self.events, config, read, &from.read_until, &self.options.budget);
        if let Some(before) = before {
            self.look_back(&mut as_read, &before, &mut reader, writer).await?;
        }
        if let State::Committed(late) = as_read.state {
            for minute in late {
                self.deliver_again(&mut as_read, *minute, writer).await?;
            }
        }
        if from.gap && writer.is_empty() {
            writer.open().await?;
            writer.push(&event::retention_notice(&config.tenant, window), OWN)?;
        }
        while let Some(read) = reader.next_in_time(run).await? {
            let (line, malformed) = read.event.line();
            if malformed && planted!(MalformedIsDropped) || from.gap && planted!(GapIsAllThereIs) {
                reader.done_with(read);
                continue;
            }
            if !writer.has_room(&line) {
                reader.meanwhile(writer.finish(as_read.still_holds())).await?;
                #[cfg(feature = "planted-bugs")]
                if planted!(ResumeSkipsOne) {
                    reader.done_with(read.clone());
                }
                let (objects, read_until) = (writer.stored().to_vec(), reader.read_until());
                let (malformed, late, tail) = (writer.malformed, writer.late, writer.tail.clone());
                let progress = Progress { objects, read_until, malformed, late, tail, ..from.clone() };
                kept.fetch_add(u64::from(as_read.keep(&progress).await?), Ordering::Relaxed);
                if (run.should_stop)() {
                    return Err(Why::OutOfTime);
                }
            }
            if !writer.is_open() {
                reader.meanwhile(writer.open()).await?;
            }
            let enough = writer.push(&line, RECORDED)?;
            writer.malformed += u64::from(malformed);
            writer.tail.add(&read.event.recorded_at_id);
            reader.done_with(read);
            if enough {
                reader.meanwhile(writer.send()).await?;
            }
        }
        if writer.is_empty() && !planted!(EmptyWindowHasNoFile) {
            writer.open().await?;
            writer.push(&event::heartbeat(&config.tenant, window), OWN)?;
        }
        writer.finish(as_read.still_holds()).await
    }
}

/// The records that a window is exported by.
pub(super) struct AsRead<'a, T> {
    pub(super) run: Run<'a>,
    tenants: &'a T,
    pub(super) config: &'a TenantConfig,
    watermark: &'a mut StoredWatermark,
    /// Whether the watermark may be any other by now.
    state: State<'a>,
    read_at: &'a mut DateTime<Utc>,
}

impl<T: Tenants> AsRead<'_, T> {
    /// Looks at the records again if they were read a while ago, before anything is stored by them.
    pub(super) async fn still_holds(&mut self) -> Result<(), Why> {
        let now = (self.run.now)();
        if now - *self.read_at <= FRESH || planted!(ConfigIsNeverReadAgain) {
            return Ok(());
        }
        let records = self.tenants.load_one(&self.config.tenant).await?;
        let config = records.config.map(|config| config.check(&self.config.tenant, self.run.platform));
        let moved = self.state == State::Due && records.watermark.as_ref() != Some(&*self.watermark);
        if moved || config != Some(Ok(self.config.clone())) {
            return Err(Why::Overtaken);
        }
        *self.read_at = now;
        Ok(())
    }

    /// What is known of the end of the window before this one, which is due.
    fn tail(&self, window: Window) -> Option<Tail> {
        let tail = self.watermark.tail.as_deref().and_then(Tail::parse);
        tail.filter(|tail| self.state == State::Due && tail.to() == Some(window.from))
    }

    /// Keeps how far the window was stored, so that another run can go on from there; whether it did. Where that can't be
    /// kept, this run goes on all the same.
    async fn keep(&mut self, progress: &Progress) -> Result<bool, Why> {
        let Some(text) = progress.to_text(self.config).filter(|_| self.state == State::Due) else { return Ok(false) };
        self.keep_text(text).await.map(|()| true)
    }

    /// Takes a progress back that this run can't go on from, before it stores anything over what that tells of.
    async fn forget(&mut self) -> Result<(), Why> {
        if self.state == State::Due && self.watermark.progress.as_ref().is_some_and(|text| !text.is_empty()) {
            self.keep_text(String::new()).await?;
        }
        Ok(())
    }

    async fn keep_text(&mut self, text: String) -> Result<(), Why> {
        match self.tenants.keep_progress(self.config, self.watermark, &text).await? {
            Conditional::Written => {
                self.watermark.progress = Some(text);
                *self.read_at = (self.run.now)();
                Ok(())
            }
            Conditional::LostRace => Err(Why::Overtaken),
        }
    }
}
