//! What the page is asked for, as its address says it; and the controls that such addresses are made with.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use url::form_urlencoded;

use crate::{
    logs::{AuditLogSummary, Table, ValueCount},
    pages::logs::facets::{Facet, facet},
};

/// The periods that are a click away: by name in addresses, in hours, and as they are called.
const PERIODS: [(&str, i64, &str); 4] =
    [("1h", 1, "Last hour"), ("24h", 24, "24 hours"), ("7d", 7 * 24, "7 days"), ("30d", 30 * 24, "30 days")];

/// The one that is meant where none is said.
const USUAL: &str = "7d";

/// The page's address.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Asked {
    period: String,
    /// For the period `custom`, in UTC.
    pub(super) from: String,
    pub(super) to: String,
    action: Vec<String>,
    user: Vec<String>,
    log_type: Vec<String>,
    pub(super) q: String,
    pub(super) page_token: Option<String>,
    /// Said once, and in no other address.
    pub(super) signed_in: Option<String>,
}

/// A period to choose.
pub(super) struct Period {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) chosen: bool,
}

impl Asked {
    fn period(&self) -> &str {
        let known = PERIODS.iter().any(|(name, ..)| *name == self.period) || self.period == "custom";
        if known { &self.period } else { USUAL }
    }

    pub(super) fn is_custom(&self) -> bool {
        self.period() == "custom"
    }

    /// What is shown where the dates of a period that needs some are left out.
    pub(super) fn without_dates(&self) -> Option<&'static str> {
        match (self.is_custom(), self.from.trim(), self.to.trim()) {
            (true, "", "") => Some("No dates are chosen yet: these are the last 7 days."),
            (true, "", _) => Some("No beginning is chosen: these are the 7 days before the end."),
            (true, _, "") => Some("No end is chosen: these are all until now."),
            _ => None,
        }
    }

    pub(super) fn is_filtered(&self) -> bool {
        !self.q.trim().is_empty()
            || [&self.action, &self.user, &self.log_type].into_iter().any(|values| !values.is_empty())
    }

    /// The same for the API.
    pub(super) fn table(&self, now: DateTime<Utc>) -> Table {
        let hours = PERIODS.iter().find(|(name, ..)| *name == self.period()).map(|(_, hours, _)| *hours);
        let (from, to) = match hours {
            Some(hours) => (Some((now - TimeDelta::hours(hours)).to_rfc3339()), None),
            None => (instant(&self.from), instant(&self.to)),
        };
        Table {
            from,
            to,
            action: self.action.clone(),
            user: self.user.clone(),
            log_type: self.log_type.clone(),
            q: Some(self.q.trim().to_owned()).filter(|text| !text.is_empty()),
            page_token: self.page_token.clone(),
        }
    }

    /// The address with another page of the same, or with the first one.
    pub(super) fn query(&self, page_token: Option<&str>) -> String {
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

    /// The address without any filter.
    pub(super) fn unfiltered(&self) -> String {
        let Self { period, from, to, .. } = self.clone();
        Self { period, from, to, ..Self::default() }.query(None)
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
        let counted = |of: fn(&AuditLogSummary) -> &Vec<ValueCount>| summary.map(of).map_or(&[][..], Vec::as_slice);
        vec![
            facet("action", "Action", &self.action, counted(|summary| &summary.actions)),
            facet("user", "User", &self.user, counted(|summary| &summary.users)),
            facet("logType", "Log type", &self.log_type, counted(|summary| &summary.log_types)),
        ]
    }
}

/// What a browser sends of a date and time without a zone, with the zone that the page names; anything else as it is.
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
}
