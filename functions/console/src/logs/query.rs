//! The queries of the audit logs: period, filters, search text, and page.

use audit_log_core::{
    schedule::Window,
    search::{Filter, Search},
    timestamp,
};
use audit_log_web::problem::Problem;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Deserialize;
use url::form_urlencoded;
use utoipa::IntoParams;

use crate::page_token;

/// The period if its start is left out.
const DEFAULT_PERIOD: TimeDelta = TimeDelta::days(7);

const MAX_PERIOD: TimeDelta = TimeDelta::days(400);

/// Per filter.
const MAX_VALUES: usize = 50;

/// The length of a filter's value or of the search text.
pub(crate) const MAX_VALUE_CHARS: usize = 320;

const DEFAULT_PAGE_SIZE: usize = 50;
const MAX_PAGE_SIZE: usize = 200;

/// Declares a query: the filters that all paths have, and the parameters of its own.
macro_rules! query {
    ($(#[$doc:meta])* $name:ident { $($more:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize, IntoParams)]
        #[into_params(parameter_in = Query)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(crate) struct $name {
            /// Start of the period: an instant by RFC 3339, or a date (its first instant in UTC). A week before its end if
            /// left out. A period has at most 400 days.
            #[param(example = "2026-11-14")]
            pub(crate) from: Option<String>,
            /// End of the period, excluded; in the same form. Now if left out.
            #[param(example = "2026-11-21T12:00:00Z")]
            pub(crate) to: Option<String>,
            /// Only these actions, in upper and lower case as recorded.
            #[serde(default)]
            #[param(example = json!(["Login"]), max_items = 50)]
            pub(crate) action: Vec<String>,
            /// Only events of these users: an address, an id or a name, in upper or lower case.
            #[serde(default)]
            #[param(max_items = 50)]
            pub(crate) user: Vec<String>,
            /// Only these log types, in upper and lower case as recorded.
            #[serde(default)]
            #[param(max_items = 50)]
            pub(crate) log_type: Vec<String>,
            /// None of these actions, likewise.
            #[serde(default)]
            #[param(example = json!(["Token Created"]), max_items = 50)]
            pub(crate) not_action: Vec<String>,
            /// No events of these users, likewise.
            #[serde(default)]
            #[param(max_items = 50)]
            pub(crate) not_user: Vec<String>,
            /// None of these log types, likewise.
            #[serde(default)]
            #[param(max_items = 50)]
            pub(crate) not_log_type: Vec<String>,
            /// Words that all occur in the event's values, in upper or lower case.
            #[param(max_length = 320)]
            pub(crate) q: Option<String>,
            $($more)*
        }

        impl $name {
            pub(crate) fn search(&self, now: DateTime<Utc>) -> Result<Search, Problem> {
                let window = window(self.from.as_deref(), self.to.as_deref(), now)?;
                Ok(Search {
                    window,
                    actions: filter(("action", &self.action), ("notAction", &self.not_action))?,
                    users: filter(("user", &self.user), ("notUser", &self.not_user))?,
                    log_types: filter(("logType", &self.log_type), ("notLogType", &self.not_log_type))?,
                    text: value("q", self.q.as_deref().unwrap_or_default())?,
                })
            }
        }
    };
}

query! {
    FilterQuery {}
}

query! {
    ListQuery {
        /// How many events, 1 to 200; 50 if left out.
        #[param(minimum = 1, maximum = 200)]
        page_size: Option<usize>,
        /// The `nextPageToken` of the page before.
        #[param(max_length = 1400)]
        pub(crate) page_token: Option<String>,
    }
}

query! {
    CsvQuery {
        /// From the header `Link` of the part before.
        #[param(max_length = 1400)]
        pub(crate) page_token: Option<String>,
        /// With `1`, each part begins with a byte order mark, which tells Excel that the text is UTF-8.
        #[param(pattern = "^1$")]
        pub(crate) bom: Option<String>,
    }
}

