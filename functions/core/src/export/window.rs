//! One window of one tenant: read, encode, store.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    AbortReason, Export, Run,
    held_lease::HeldLease,
    reader::Reader,
    tenant::TenantRun,
    writer::{OWN, RECORDED, Writer},
};
use crate::{
    checkpoint::Checkpoint,
    event,
    late_arrivals::TrailingCounts,
    ports::{Buckets, Bus, Conditional, Events, Tenants},
    records::Receipt,
    schedule::Window,
    settings::TenantConfig,
};

/// How old a tenant's settings and connection may be when a window begins. A tenant may wait for minutes for its turn.
pub(super) const FRESH: TimeDelta = TimeDelta::seconds(10);

/// By how much the clock that retention goes by may be ahead of this one.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
    /// Stores all objects of a window, or those that are still missing, and tells what was stored. Moves nothing.
    pub(super) async fn store_window(
        &self,
        run: Run<'_>,
        tenant: &mut TenantRun<B::Bucket>,
        window: Window,
    ) -> Result<Receipt, AbortReason> {
        let started = (run.now)();
        let TenantRun { config, bucket, held, kept, .. } = tenant;
        let mut from = Checkpoint::for_run(&held.watermark, config, window, self.options.max_object_bytes, started);
        from.gap |= self.may_be_deleted(window.from, started);
        let mut writer = Writer::new(&self.buckets, config, bucket, &from);
        let under_lease = UnderLease { run, tenants: &self.tenants, config, held };
        let copied = self.copy_events(under_lease, &from, &mut writer, kept).await;
        held.in_doubt |= writer.in_doubt;
        match copied {
            Ok(()) => {
                // Once more, also of a window that was begun in time: reading takes a while.
                let ended = (run.now)();
                let gap = from.gap || writer.late_gap || self.may_be_deleted(window.from, ended);
                Ok(writer.into_receipt(gap, from.started, ended))
            }
            Err(why) => {
                writer.abort().await;
                Err(why)
            }
        }
    }

    /// Whether what was recorded at an instant may be deleted by now.
    pub(super) fn may_be_deleted(&self, recorded: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.options.retention.is_some_and(|retention| recorded < now + CLOCK_SKEW - retention)
    }

    async fn copy_events(
        &self,
        mut under_lease: UnderLease<'_, T>,
        from: &Checkpoint,
        writer: &mut Writer<'_, B>,
        kept: &AtomicU64,
    ) -> Result<(), AbortReason> {
        let (run, config, window) = (under_lease.run, under_lease.config, from.window);
        // A window that is resumed has delivered its late minutes before its first file.
        let before = if from.objects.is_empty() { under_lease.trailing_counts(window) } else { None };
        let begin = before.as_ref().and_then(TrailingCounts::from).unwrap_or(window.from);
        let read = Window { from: begin, ..window };
        let mut reader = Reader::new(&self.events, config, read, &from.read_until, &self.options.budget);
        if let Some(before) = before {
            self.look_back(&mut under_lease, from, &before, &mut reader, writer).await?;
        }
        if from.gap && writer.is_empty() {
            writer.open().await?;
            writer.push(&event::retention_exceeded(&config.tenant, window), OWN)?;
        }
        while let Some(read) = reader.next_in_time(run).await? {
            let (line, malformed) = read.event.line();
            if !writer.has_room(&line) {
                reader.meanwhile(writer.finish()).await?;
                let (objects, read_until) = (writer.stored().to_vec(), reader.read_until());
                let (malformed, late) = (writer.malformed, writer.late);
                let trailing_counts = writer.trailing_counts.clone();
                let checkpoint = Checkpoint { objects, read_until, malformed, late, trailing_counts, ..from.clone() };
                kept.fetch_add(u64::from(under_lease.keep(&checkpoint).await?), Ordering::Relaxed);
                if (run.should_stop)() {
                    return Err(AbortReason::OutOfTime);
                }
            }
            if !writer.is_open() {
                reader.meanwhile(writer.open()).await?;
            }
            let enough = writer.push(&line, RECORDED)?;
            writer.malformed += u64::from(malformed);
            writer.trailing_counts.add(&read.event.recorded_at_id);
            reader.done_with(read);
            if enough {
                reader.meanwhile(writer.send()).await?;
            }
        }
        if writer.is_empty() {
            writer.open().await?;
            writer.push(&event::heartbeat(&config.tenant, window), OWN)?;
        }
        writer.finish().await
    }
}

/// The records that a window is exported by, and the lease.
pub(super) struct UnderLease<'a, T> {
    pub(super) run: Run<'a>,
    tenants: &'a T,
    pub(super) config: &'a TenantConfig,
    held: &'a mut HeldLease,
}

impl<T: Tenants> UnderLease<'_, T> {
    /// What is known of the end of the window before this one.
    fn trailing_counts(&self, window: Window) -> Option<TrailingCounts> {
        let counts = self.held.watermark.trailing_counts.as_deref().and_then(TrailingCounts::parse);
        counts.filter(|counts| counts.to() == Some(window.from))
    }

    /// Keeps how far the window was stored, so that another run can go on from there; whether it did. Either way it makes
    /// sure, before another file is begun, that the settings and the connection are still as they were read.
    pub(super) async fn keep(&mut self, checkpoint: &Checkpoint) -> Result<bool, AbortReason> {
        let Some(text) = checkpoint.to_text(self.config) else {
            let records = self.tenants.load_one(&self.config.tenant).await?;
            let is_as_read = self.held.is_as_read(self.run, self.config, &records);
            return if is_as_read { Ok(false) } else { Err(AbortReason::Changed) };
        };
        let Some(fence) = self.held.fence() else { return Err(AbortReason::Changed) };
        match self.tenants.save_checkpoint(self.config, fence, &text).await? {
            Conditional::Written => {
                self.held.watermark.checkpoint = Some(text);
                Ok(true)
            }
            Conditional::ConditionFailed => Err(AbortReason::Changed),
        }
    }
}
