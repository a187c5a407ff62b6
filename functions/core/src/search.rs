//! Searches a tenant's recorded events, newest first, and counts them by filter.
//!
//! Every search is limited. A result that is incomplete says where it ends.

mod histogram;
mod matching;
mod newest_first;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

pub use histogram::Histogram;
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

/// An event matches if it passes each filter and has the words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// By the time of recording.
    pub window: Window,
    pub actions: Filter,
    /// Email addresses, ids or names.
    pub users: Filter,
    pub log_types: Filter,
    /// Words that must all occur in the event's values, in any case.
    pub text: String,
}

impl Search {
    /// Finds all events of a window.
    pub fn all(window: Window) -> Self {
        let (actions, users, log_types) = <(Filter, Filter, Filter)>::default();
        Self { window, actions, users, log_types, text: String::new() }
    }
}

/// Values to keep and values to leave out, in any case. An event passes if it has one of those in `only`, or `only` is empty,
/// and none of those in `except`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub only: Vec<String>,
    pub except: Vec<String>,
}

impl Filter {
    pub fn only<const N: usize>(values: [&str; N]) -> Self {
        Self { only: values.map(str::to_owned).into(), except: Vec::new() }
    }

    fn passes(&self, values: &[&String]) -> bool {
        let has_one_of =
            |wanted: &[String]| wanted.iter().any(|it| values.iter().any(|value| it.eq_ignore_ascii_case(value)));
        (self.only.is_empty() || has_one_of(&self.only)) && !has_one_of(&self.except)
    }
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

impl Columns {
    /// What identifies the user: the email address, or else the id, or else the name.
    pub fn user(&self) -> &str {
        let Self { user_id, user_name, user_email, .. } = self;
        [user_email, user_id, user_name].into_iter().find(|text| !text.is_empty()).map_or("", String::as_str)
    }
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    pub total: u64,
    /// The matching events by the time of recording.
    pub histogram: Histogram,
    pub actions: ValueCounts,
    pub users: ValueCounts,
    pub log_types: ValueCounts,
    pub scanned: Scanned,
    /// If a limit ended the search: the time from which on events were counted.
    pub cut_at: Option<DateTime<Utc>>,
}

impl Summary {
    fn new(window: Window) -> Self {
        let (actions, users, log_types) = <(ValueCounts, ValueCounts, ValueCounts)>::default();
        let (histogram, scanned) = (Histogram::new(window), Scanned::default());
        Self { total: 0, histogram, actions, users, log_types, scanned, cut_at: None }
    }
}

/// The number of events for each value of a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ValueCounts(BTreeMap<String, Count>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Count {
    events: u64,
    name: String,
}

/// A value of a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted<'a> {
    pub value: &'a str,
    /// Of a user who is identified by an address or an id: the name in the newest event that has one. Else blank.
    pub name: &'a str,
    pub events: u64,
}

impl ValueCounts {
    fn count(&mut self, value: &str) {
        self.count_named(value, "");
    }

    fn count_named(&mut self, value: &str, name: &str) {
        if value.is_empty() {
            return;
        }
        let count = self.0.entry(value.to_owned()).or_default();
        count.events += 1;
        if count.name.is_empty() && name != value {
            name.clone_into(&mut count.name);
        }
    }

    /// The most frequent values, at most [`MAX_VALUES`]; equally frequent ones in alphabetical order.
    pub fn most_frequent(&self) -> Vec<Counted<'_>> {
        let mut values: Vec<_> =
            self.0.iter().map(|(value, Count { events, name })| Counted { value, name, events: *events }).collect();
        values.sort_by_key(|counted| std::cmp::Reverse(counted.events));
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
    let (mut page, mut summary) = (SearchPage::default(), Summary::new(search.window));
    let (mut bytes, mut last, mut is_open) = (0, None, limits.most > 0);
    while let Some(event) = newest_first.next().await? {
        summary.scanned.add(&event);
        let position = event.recorded_at_id.clone();
        let parsed = ParsedEvent::new(&event);
        let matches = matcher.matches(&parsed);
        if matches.all() {
            summary.total += 1;
            if let Some(at) = recorded_at(&position) {
                summary.histogram.count(at);
            }
        }
        if matches.all_but_action() {
            summary.actions.count(&parsed.columns.action);
        }
        if matches.all_but_user() {
            summary.users.count_named(parsed.columns.user(), &parsed.columns.user_name);
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
                summary.cut_at = recorded_at(&position).or(Some(search.window.to));
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

fn recorded_at(position: &str) -> Option<DateTime<Utc>> {
    position.split('#').next()?.parse().ok()
}

#[cfg(test)]
mod tests;
