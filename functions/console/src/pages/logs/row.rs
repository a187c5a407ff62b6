//! The rows of the page: what of an event is told at a glance.

use audit_log_core::search::{self, Columns, FoundEvent};

use super::{icon::Icon, info::in_one_line};
use crate::{
    page_token,
    pages::text::{When, shown, weight},
};

/// How much the rows may add to the page, in bytes; and how much each adds beside its texts, about. Ordinary events stay
/// far below that. What is odd, such as ids of a thousand bytes, makes pages shorter, and so none heavier.
const BUDGET: usize = 36_000;
const MARKUP: usize = 800;

/// One event.
pub(super) struct Row {
    /// Leads to the whole event.
    pub(super) open: String,
    pub(super) user: String,
    /// The user's address or id, where they have a name.
    pub(super) user_more: String,
    pub(super) action: String,
    pub(super) info: String,
    pub(super) log_type: String,
    pub(super) icon: Icon,
    pub(super) date: When,
}

/// As many rows as fit on a page, and where it goes on, if there may be more.
pub(super) fn page(found: &search::SearchPage) -> (Vec<Row>, Option<String>) {
    let mut budget = BUDGET;
    let mut rows: Vec<Row> = Vec::new();
    for event in &found.events {
        let row = Row::of(event);
        match budget.checked_sub(row.weight()) {
            Some(left) => budget = left,
            // One at least, or there would be no going on.
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
    fn of(FoundEvent { position, columns, .. }: &FoundEvent) -> Self {
        let Columns { date, log_type, action, user_id, user_name, user_email, additional_info, .. } = columns;
        let names: Vec<&String> =
            [user_name, user_email, user_id].into_iter().filter(|text| !text.is_empty()).collect();
        Self {
            open: page_token::encode(position),
            user: names.first().map(|text| shown(text, 60)).unwrap_or_default(),
            user_more: names.get(1).map(|text| shown(text, 60)).unwrap_or_default(),
            action: shown(action, 80),
            info: shown(&in_one_line(additional_info), 140),
            log_type: shown(log_type, 40),
            icon: Icon::of(log_type),
            date: When::second(date),
        }
    }

    fn weight(&self) -> usize {
        let Self { open, user, user_more, action, info, log_type, .. } = self;
        let texts = [user, user_more, action, info, log_type].into_iter().map(|text| weight(text)).sum::<usize>();
        MARKUP + 2 * open.len() + texts
    }
}
