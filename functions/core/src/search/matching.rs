//! Compares events with a search.

use std::{borrow::Cow, collections::HashMap};

use serde_json::{Value, value::RawValue};

use super::{Columns, FoundEvent, Search};
use crate::event::StoredEvent;

/// An event with its columns. A property that is missing or no text is blank.
pub(super) struct ParsedEvent {
    document: String,
    pub(super) columns: Columns,
}

impl ParsedEvent {
    pub(super) fn new(event: &StoredEvent) -> Self {
        let document = event.line().0.into_owned();
        // Member by member, so that one that can't be represented doesn't hide the others.
        let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(&document).unwrap_or_default();
        let user = members.get("user").map(|user| user.get()).unwrap_or_default();
        let user: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(user).unwrap_or_default();
        let (recorded_at, id) = event.recorded_at_id.split_once('#').unwrap_or((&event.recorded_at_id, ""));
        let or = |text: String, key: &str| if text.is_empty() { key.to_owned() } else { text };
        let info = members.get("additionalInfo").map(|info| info.get()).unwrap_or_default();
        let columns = Columns {
            id: or(text(members.get("id")), id),
            date: or(text(members.get("date")), recorded_at),
            log_type: text(members.get("logType")),
            action: text(members.get("action")),
            user_id: text(user.get("id")),
            user_name: text(user.get("name")),
            user_email: text(user.get("email")),
            additional_info: if info == "null" { String::new() } else { info.to_owned() },
        };
        Self { document, columns }
    }

    pub(super) fn document(&self) -> &str {
        &self.document
    }

    pub(super) fn into_found(self, position: &str) -> FoundEvent {
        FoundEvent { position: position.to_owned(), document: self.document, columns: self.columns }
    }
}

/// A search that is prepared for many comparisons.
pub(super) struct Matcher<'a> {
    search: &'a Search,
    words: Vec<String>,
}

/// The filters that an event passes.
pub(super) struct Matches {
    text: bool,
    action: bool,
    user: bool,
    log_type: bool,
}

impl Matches {
    pub(super) fn all(&self) -> bool {
        self.text && self.action && self.user && self.log_type
    }

    pub(super) fn all_but_action(&self) -> bool {
        self.text && self.user && self.log_type
    }

    pub(super) fn all_but_user(&self) -> bool {
        self.text && self.action && self.log_type
    }

    pub(super) fn all_but_log_type(&self) -> bool {
        self.text && self.action && self.user
    }
}

impl<'a> Matcher<'a> {
    pub(super) fn new(search: &'a Search) -> Self {
        Self { search, words: search.text.split_whitespace().map(str::to_lowercase).collect() }
    }

    pub(super) fn matches(&self, event: &ParsedEvent) -> Matches {
        let Search { actions, users, log_types, .. } = self.search;
        let columns = &event.columns;
        Matches {
            text: self.has_words(event),
            action: actions.passes(&columns.action),
            user: users.passes_if(|user| {
                [&columns.user_email, &columns.user_id, &columns.user_name]
                    .into_iter()
                    .any(|it| it.eq_ignore_ascii_case(user))
            }),
            log_type: log_types.passes(&columns.log_type),
        }
    }

    /// Whether each word occurs in a value; names of properties don't count.
    fn has_words(&self, event: &ParsedEvent) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let mut values = String::new();
        match serde_json::from_str(&event.document) {
            Ok(value) => collect(&value, &mut values),
            // A number or a text in it can't be represented.
            Err(_) => values = event.document.to_lowercase(),
        }
        self.words.iter().all(|word| values.contains(word))
    }
}

/// Returns a text or a number, and a blank for anything else.
fn text(value: Option<&&RawValue>) -> String {
    let json = value.map(|value| value.get()).unwrap_or_default();
    match json.bytes().next() {
        // A text with half a surrogate pair can't be decoded; it is shown as written.
        Some(b'"') => serde_json::from_str(json).unwrap_or_else(|_| json.trim_matches('"').to_owned()),
        Some(b'-' | b'0'..=b'9') => json.to_owned(),
        _ => String::new(),
    }
}

/// Appends all texts, numbers and booleans in a value, one a line and in lower case.
fn collect(value: &Value, into: &mut String) {
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => into.push_str(&value.to_string()),
        Value::String(text) => into.push_str(&text.to_lowercase()),
        Value::Array(values) => values.iter().for_each(|value| collect(value, into)),
        Value::Object(properties) => properties.values().for_each(|value| collect(value, into)),
    }
    into.push('\n');
}
