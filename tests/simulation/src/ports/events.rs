//! The events with faults around them.

use audit_log_core::{
    failure::Failure,
    ports::{EventRange, Events, Page},
    timestamp,
};
use chrono::TimeDelta;

use super::Ports;
use crate::bugs;

impl Events for Ports {
    async fn page(&self, stretch: EventRange<'_>) -> Result<Page, Failure> {
        let after = stretch.after.unwrap_or("the beginning");
        let of = self.world.name(|| format!("{}#{} after {after}", stretch.tenant, stretch.shard));
        if let Some((_, reading_since)) = self.seen().looked.get_mut(stretch.tenant.as_str()) {
            reading_since.get_or_insert(self.world.now());
        }
        self.expire();
        let page = self.reads("page", &of, self.fakes().page(stretch)).await.map(|page| self.shorten(stretch, page));
        let page = bugs::change_page(&self.world, stretch, page)?;
        self.say(|| format!("page {of}: {} events, more after {:?}", page.events.len(), page.more_after));
        Ok(page)
    }

    async fn page_back(&self, stretch: EventRange<'_>, most: usize) -> Result<Page, Failure> {
        self.fakes().page_back(stretch, most).await
    }
}

impl Ports {
    /// A page may be shorter than it could be, and even empty, although there are more.
    fn shorten(&self, stretch: EventRange<'_>, mut page: Page) -> Page {
        if self.world.happens(150) && !page.events.is_empty() {
            let keep = self.world.roll(u32::try_from(page.events.len()).unwrap_or(1)) as usize;
            let last = page.events[..keep].last().map(|event| event.recorded_at_id.clone());
            if let Some(last) = last.or_else(|| stretch.after.map(str::to_owned)) {
                page.events.truncate(keep);
                page.more_after = Some(last);
            }
        }
        page
    }

    /// Deletes what is kept no longer, as the table does some time after.
    fn expire(&self) {
        let Some(hours) = self.world.plan.retention else { return };
        let lag = TimeDelta::seconds(i64::from(self.world.roll(3_600)));
        let kept_from = timestamp::millis(self.world.now() - TimeDelta::hours(hours) - lag);
        let mut state = self.fakes().state();
        let mut facts = self.world.facts();
        for ((tenant, shard), events) in &mut state.events {
            let kept = events.split_off(&kept_from);
            for (key, body) in std::mem::replace(events, kept) {
                facts.expired.insert((tenant.clone(), *shard, key), body);
            }
        }
    }
}
