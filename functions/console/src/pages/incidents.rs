//! The incidents of the last 30 days: failed exports, unsigned windows, and findings of the daily connection check.

use std::collections::HashMap;

use askama::Template;
use audit_log_core::{
    failure::{Code, Party},
    records::ManifestState,
    schedule::{Window, full_hour},
    search::FoundEvent,
    timestamp,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    history::{History, recorded_at},
    obstacles,
    text::{When, shown},
};
use crate::{page_token, status::ExportError};

/// How many incidents are listed, at most.
const MAX_LISTED: usize = 20;

/// A list with what happened, newest first.
#[derive(Template)]
#[template(path = "incidents.html")]
pub(super) struct Incidents {
    root: &'static str,
    list: Vec<Incident>,
    unlisted: usize,
    /// From when on there are incidents, if not all events were read.
    since: Option<When>,
}

pub(super) struct Incident {
    /// For links.
    pub(super) id: String,
    kind: Kind,
    pub(super) began_at: DateTime<Utc>,
    pub(super) ended_at: Option<DateTime<Utc>>,
    /// Whether it goes on. Where the end was not recorded, it neither goes on nor has an end.
    is_ongoing: bool,
    causes: Vec<Cause>,
    /// The windows that were delivered late, or without a signature.
    pub(super) affected: Option<Window>,
    /// The positions of its first and last audit event, as links have them.
    first_event: Option<String>,
    last_event: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failed,
    Unsigned,
    Drifted,
}

/// Why it happened, and how it is fixed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Cause {
    code: String,
    party: Option<String>,
    message: String,
    hint: Option<String>,
}

impl Cause {
    /// Without characters that would hide or reorder others.
    fn shown(&self) -> Self {
        let Self { code, party, message, hint } = self;
        let hint = hint.as_ref().map(|hint| shown(hint, 2_000));
        Self { code: shown(code, 60), party: party.clone(), message: shown(message, 1_000), hint }
    }

    fn is_customers(&self) -> bool {
        self.party.as_deref() != Some(Party::Platform.as_str())
    }
}

/// The members of the events' `additionalInfo` that are of use here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Info {
    exported_until: Option<DateTime<Utc>>,
    failing_since: Option<DateTime<Utc>>,
    window_from: Option<DateTime<Utc>>,
    window_to: Option<DateTime<Utc>>,
    unsigned: bool,
    findings: Vec<Cause>,
    #[serde(flatten)]
    cause: Cause,
}

/// One audit event about exports.
struct Happened<'a> {
    at: DateTime<Utc>,
    action: &'a str,
    info: Info,
    link: String,
}

impl<'a> Happened<'a> {
    fn from_event(event: &'a FoundEvent) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Document {
            additional_info: Info,
        }
        let Document { additional_info: info } = serde_json::from_str(&event.document).ok()?;
        let link = page_token::encode(&event.position);
        Some(Self { at: recorded_at(&event.position)?, action: &event.columns.action, info, link })
    }
}

/// What the status says about failures now.
pub(super) struct Present<'a> {
    pub(super) is_failing: bool,
    pub(super) failing_since: Option<&'a str>,
    pub(super) exported_until: Option<&'a str>,
    pub(super) error: Option<&'a ExportError>,
}

impl Incidents {
    pub(super) fn new(root: &'static str, history: &History, present: &Present<'_>) -> Self {
        let mut happened: Vec<Happened<'_>> = history.events.iter().filter_map(Happened::from_event).collect();
        happened.reverse();
        let mut list = failures(&happened, history.now, present);
        list.extend(unsigned_windows(&happened, history));
        list.extend(drifts(&happened));
        list.sort_by_key(|incident| std::cmp::Reverse(incident.began_at));
        let unlisted = list.len().saturating_sub(MAX_LISTED);
        list.truncate(MAX_LISTED);
        let since = history.events_from.map(|from| When::minute(&timestamp::seconds(from)));
        Self { root, list, unlisted, since }
    }

    pub(super) fn listed(&self) -> &[Incident] {
        &self.list
    }

    /// The last failure of exports whose windows are known.
    pub(super) fn last_failure(&self) -> Option<&Incident> {
        self.list.iter().find(|incident| incident.kind == Kind::Failed && incident.affected.is_some())
    }
}

impl Incident {
    fn new(kind: Kind, began_at: DateTime<Utc>, first_event: Option<String>) -> Self {
        let name = match kind {
            Kind::Failed => "failed",
            Kind::Unsigned => "unsigned",
            Kind::Drifted => "check",
        };
        Self {
            id: format!("{name}-{}", timestamp::compact(began_at)),
            kind,
            began_at,
            ended_at: None,
            is_ongoing: false,
            causes: Vec::new(),
            affected: None,
            first_event,
            last_event: None,
        }
    }

