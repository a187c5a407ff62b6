//! Measures searches of a tenant with 1,000,000 events over 30 days, if DynamoDB needs 10 ms for each page. Needs Linux.
//!
//! ```sh
//! cargo run --release --locked --package audit-log-core --example search
//! ```
//!
//! A request of a search is repeated with the page token until it has found 50 events, or the beginning of the period. The CPU
//! time includes a copy of each event that is sent, instead of decoding it.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use audit_log_core::{
    event::{Body, StoredEvent},
    failure::Failure,
    filter::CopyFilter,
    ports::{EventRange, Events, Page, PageBack},
    schedule::Window,
    search::{self, Filter, Scope, Search, SearchLimits},
    tenant::{EventShards, TenantId},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

const EVENTS: u64 = 1_000_000;
const DAYS: i64 = 30;
const LATENCY: Duration = Duration::from_millis(10);
const PAGE_BYTES: u64 = 1 << 20;
/// Of an item, beside the event's text: names of attributes, keys and copies.
const OTHER_BYTES: usize = 140;
const WANTED: usize = 50;

/// A table whose events are in one partition.
struct Table {
    /// Oldest first.
    events: Vec<StoredEvent>,
    /// The copies of these events' actions.
    actions: Vec<&'static str>,
    reads: AtomicU64,
    sent: AtomicU64,
}

impl Table {
    fn new(start: DateTime<Utc>) -> Self {
        let step = TimeDelta::days(DAYS).num_milliseconds() / EVENTS as i64;
        // One in 100,000, and one in four.
        let action = |number: u64| match number {
            _ if number % 100_000 == 500 => "Role Deleted",
            _ if number.is_multiple_of(4) => "Login",
            _ => "Scan Completed",
        };
        let event = |number: u64| {
            let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let at = timestamp::millis(start + TimeDelta::milliseconds(step * number as i64));
            let id = format!("01a1f899-{random:016x}");
            let action = action(number);
            let user = if number % 100_000 == 700 { 99 } else { random % 12 };
            let text = format!(
                r#"{{"id":"{id}","date":"{at}","logType":"Scan","action":"{action}","user":{{"id":"usr_{user:02}","name":"Zoë Müller","email":"user-{user:02}@acme.example"}},"additionalInfo":{{"scanId":"scan_{random:012x}","userAgent":"Mozilla/5.0 (X11; Linux x86_64; rv:145.0)","findings":{{"high":{}}}}}}}"#,
                random % 100
            );
            StoredEvent { recorded_at_id: format!("{at}#{id}"), body: Body::Text(text) }
        };
        let actions = (0..EVENTS).map(action).collect();
        Self { events: (0..EVENTS).map(event).collect(), actions, reads: AtomicU64::new(0), sent: AtomicU64::new(0) }
    }
}

impl Events for Table {
    async fn page(&self, _: EventRange<'_>) -> Result<Page, Failure> {
        Ok(Page::default())
    }

    async fn page_back(
        &self,
        range: EventRange<'_>,
        most: usize,
        filter: Option<CopyFilter<'_>>,
    ) -> Result<PageBack, Failure> {
        tokio::time::sleep(LATENCY).await;
        self.reads.fetch_add(1, Ordering::Relaxed);
        let end = range.after.map_or_else(|| timestamp::millis(range.window.to), str::to_owned);
        let index = |key: &str| self.events.partition_point(|event| *event.recorded_at_id < *key);
        let (first, last) = (index(&timestamp::millis(range.window.from)), index(&end));
        let mut page = PageBack::default();
        for index in (first..last).rev() {
            let event = &self.events[index];
            let (Body::Text(text) | Body::NoText(text)) = &event.body;
            page.scanned.events += 1;
            page.scanned.bytes += (text.len() + OTHER_BYTES) as u64;
            if filter.is_none_or(|filter| filter.passes(Some(self.actions[index]), Some("Scan"))) {
                page.events.push(event.clone());
            }
            if page.scanned.events >= most as u64 || page.scanned.bytes >= PAGE_BYTES {
                page.more_after = (index > first).then(|| event.recorded_at_id.clone());
                break;
            }
        }
        self.sent.fetch_add(page.events.len() as u64, Ordering::Relaxed);
        Ok(page)
    }
}

/// What this thread has used, by the kernel's account. Other programs on the machine don't count.
fn cpu_time() -> Result<Duration, Box<dyn Error>> {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(account.split(' ').next().unwrap_or_default().parse()?))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let start: DateTime<Utc> = "2026-11-01T00:00:00Z".parse()?;
    let (table, tenant) = (Table::new(start), TenantId::parse("acme")?);
    let scope = Scope { tenant: &tenant, shards: EventShards::ONE };
    // Those of the console.
    let limits = SearchLimits {
        most: WANTED,
        bytes: 5_000_000,
        scanned_bytes: 512 << 20,
        sent_bytes: 64 << 20,
        should_stop: &|| false,
    };
    let all = Search::all(Window { from: start, to: start + TimeDelta::days(DAYS) });
    let action = |action| Search { actions: Filter::only([action]), ..all.clone() };
    println!(
        "{:<16} {:>8} {:>6} {:>6} {:>9} {:>9} {:>9} {:>9}",
        "", "requests", "found", "pages", "read", "sent", "wall ms", "CPU ms"
    );
    let mut measured = [
        ("no filter", all.clone(), false),
        ("frequent action", action("Login"), false),
        ("rare action", action("Role Deleted"), false),
        ("rare user", Search { users: Filter::only(["user-99@acme.example"]), ..all.clone() }, false),
        ("text", Search { text: "role DELETED".to_owned(), ..all.clone() }, false),
        ("summary", all.clone(), true),
    ];
    for (name, search, is_summary) in &mut measured {
        let (began, before) = (Instant::now(), cpu_time()?);
        table.reads.store(0, Ordering::Relaxed);
        table.sent.store(0, Ordering::Relaxed);
        let (mut requests, mut found, mut read, mut next) = (0, 0, 0, None);
        loop {
            requests += 1;
            let page = if *is_summary {
                search::summarize(&table, scope, search, limits).await?.0
            } else {
                search::search(&table, scope, search, next.as_deref(), limits).await?
            };
            (found, read) = (found + page.events.len(), read + page.scanned.events);
            next = page.next;
            if *is_summary || found >= WANTED || next.is_none() {
                break;
            }
        }
        let (wall, cpu) = (began.elapsed(), cpu_time()?.saturating_sub(before));
        println!(
            "{name:<16} {requests:>8} {found:>6} {:>6} {read:>9} {:>9} {:>9} {:>9}",
            table.reads.load(Ordering::Relaxed),
            table.sent.load(Ordering::Relaxed),
            wall.as_millis(),
            cpu.as_millis(),
        );
    }
    Ok(())
}
