//! An event as the platform sends it, and why one is refused.
//!
//! What is not of the published schema is refused and never put right: a guess would stand in a log that people rely
//! on. A reason names the place as a JSON pointer (RFC 6901) and never what stood there.

mod catalogue;
mod reasons;
#[cfg(test)]
mod tests;

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    event::{User, compact},
    new_event::{Activity, NewEvent, Stamp, shard},
    tenant::{EventShards, Invalid, TenantId},
};

pub use catalogue::Catalogue;

/// How long an event may be, in bytes of compact JSON. With its keys and copies it still fits into an item of 400 KB.
pub const MAX_EVENT_BYTES: usize = 256 << 10;

/// How many reasons are given at once.
const MAX_REASONS: usize = 5;

/// Checks what is sent.
#[derive(Debug)]
pub struct EventValidator {
    schema: Value,
    validator: Validator,
    catalogue: Catalogue,
}

/// An event that was checked, but for its stamp.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ValidEvent {
    /// The sender's id for it.
    pub id: Option<String>,
    log_type: String,
    action: String,
    user: User,
    additional_info: Option<Box<RawValue>>,
}

/// Why an event is refused, in words for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RefusedEvent(String);

impl EventValidator {
    /// By the published schema and a catalogue.
    ///
    /// # Errors
    /// If the text is not a JSON Schema.
    pub fn new(schema: &str, catalogue: Catalogue) -> Result<Self, Invalid> {
        let schema: Value =
            serde_json::from_str(schema).map_err(|error| Invalid(format!("the schema is not JSON: {error}")))?;
        let validator = jsonschema::draft202012::new(&schema)
            .map_err(|error| Invalid(format!("the schema is not a JSON Schema: {error}")))?;
        Ok(Self { schema, validator, catalogue })
    }

    /// The published schema with the log types and actions that are in force.
    pub fn schema(&self) -> Value {
        let mut schema = self.schema.clone();
        schema["x-catalogue"] = json!(self.catalogue);
        if let Some(kinds) = self.catalogue.as_schemas() {
            schema["oneOf"] = kinds;
        }
        schema
    }

    /// Reads one event.
    ///
    /// # Errors
    /// If it is anything but an event of the schema and the catalogue.
    pub fn check(&self, text: &str) -> Result<ValidEvent, RefusedEvent> {
        // First of all it has to be JSON. Only then may the whitespace be taken out: `[1 2]` would become `[12]`.
        let event: Value = serde_json::from_str(text)
            .map_err(|error| RefusedEvent(format!("the event can't be read as JSON: {error}")))?;
        let text = compact(text);
        if text.len() > MAX_EVENT_BYTES {
            let length = text.len();
            return Err(RefusedEvent(format!(
                "the event has {length} bytes of compact JSON, and {MAX_EVENT_BYTES} at most"
            )));
        }
        if event.get("date").is_some() {
            let reason = "/date is stamped by the recorder; put another time under /additionalInfo/occurredAt";
            return Err(RefusedEvent(reason.to_owned()));
        }
        let reasons: Vec<String> =
            self.validator.iter_errors(&event).take(MAX_REASONS).map(|error| reasons::of(&error)).collect();
        if !reasons.is_empty() {
            return Err(RefusedEvent(reasons.join("; ")));
        }
        // What the schema can't say: of a member that stands twice it sees only one.
        let incoming: ValidEvent = serde_json::from_str(&text).map_err(|error| RefusedEvent(reasons::twice(&error)))?;
        self.catalogue.check(&incoming.log_type, &incoming.action)?;
        Ok(incoming)
    }
}

impl ValidEvent {
    /// Whether both say the same, whatever their ids.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        let parts = |it: &Self| (it.log_type.clone(), it.action.clone(), it.user.clone());
        let info = |it: &Self| it.additional_info.as_ref().map_or("{}", |info| info.get()).to_owned();
        parts(self) == parts(other) && info(self) == info(other)
    }

    /// The event, ready to be stored, in the shard that follows from its id.
    pub fn stamped(&self, tenant: &TenantId, shards: EventShards, stamp: Stamp, id: &str) -> NewEvent {
        let deed = Activity { log_type: &self.log_type, action: &self.action, user: &self.user };
        let event = match &self.additional_info {
            Some(info) => NewEvent::new(tenant, stamp, id.to_owned(), deed, info),
            None => NewEvent::new(tenant, stamp, id.to_owned(), deed, &Map::new()),
        };
        NewEvent { shard: shard(id, shards), ..event }
    }
}
