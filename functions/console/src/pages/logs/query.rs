//! The query of the audit logs page, and the links that change it: periods, chips and presets.

use std::borrow::Cow;

use audit_log_core::{schedule::Window, system_events::LOG_TYPE};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::Deserialize;
use url::form_urlencoded;

use crate::{
    logs::CsvQuery,
    pages::text::{shown, weight},
};

/// The periods to choose from: name in addresses, hours, label.
const PERIODS: [(&str, i64, &str); 4] =
    [("1h", 1, "Last hour"), ("24h", 24, "24 hours"), ("7d", 7 * 24, "7 days"), ("30d", 30 * 24, "30 days")];

const DEFAULT_PERIOD: &str = "7d";

/// The value of a `datetime-local` field.
const FIELD_FORMAT: &str = "%Y-%m-%dT%H:%M";

/// Other sites' pages and bookmarks link to these parameters: don't rename any.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LogsQuery {
    period: String,
    /// For the period `custom`, in UTC.
    from: String,
    to: String,
    action: Vec<String>,
    user: Vec<String>,
    log_type: Vec<String>,
    not_action: Vec<String>,
    not_user: Vec<String>,
    not_log_type: Vec<String>,
    pub(super) q: String,
    pub(super) page_token: Option<String>,
    /// `yes` if the page has the counts at once. The page's script asks for them after the rows.
    counts: String,
    /// Of the CSV file. No link to a page repeats it.
    bom: Option<String>,
}

pub(super) struct Period {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) chosen: bool,
}

/// A filter's value, as a link that removes it.
pub(super) struct Chip {
    pub(super) label: &'static str,
    pub(super) is_exclusion: bool,
    pub(super) value: String,
    /// The query without the value.
    pub(super) without: String,
}

/// The bytes that all chips may add to the page.
const MAX_CHIPS_BYTES: usize = 6_000;

/// A query that many look for.
pub(super) struct Preset {
    pub(super) label: &'static str,
    pub(super) query: String,
    pub(super) chosen: bool,
}

/// Label, period, actions of this system's own events, words. A platform's own actions are unknown, so words find those.
const PRESETS: [(&str, &str, &[&str], &str); 5] = [
    ("Failed logins, last 7 days", "7d", &[], "login fail"),
    ("Failed exports, last 30 days", "30d", &["Export Failed", "Export Still Failing"], ""),
    (
        "Export configuration changes, last 30 days",
        "30d",
        &["Connector Connected", "Connector Changed", "Connector Disconnected", "Export Settings Changed"],
        "",
    ),
    ("Sign-ins to these pages, last 7 days", "7d", &["Signed In"], ""),
    ("Downloads of audit logs, last 30 days", "30d", &["Audit Logs Downloaded"], ""),
];

/// The form that all values have by which a filter finds the same events.
pub(super) fn canonical<'a>(parameter: &str, value: &'a str) -> Cow<'a, str> {
    if matches!(parameter, "user" | "notUser") { Cow::Owned(value.to_ascii_lowercase()) } else { Cow::Borrowed(value) }
}

pub(super) fn is_same(parameter: &str, a: &str, b: &str) -> bool {
    canonical(parameter, a) == canonical(parameter, b)
}

impl LogsQuery {
    fn period(&self) -> &str {
        let known = PERIODS.iter().any(|(name, ..)| *name == self.period) || self.period == "custom";
        if known { &self.period } else { DEFAULT_PERIOD }
    }

    pub(super) fn is_custom(&self) -> bool {
        self.period() == "custom"
    }

