//! The events to export, as the pages that a Query returns.
//!
//! Page `n` of a shard holds events of the `n`th tenth of a second after the window's start. The events of some pages are
//! generated once. All pages are those with another time, so that ten million events take no memory.

use std::sync::{Arc, LazyLock};

use audit_log_tests::events::{Spread, generate};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

/// About the 1 MB, by its own count, with which DynamoDB ends a page.
const PAGE_EVENTS: usize = 2_000;
/// So many that no compressor finds an event again within its window.
const GENERATED_PAGES: usize = 25;
/// The beginning of all times in generated events.
const TENTH: &str = "2025-11-21T10:00:00.0";

/// The range keys and items of generated pages.
static GENERATED: LazyLock<Vec<Vec<(String, String)>>> = LazyLock::new(|| {
    let from: DateTime<Utc> = "2025-11-21T10:00:00Z".parse().unwrap_or_default();
    let spread = Spread::Window { from, to: from + TimeDelta::milliseconds(100) };
    let mut pages = vec![vec![]; GENERATED_PAGES];
    for (at, event) in generate("acme", GENERATED_PAGES * PAGE_EVENTS, spread).iter().enumerate() {
        // No program reads the partition's name, so it is the same everywhere.
        let item = json!({
            "tenant_shard": { "S": "tenant-00000#0" }, "recorded_at_id": { "S": event.recorded_at_id() },
            "action": { "S": event.action }, "event": { "S": event.document }, "log_type": { "S": event.log_type },
            "expires_at": { "N": "1771495200" }, "user_email": { "S": event.user_email.as_deref().unwrap_or("-") },
        });
        pages[at % GENERATED_PAGES].push((event.recorded_at_id(), item.to_string()));
    }
    pages
});

/// What a trial exports. All tenants have the same settings and events.
pub(crate) struct Data {
    pub(crate) tenants: usize,
    pub(crate) shards: usize,
    events_per_shard: usize,
    pub(crate) gzip: bool,
    /// By shard and number. Empty if they don't fit into memory and are made when they are requested.
    made: Vec<Vec<Bytes>>,
}

impl Data {
    pub(crate) fn new(tenants: usize, shards: usize, events_per_tenant: usize, gzip: bool) -> Arc<Self> {
        let mut data = Self { tenants, shards, events_per_shard: events_per_tenant / shards, gzip, made: vec![] };
        if events_per_tenant < 1_000_000 {
            let pages = data.events_per_shard.div_ceil(PAGE_EVENTS);
            data.made = (0..shards).map(|shard| (0..pages).map(|number| data.page(shard, number)).collect()).collect();
        }
        Arc::new(data)
    }

    /// The number of all tenants' events.
    pub(crate) fn events(&self) -> usize {
        self.tenants * self.shards * self.events_per_shard
    }

    /// A tenant's recorded events.
    pub(crate) fn documents(&self) -> Vec<String> {
        let pages = self.made.iter().flatten().filter_map(|page| serde_json::from_slice(page).ok());
        let items = pages.flat_map(|page: Value| page["Items"].as_array().cloned().unwrap_or_default());
        items.filter_map(|item| item["event"]["S"].as_str().map(str::to_owned)).collect()
    }

    /// The page of a shard after a range key, or after the time with which a window's keys begin.
    pub(crate) fn page_after(&self, shard: usize, key: &str) -> Option<Bytes> {
        let digits = |from: usize, to: usize| key.get(from..to)?.parse::<usize>().ok();
        let number = match key.contains('#') {
            // `2025-11-21T10:00:00.0`
            true => digits(14, 16)? * 600 + digits(17, 19)? * 10 + digits(20, 21)? + 1,
            false => 0,
        };
        let made = self.made.get(shard).and_then(|pages| pages.get(number));
        Some(made.cloned().unwrap_or_else(|| self.page(shard, number)))
    }

    fn page(&self, shard: usize, number: usize) -> Bytes {
        let generated = &GENERATED[(number + shard) % GENERATED_PAGES];
        let left = self.events_per_shard.saturating_sub(number * PAGE_EVENTS);
        let events = generated.get(..left).unwrap_or(generated);
        let items: Vec<&str> = events.iter().map(|(_, item)| item.as_str()).collect();
        let last = events.last().filter(|_| left > events.len()).map_or(String::new(), |(key, _)| {
            format!(
                r#","LastEvaluatedKey":{{"tenant_shard":{{"S":"tenant-00000#0"}},"recorded_at_id":{{"S":"{key}"}}}}"#
            )
        });
        let body = format!(r#"{{"Count":{0},"ScannedCount":{0},"Items":[{1}]{last}}}"#, items.len(), items.join(","));
        let tenth = format!("2025-11-21T10:{:02}:{:02}.{}", number / 600, number / 10 % 60, number % 10);
        Bytes::from(body.replace(TENTH, &tenth))
    }
}
