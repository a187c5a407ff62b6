//! Searches a tenant's recorded events, newest first, and counts them by filter.
//!
//! Every search is limited. A result that is incomplete says where it ends.

mod histogram;
mod matching;
mod newest_first;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

pub use histogram::Histogram;
use matching::{Matcher, ParsedEvent};
use newest_first::{Limit, NewestFirst};

pub use crate::filter::Filter;
use crate::{
    event::{MALFORMED_ACTION, MALFORMED_LOG_TYPE},
    failure::Failure,
    filter::CopyFilter,
    ports::{Events, Scanned},
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
    /// Compared exactly, like log types: the events table filters by both.
    pub actions: Filter,
    /// Email addresses, ids or names, in any case.
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

    /// What the events table may leave out: nothing if a malformed event may match, because its copies aren't its columns.
    fn copy_filter(&self) -> Option<CopyFilter<'_>> {
        let Self { actions, log_types, .. } = self;
        let malformed_passes = actions.passes(MALFORMED_ACTION) && log_types.passes(MALFORMED_LOG_TYPE);
        (!malformed_passes).then_some(CopyFilter { actions, log_types })
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
    /// The bytes that the events table reads. What is read when a limit is reached is searched, too: up to a page of 1 MB for
    /// each read that was in progress.
    pub scanned_bytes: u64,
    /// The bytes of the events that the table sends, which are parsed.
    pub sent_bytes: u64,
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
    /// The position before which the next page begins; none at the window's beginning. All events from there on are in this
    /// page or don't match.
    pub next: Option<String>,
    /// What the events table has read, also beyond this page's end.
    pub scanned: Scanned,
}

/// Returns the matching events before a position, or from the window's end.
pub async fn search<E: Events>(
    events: &E,
    scope: Scope<'_>,
    search: &Search,
    before: Option<&str>,
    limits: SearchLimits<'_>,
) -> Result<SearchPage, Failure> {
    let matcher = Matcher::new(search);
    let mut newest_first = NewestFirst::new(events, scope, search.window, before, search.copy_filter());
    let mut page = PageBuilder::new(limits);
    while newest_first.read(page.limits(), limits).await? {
        while let Some(event) = newest_first.next() {
            let parsed = ParsedEvent::new(&event);
            if matcher.matches(&parsed).all() {
                page.push(parsed, &event.recorded_at_id);
            }
            if page.is_full {
                return Ok(page.finish(newest_first.next_position(), newest_first.scanned()));
            }
        }
    }
    Ok(page.finish(newest_first.next_position(), newest_first.scanned()))
}

/// The page of a search while it is filled.
struct PageBuilder<'a> {
    limits: SearchLimits<'a>,
    found: Vec<FoundEvent>,
    /// Escaped.
    bytes: usize,
    is_full: bool,
    /// Whether an event matches that is not in the page.
    has_more: bool,
}

impl<'a> PageBuilder<'a> {
    fn new(limits: SearchLimits<'a>) -> Self {
        Self { limits, found: Vec::new(), bytes: 0, is_full: limits.most == 0, has_more: false }
    }

    fn push(&mut self, event: ParsedEvent, position: &str) {
        let bytes = self.bytes + escaped_len(event.document());
        self.has_more = self.is_full || (bytes > self.limits.bytes && !self.found.is_empty());
        if self.has_more {
            self.is_full = true;
            return;
        }
        self.bytes = bytes;
        self.found.push(event.into_found(position));
        self.is_full = self.found.len() >= self.limits.most;
    }

    fn limits(&self) -> [Limit; 2] {
        let Self { limits, found, bytes, .. } = self;
        [Limit::new(found.len(), limits.most), Limit::new(*bytes, limits.bytes)]
    }

    /// `position` is where the search has ended, none at the window's beginning. A full page ends at its last event.
    fn finish(self, position: Option<String>, scanned: Scanned) -> SearchPage {
        let last = self.found.last().map(|last| last.position.clone());
        let next = if self.is_full { last.filter(|_| self.has_more || position.is_some()) } else { position };
        SearchPage { events: self.found, next, scanned }
    }
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
    /// The events, matching or not, with their keys.
    pub counted: Scanned,
    /// If a limit ended the search: the time from which on all events were counted.
    pub cut_at: Option<DateTime<Utc>>,
}

impl Summary {
    fn new(window: Window) -> Self {
        let (actions, users, log_types) = <(ValueCounts, ValueCounts, ValueCounts)>::default();
        let (histogram, counted) = (Histogram::new(window), Scanned::default());
        Self { total: 0, histogram, actions, users, log_types, counted, cut_at: None }
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
    let matcher = Matcher::new(search);
    // The values that other filters would find are counted, too, so that the table leaves nothing out.
    let mut newest_first = NewestFirst::new(events, scope, search.window, None, None);
    let (mut page, mut summary) = (PageBuilder::new(limits), Summary::new(search.window));
    while newest_first.read([], limits).await? {
        while let Some(event) = newest_first.next() {
            summary.counted.events += 1;
            summary.counted.bytes += event.len();
            let parsed = ParsedEvent::new(&event);
            let matches = matcher.matches(&parsed);
            if matches.all() {
                summary.total += 1;
                if let Some(at) = recorded_at(&event.recorded_at_id) {
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
            if matches.all() {
                page.push(parsed, &event.recorded_at_id);
            }
        }
    }
    let position = newest_first.next_position();
    summary.cut_at = position.as_deref().map(|position| counted_from(position).unwrap_or(search.window.to));
    Ok((page.finish(position, newest_first.scanned()), summary))
}

/// Returns the time from which on all events were counted, if those before the position were not.
fn counted_from(position: &str) -> Option<DateTime<Utc>> {
    // Before an id, there may be other events of the same millisecond.
    let is_within = position.contains('#');
    recorded_at(position).map(|at| at + TimeDelta::milliseconds(is_within.into()))
}

fn recorded_at(position: &str) -> Option<DateTime<Utc>> {
    position.split('#').next()?.parse().ok()
}

#[cfg(test)]
mod tests;
