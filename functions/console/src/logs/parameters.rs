//! What is looked for, as a query says it.

use audit_log_core::{schedule::Window, search::Search, timestamp};
use audit_log_web::problem::Problem;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Deserialize;
use url::form_urlencoded;
use utoipa::IntoParams;

use crate::page_token;

/// Where a period begins if nothing else is said: so long before its end.
const PERIOD: TimeDelta = TimeDelta::days(7);

/// The longest period that can be asked for.
const MAX_PERIOD: TimeDelta = TimeDelta::days(400);

/// How many values a filter takes.
const MAX_VALUES: usize = 50;

/// How long a filter's value, or the text to search for, may be, in characters.
const MAX_VALUE: usize = 320;

/// How many events a page has unless asked otherwise, and how many at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;

/// Declares the parameters of a query: the filters, which all paths have, and what else one of them has.
macro_rules! parameters {
    ($(#[$doc:meta])* $name:ident { $($more:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize, IntoParams)]
        #[into_params(parameter_in = Query)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(crate) struct $name {
            /// The period's first instant, by RFC 3339, or a date (its first instant in UTC); a week before its end if
            /// left out. A period has at most 400 days.
            #[param(example = "2026-11-14")]
            pub(crate) from: Option<String>,
            /// The first instant after the period, likewise; now if left out.
            #[param(example = "2026-11-21T12:00:00Z")]
            pub(crate) to: Option<String>,
            /// Only these actions.
            #[serde(default)]
            #[param(example = json!(["Login"]), max_items = 50)]
            pub(crate) action: Vec<String>,
            /// Only what these users did: an address, an id or a name.
            #[serde(default)]
            #[param(max_items = 50)]
            pub(crate) user: Vec<String>,
            /// Only these log types.
            #[serde(default)]
            #[param(max_items = 50)]
            pub(crate) log_type: Vec<String>,
            /// Words that all have to be somewhere in the event's values, in any case.
            #[param(max_length = 320)]
            pub(crate) q: Option<String>,
            $($more)*
        }

        impl $name {
            /// What to look for.
            ///
            /// # Errors
            /// If the period is none, or a filter is out of bounds.
            pub(crate) fn search(&self, now: DateTime<Utc>) -> Result<Search, Problem> {
                let window = window(self.from.as_deref(), self.to.as_deref(), now)?;
                Ok(Search {
                    window,
                    actions: values("action", &self.action)?,
                    users: values("user", &self.user)?,
                    log_types: values("logType", &self.log_type)?,
                    text: value("q", self.q.as_deref().unwrap_or_default())?,
                })
            }
        }
    };
}

parameters! {
    /// What is looked for.
    Filters {}
}

parameters! {
    /// What is looked for, and which page of it.
    Paged {
        /// How many events, 1 to 200; 50 if left out.
        #[param(minimum = 1, maximum = 200)]
        page_size: Option<usize>,
        /// Where the page before this one ended.
        #[param(max_length = 1400)]
        pub(crate) page_token: Option<String>,
    }
}

parameters! {
    /// What is looked for, and from where on.
    Table {
        /// Where the part before this one ended.
        #[param(max_length = 1400)]
        pub(crate) page_token: Option<String>,
    }
}

impl Paged {
    pub(crate) fn page_size(&self) -> Result<usize, Problem> {
        let most = self.page_size.unwrap_or(PAGE);
        if (1..=MAX_PAGE).contains(&most) {
            return Ok(most);
        }
        Err(Problem::parameter("pageSize", format!("is a number from 1 to {MAX_PAGE}")))
    }

    /// The `recorded_at_id` beyond which to look.
    pub(crate) fn position(&self) -> Result<Option<String>, Problem> {
        self.page_token.as_deref().map(page_token::decode).transpose()
    }
}

impl Table {
    /// The `recorded_at_id` beyond which to look.
    pub(crate) fn position(&self) -> Result<Option<String>, Problem> {
        self.page_token.as_deref().map(page_token::decode).transpose()
    }

    /// The query of the next part. The period is written out: it must not move on from part to part.
    pub(crate) fn next(&self, search: &Search, page_token: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("from", &timestamp::millis(search.window.from));
        query.append_pair("to", &timestamp::millis(search.window.to));
        for (name, values) in [("action", &self.action), ("user", &self.user), ("logType", &self.log_type)] {
            for value in values {
                query.append_pair(name, value);
            }
        }
        if let Some(text) = &self.q {
            query.append_pair("q", text);
        }
        query.append_pair("pageToken", page_token);
        query.finish()
    }
}

fn window(from: Option<&str>, to: Option<&str>, now: DateTime<Utc>) -> Result<Window, Problem> {
    let to = to.map_or(Ok(now), |text| instant("to", text))?;
    let from = from.map_or(Ok(to - PERIOD), |text| instant("from", text))?;
    if from >= to {
        return Err(Problem::parameter("from", "is not before the end of the period"));
    }
    if to - from > MAX_PERIOD {
        let message = format!("is more than {} days before the end of the period", MAX_PERIOD.num_days());
        return Err(Problem::parameter("from", message));
    }
    Ok(Window { from, to })
}

fn instant(name: &'static str, text: &str) -> Result<DateTime<Utc>, Problem> {
    let date = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
    let instant = DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc());
    let instant = text.parse().map(date).or(instant).ok();
    // The keys of events have four digits for the year.
    let possible = |instant: &DateTime<Utc>| (946_684_800..4_102_444_800).contains(&instant.timestamp());
    let message = "is a date like 2026-11-21, or an instant like 2026-11-21T12:00:00Z, between 2000 and 2099";
    instant.filter(possible).ok_or_else(|| Problem::parameter(name, message))
}

fn values(name: &'static str, given: &[String]) -> Result<Vec<String>, Problem> {
    if given.len() > MAX_VALUES {
        return Err(Problem::parameter(name, format!("has more than {MAX_VALUES} values")));
    }
    given.iter().filter(|text| !text.is_empty()).map(|text| value(name, text)).collect()
}

fn value(name: &'static str, text: &str) -> Result<String, Problem> {
    if text.chars().count() > MAX_VALUE {
        return Err(Problem::parameter(name, format!("has more than {MAX_VALUE} characters")));
    }
    Ok(text.to_owned())
}