    /// Which dates are used where a custom period leaves them out.
    pub(super) fn missing_dates_hint(&self) -> Option<&'static str> {
        match (self.is_custom(), self.from.trim(), self.to.trim()) {
            (true, "", "") => Some("No dates chosen: showing the last 7 days."),
            (true, "", _) => Some("No start chosen: showing the 7 days before the end."),
            (true, _, "") => Some("No end chosen: showing events until now."),
            _ => None,
        }
    }

    /// What the fields of a custom period have: what was typed, or the period that is shown, for a custom one to begin with.
    pub(super) fn dates(&self, window: Option<Window>) -> (String, String) {
        match window {
            Some(window) if !self.is_custom() => minutes(window),
            _ => (self.from.clone(), self.to.clone()),
        }
    }

    /// The parameters of the filters, each with its label, whether it excludes, and its values.
    pub(super) fn filters(&self) -> [(&'static str, &'static str, bool, &Vec<String>); 6] {
        [
            ("action", "Action", false, &self.action),
            ("user", "User", false, &self.user),
            ("logType", "Log type", false, &self.log_type),
            ("notAction", "Action", true, &self.not_action),
            ("notUser", "User", true, &self.not_user),
            ("notLogType", "Log type", true, &self.not_log_type),
        ]
    }

    /// Whether a filter has the value.
    pub(super) fn has(&self, parameter: &str, value: &str) -> bool {
        let mut filters = self.filters().into_iter().filter(|(name, ..)| *name == parameter);
        filters.any(|(.., values)| values.iter().any(|it| is_same(parameter, it, value)))
    }

    fn values_mut(&mut self, parameter: &str) -> &mut Vec<String> {
        match parameter {
            "action" => &mut self.action,
            "user" => &mut self.user,
            "logType" => &mut self.log_type,
            "notAction" => &mut self.not_action,
            "notUser" => &mut self.not_user,
            _ => &mut self.not_log_type,
        }
    }

    pub(super) fn is_filtered(&self) -> bool {
        !self.q.trim().is_empty() || self.filters().into_iter().any(|(.., values)| !values.is_empty())
    }

    /// Whether the page has the counts at once. The counts begin with the newest event: an older page has none.
    pub(super) fn has_counts(&self) -> bool {
        self.counts == "yes" && self.page_token.is_none()
    }

    /// The query with or without the counts at once.
    pub(super) fn counting(self, at_once: bool) -> Self {
        Self { counts: if at_once { "yes" } else { "" }.to_owned(), ..self }
    }

    /// As the API takes it.
    pub(super) fn csv_query(&self, now: DateTime<Utc>) -> CsvQuery {
        let hours = PERIODS.iter().find(|(name, ..)| *name == self.period()).map(|(_, hours, _)| *hours);
        let (from, to) = match hours {
            Some(hours) => (Some((now - TimeDelta::hours(hours)).to_rfc3339()), None),
            None => (instant(&self.from), instant(&self.to)),
        };
        CsvQuery {
            from,
            to,
            action: self.action.clone(),
            user: self.user.clone(),
            log_type: self.log_type.clone(),
            not_action: self.not_action.clone(),
            not_user: self.not_user.clone(),
            not_log_type: self.not_log_type.clone(),
            q: Some(self.q.trim().to_owned()).filter(|text| !text.is_empty()),
            page_token: self.page_token.clone(),
            bom: self.bom.clone(),
        }
    }

    /// The parameters of the first page of the same events.
    pub(super) fn parameters(&self) -> Vec<(&'static str, &str)> {
        let mut parameters = vec![("period", self.period())];
        let (from, to) = if self.is_custom() { (self.from.as_str(), self.to.as_str()) } else { ("", "") };
        let one = [("from", from), ("to", to), ("q", self.q.as_str()), ("counts", self.counts.as_str())];
        parameters.extend(one.into_iter().filter(|(_, text)| !text.is_empty()));
        for (name, .., values) in self.filters() {
            parameters.extend(values.iter().map(|value| (name, value.as_str())));
        }
        parameters
    }

    /// The query of another page of the same events. Without a token, of the first page.
    pub(super) fn to_query(&self, page_token: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.parameters());
        if let Some(page_token) = page_token {
            query.append_pair("pageToken", page_token);
        }
        format!("?{}", query.finish())
    }

    /// The query of the period without any filter.
    pub(super) fn unfiltered(&self) -> String {
        let Self { period, from, to, counts, .. } = self.clone();
        Self { period, from, to, counts, ..Self::default() }.to_query(None)
    }

    /// The query of a part of the period.
    pub(super) fn narrowed(&self, window: Window) -> String {
        let (from, to) = minutes(window);
        Self { period: "custom".to_owned(), from, to, ..self.clone() }.to_query(None)
    }

    pub(super) fn periods(&self) -> Vec<Period> {
        let period = |(name, _, label): &(&'static str, i64, &'static str)| Period {
            name,
            label,
            chosen: self.period() == *name,
        };
        PERIODS.iter().map(period).collect()
    }

    /// The chosen and the excluded values, and how many more there are.
    pub(super) fn chips(&self) -> (Vec<Chip>, usize) {
        let (mut chips, mut budget, mut others) = (Vec::new(), MAX_CHIPS_BYTES, 0);
        for (parameter, label, is_exclusion, values) in self.filters() {
            for (at, value) in values.iter().enumerate() {
                let mut without = self.clone();
                without.values_mut(parameter).remove(at);
                let chip = Chip { label, is_exclusion, value: shown(value, 60), without: without.to_query(None) };
                match budget.checked_sub(150 + weight(&chip.value) + weight(&chip.without)) {
                    Some(left) => {
                        budget = left;
                        chips.push(chip);
                    }
                    None => others += 1,
                }
            }
        }
        (chips, others)
    }

    pub(super) fn presets(&self) -> Vec<Preset> {
        let current = self.clone().counting(false).to_query(None);
        let preset = |(label, period, actions, q): (&'static str, &str, &[&str], &str)| {
            let actions: Vec<String> = actions.iter().map(|&action| action.to_owned()).collect();
            let log_type = if actions.is_empty() { Vec::new() } else { vec![LOG_TYPE.to_owned()] };
            let (period, q) = (period.to_owned(), q.to_owned());
            let query = Self { period, q, action: actions, log_type, ..Self::default() };
            let chosen = query.to_query(None) == current;
            Preset { label, query: Self { counts: self.counts.clone(), ..query }.to_query(None), chosen }
        };
        PRESETS.into_iter().map(preset).collect()
    }
}

