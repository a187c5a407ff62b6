//! Stores one window of one tenant: reads, encodes, uploads.

use std::{
    borrow::Cow,
    sync::atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, Utc};

use super::{
    AbortReason, Export, Run,
    held_lease::HeldLease,
    pending_delivery::PendingDelivery,
    reader::Reader,
    replayed_window::ReplayedWindow,
    report::Deferral,
    tenant::TenantRun,
    writer::{RECORDED_EVENT, SYSTEM_EVENT, StandingFiles, Writer},
};
use crate::{
    checkpoint::Checkpoint,
    event::{self, StoredEvent},
    late_arrivals::TrailingCounts,
    lease::LEASE_MARGIN,
    ports::{Buckets, Bus, Conditional, Events, Signer, Tenants},
    records::{Chain, EventPosition, Receipt},
    schedule::Window,
    settings::TenantConfig,
    tenant::Schema,
};

impl<T: Tenants, E: Events, B: Buckets, N: Bus, S: Signer> Export<T, E, B, N, S> {
    /// Stores the objects of a window that are not stored yet and its manifest, and returns its receipt. Doesn't move the watermark.
    pub(super) async fn store_window(
        &self,
        run: Run<'_>,
        tenant: &mut TenantRun<B::Bucket>,
        window: Window,
    ) -> Result<Receipt, AbortReason> {
        let TenantRun { config, bucket, held, uncommitted_objects, .. } = tenant;
        let context = LeaseContext { run, tenants: &self.tenants, config, held, delivery: Delivery::Due };
        self.store(context, window, bucket, uncommitted_objects).await
    }

    /// Stores the objects and the manifests of a window: a due one, one of a final delivery, or one that is replayed.
    pub(super) async fn store(
        &self,
        context: LeaseContext<'_, T>,
        window: Window,
        bucket: &mut Option<B::Bucket>,
        uncommitted_objects: &AtomicU64,
    ) -> Result<Receipt, AbortReason> {
        let LeaseContext { run, config, .. } = context;
        let (started, max_object_bytes) = ((run.now)(), self.options.max_object_bytes);
        let is_final = context.is_final();
        let mut start = Checkpoint::for_run(context.checkpoint(), config, window, is_final, max_object_bytes, started);
        start.gap |= context.had_gap() || self.may_be_deleted(window.from, started);
        let mut writer = Writer::new(&self.buckets, config, bucket, &start, context.standing_files(started));
        let mut context = context;
        self.try_signing(&context).await?;
        let copied = self.copy_events(&mut context, &start, &mut writer, uncommitted_objects).await;
        context.held.in_doubt |= writer.in_doubt;
        match copied {
            Ok(()) => {
                // Reading takes a while, so events may have been deleted since the window was begun.
                let ended = (run.now)();
                let gap = start.gap || writer.late_gap || self.may_be_deleted(window.from, ended);
                let receipt = context.replayed(writer.into_receipt(gap, start.started, ended));
                self.store_manifests(&mut context, receipt, bucket).await
            }
            Err(reason) => {
                writer.abort().await;
                Err(reason)
            }
        }
    }

    /// Returns an event's line in the tenant's files, and whether it is malformed.
    pub(super) fn line<'a>(&self, config: &TenantConfig, event: &'a StoredEvent) -> (Cow<'a, str>, bool) {
        let (line, malformed) = event.line();
        (self.in_schema(config, line, event.recorded_at_id.split('#').next()), malformed)
    }

    fn in_schema<'a>(&self, config: &TenantConfig, native: Cow<'a, str>, recorded_at: Option<&str>) -> Cow<'a, str> {
        match config.schema {
            Schema::Native => native,
            Schema::Ocsf => Cow::Owned(self.options.ocsf.event(&config.tenant, &native, recorded_at)),
        }
    }

    /// Whether events that were recorded at an instant may have been deleted by now.
    pub(super) fn may_be_deleted(&self, recorded: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        event::may_be_deleted(recorded, self.options.retention, now)
    }

    async fn copy_events(
        &self,
        context: &mut LeaseContext<'_, T>,
        start: &Checkpoint,
        writer: &mut Writer<'_, B>,
        uncommitted_objects: &AtomicU64,
    ) -> Result<(), AbortReason> {
        let (run, config, window) = (context.run, context.config, start.window);
        // Late minutes are delivered before the window's first file, so a resumed window has delivered them.
        let before = if start.objects.is_empty() { context.trailing_counts(window) } else { None };
        let begin = before.as_ref().and_then(TrailingCounts::from).unwrap_or(window.from);
        let read = Window { from: begin, ..window };
        let mut reader = Reader::new(&self.events, config, read, &start.read_until, &self.options.budget);
        if let Some(before) = before {
            self.redeliver_late_minutes(context, start, &before, &mut reader, writer).await?;
        }
        if start.gap && writer.is_empty() {
            writer.open().await?;
            let line = event::retention_exceeded(&config.tenant, window);
            writer.push(&self.in_schema(config, Cow::Owned(line), None), SYSTEM_EVENT)?;
        }
        while let Some(read) = reader.next_in_time(run).await? {
            let (line, malformed) = self.line(config, &read.event);
            if !writer.has_room(&read, &line) {
                let (read_until, last_event) = (reader.read_until(), reader.last_written());
                reader.while_prefetching(store_file(context, start, writer, last_event)).await?;
                let objects = writer.stored().to_vec();
                let (malformed, late) = (writer.malformed, writer.late);
                let trailing_counts = writer.trailing_counts.clone();
                let gap = start.gap || writer.late_gap;
                let checkpoint =
                    Checkpoint { objects, read_until, malformed, late, trailing_counts, gap, ..start.clone() };
                let is_saved = context.save_checkpoint(&checkpoint).await?;
                uncommitted_objects.fetch_add(u64::from(is_saved), Ordering::Relaxed);
                if (run.should_stop)() || context.is_over() {
                    return Err(AbortReason::Deferred(Deferral::OutOfTime));
                }
            }
            if !writer.is_open() {
                reader.while_prefetching(writer.open()).await?;
            }
            let is_chunk = writer.push(&line, RECORDED_EVENT)?;
            writer.malformed += u64::from(malformed);
            writer.trailing_counts.add(&read.event.recorded_at_id);
            reader.mark_written(read);
            if is_chunk {
                reader.while_prefetching(writer.send()).await?;
            }
        }
        if writer.is_empty() {
            writer.open().await?;
            let is_lost = context.had_events();
            let line = if is_lost { event::retention_exceeded } else { event::heartbeat };
            let line = line(&config.tenant, window);
            writer.push(&self.in_schema(config, Cow::Owned(line), None), SYSTEM_EVENT)?;
        }
        store_file(context, start, writer, None).await?;
        Ok(writer.check_last()?)
    }
}

