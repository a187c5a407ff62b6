//! Delivers late arrivals of the window before, together with this window.

use super::{
    AbortReason, Export,
    reader::Reader,
    window::LeaseContext,
    writer::{RECORDED_EVENT, Writer},
};
use crate::{
    checkpoint::Checkpoint,
    late_arrivals::TrailingCounts,
    ports::{Buckets, Bus, Events, Signer, Tenants},
    schedule::Window,
    timestamp,
};

impl<T: Tenants, E: Events, B: Buckets, N: Bus, S: Signer> Export<T, E, B, N, S> {
    /// Reads up to the window's first event, and delivers those minutes again whose events differ from `before`.
    pub(super) async fn redeliver_late_minutes(
        &self,
        context: &mut LeaseContext<'_, T>,
        start: &Checkpoint,
        before: &TrailingCounts,
        reader: &mut Reader<'_, E>,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), AbortReason> {
        let mut now = before.zeroed();
        let end = before.to().map(timestamp::millis).unwrap_or_default();
        while let Some(read) = reader.next_in_time(context.run).await? {
            if read.event.recorded_at_id >= end {
                reader.put_back(read);
                break;
            }
            now.add(&read.event.recorded_at_id);
        }
        let (minutes, late) = now.changed_since(before);
        writer.late = late;
        for minute in minutes {
            // A query that nothing polls runs into its timeout.
            reader.while_prefetching(self.redeliver_minute(context, start, minute, writer)).await?;
        }
        Ok(())
    }

    /// Stores all events of a minute, in objects of its own.
    async fn redeliver_minute(
        &self,
        context: &mut LeaseContext<'_, T>,
        start: &Checkpoint,
        minute: Window,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), AbortReason> {
        writer.late_minute = Some(minute);
        let run = context.run;
        let mut reader = Reader::new(&self.events, context.config, minute, &[], &self.options.budget);
        while let Some(read) = reader.next_in_time(run).await? {
            let (line, _) = self.line(context.config, &read.event);
            if !writer.has_room(&read, &line) {
                reader.while_prefetching(writer.seal(None)).await?;
                reader.while_prefetching(writer.store()).await?;
                // This saves nothing but the file size limit: with another one, the minute might have fewer files.
                context.save_checkpoint(start).await?;
            }
            if !writer.is_open() {
                reader.while_prefetching(writer.open()).await?;
            }
            if writer.push(&line, RECORDED_EVENT)? {
                reader.while_prefetching(writer.send()).await?;
            }
        }
        writer.seal(None).await?;
        writer.store().await?;
        writer.late_minute = None;
        writer.late_gap |= self.may_be_deleted(minute.from, (run.now)());
        Ok(())
    }
}
