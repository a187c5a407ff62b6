//! The page of one event: what it says in fields, and its JSON as it is exported.

use askama::Template;
use audit_log_core::{
    schedule::Window,
    search::{Columns, FoundEvent, Search},
};
use audit_log_web::{
    body::Query,
    caller::Read,
    problem::{Code, Problem},
};
use axum::{extract::State, response::Response};
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{
    error_page::ErrorPage,
    info::{Members, Role, list, value},
    layout::{Layout, NavItem, html},
    session::Session,
    text::{When, pretty, shown},
};
use crate::{
    app::{App, Backend},
    logs::{self, MAX_VALUE_CHARS, ScanLimit},
    page_token,
};

/// How many events of the same millisecond are read, at most.
const MAX_EVENTS: usize = 1_000;

/// The days around an event in which links look for more events.
const DAYS_AROUND: i64 = 15;

/// How many texts of a fact are shown, and how much of each.
const MAX_FACT_TEXTS: usize = 3;
const MAX_FACT_CHARS: usize = 150;

/// The members of the additional info that are told as facts.
const FACTS: [Role; 4] = [Role::Outcome, Role::Reason, Role::Address, Role::UserAgent];

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    layout: Layout,
    event: Detail,
}

/// The event, on its page or below its row.
#[derive(Template)]
#[template(path = "event-detail.html")]
struct Detail {
    /// Leads up to the root of the pages.
    root: &'static str,
    facts: Vec<Fact>,
    date: When,
    members: Members,
    /// Whether the list has all members.
    is_whole: bool,
    links: Vec<More>,
    /// The event's position as a page token. The event's own page needs no link to itself.
    permalink: Option<String>,
    json: String,
    is_json_whole: bool,
}

struct Fact {
    term: &'static str,
    /// Not empty; the first one tells most.
    texts: Vec<String>,
}

/// A link to similar events.
struct More {
    label: &'static str,
    query: String,
}

/// Other pages link here: don't rename the parameter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EventQuery {
    /// The event's position, as a page token.
    at: String,
}

pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    query: Result<Query<EventQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let refuse = |problem: Problem| session.refuse(&problem);
    let Query(EventQuery { at }) = query.map_err(refuse)?;
    let (event, recorded_at) = find(&app, &session, &at).await.map_err(refuse)?;
    let detail = Detail::new(session.request.root, &event, recorded_at, app.time());
    if session.request.is_partial {
        return Ok(html(StatusCode::OK, &detail));
    }
    let event = Detail { permalink: None, ..detail };
    Ok(html(StatusCode::OK, &EventPage { layout: session.layout(NavItem::Logs, "Event"), event }))
}

/// Returns the event, and when it was recorded.
async fn find<B: Backend>(
    app: &App<B>,
    session: &Session<Read>,
    at: &str,
) -> Result<(FoundEvent, DateTime<Utc>), Problem> {
    let invalid = |_| Problem::new(Code::InvalidParameter, "Open the event from the audit logs.");
    let position = page_token::decode(at).map_err(invalid)?;
    let gone = || Problem::new(Code::NotFound, "This event does not exist, or is no longer kept.");
    let recorded_at = position.split('#').next().unwrap_or_default();
    let from: DateTime<Utc> = recorded_at.parse().map_err(|_| gone())?;
    let to = from.checked_add_signed(TimeDelta::milliseconds(1)).ok_or_else(gone)?;
    let search = Search::all(Window { from, to });
    let page = logs::find(app, session.caller.tenant(), &search, None, MAX_EVENTS, ScanLimit::FULL).await?;
    let event = page.events.into_iter().find(|event| event.position == position).ok_or_else(gone)?;
    Ok((event, from))
}

impl Detail {
    fn new(
        root: &'static str,
        FoundEvent { position, document, columns }: &FoundEvent,
        recorded_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Self {
        let Columns { date, log_type, action, user_id, user_name, user_email, additional_info, .. } = columns;
        let info = serde_json::from_str(additional_info).unwrap_or_default();
        let members = match info {
            Value::Object(members) => members,
            Value::Null => Map::new(),
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        // The first member of each role; others stay in the list.
        let first = |role: Role| members.iter().find(|(name, member)| Role::of(name) == role && is_fact(member));
        let told: Vec<_> = FACTS.into_iter().filter_map(&first).map(|(name, _)| name).collect();
        let of = |role: Role| first(role).map(|(_, member)| value(member)).unwrap_or_default();
        let facts = [
            ("Who", vec![user_name.clone(), user_email.clone(), user_id.clone()]),
            ("What", vec![action.clone(), log_type.clone()]),
            ("When", vec![date.clone()]),
            ("From where", vec![of(Role::Address), of(Role::UserAgent)]),
            ("Outcome", vec![of(Role::Outcome), of(Role::Reason)]),
        ];
        let fact = |(term, texts): (&'static str, Vec<String>)| {
            let texts = texts.iter().filter(|text| !text.is_empty());
            let texts: Vec<_> = texts.take(MAX_FACT_TEXTS).map(|text| shown(text, MAX_FACT_CHARS)).collect();
            (!texts.is_empty()).then_some(Fact { term, texts })
        };
        let (listed, is_whole) = list(members.iter().filter(|(name, _)| !told.contains(name)));
        let (json, is_json_whole) = pretty(document);
        let links = [("More by this user", "user", columns.user()), ("More of this action", "action", action.as_str())];
        let links =
            links.into_iter().filter(|(.., value)| !value.is_empty() && value.chars().count() <= MAX_VALUE_CHARS);
        Self {
            root,
            facts: facts.into_iter().filter_map(fact).collect(),
            date: When::second(date),
            members: listed,
            is_whole,
            links: links
                .map(|(label, parameter, value)| More { label, query: around(recorded_at, now, parameter, value) })
                .collect(),
            permalink: Some(page_token::encode(position)),
            json,
            is_json_whole,
        }
    }
}

/// Whether a member is short enough for a line of its own above the others.
fn is_fact(member: &Value) -> bool {
    match member {
        Value::String(text) => !text.is_empty() && text.chars().count() <= MAX_FACT_CHARS,
        Value::Bool(_) | Value::Number(_) => true,
        _ => false,
    }
}

/// The query of the last 30 days, or of as many days around an event that is older.
fn around(at: DateTime<Utc>, now: DateTime<Utc>, parameter: &str, value: &str) -> String {
    let days = TimeDelta::days(DAYS_AROUND);
    let mut query = form_urlencoded::Serializer::new(String::new());
    if at > now - days - days {
        query.append_pair("period", "30d");
    } else {
        let date = |at: DateTime<Utc>| at.format("%Y-%m-%dT00:00").to_string();
        query.append_pair("period", "custom");
        query.append_pair("from", &date(at - days)).append_pair("to", &date(at + days));
    }
    query.append_pair(parameter, value);
    format!("?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_look_around_the_event() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let now = at("2026-11-21T10:03:12Z");
        assert_eq!(around(at("2026-11-01T00:00:00Z"), now, "user", "a b"), "?period=30d&user=a+b");
        let old = around(at("2026-09-20T07:00:00Z"), now, "action", "Login");
        assert_eq!(old, "?period=custom&from=2026-09-05T00%3A00&to=2026-10-05T00%3A00&action=Login");
    }
}
