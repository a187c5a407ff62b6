//! What came too late for the window before, and is delivered with this one.

use super::{
    AbortReason, Export,
    reader::Reader,
    window::UnderLease,
    writer::{RECORDED, Writer},
};
use crate::{
    checkpoint::Checkpoint,
    late_arrivals::TrailingCounts,
    ports::{Buckets, Bus, Events, Tenants},
    schedule::Window,
    timestamp,
};

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
    /// Reads up to the window's first event, and delivers those minutes again that have other events than `before`.
    pub(super) async fn look_back(
        &self,
        under_lease: &mut UnderLease<'_, T>,
        from: &Checkpoint,
        before: &TrailingCounts,
        reader: &mut Reader<'_, E>,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), AbortReason> {
        let mut now = before.anew();
        let end = before.to().map(timestamp::millis).unwrap_or_default();
        while let Some(read) = reader.next_in_time(under_lease.run).await? {
            if read.event.recorded_at_id >= end {
                reader.put_back(read);
                break;
            }
            now.add(&read.event.recorded_at_id);
        }
        let (minutes, late) = now.changed_since(before);
        writer.late = late;
        for minute in minutes {
            // A query that nobody looks at runs out of time.
            reader.meanwhile(self.deliver_again(under_lease, from, minute, writer)).await?;
        }
        Ok(())
    }

    /// Stores all that there is of a minute, in objects of its own.
    async fn deliver_again(
        &self,
        under_lease: &mut UnderLease<'_, T>,
        from: &Checkpoint,
        minute: Window,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), AbortReason> {
        writer.minute = Some(minute);
        let run = under_lease.run;
        let mut reader = Reader::new(&self.events, under_lease.config, minute, &[], &self.options.budget);
        while let Some(read) = reader.next_in_time(run).await? {
            let (line, _) = read.event.line();
            if !writer.has_room(&line) {
                reader.meanwhile(writer.finish()).await?;
                // Nothing to go on from, but the limit: by another one, the minute might have fewer files.
                under_lease.keep(from).await?;
            }
            if !writer.is_open() {
                reader.meanwhile(writer.open()).await?;
            }
            if writer.push(&line, RECORDED)? {
                reader.meanwhile(writer.send()).await?;
            }
        }
        writer.finish().await?;
        writer.minute = None;
        writer.late_gap |= self.may_be_deleted(minute.from, (run.now)());
        Ok(())
    }
}
