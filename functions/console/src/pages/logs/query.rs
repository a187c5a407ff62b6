//! The query of the audit logs page, and the controls that make it: periods and filters.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use crate::{
    logs::{AuditLogSummary, CsvQuery, MAX_VALUE_CHARS, ValueCount},
    pages::text::{number, shown, weight},
};

/// The periods to choose from: name in addresses, hours, label.
const PERIODS: [(&str, i64, &str); 4] =
    [("1h", 1, "Last hour"), ("24h", 24, "24 hours"), ("7d", 7 * 24, "7 days"), ("30d", 30 * 24, "30 days")];

const DEFAULT_PERIOD: &str = "7d";

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LogsQuery {
    period: String,
    /// For the period `custom`, in UTC.
    pub(super) from: String,
    pub(super) to: String,
    action: Vec<String>,
    user: Vec<String>,
    log_type: Vec<String>,
    pub(super) q: String,
    pub(super) page_token: Option<String>,
    /// Of the CSV file. No link to a page repeats it.
    bom: Option<String>,
}

pub(super) struct Period {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) chosen: bool,
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

    pub(super) fn is_filtered(&self) -> bool {
        !self.q.trim().is_empty()
            || [&self.action, &self.user, &self.log_type].into_iter().any(|values| !values.is_empty())
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
            q: Some(self.q.trim().to_owned()).filter(|text| !text.is_empty()),
            page_token: self.page_token.clone(),
            bom: self.bom.clone(),
        }
    }

    /// The query of another page of the same events. Without a token, of the first page.
    pub(super) fn to_query(&self, page_token: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("period", self.period());
        let one = [("from", &self.from), ("to", &self.to), ("q", &self.q)];
        let many = [("action", &self.action), ("user", &self.user), ("logType", &self.log_type)];
        query.extend_pairs(one.into_iter().filter(|(_, text)| !text.is_empty()));
        for (name, values) in many {
            query.extend_pairs(values.iter().map(|value| (name, value)));
        }
        if let Some(page_token) = page_token {
            query.append_pair("pageToken", page_token);
        }
        format!("?{}", query.finish())
    }

    /// The query of the period without any filter.
    pub(super) fn unfiltered(&self) -> String {
        let Self { period, from, to, .. } = self.clone();
        Self { period, from, to, ..Self::default() }.to_query(None)
    }

    pub(super) fn periods(&self) -> Vec<Period> {
        let period = |(name, _, label): &(&'static str, i64, &'static str)| Period {
            name,
            label,
            chosen: self.period() == *name,
        };
        PERIODS.iter().map(period).collect()
    }

    pub(super) fn facets(&self, summary: Option<&AuditLogSummary>) -> Vec<Facet> {
        let counted =
            |values: fn(&AuditLogSummary) -> &Vec<ValueCount>| summary.map(values).map_or(&[][..], Vec::as_slice);
        vec![
            facet("action", "Action", &self.action, counted(|summary| &summary.actions)),
            facet("user", "User", &self.user, counted(|summary| &summary.users)),
            facet("logType", "Log type", &self.log_type, counted(|summary| &summary.log_types)),
        ]
    }
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

/// How many values a filter offers, at most, beside the chosen ones.
const MAX_OPTIONS: usize = 25;

/// The bytes that these values may add to the page, and about how many each adds beside its value and label.
const MAX_OPTIONS_BYTES: usize = 6_000;
const MARKUP_BYTES: usize = 150;

/// A filter of the page.
pub(super) struct Facet {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) chosen: usize,
    pub(super) options: Vec<FacetOption>,
    /// How many more values there are.
    pub(super) others: usize,
}

pub(super) struct FacetOption {
    /// Depends only on the value, so that the focus stays on it when the list changes.
    pub(super) id: String,
    pub(super) value: String,
    pub(super) label: String,
    /// `None` if it was not counted.
    pub(super) count: Option<String>,
    pub(super) chosen: bool,
}

