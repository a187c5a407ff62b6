//! Looking at the recorded events: newest first, filtered, counted.
//!
//! Every look is bounded. One that ends early says so, and where it ended, and never passes for all that there is.

mod matching;
mod newest_first;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use matching::Seen;
use newest_first::NewestFirst;

use crate::{
    failure::Failure,
    ports::Events,
    schedule::Window,
    tenant::{EventShards, TenantId},
};

/// How many of a filter's values a summary lists.
pub const MAX_VALUES: usize = 200;

/// What to look for. Within a filter one of its values has to match, and every filter that has values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// When the events were recorded.
    pub window: Window,
    /// What was done.
    pub actions: Vec<String>,
    /// By whom: an address, an id or a name.
    pub users: Vec<String>,
    /// What kind of thing it was.
    pub log_types: Vec<String>,
    /// Words that all have to be somewhere in the event's values, in any case.
    pub text: String,
}

/// Whose events, and in how many shards.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// Over how many shards they are spread.
    pub shards: EventShards,
}

/// Where a look ends, if not at the first event of its window.
#[derive(Clone, Copy)]
pub struct SearchLimits<'a> {
    /// After so many matching events.
    pub most: usize,
    /// Before so many bytes of them are exceeded, escaped as a JSON text; at least one event comes anyway.
    pub bytes: usize,
    /// After so many events, matching or not.
    pub scanned: u64,
    /// Once the time is up.
    pub should_stop: &'a (dyn Fn() -> bool + Send + Sync),
}

/// A matching event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEvent {
    /// Its `recorded_at_id`.
    pub position: String,
    /// The event as it is exported: one JSON object.
    pub document: String,
    /// The parts of it that a table shows.
    pub columns: Columns,
}

/// The parts of an event that a table shows; blank where it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the event's property of that name")]
pub struct Columns {
    pub id: String,
    pub date: String,
    pub log_type: String,
    pub action: String,
    pub user_id: String,
    pub user_name: String,
    pub user_email: String,
    pub additional_info: String,
}

/// Some matching events, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchPage {
    /// Newest first.
    pub events: Vec<FoundEvent>,
    /// The `recorded_at_id` beyond which to look on; none if there is nothing more in the window.
    pub next: Option<String>,
    /// How many events were looked at.
    pub scanned: u64,
}

/// The next page of what matches, beyond a `recorded_at_id` or from the window's end.
///
/// # Errors
/// If the events can't be read.
pub async fn search<E: Events>(
    events: &E,
    of: Scope<'_>,
    search: &Search,
    beyond: Option<&str>,
    bounds: SearchLimits<'_>,
) -> Result<SearchPage, Failure> {
    let wanted = matching::Wanted::of(search);
    let mut backwards = NewestFirst::new(events, of, search.window, beyond);
    let (mut page, mut bytes, mut last) = (SearchPage::default(), 0, None);
    while let Some(event) = backwards.next().await? {
        let position = event.recorded_at_id.clone();
        let seen = Seen::of(&event);
        if wanted.matches(&seen).all() {
            let found = seen.into_found(&position);
            bytes += escaped_len(&found.document);
            if bytes > bounds.bytes && !page.events.is_empty() {
                page.next = last;
                return Ok(page);
            }
            page.events.push(found);
        }
        page.scanned += 1;
        let full = page.events.len() >= bounds.most || page.scanned >= bounds.scanned;
        if full || (bounds.should_stop)() {
            page.next = backwards.has_more().await?.then_some(position);
            return Ok(page);
        }
        last = Some(position);
    }
    Ok(page)
}

/// How long a text becomes within a JSON string, where quotes, backslashes and control characters take more room.
pub fn escaped_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

/// How much of what there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The events that match.
    pub total: u64,
    /// Scope each action, how many events match the other filters.
    pub actions: ValueCounts,
    /// Scope each user, likewise.
    pub users: ValueCounts,
    /// Scope each log type, likewise.
    pub log_types: ValueCounts,
    /// How many events were looked at.
    pub scanned: u64,
    /// From when on the events were looked at, if the look ended before the first of them.
    pub cut_at: Option<DateTime<Utc>>,
}

/// A filter's values with their counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueCounts(BTreeMap<String, u64>);

impl ValueCounts {
    fn count(&mut self, value: &str) {
        if !value.is_empty() {
            *self.0.entry(value.to_owned()).or_default() += 1;
        }
    }

    /// The most frequent, at most [`MAX_VALUES`]; of equally frequent ones, in alphabetical order.
    pub fn most_frequent(&self) -> Vec<(&str, u64)> {
        let mut values: Vec<(&str, u64)> = self.0.iter().map(|(value, count)| (value.as_str(), *count)).collect();
        values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        values.truncate(MAX_VALUES);
        values
    }
}

/// Counts what matches. Scope a filter that has values, the other values are counted as well, so that one can see what
/// choosing them would add.
///
/// # Errors
/// If the events can't be read.
pub async fn summarize<E: Events>(
    events: &E,
    of: Scope<'_>,
    search: &Search,
    bounds: SearchLimits<'_>,
) -> Result<Summary, Failure> {
    let wanted = matching::Wanted::of(search);
    let mut backwards = NewestFirst::new(events, of, search.window, None);
    let mut summary = Summary::default();
    while let Some(event) = backwards.next().await? {
        let seen = Seen::of(&event);
        let matches = wanted.matches(&seen);
        summary.total += u64::from(matches.all());
        let (columns, user) = (seen.columns(), seen.user());
        if matches.all_but_action() {
            summary.actions.count(&columns.action);
        }
        if matches.all_but_user() {
            summary.users.count(user);
        }
        if matches.all_but_log_type() {
            summary.log_types.count(&columns.log_type);
        }
        summary.scanned += 1;
        if summary.scanned >= bounds.scanned || (bounds.should_stop)() {
            if backwards.has_more().await? {
                let recorded_at = event.recorded_at_id.split('#').next().unwrap_or_default();
                summary.cut_at = recorded_at.parse().ok().or(Some(search.window.to));
            }
            return Ok(summary);
        }
    }
    Ok(summary)
}

#[cfg(test)]
mod tests;
