//! Searches a tenant's recorded events, newest first, and counts them by filter.
//!
//! Every search is limited. A result that is incomplete says where it ends.

mod matching;
mod newest_first;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use matching::ParsedEvent;
use newest_first::NewestFirst;

use crate::{
    event::{Body, StoredEvent},
    failure::Failure,
    ports::Events,
    schedule::Window,
    tenant::{EventShards, TenantId},
};

/// The values of a filter that a summary lists.
pub const MAX_VALUES: usize = 200;

/// An event matches if it passes each filter that has values. It passes a filter if one of the values matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// By the time of recording.
    pub window: Window,
    pub actions: Vec<String>,
    /// Email addresses, ids or names.
    pub users: Vec<String>,
    pub log_types: Vec<String>,
    /// Words that must all occur in the event's values, in any case.
    pub text: String,
}

/// The partitions to search.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub tenant: &'a TenantId,
    pub shards: EventShards,
}

/// Where a search ends before the window is read to its beginning.
#[derive(Clone, Copy)]
pub struct SearchLimits<'a> {
    /// The number of matching events.
    pub most: usize,
    /// The bytes of the matching events, escaped as JSON strings; a first event of any size is returned.
    pub bytes: usize,
    /// The number of events read.
    pub scanned: u64,
    /// The bytes of the events looked at, matching or not; a first event of any size is looked at. Merging the shards takes a
    /// page of each in addition, which DynamoDB limits to 1 MB.
    pub scanned_bytes: u64,
    pub should_stop: &'a (dyn Fn() -> bool + Send + Sync),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundEvent {
    /// The event's `recorded_at_id`.
    pub position: String,
    /// The event as exported: one JSON object.
    pub document: String,
    pub columns: Columns,
}

/// The properties of an event that a table shows; blank if absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchPage {
    /// Newest first.
    pub events: Vec<FoundEvent>,
    /// The `recorded_at_id` before which the next page begins; none at the window's beginning.
    pub next: Option<String>,
    pub scanned: Scanned,
}

/// What a search has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Matching or not.
    pub events: u64,
    /// Of these events and their keys.
    pub bytes: u64,
}

impl Scanned {
    fn add(&mut self, event: &StoredEvent) {
        self.events += 1;
        let (Body::Text(text) | Body::NoText(text)) = &event.body;
        self.bytes += u64::try_from(event.recorded_at_id.len() + text.len()).unwrap_or(u64::MAX);
    }

    fn has_reached(&self, limits: SearchLimits<'_>) -> bool {
        self.events >= limits.scanned || self.bytes >= limits.scanned_bytes
    }
}

/// Returns the matching events before a `recorded_at_id`, or from the window's end.
pub async fn search<E: Events>(
    events: &E,
    scope: Scope<'_>,
    search: &Search,
    before: Option<&str>,
    limits: SearchLimits<'_>,
) -> Result<SearchPage, Failure> {
    let matcher = matching::Matcher::new(search);
    let mut newest_first = NewestFirst::new(events, scope, search.window, before);
    let (mut page, mut bytes, mut last) = (SearchPage::default(), 0, None);
    while let Some(event) = newest_first.next().await? {
        let position = event.recorded_at_id.clone();
        page.scanned.add(&event);
        let parsed = ParsedEvent::new(&event);
        if matcher.matches(&parsed).all() {
            let found = parsed.into_found(&position);
            bytes += escaped_len(&found.document);
            if bytes > limits.bytes && !page.events.is_empty() {
                page.next = last;
                return Ok(page);
            }
            page.events.push(found);
        }
        let is_full = page.events.len() >= limits.most || page.scanned.has_reached(limits);
        if is_full || (limits.should_stop)() {
            page.next = newest_first.has_more().await?.then_some(position);
            return Ok(page);
        }
        last = Some(position);
    }
    Ok(page)
}

/// Returns the length of a text once it is escaped in a JSON string.
pub fn escaped_len(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

/// The number of matching events and, for each filter, of those that match all other filters, by value. So one sees what
/// choosing another value would add.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub total: u64,
    pub actions: ValueCounts,
    pub users: ValueCounts,
    pub log_types: ValueCounts,
    pub scanned: Scanned,
    /// If a limit ended the search: the time from which on events were counted.
    pub cut_at: Option<DateTime<Utc>>,
}

/// The number of events for each value of a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueCounts(BTreeMap<String, u64>);

impl ValueCounts {
    fn count(&mut self, value: &str) {
        if !value.is_empty() {
            *self.0.entry(value.to_owned()).or_default() += 1;
        }
    }

    /// The most frequent values, at most [`MAX_VALUES`]; equally frequent ones in alphabetical order.
    pub fn most_frequent(&self) -> Vec<(&str, u64)> {
        let mut values: Vec<(&str, u64)> = self.0.iter().map(|(value, count)| (value.as_str(), *count)).collect();
        values.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        values.truncate(MAX_VALUES);
        values
    }
}

/// Counts the events, and returns the first page of those that match. It reads each event once; `limits.most` and
/// `limits.bytes` end the page, and all other limits the search.
pub async fn summarize<E: Events>(
    events: &E,
    scope: Scope<'_>,
    search: &Search,
    limits: SearchLimits<'_>,
) -> Result<(SearchPage, Summary), Failure> {
    let matcher = matching::Matcher::new(search);
    let mut newest_first = NewestFirst::new(events, scope, search.window, None);
    let (mut page, mut summary) = (SearchPage::default(), Summary::default());
    let (mut bytes, mut last, mut is_open) = (0, None, limits.most > 0);
    while let Some(event) = newest_first.next().await? {
        summary.scanned.add(&event);
        let position = event.recorded_at_id.clone();
        let parsed = ParsedEvent::new(&event);
        let matches = matcher.matches(&parsed);
        summary.total += u64::from(matches.all());
        if matches.all_but_action() {
            summary.actions.count(&parsed.columns.action);
        }
        if matches.all_but_user() {
            summary.users.count(parsed.user());
        }
        if matches.all_but_log_type() {
            summary.log_types.count(&parsed.columns.log_type);
        }
        if is_open && matches.all() {
            let found = parsed.into_found(&position);
            bytes += escaped_len(&found.document);
            is_open = page.events.len() < limits.most && (bytes <= limits.bytes || page.events.is_empty());
            if is_open {
                page.events.push(found);
            } else {
                page.next = last.take();
            }
        }
        if summary.scanned.has_reached(limits) || (limits.should_stop)() {
            if newest_first.has_more().await? {
                let recorded_at = position.split('#').next().unwrap_or_default();
                summary.cut_at = recorded_at.parse().ok().or(Some(search.window.to));
                if is_open {
                    page.next = Some(position);
                }
            }
            break;
        }
        if is_open {
            last = Some(position);
        }
    }
    page.scanned = summary.scanned;
    Ok((page, summary))
}

#[cfg(test)]
mod tests;
