//! The log types and actions that the recorder accepts.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::RefusedEvent;
use crate::{system_events::RESERVED_LOG_TYPES, tenant::Invalid};

/// Every action, or every log type.
const ANY: &str = "*";

/// As in the schema.
pub(super) const MAX_NAME_CHARS: usize = 100;

/// The actions of each log type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Catalogue(BTreeMap<String, BTreeSet<String>>);

impl Catalogue {
    /// Parses `{"Billing": ["Invoice Paid"], "Scan": ["*"]}`. `"*"` means every action of that log type; `{"*": ["*"]}`
    /// means everything but the reserved log types.
    ///
    /// # Errors
    /// If the text has another form, or names a reserved log type or a name that the schema doesn't allow.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let catalogue: BTreeMap<String, BTreeSet<String>> = serde_json::from_str(text)
            .map_err(|_| Invalid("is JSON like {\"Billing\": [\"Invoice Paid\"], \"Scan\": [\"*\"]}".to_owned()))?;
        for (log_type, actions) in &catalogue {
            if is_reserved(log_type) {
                return Err(Invalid(format!("names the log type {log_type:?}, which only this system may use")));
            }
            if actions.is_empty() || (log_type == ANY && !actions.iter().eq([ANY])) {
                let rule = "gives each log type at least one action, and \"*\" exactly [\"*\"]";
                return Err(Invalid(format!("{rule}; {log_type:?} has something else")));
            }
            if let Some(name) = [log_type].into_iter().chain(actions).find(|name| !is_name(name)) {
                let rule = "has names of 1 to 100 characters without control characters";
                return Err(Invalid(format!("{rule}, but also {name:?}")));
            }
        }
        Ok(Self(catalogue))
    }

    #[must_use]
    pub fn extended(mut self, more: Self) -> Self {
        for (log_type, actions) in more.0 {
            self.0.entry(log_type).or_default().extend(actions);
        }
        self
    }

    pub(super) fn check(&self, log_type: &str, action: &str) -> Result<(), RefusedEvent> {
        if self.0.contains_key(ANY) {
            return Ok(());
        }
        let Some(actions) = self.0.get(log_type) else {
            return Err(unknown("/logType is not in the catalogue", log_type, self.0.keys()));
        };
        if actions.contains(ANY) || actions.contains(action) {
            return Ok(());
        }
        Err(unknown(&format!("/action is not one that the catalogue has for {log_type}"), action, actions))
    }

    /// Returns a list of schemas; an event must match one. None if every log type and action is allowed.
    pub(super) fn to_schemas(&self) -> Option<Value> {
        let kind = |(log_type, actions): (&String, &BTreeSet<String>)| {
            if actions.contains(ANY) {
                return json!({ "properties": { "logType": { "const": log_type } } });
            }
            json!({ "properties": { "logType": { "const": log_type }, "action": { "enum": actions } } })
        };
        (!self.0.contains_key(ANY)).then(|| self.0.iter().map(kind).collect())
    }
}

/// Ignores case and whitespace, since a reader could confuse a similar log type with a reserved one.
pub(super) fn is_reserved(log_type: &str) -> bool {
    let words = || log_type.split_whitespace();
    RESERVED_LOG_TYPES.iter().any(|reserved| {
        let reserved: Vec<&str> = reserved.split(' ').collect();
        words().count() == reserved.len() && words().zip(reserved).all(|(a, b)| a.eq_ignore_ascii_case(b))
    })
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// Suggests the most similar known name, but never repeats the name that was sent.
fn unknown<'a>(problem: &str, sent: &str, known: impl IntoIterator<Item = &'a String>) -> RefusedEvent {
    let nearest = known.into_iter().map(|name| (distance(sent, name), name)).min();
    let hint = match nearest {
        Some((distance, name)) if distance <= name.chars().count().div_ceil(3) => format!(" (did you mean {name:?}?)"),
        _ => String::new(),
    };
    let source = "GET /v1/events/schema.json returns the catalogue, and the platform extends it with EXTRA_ACTIONS";
    RefusedEvent(format!("{problem}{hint}; {source}"))
}

/// The Levenshtein distance, ignoring ASCII case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
