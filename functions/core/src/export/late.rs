//! What came too late for the window before, and is delivered with this one.

use super::{
    Export,
    reader::Reader,
    window::{AsRead, Why},
    writer::{RECORDED, Writer},
};
use crate::{
    late::Tail,
    ports::{Buckets, Bus, Events, Tenants},
    schedule::Window,
    timestamp,
};

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
    /// Reads up to the window's first event, and delivers those minutes again that have more events than `before`.
    pub(super) async fn look_back(
        &self,
        as_read: &mut AsRead<'_, T>,
        before: &Tail,
        reader: &mut Reader<'_, E>,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), Why> {
        let mut now = before.anew();
        let end = before.to().map(timestamp::millis).unwrap_or_default();
        while let Some(read) = reader.next_in_time(as_read.run).await? {
            if read.event.recorded_at_id >= end {
                reader.put_back(read);
                break;
            }
            now.add(&read.event.recorded_at_id);
        }
        let (minutes, late) = now.grown_since(before);
        writer.late = late;
        for minute in minutes {
            // A query that nobody looks at runs out of time.
            reader.meanwhile(self.deliver_again(as_read, minute, writer)).await?;
        }
        Ok(())
    }

    /// Stores all that there is of a minute, in objects of its own.
    pub(super) async fn deliver_again(
        &self,
        as_read: &mut AsRead<'_, T>,
        minute: Window,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), Why> {
        writer.minute = Some(minute);
        let mut reader = Reader::new(&self.events, as_read.config, minute, &[], &self.options.budget);
        while let Some(read) = reader.next_in_time(as_read.run).await? {
            let (line, _) = read.event.line();
            if !writer.has_room(&line) {
                reader.meanwhile(writer.finish(as_read.still_holds())).await?;
                if planted!(LateIsNotNumbered) {
                    break;
                }
            }
            if !writer.is_open() {
                reader.meanwhile(writer.open()).await?;
            }
            if writer.push(&line, RECORDED)? {
                reader.meanwhile(writer.send()).await?;
            }
        }
        writer.finish(as_read.still_holds()).await?;
        writer.minute = None;
        writer.late_gap |= self.may_be_deleted(minute.from, (as_read.run.now)());
        Ok(())
    }
}
