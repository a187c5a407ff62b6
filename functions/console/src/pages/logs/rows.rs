//! The rows of the audit logs: user, action, additional info in one line, log type with its icon, and date.

use audit_log_core::search::{self, Columns, FoundEvent};

use super::query::LogsQuery;
use crate::{
    logs::MAX_VALUE_CHARS,
    page_token,
    pages::{
        info::one_line,
        text::{When, shown, weight},
    },
};

/// The bytes that all rows may add to the page, and about how many a row and a control add beside their texts. Ordinary
/// events stay below. Odd ones, such as those with ids of a thousand bytes, make pages shorter instead of heavier.
const MAX_ROWS_BYTES: usize = 48_000;
const MARKUP_BYTES: usize = 720;
const CONTROL_BYTES: usize = 70;

/// Beside the values of the filters, and the histogram.
const MAX_ROWS_BYTES_WITH_COUNTS: usize = 28_000;

pub(super) struct Row {
    /// The event's position, as a page token.
    pub(super) position: String,
    pub(super) user: Cell,
    pub(super) action: Cell,
    pub(super) info: String,
    pub(super) log_type: Cell,
    pub(super) icon: Icon,
    pub(super) date: When,
}

/// A value, with the controls that filter by it and exclude it.
pub(super) struct Cell {
    /// The parameters of these controls.
    pub(super) only: &'static str,
    pub(super) except: &'static str,
    pub(super) text: String,
    /// A user's address or id, beside a name.
    pub(super) more: String,
    /// `None` if it can't be filtered by, or the filter has it.
    pub(super) value: Option<String>,
}

impl Cell {
    fn new(query: &LogsQuery, parameters: [&'static str; 2], value: &str, texts: [String; 2]) -> Self {
        let [only, except] = parameters;
        let [text, more] = texts;
        // Browsers don't send control characters as they are.
        let can_be_sent = !value.is_empty() && !value.chars().any(char::is_control);
        let is_new = can_be_sent && value.chars().count() <= MAX_VALUE_CHARS && !query.has(only, value);
        Self { only, except, text, more, value: is_new.then(|| value.to_owned()) }
    }

    fn weight(&self) -> usize {
        let controls =
            self.value.as_deref().map_or(0, |value| 2 * (CONTROL_BYTES + weight(value)) + weight(&self.text));
        weight(&self.text) + weight(&self.more) + controls
    }
}

/// Returns as many rows as fit on a page, and the position of the next page if there may be one.
pub(super) fn page(query: &LogsQuery, found: &search::SearchPage) -> (Vec<Row>, Option<String>) {
    let mut budget = if query.has_counts() { MAX_ROWS_BYTES_WITH_COUNTS } else { MAX_ROWS_BYTES };
    let mut rows: Vec<Row> = Vec::new();
    for event in &found.events {
        let row = Row::new(query, event);
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
    fn new(query: &LogsQuery, FoundEvent { position, columns, .. }: &FoundEvent) -> Self {
        let Columns { date, log_type, action, user_id, user_name, user_email, additional_info, .. } = columns;
        let names: Vec<&String> =
            [user_name, user_email, user_id].into_iter().filter(|text| !text.is_empty()).collect();
        let name = |at: usize| names.get(at).map(|text| shown(text, 60)).unwrap_or_default();
        let one = |only, except, value: &str, max| {
            Cell::new(query, [only, except], value, [shown(value, max), String::new()])
        };
        Self {
            position: page_token::encode(position),
            user: Cell::new(query, ["user", "notUser"], columns.user(), [name(0), name(1)]),
            action: one("action", "notAction", action, 80),
            info: shown(&one_line(additional_info), 140),
            log_type: one("logType", "notLogType", log_type, 40),
            icon: Icon::for_log_type(log_type),
            date: When::second(date),
        }
    }

    fn weight(&self) -> usize {
        let Self { position, user, action, info, log_type, .. } = self;
        let cells: usize = [user, action, log_type].into_iter().map(Cell::weight).sum();
        MARKUP_BYTES + 2 * position.len() + weight(info) + cells
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
}
