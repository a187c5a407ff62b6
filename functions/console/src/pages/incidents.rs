//! The incidents of the last 30 days: failed exports, unsigned windows, and findings of the daily connection check.

use std::collections::HashMap;

use askama::Template;
use audit_log_core::{
    failure::{Code, Party},
    records::ManifestState,
    schedule::{Window, full_hour},
    search::FoundEvent,
    settings::Draft,
    timestamp,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    history::{self, History, Verified, recorded_at},
    layout::Badge,
    obstacles,
    text::{When, shown},
};
use crate::{
    page_token,
    status::{ConnectionCheck, ConnectionFinding, ExportError},
};

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
    /// Whether it ended since an admin changed what it is about. Nobody has seen that it is resolved.
    is_superseded: bool,
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
    /// Drifted as well, but exports work, and safely.
    Warned,
}

/// Why it happened, and how it is fixed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Cause {
    code: String,
    party: Option<String>,
    message: String,
    hint: Option<String>,
    /// Of a finding: the verification's step, and `failed` or `warning`.
    step: Option<String>,
    status: Option<String>,
}

impl Cause {
    /// Without characters that would hide or reorder others.
    fn shown(&self) -> Self {
        let hint = self.hint.as_ref().map(|hint| shown(hint, 2_000));
        Self { code: shown(&self.code, 60), message: shown(&self.message, 1_000), hint, ..self.clone() }
    }

    fn is_customers(&self) -> bool {
        self.party.as_deref() != Some(Party::Platform.as_str())
    }
}

impl From<&ConnectionFinding> for Cause {
    fn from(ConnectionFinding { step, status, code, message, hint }: &ConnectionFinding) -> Self {
        let (step, status) = (Some(step.clone()), Some(status.clone()));
        Self { code: code.clone(), party: None, message: message.clone(), hint: hint.clone(), step, status }
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
    #[serde(flatten)]
    verified: Verified,
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
        let info = history::info(event)?;
        let link = page_token::encode(&event.position);
        Some(Self { at: recorded_at(&event.position)?, action: &event.columns.action, info, link })
    }
}

/// What the status says about failures and findings now.
pub(super) struct Present<'a> {
    pub(super) is_failing: bool,
    pub(super) failing_since: Option<&'a str>,
    pub(super) exported_until: Option<&'a str>,
    pub(super) error: Option<&'a ExportError>,
    /// The last check of the saved settings.
    pub(super) check: Option<&'a ConnectionCheck>,
    pub(super) saved: Option<&'a Draft>,
}

impl Incidents {
    pub(super) fn new(root: &'static str, history: &History, present: &Present<'_>) -> Self {
        let mut happened: Vec<Happened<'_>> = history.events.iter().filter_map(Happened::from_event).collect();
        happened.reverse();
        let mut list = failures(&happened, history.now, present);
        list.extend(unsigned_windows(&happened, history));
        list.extend(drifts(&happened, present));
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
            Kind::Drifted | Kind::Warned => "check",
        };
        Self {
            id: format!("{name}-{}", timestamp::compact(began_at)),
            kind,
            began_at,
            ended_at: None,
            is_ongoing: false,
            is_superseded: false,
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
            Kind::Warned => "The connection check has a warning",
        }
    }

    /// The badge's words and color.
    fn badge(&self) -> Badge {
        let (tone, text) = match (self.is_ongoing, self.ended_at) {
            (true, _) if self.kind == Kind::Warned => ("warn", "Ongoing"),
            (true, _) => ("bad", "Ongoing"),
            (false, Some(_)) if !self.is_superseded => ("good", "Resolved"),
            (false, _) => ("quiet", "Over"),
        };
        Badge { tone, text }
    }

    fn end(mut self, at: DateTime<Utc>, link: &str) -> Self {
        (self.ended_at, self.last_event) = (Some(at), Some(link.to_owned()));
        self
    }

    /// Takes over the findings of a check. Once it has failed, it stays a failure.
    fn find(&mut self, causes: Vec<Cause>) {
        if causes.iter().any(|cause| cause.status.as_deref() != Some("warning")) {
            self.kind = Kind::Drifted;
        }
        self.causes = causes;
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
            let (code, message) = (code.clone(), message.clone());
            incident.causes = vec![Cause { code, party, message, hint, ..Cause::default() }];
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
            ..Cause::default()
        }];
        if incident.first_event.as_ref() != Some(link) {
            incident.last_event = Some(link.clone());
        }
    }
    list
}

/// Findings of the daily check: until a check finds nothing, a verification passes what was found, or an admin changes the
/// connection.
fn drifts(happened: &[Happened<'_>], present: &Present<'_>) -> Vec<Incident> {
    let (mut list, mut open): (Vec<Incident>, Option<Incident>) = (Vec::new(), None);
    for Happened { at, action, info, link } in happened {
        match *action {
            "Connection Drifted" => {
                let incident = open.get_or_insert_with(|| Incident::new(Kind::Warned, *at, Some(link.clone())));
                incident.find(info.findings.iter().map(Cause::shown).collect());
            }
            "Connection Restored" => list.extend(open.take().map(|incident| incident.end(*at, link))),
            "Export Settings Changed" | "Connector Changed" | "Connector Disconnected" => {
                let superseded = open.take().map(|incident| Incident { is_superseded: true, ..incident });
                list.extend(superseded.map(|incident| incident.end(*at, link)));
            }
            "Connection Check Passed" if present.saved.is_some_and(|saved| info.verified.is_of(saved)) => {
                let has_passed = |cause: &Cause| cause.step.as_ref().is_some_and(|step| info.verified.has_passed(step));
                let repaired = open.take_if(|incident| incident.causes.iter().all(has_passed));
                list.extend(repaired.map(|incident| incident.end(*at, link)));
            }
            _ => {}
        }
    }
    list.extend(present_drift(open, present, list.last().and_then(|last| last.ended_at)));
    list
}

/// Compares an incident without an end with the present check, which has the last word.
fn present_drift(open: Option<Incident>, present: &Present<'_>, last_end: Option<DateTime<Utc>>) -> Option<Incident> {
    let checked_at = present.check.and_then(|check| timestamp::parse_seconds(&check.checked_at));
    let (Some(check), Some(checked_at)) = (present.check, checked_at) else { return open };
    if check.findings.is_empty() {
        return open.map(|incident| Incident { ended_at: Some(checked_at.max(incident.began_at)), ..incident });
    }
    // A check that fails again, as before a verification passed, is no change and has no event.
    let is_new = !check.passed && last_end.is_none_or(|ended_at| ended_at < checked_at);
    let mut incident = open.or_else(|| is_new.then(|| Incident::new(Kind::Warned, checked_at, None)))?;
    incident.find(check.findings.iter().map(|finding| Cause::from(finding).shown()).collect());
    incident.is_ongoing = true;
    Some(incident)
}
