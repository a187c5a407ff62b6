//! The rows of the audit logs: user, action, additional info in one line, log type with its icon, and date.

use audit_log_core::search::{self, Columns, FoundEvent};
use serde_json::{Map, Value};

use crate::{
    page_token,
    pages::text::{When, shown, weight},
};

/// The bytes that all rows may add to the page, and about how many a row adds beside its texts. Ordinary events stay far
/// below. Odd ones, such as those with ids of a thousand bytes, make pages shorter instead of heavier.
const MAX_ROWS_BYTES: usize = 36_000;
const MARKUP_BYTES: usize = 800;

pub(super) struct Row {
    /// The event's position, as a page token.
    pub(super) position: String,
    pub(super) user: String,
    /// The user's address or id, beside a name.
    pub(super) user_more: String,
    pub(super) action: String,
    pub(super) info: String,
    pub(super) log_type: String,
    pub(super) icon: Icon,
    pub(super) date: When,
}

/// Returns as many rows as fit on a page, and the position of the next page if there may be one.
pub(super) fn page(found: &search::SearchPage) -> (Vec<Row>, Option<String>) {
    let mut budget = MAX_ROWS_BYTES;
    let mut rows: Vec<Row> = Vec::new();
    for event in &found.events {
        let row = Row::new(event);
        match budget.checked_sub(row.weight()) {
            Some(left) => budget = left,
            // A page has at least one row, or the next page would never come.
            None if rows.is_empty() => budget = 0,
            None => break,
        }
        rows.push(row);
    }
    let last = rows.len().checked_sub(1).and_then(|last| found.events.get(last));
    match last.filter(|_| rows.len() < found.events.len()) {
        Some(last) => (rows, Some(last.position.clone())),
        None => (rows, found.next.clone()),
    }
}

impl Row {
    fn new(FoundEvent { position, columns, .. }: &FoundEvent) -> Self {
        let Columns { date, log_type, action, user_id, user_name, user_email, additional_info, .. } = columns;
        let names: Vec<&String> =
            [user_name, user_email, user_id].into_iter().filter(|text| !text.is_empty()).collect();
        Self {
            position: page_token::encode(position),
            user: names.first().map(|text| shown(text, 60)).unwrap_or_default(),
            user_more: names.get(1).map(|text| shown(text, 60)).unwrap_or_default(),
            action: shown(action, 80),
            info: shown(&one_line(additional_info), 140),
            log_type: shown(log_type, 40),
            icon: Icon::for_log_type(log_type),
            date: When::second(date),
        }
    }

    fn weight(&self) -> usize {
        let Self { position, user, user_more, action, info, log_type, .. } = self;
        let texts = [user, user_more, action, info, log_type].into_iter().map(|text| weight(text)).sum::<usize>();
        MARKUP_BYTES + 2 * position.len() + texts
    }
}

/// A symbol for a kind of log type. Platforms choose the log types' names, so words in the name decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Icon {
    pub(super) symbol: &'static str,
    pub(super) meaning: &'static str,
}

/// The first icon that has a word of the name is taken.
const ICONS: &[(&[&str], Icon)] = &[
    (&["export"], Icon { symbol: "export", meaning: "Export" }),
    (&["auth", "login", "session", "sign-in", "mfa", "sso"], Icon { symbol: "key", meaning: "Authentication" }),
    (
        &["user", "member", "role", "access", "permission", "group", "team"],
        Icon { symbol: "person", meaning: "People and access" },
    ),
    (&["scan", "security", "threat", "alert", "incident", "policy"], Icon { symbol: "shield", meaning: "Security" }),
    (&["setting", "config", "preference", "admin"], Icon { symbol: "sliders", meaning: "Configuration" }),
    (&["api", "token", "integration", "connector", "webhook"], Icon { symbol: "plug", meaning: "Integrations" }),
    (&["file", "document", "data", "report", "record"], Icon { symbol: "file", meaning: "Data" }),
    (&["system"], Icon { symbol: "gear", meaning: "The system itself" }),
];

impl Icon {
    fn for_log_type(log_type: &str) -> Self {
        let name = log_type.to_lowercase();
        let icon = ICONS.iter().find(|(words, _)| words.iter().any(|word| name.contains(word)));
        icon.map_or(Self { symbol: "dot", meaning: "Other" }, |(_, icon)| *icon)
    }
}

/// `ip 203.0.113.7 · mfa true · scan.id 17`. A change, an object of `from` and `to` as system events have it, becomes
/// `bucket acme → acme-audit`. What isn't JSON stays as it is.
fn one_line(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::Object(members)) => {
            let mut parts = Vec::new();
            collect("", &members, &mut parts);
            parts.join(" · ")
        }
        Ok(other) => value(&other),
        Err(_) => json.to_owned(),
    }
}

fn collect(path: &str, members: &Map<String, Value>, parts: &mut Vec<String>) {
    for (name, member) in members {
        let name = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match member {
            Value::Null => {}
            Value::Object(change) if is_change(change) => parts.push(format!("{name} {}", value(member))),
            Value::Object(members) => collect(&name, members, parts),
            member => parts.push(format!("{name} {}", value(member))),
        }
    }
}

fn is_change(members: &Map<String, Value>) -> bool {
    members.len() == 2 && members.contains_key("from") && members.contains_key("to")
}

/// A value without its name. An object in a list becomes its members' values.
fn value(of: &Value) -> String {
    let joined = |values: Vec<String>, by: &str| {
        values.into_iter().filter(|value| !value.is_empty()).collect::<Vec<_>>().join(by)
    };
    match of {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => joined(items.iter().map(value).collect(), ", "),
        Value::Object(change) if is_change(change) => {
            let side = |name: &str| change.get(name).map(value).filter(|text| !text.is_empty());
            let or_nothing = |side: Option<String>| side.unwrap_or_else(|| "–".to_owned());
            format!("{} → {}", or_nothing(side("from")), or_nothing(side("to")))
        }
        Value::Object(members) => joined(members.values().map(value).collect(), " "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_type_has_the_icon_of_a_word_in_its_name() {
        for (log_type, symbol) in [
            ("Authentication", "key"),
            ("Audit Log Export", "export"),
            ("User Management", "person"),
            ("System", "gear"),
            ("Scan", "shield"),
            ("Etwas anderes", "dot"),
        ] {
            assert_eq!(Icon::for_log_type(log_type).symbol, symbol, "{log_type}");
        }
        let symbols = include_str!("../../../templates/symbols.html");
        for (_, Icon { symbol, .. }) in ICONS {
            assert!(symbols.contains(&format!("id=\"i-{symbol}\"")), "{symbol} is not drawn");
        }
    }

    #[test]
    fn nested_info_is_one_line_without_braces() {
        for (json, line) in [
            (
                r#"{"ip":"203.0.113.7","mfa":true,"note":null,"scan":{"id":17}}"#,
                "ip 203.0.113.7 · mfa true · scan.id 17",
            ),
            (
                r#"{"changes":{"bucket":{"from":null,"to":"acme"},"prefix":{"from":"a","to":""}},"exportsFrom":"today"}"#,
                "changes.bucket – → acme · changes.prefix a → – · exportsFrom today",
            ),
            (
                r#"{"steps":[{"step":"region","status":"passed","code":null},{"step":"put_object","status":"failed"}]}"#,
                "steps region passed, put_object failed",
            ),
            (r#"{"tags":["a",["b",2]]}"#, "tags a, b, 2"),
            ("{}", ""),
            (r#""as it is""#, "as it is"),
            ("no JSON", "no JSON"),
            ("", ""),
        ] {
            assert_eq!(one_line(json), line);
        }
    }
}
