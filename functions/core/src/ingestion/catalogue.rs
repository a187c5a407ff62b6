//! Which log types there are, and which actions each has.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{RefusedEvent, reasons};
use crate::{system_events::RESERVED_LOG_TYPES, tenant::Invalid};

/// Stands for every action, or every log type.
const ANY: &str = "*";

/// In characters, by the schema.
const MAX_NAME: usize = 100;

/// The actions of each log type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Catalogue(BTreeMap<String, BTreeSet<String>>);

impl Catalogue {
    /// Reads `{"Billing": ["Invoice Paid"], "Scan": ["*"]}`, where `"*"` stands for every action of that log type, and
    /// `{"*": ["*"]}` for everything but what is reserved.
    ///
    /// # Errors
    /// If the text is anything else, names a log type of the export itself, or has a name that no event can have.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let catalogue: BTreeMap<String, BTreeSet<String>> = serde_json::from_str(text)
            .map_err(|_| Invalid("is JSON like {\"Billing\": [\"Invoice Paid\"], \"Scan\": [\"*\"]}".to_owned()))?;
        for (log_type, actions) in &catalogue {
            if is_reserved(log_type) {
                return Err(Invalid(format!("names the log type {log_type:?}, which only the export itself may use")));
            }
            if actions.is_empty() || (log_type == ANY && !actions.iter().eq([ANY])) {
                let rule = "gives each log type an action at least, and \"*\" just [\"*\"]";
                return Err(Invalid(format!("{rule}; {log_type:?} has something else")));
            }
            if let Some(name) = [log_type].into_iter().chain(actions).find(|name| !is_name(name)) {
                let rule = "has names of 1 to 100 characters, none of them a control character";
                return Err(Invalid(format!("{rule}; {name:?} is something else")));
            }
        }
        Ok(Self(catalogue))
    }

    /// Both together.
    #[must_use]
    pub fn extended(mut self, more: Self) -> Self {
        for (log_type, actions) in more.0 {
            self.0.entry(log_type).or_default().extend(actions);
        }
        self
    }

    /// Whether an event may have this log type and this action.
    pub(super) fn check(&self, log_type: &str, action: &str) -> Result<(), RefusedEvent> {
        if is_reserved(log_type) {
            return Err(RefusedEvent(reasons::reserved("/logType")));
        }
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

    /// The same as a list of schemas of which an event matches one; none if an event may be anything.
    pub(super) fn as_schemas(&self) -> Option<Value> {
        let kind = |(log_type, actions): (&String, &BTreeSet<String>)| {
            if actions.contains(ANY) {
                return json!({ "properties": { "logType": { "const": log_type } } });
            }
            json!({ "properties": { "logType": { "const": log_type }, "action": { "enum": actions } } })
        };
        (!self.0.contains_key(ANY)).then(|| self.0.iter().map(kind).collect())
    }
}

/// A log type that a reader could take for a reserved one is none for the platform, either.
fn is_reserved(log_type: &str) -> bool {
    let words = || log_type.split_whitespace();
    RESERVED_LOG_TYPES.iter().any(|reserved| {
        let reserved: Vec<&str> = reserved.split(' ').collect();
        words().count() == reserved.len() && words().zip(reserved).all(|(a, b)| a.eq_ignore_ascii_case(b))
    })
}

fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

/// A refusal that names the known word next to the one that was sent, but never that one.
fn unknown<'a>(what: &str, sent: &str, known: impl IntoIterator<Item = &'a String>) -> RefusedEvent {
    let near = known.into_iter().map(|name| (distance(sent, name), name)).min();
    let hint = match near {
        Some((distance, name)) if distance <= name.chars().count().div_ceil(3) => format!(" (did you mean {name:?}?)"),
        _ => String::new(),
    };
    let source = "the platform adds to it with EXTRA_ACTIONS, and GET /v1/events/schema.json has it as it is in force";
    RefusedEvent(format!("{what}{hint}; {source}"))
}

/// How many characters have to be put in, taken out or replaced to make one text of the other, regardless of ASCII case
/// (Levenshtein distance).
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