    fn title(&self) -> &'static str {
        match self.kind {
            Kind::Failed => "Exports failed",
            Kind::Unsigned => "Windows were not signed",
            Kind::Drifted => "The connection check failed",
        }
    }

    fn began(&self) -> When {
        When::minute(&timestamp::seconds(self.began_at))
    }

    fn ended(&self) -> Option<When> {
        self.ended_at.map(|at| When::minute(&timestamp::seconds(at)))
    }

    fn affected_bounds(&self) -> Option<(When, When)> {
        let Window { from, to } = self.affected?;
        let [from, to] = [from, to].map(|at| When::minute(&timestamp::seconds(at)));
        Some((from, to))
    }

    /// `5 hours`
    pub(super) fn affected_hours(&self) -> String {
        match self.affected.map_or(0, |window| ((window.to - window.from).num_minutes() + 59) / 60) {
            1 => "1 hour".to_owned(),
            hours => format!("{hours} hours"),
        }
    }

    fn is_late(&self) -> bool {
        self.kind == Kind::Failed
    }
}

/// Failures until the recovery.
fn failures(happened: &[Happened<'_>], now: DateTime<Utc>, present: &Present<'_>) -> Vec<Incident> {
    let (mut list, mut open): (Vec<Incident>, Option<Incident>) = (Vec::new(), None);
    for Happened { at, action, info, link } in happened {
        match *action {
            "Export Failed" | "Export Still Failing" => {
                let began_at = info.failing_since.unwrap_or(*at);
                let incident = open.get_or_insert_with(|| Incident::new(Kind::Failed, began_at, Some(link.clone())));
                incident.causes = vec![info.cause.shown()];
                let from = incident.affected.map(|window| window.from).or(info.exported_until);
                incident.affected = from.map(|from| Window { from, to: full_hour(*at).max(from) });
            }
            "Export Recovered" => {
                let Some(mut incident) = open.take() else { continue };
                let to = info.window_to.unwrap_or(*at).max(full_hour(*at));
                incident.affected = incident.affected.map(|window| Window { to: to.max(window.from), ..window });
                (incident.ended_at, incident.last_event) = (Some(*at), Some(link.clone()));
                list.push(incident);
            }
            _ => {}
        }
    }
    if present.is_failing {
        let since = present.failing_since.and_then(timestamp::parse_seconds).unwrap_or(now);
        let mut incident = open.unwrap_or_else(|| Incident::new(Kind::Failed, since, None));
        incident.is_ongoing = true;
        if let Some(ExportError { code, party, message, hint, .. }) = present.error {
            let (party, hint) = (Some(party.clone()), hint.clone());
            incident.causes = vec![Cause { code: code.clone(), party, message: message.clone(), hint }];
        }
        let from = present.exported_until.and_then(timestamp::parse_seconds);
        incident.affected = from.map(|from| Window { from, to: full_hour(now).max(from) });
        list.push(incident);
    } else {
        list.extend(open);
    }
    list
}

/// Windows without a signature, up to the next one that has one.
fn unsigned_windows(happened: &[Happened<'_>], history: &History) -> Vec<Incident> {
    let signed = |window: &Window| {
        let later = history.receipts.iter().filter(|it| it.receipt.window.to > window.to);
        let signed = later
            .filter(|it| it.receipt.manifest.as_ref().is_some_and(|manifest| manifest.state == ManifestState::Signed));
        signed.min_by_key(|it| it.receipt.window.to).map(|it| it.receipt.exported_at)
    };
    let mut list: Vec<Incident> = Vec::new();
    let mut by_end: HashMap<Option<DateTime<Utc>>, usize> = HashMap::new();
    for Happened { at, action, info, link } in happened {
        let is_unsigned = *action == "Window Unsigned" || *action == "Export Recovered" && info.unsigned;
        let (true, Some(from), Some(to)) = (is_unsigned, info.window_from, info.window_to) else { continue };
        let window = Window { from, to };
        let ended_at = signed(&window);
        let position = *by_end.entry(ended_at).or_insert_with(|| {
            list.push(Incident { ended_at, ..Incident::new(Kind::Unsigned, *at, Some(link.clone())) });
            list.len() - 1
        });
        let Some(incident) = list.get_mut(position) else { continue };
        let so_far = incident.affected.unwrap_or(window);
        incident.affected = Some(Window { from: so_far.from.min(from), to: so_far.to.max(to) });
        incident.is_ongoing = ended_at.is_none();
        incident.causes = vec![Cause {
            code: Code::SigningFailed.to_string(),
            party: Some(Party::Platform.to_string()),
            message: "The platform could not sign the manifests of these windows for six hours.".to_owned(),
            hint: None,
        }];
        if incident.first_event.as_ref() != Some(link) {
            incident.last_event = Some(link.clone());
        }
    }
    list
}

/// Findings of the daily check, until a check finds nothing.
fn drifts(happened: &[Happened<'_>]) -> Vec<Incident> {
    let (mut list, mut open): (Vec<Incident>, Option<Incident>) = (Vec::new(), None);
    for Happened { at, action, info, link } in happened {
        match *action {
            "Connection Drifted" => {
                let incident = open.get_or_insert_with(|| Incident::new(Kind::Drifted, *at, Some(link.clone())));
                incident.causes = info.findings.iter().map(Cause::shown).collect();
                incident.is_ongoing = true;
            }
            "Connection Restored" => {
                let Some(mut incident) = open.take() else { continue };
                (incident.ended_at, incident.last_event) = (Some(*at), Some(link.clone()));
                incident.is_ongoing = false;
                list.push(incident);
            }
            _ => {}
        }
    }
    list.extend(open);
    list
}