/// Stores the open file. Before the first one of a replay that differs from what is in the bucket, the record says that the window
/// was begun: it is ended then even if an admin stops the replay, since its files are no longer those of its manifest.
async fn store_file<T: Tenants, B: Buckets>(
    context: &mut LeaseContext<'_, T>,
    start: &Checkpoint,
    writer: &mut Writer<'_, B>,
    last_event: Option<EventPosition>,
) -> Result<(), AbortReason> {
    let is_other = writer.seal(last_event).await?;
    if is_other && matches!(&context.delivery, Delivery::Replay(window) if window.replay.checkpoint.is_none()) {
        context.save_checkpoint(start).await?;
    }
    Ok(writer.store().await?)
}

/// The lease and the records under which a window is exported.
pub(super) struct LeaseContext<'a, T> {
    pub(super) run: Run<'a>,
    pub(super) tenants: &'a T,
    pub(super) config: &'a TenantConfig,
    pub(super) held: &'a mut HeldLease,
    pub(super) delivery: Delivery<'a>,
}

/// What a window is stored for.
pub(super) enum Delivery<'a> {
    /// It is due.
    Due,
    Final(&'a mut PendingDelivery),
    Replay(&'a mut ReplayedWindow),
}

impl<T: Tenants> LeaseContext<'_, T> {
    fn checkpoint(&self) -> Option<&str> {
        match &self.delivery {
            Delivery::Due => self.held.watermark.checkpoint.as_deref(),
            Delivery::Final(pending) => pending.delivery.checkpoint.as_deref(),
            Delivery::Replay(window) => window.replay.checkpoint.as_deref(),
        }
    }

    pub(super) fn is_final(&self) -> bool {
        matches!(self.delivery, Delivery::Final(_))
    }

    /// Whether events of the window were missing when it was exported.
    fn had_gap(&self) -> bool {
        matches!(&self.delivery, Delivery::Replay(window) if window.original.gap)
    }

    /// The files that a replay replaces.
    fn standing_files(&self, now: DateTime<Utc>) -> Option<StandingFiles> {
        let Delivery::Replay(window) = &self.delivery else { return None };
        window.standing.as_ref().map(|standing| StandingFiles::new(standing, standing.exported_at + LEASE_MARGIN > now))
    }

    /// Whether the window had events when it was exported. If a replay finds none, they are gone.
    fn had_events(&self) -> bool {
        matches!(&self.delivery, Delivery::Replay(window) if window.original.events() > 0)
    }

    /// Whether others' turn has come, now that the position in the window is saved.
    fn is_over(&self) -> bool {
        matches!(&self.delivery, Delivery::Replay(window) if (self.run.now)() >= window.ends)
    }

    /// Completes the receipt of a window that is replayed.
    fn replayed(&self, receipt: Receipt) -> Receipt {
        match &self.delivery {
            Delivery::Replay(window) => window.receipt(receipt),
            Delivery::Due | Delivery::Final(_) => receipt,
        }
    }

    /// Where the chain of manifests stands.
    pub(super) fn chain(&self) -> Chain<'_> {
        match &self.delivery {
            Delivery::Due => self.held.watermark.chain(),
            Delivery::Final(pending) => pending.delivery.chain(),
            Delivery::Replay(window) => window.chain(),
        }
    }

    /// The trailing counts of the window right before this one.
    fn trailing_counts(&self, window: Window) -> Option<TrailingCounts> {
        let counts = match &self.delivery {
            Delivery::Due => &self.held.watermark.trailing_counts,
            Delivery::Final(pending) => &pending.delivery.trailing_counts,
            // What came late is part of the window now.
            Delivery::Replay(_) => &None,
        };
        let counts = counts.as_deref().and_then(TrailingCounts::parse);
        counts.filter(|counts| counts.to() == Some(window.from))
    }

    /// Saves the position in the window, so that another run can go on from there. Returns false if the checkpoint is too
    /// large. Either way, the settings and the connection are still as they were read.
    pub(super) async fn save_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<bool, AbortReason> {
        let text = checkpoint.to_text(self.config);
        match &mut self.delivery {
            Delivery::Due => {}
            Delivery::Final(pending) => {
                let Some(text) = text else { return Ok(false) };
                return pending.save_checkpoint(self.tenants, self.held, text).await.map(|()| true);
            }
            Delivery::Replay(window) => return window.save_checkpoint(self.run, self.tenants, self.held, text).await,
        }
        let Some(text) = text else {
            let records = self.tenants.load_one(&self.config.tenant).await?;
            let is_unchanged = self.held.is_unchanged(self.run, self.config, &records);
            return if is_unchanged { Ok(false) } else { Err(AbortReason::Changed) };
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
