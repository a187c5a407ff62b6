//! Whether an event is one that is looked for.

use serde_json::Value;

use super::{Columns, Found, Search};
use crate::event::StoredEvent;

/// An event, taken apart. What its writer left out, or wrote as something else than a text, is blank.
pub(super) struct Seen {
    document: String,
    parsed: Value,
    columns: Columns,
}

impl Seen {
    pub(super) fn of(event: &StoredEvent) -> Self {
        let document = event.line().0.into_owned();
        let parsed: Value = serde_json::from_str(&document).unwrap_or_default();
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let info = &parsed["additionalInfo"];
        let columns = Columns {
            id: text(&parsed["id"]),
            date: text(&parsed["date"]),
            log_type: text(&parsed["logType"]),
            action: text(&parsed["action"]),
            user_id: text(&parsed["user"]["id"]),
            user_name: text(&parsed["user"]["name"]),
            user_email: text(&parsed["user"]["email"]),
            additional_info: if info.is_null() { String::new() } else { info.to_string() },
        };
        Self { document, parsed, columns }
    }

    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// By what a user is told from others: the address, or the id, or the name.
    pub(super) fn user(&self) -> &str {
        let Columns { user_id, user_name, user_email, .. } = &self.columns;
        [user_email, user_id, user_name].into_iter().find(|text| !text.is_empty()).map_or("", String::as_str)
    }

    pub(super) fn into_found(self, position: &str) -> Found {
        Found { position: position.to_owned(), document: self.document, columns: self.columns }
    }
}

/// What is looked for, made ready for many comparisons.
pub(super) struct Wanted<'a> {
    search: &'a Search,
    words: Vec<String>,
}

/// Which filters an event passes.
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

impl<'a> Wanted<'a> {
    pub(super) fn of(search: &'a Search) -> Self {
        Self { search, words: search.text.split_whitespace().map(str::to_lowercase).collect() }
    }

    pub(super) fn matches(&self, seen: &Seen) -> Matches {
        let Search { actions, users, log_types, .. } = self.search;
        let one_of = |wanted: &[String], values: &[&String]| {
            wanted.is_empty() || wanted.iter().any(|it| values.iter().any(|value| it.eq_ignore_ascii_case(value)))
        };
        let columns = &seen.columns;
        Matches {
            text: self.has_words(&seen.parsed),
            action: one_of(actions, &[&columns.action]),
            user: one_of(users, &[&columns.user_email, &columns.user_id, &columns.user_name]),
            log_type: one_of(log_types, &[&columns.log_type]),
        }
    }

    /// Whether each word is in some value; names of properties don't count.
    fn has_words(&self, event: &Value) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let mut values = String::new();
        collect(event, &mut values);
        self.words.iter().all(|word| values.contains(word))
    }
}

/// All texts, numbers and the like in a value, one a line and in lower case.
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
