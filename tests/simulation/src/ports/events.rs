//! The events with faults.

use audit_log_core::{
    failure::Failure,
    filter::CopyFilter,
    ports::{EventRange, Events, Page, PageBack},
    timestamp,
};
use chrono::TimeDelta;

use super::Ports;
use crate::bugs;

impl Events for Ports {
    async fn page(&self, range: EventRange<'_>) -> Result<Page, Failure> {
        let after = range.after.unwrap_or("the beginning");
        let of = self.world.format(|| format!("{}#{} after {after}", range.tenant, range.shard));
        if let Some((_, reading_since)) = self.seen().settings_read.get_mut(range.tenant.as_str()) {
            reading_since.get_or_insert(self.world.now());
        }
        self.expire();
        let page = self.read("page", &of, self.fakes().page(range)).await.map(|page| self.shorten(range, page));
        let page = bugs::change_page(&self.world, range, page)?;
        self.say(|| format!("page {of}: {} events, more after {:?}", page.events.len(), page.more_after));
        Ok(page)
    }

    async fn page_back(
        &self,
        range: EventRange<'_>,
        most: usize,
        filter: Option<CopyFilter<'_>>,
    ) -> Result<PageBack, Failure> {
        self.fakes().page_back(range, most, filter).await
    }
}

impl Ports {
    /// A page may be short or empty although more events follow.
    fn shorten(&self, range: EventRange<'_>, mut page: Page) -> Page {
        if self.world.happens(150) && !page.events.is_empty() {
            let keep = self.world.roll(u32::try_from(page.events.len()).unwrap_or(1)) as usize;
            let last = page.events[..keep].last().map(|event| event.recorded_at_id.clone());
            if let Some(last) = last.or_else(|| range.after.map(str::to_owned)) {
                page.events.truncate(keep);
                page.more_after = Some(last);
            }
        }
        page
    }

    /// Deletes events some time after their retention, as the table does.
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