/// Offers the chosen values first, even without events, then the most frequent ones.
fn facet(name: &'static str, label: &'static str, chosen: &[String], counted: &[ValueCount]) -> Facet {
    let option = |value: &str, count: Option<u64>, chosen| FacetOption {
        id: id(name, value),
        value: value.to_owned(),
        label: shown(value, 60),
        count: count.map(number),
        chosen,
    };
    let mut options: Vec<FacetOption> = Vec::new();
    for value in chosen {
        if !options.iter().any(|it| it.value.eq_ignore_ascii_case(value)) {
            let counted = counted.iter().find(|it| it.value.eq_ignore_ascii_case(value));
            options.push(option(value, counted.map(|it| it.count), true));
        }
    }
    let chosen = options.len();
    let others: Vec<_> = counted
        .iter()
        .filter(|it| !options.iter().any(|chosen| chosen.value.eq_ignore_ascii_case(&it.value)))
        .collect();
    let mut budget = MAX_OPTIONS_BYTES;
    for it in others.iter().filter(|it| it.value.chars().count() <= MAX_VALUE_CHARS) {
        let option = option(&it.value, Some(it.count), false);
        let needed = MARKUP_BYTES + weight(&option.value) + weight(&option.label);
        if options.len() - chosen == MAX_OPTIONS {
            break;
        }
        // A shorter value may still fit.
        if let Some(left) = budget.checked_sub(needed) {
            budget = left;
            options.push(option);
        }
    }
    let others = others.len() - (options.len() - chosen);
    Facet { name, label, chosen, options, others }
}

/// The same in upper and lower case, as the filters are.
fn id(name: &str, value: &str) -> String {
    let digest: String =
        Sha256::digest(value.to_ascii_lowercase()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{name}-{digest}")
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
    fn a_filter_offers_what_was_chosen_first_and_then_the_most_frequent() {
        let counted: Vec<_> = (0..40).map(|at| ValueCount { value: format!("v{at}"), count: 100 - at }).collect();
        let facet = facet("action", "Action", &["V3".to_owned(), "gone".to_owned()], &counted);
        let first: Vec<_> = facet.options.iter().take(4).map(|it| (it.value.as_str(), it.count.as_deref())).collect();
        assert_eq!(first, [("V3", Some("97")), ("gone", None), ("v0", Some("100")), ("v1", Some("99"))]);
        assert_eq!((facet.options.len(), facet.others, facet.chosen), (27, 14, 2));
    }

    #[test]
    fn a_values_id_is_its_own_and_does_not_depend_on_its_place() {
        let counted: Vec<_> = (0..9).map(|at| ValueCount { value: format!("v{at}"), count: 100 - at }).collect();
        let ids = |chosen: &[&str]| {
            let chosen: Vec<String> = chosen.iter().map(|&value| value.to_owned()).collect();
            let options = facet("action", "Action", &chosen, &counted).options.into_iter();
            options.map(|it| (it.value.to_lowercase(), it.id)).collect::<std::collections::BTreeMap<_, _>>()
        };
        let before = ids(&[]);
        assert_eq!(before, ids(&["V7", "v3", "v7"]));
        assert_eq!(before.values().collect::<std::collections::BTreeSet<_>>().len(), 9);
    }

    #[test]
    fn long_values_do_not_make_the_page_heavy_and_short_ones_are_still_offered() {
        let value = |at: usize| if at == 30 { "short".to_owned() } else { format!("{at}{}", "<".repeat(315)) };
        let counted: Vec<_> = (0..40).map(|at| ValueCount { value: value(at), count: 9 }).collect();
        let facet = facet("action", "Action", &[], &counted);
        let heavy: usize = facet.options.iter().map(|it| weight(&it.value) + weight(&it.label)).sum();
        assert!(heavy < MAX_OPTIONS_BYTES && facet.options.iter().any(|it| it.value == "short"), "{heavy}");
        assert_eq!(facet.options.len() + facet.others, 40);
    }
}
