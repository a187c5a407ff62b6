//! Checks incoming events against the published schema and the catalogue.
//!
//! Invalid events are refused and never repaired: a guess would become part of the audit log. The one exception is half a
//! character, which is replaced and marked, since its sender can't send more of it. A reason names the place as a JSON pointer
//! (RFC 6901) and never the invalid value.

mod catalogue;
mod shape;
#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    event::{User, compact},
    member_names,
    new_event::{Activity, NewEvent, Stamp, Submitter, shard},
    surrogates,
    tenant::{EventShards, TenantId},
};

pub use catalogue::Catalogue;

/// The JSON Schema (draft 2020-12) of an event that is sent, as published without the catalogue.
pub const EVENT_SCHEMA: &str = include_str!("../../schema/audit-event.json");

/// Bytes of compact JSON. With its keys and copies an event still fits into DynamoDB's item limit of 400 KB.
pub const MAX_EVENT_BYTES: usize = 256 << 10;

/// The member of `additionalInfo` that marks an event with replaced characters and says how many there are.
const MARK: &str = "_replacedCharacters";

/// The reasons of one refusal.
const MAX_REASONS: usize = 5;

#[derive(Debug)]
pub struct EventValidator {
    catalogue: Catalogue,
}

/// A checked event without its stamp.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidEvent {
    /// The sender's id.
    pub id: Option<String>,
    log_type: String,
    action: String,
    user: User,
    additional_info: Option<Box<RawValue>>,
    /// How many lone surrogates were replaced by U+FFFD.
    #[serde(skip)]
    pub replaced_characters: usize,
}

/// Why an event is refused, in words for its sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RefusedEvent(String);

impl EventValidator {
    pub fn new(catalogue: Catalogue) -> Self {
        Self { catalogue }
    }

    /// Returns the published schema with the catalogue.
    pub fn schema(&self) -> Value {
        let mut schema: Value = serde_json::from_str(EVENT_SCHEMA).unwrap_or_default();
        schema["x-catalogue"] = json!(self.catalogue);
        if let Some(kinds) = self.catalogue.to_schemas() {
            schema["oneOf"] = kinds;
        }
        schema
    }

    /// Parses one event.
    ///
    /// # Errors
    /// If the schema or the catalogue doesn't allow it.
    pub fn check(&self, text: &str) -> Result<ValidEvent, RefusedEvent> {
        let (text, replaced_characters) = surrogates::replace_lone(text);
        // Before the whitespace is removed, which turns the invalid `[1 2]` into `[12]`.
        let event: Value = serde_json::from_str(&text).map_err(|error| not_json(&error))?;
        let text = compact(&text);
        if text.len() > MAX_EVENT_BYTES {
            let length = text.len();
            return Err(RefusedEvent(format!(
                "the event has {length} bytes of compact JSON, and {MAX_EVENT_BYTES} at most"
            )));
        }
        // The parsed event has only the last of two members of one name.
        if let Some(repeated) = member_names::find_repeated(&text) {
            return Err(RefusedEvent(repeated.to_string()));
        }
        if event.get("date").is_some() {
            let reason = "/date is stamped by the recorder; put another time under /additionalInfo/occurredAt";
            return Err(RefusedEvent(reason.to_owned()));
        }
        let mut reasons = shape::reasons(&event);
        if !reasons.is_empty() {
            reasons.truncate(MAX_REASONS);
            return Err(RefusedEvent(reasons.join("; ")));
        }
        let mut valid: ValidEvent = serde_json::from_str(&text).map_err(|error| not_json(&error))?;
        self.catalogue.check(&valid.log_type, &valid.action)?;
        if replaced_characters > 0 {
            let marked = marked(valid.additional_info.as_deref(), replaced_characters);
            valid.additional_info = Some(RawValue::from_string(marked).map_err(|error| not_json(&error))?);
            valid.replaced_characters = replaced_characters;
        }
        Ok(valid)
    }
}

impl ValidEvent {
    /// Whether all but the ids are equal.
    pub fn has_same_content(&self, other: &Self) -> bool {
        let Self { id: _, log_type, action, user, additional_info: _, replaced_characters: _ } = self;
        let info = |event: &Self| event.additional_info.as_ref().map_or("{}", |info| info.get()).to_owned();
        (log_type, action, user) == (&other.log_type, &other.action, &other.user) && info(self) == info(other)
    }

    /// Returns the event to store, in the shard of its id.
    pub fn stamped(
        &self,
        tenant: &TenantId,
        submitter: &Submitter,
        shards: EventShards,
        stamp: Stamp,
        id: &str,
    ) -> NewEvent {
        let activity = Activity { log_type: &self.log_type, action: &self.action, user: &self.user };
        let event = match &self.additional_info {
            Some(info) => NewEvent::new(tenant, stamp, id.to_owned(), activity, info),
            None => NewEvent::new(tenant, stamp, id.to_owned(), activity, &Map::new()),
        };
        NewEvent { shard: shard(id, shards), submitted_by: submitter.clone(), ..event }
    }
}

fn not_json(error: &serde_json::Error) -> RefusedEvent {
    RefusedEvent(format!("the event can't be read as JSON: {error}"))
}

/// Adds the mark to `additionalInfo`, a compact object. The schema refuses a member of its name from a sender.
fn marked(info: Option<&RawValue>, replaced_characters: usize) -> String {
    let info = info.map_or("{}", RawValue::get);
    let members = info.strip_suffix('}').unwrap_or(info);
    let comma = if members.len() > 1 { "," } else { "" };
    format!("{members}{comma}\"{MARK}\":{replaced_characters}}}")
}