impl ListQuery {
    pub(crate) fn page_size(&self) -> Result<usize, Problem> {
        let page_size = self.page_size.unwrap_or(DEFAULT_PAGE_SIZE);
        if (1..=MAX_PAGE_SIZE).contains(&page_size) {
            return Ok(page_size);
        }
        Err(Problem::parameter("pageSize", format!("must be a number from 1 to {MAX_PAGE_SIZE}")))
    }

    /// The `recorded_at_id` after which the page begins.
    pub(crate) fn position(&self) -> Result<Option<String>, Problem> {
        self.page_token.as_deref().map(page_token::decode).transpose()
    }
}

impl CsvQuery {
    /// The `recorded_at_id` after which the page begins.
    pub(crate) fn position(&self) -> Result<Option<String>, Problem> {
        self.page_token.as_deref().map(page_token::decode).transpose()
    }

    pub(crate) fn has_bom(&self) -> Result<bool, Problem> {
        match self.bom.as_deref() {
            None => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(Problem::parameter("bom", "must be 1, or left out")),
        }
    }

    /// The parameters of all filters, with their values.
    fn filters(&self) -> [(&'static str, &[String]); 6] {
        [
            ("action", &self.action),
            ("user", &self.user),
            ("logType", &self.log_type),
            ("notAction", &self.not_action),
            ("notUser", &self.not_user),
            ("notLogType", &self.not_log_type),
        ]
    }

    /// The query of the next part. It contains the period, which must not move on from part to part.
    pub(crate) fn next(&self, search: &Search, page_token: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("from", &timestamp::millis(search.window.from));
        query.append_pair("to", &timestamp::millis(search.window.to));
        for (name, values) in self.filters() {
            query.extend_pairs(values.iter().map(|value| (name, value)));
        }
        let one = [("q", self.q.as_deref()), ("bom", self.bom.as_deref()), ("pageToken", Some(page_token))];
        query.extend_pairs(one.into_iter().filter_map(|(name, value)| Some((name, value?))));
        query.finish()
    }
}

fn window(from: Option<&str>, to: Option<&str>, now: DateTime<Utc>) -> Result<Window, Problem> {
    let instant = |name, text| instant(text).ok_or_else(|| Problem::parameter(name, INSTANT_FORMS));
    let to = to.map_or(Ok(now), |text| instant("to", text))?;
    let from = from.map_or(Ok(to - DEFAULT_PERIOD), |text| instant("from", text))?;
    if from >= to {
        return Err(Problem::parameter("from", "must be before the end"));
    }
    if to - from > MAX_PERIOD {
        let message = format!("must be at most {} days before the end", MAX_PERIOD.num_days());
        return Err(Problem::parameter("from", message));
    }
    Ok(Window { from, to })
}

/// What is wrong with a text that is no [`instant`].
pub(crate) const INSTANT_FORMS: &str =
    "must be a date like 2026-11-21, or an instant like 2026-11-21T12:00:00Z, between 2000 and 2099";

/// Parses a date, which begins in UTC, or an instant.
pub(crate) fn instant(text: &str) -> Option<DateTime<Utc>> {
    let date = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
    let instant = DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc());
    let instant = text.parse().map(date).or(instant).ok();
    // The keys of events have four digits for the year.
    let possible = |instant: &DateTime<Utc>| (946_684_800..4_102_444_800).contains(&instant.timestamp());
    instant.filter(possible)
}

type Parameter<'a> = (&'static str, &'a [String]);

fn filter(only: Parameter<'_>, except: Parameter<'_>) -> Result<Filter, Problem> {
    Ok(Filter { only: values(only.0, only.1)?, except: values(except.0, except.1)? })
}

fn values(name: &'static str, given: &[String]) -> Result<Vec<String>, Problem> {
    if given.len() > MAX_VALUES {
        return Err(Problem::parameter(name, format!("has more than {MAX_VALUES} values")));
    }
    given.iter().filter(|text| !text.is_empty()).map(|text| value(name, text)).collect()
}

fn value(name: &'static str, text: &str) -> Result<String, Problem> {
    if text.chars().count() > MAX_VALUE_CHARS {
        return Err(Problem::parameter(name, format!("has more than {MAX_VALUE_CHARS} characters")));
    }
    Ok(text.to_owned())
}