/// The window as fields have it: whole minutes around it.
fn minutes(Window { from, to }: Window) -> (String, String) {
    let minute = TimeDelta::minutes(1);
    let floor = |at: DateTime<Utc>| at.duration_trunc(minute).unwrap_or(at);
    let ceiling = if floor(to) < to { floor(to) + minute } else { to };
    (floor(from).format(FIELD_FORMAT).to_string(), ceiling.format(FIELD_FORMAT).to_string())
}

/// Adds UTC, which the page names, to a date and time without a zone, as browsers send it.
fn instant(text: &str) -> Option<String> {
    let text = text.trim();
    let without_zone = text.contains('T') && !text.ends_with('Z') && !text.contains('+');
    match (without_zone, text.len()) {
        (_, 0) => None,
        (true, 16) => Some(format!("{text}:00Z")),
        (true, _) => Some(format!("{text}Z")),
        (false, _) => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_one_of_utc() {
        for (typed, meant) in [
            ("2026-11-21T10:03", Some("2026-11-21T10:03:00Z")),
            ("2026-11-21T10:03:05", Some("2026-11-21T10:03:05Z")),
            ("2026-11-21T10:03:05Z", Some("2026-11-21T10:03:05Z")),
            ("2026-11-21", Some("2026-11-21")),
            ("yesterday", Some("yesterday")),
            (" ", None),
        ] {
            assert_eq!(instant(typed).as_deref(), meant, "{typed}");
        }
    }

    #[test]
    fn a_custom_period_begins_with_the_dates_that_were_shown() {
        let window = |from: &str, to: &str| Window { from: from.parse().unwrap(), to: to.parse().unwrap() };
        let shown = window("2026-11-14T10:03:12.345Z", "2026-11-21T10:03:12.345Z");
        let dates = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(LogsQuery::default().dates(Some(shown)), dates("2026-11-14T10:03", "2026-11-21T10:04"));
        let custom = LogsQuery { period: "custom".to_owned(), to: "soon".to_owned(), ..LogsQuery::default() };
        assert_eq!(custom.dates(Some(shown)), dates("", "soon"), "typed dates stay");
        let hour = window("2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z");
        assert_eq!(LogsQuery::default().narrowed(hour), "?period=custom&from=2026-11-21T10%3A00&to=2026-11-21T11%3A00");
    }

    #[test]
    fn each_chip_removes_its_value_and_nothing_else() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let query = LogsQuery { action: texts(&["a", "b"]), not_user: texts(&["a"]), ..LogsQuery::default() };
        let (chips, others) = query.chips();
        let removing: Vec<_> = chips.iter().map(|chip| (chip.is_exclusion, chip.without.as_str())).collect();
        let expected = [
            (false, "?period=7d&action=b&notUser=a"),
            (false, "?period=7d&action=a&notUser=a"),
            (true, "?period=7d&action=a&action=b"),
        ];
        assert_eq!((removing.as_slice(), others), (expected.as_slice(), 0));
        let heavy = LogsQuery { action: vec!["<".repeat(300); 50], ..LogsQuery::default() };
        let (chips, others) = heavy.chips();
        assert!(chips.iter().map(|chip| chip.without.len()).sum::<usize>() < MAX_CHIPS_BYTES);
        assert_eq!(chips.len() + others, 50);
    }

    #[test]
    fn the_presets_name_actions_of_this_systems_events_and_know_when_they_are_chosen() {
        let source = include_str!("../../../../core/src/system_events.rs");
        for (_, period, actions, _) in PRESETS {
            assert!(PERIODS.iter().any(|(name, ..)| *name == period));
            assert!(actions.iter().all(|action| source.contains(&format!("\"{action}\""))), "{actions:?}");
        }
        assert!(LogsQuery::default().presets().iter().all(|preset| !preset.chosen));
        let failed = LogsQuery { q: "login fail".to_owned(), counts: "yes".to_owned(), ..LogsQuery::default() };
        let presets = failed.presets();
        assert!(presets[0].chosen && presets[0].query == "?period=7d&q=login+fail&counts=yes", "{}", presets[0].query);
    }
}
