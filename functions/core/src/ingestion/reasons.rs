//! What is wrong with an event, in words that repeat nothing of it but the names of its members.

use jsonschema::{
    ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

/// How much of an unknown member's name is said again, in characters.
const MAX_NAME: usize = 60;

/// Where, and what.
pub(super) fn of(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().as_str();
    let at = if place.is_empty() { "the event" } else { place };
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let name = unexpected.first().map(|name| pointer(name)).unwrap_or_default();
            format!("{place}/{name} is not known here; what else there is to say belongs under /additionalInfo")
        }
        Kind::Required { property: Value::String(name) } => format!("{place}/{} is required", pointer(name)),
        Kind::Type { kind: TypeKind::Single(kind) } => format!("{at} has to be of type {kind}"),
        Kind::MinLength { .. } => format!("{at} must not be empty"),
        Kind::MaxLength { limit } => format!("{at} has {limit} characters at most"),
        Kind::Pattern { .. } if place == "/id" => {
            format!("{at} has 1 to 128 letters, digits or any of _.:-, and does not begin with system:")
        }
        Kind::Pattern { .. } => format!("{at} must not have control or invisible characters"),
        Kind::Not { .. } => reserved(at),
        _ => format!("{at} is not as the schema has it: {}", error.masked()),
    }
}

/// Says of a log type that it is none for the platform.
pub(super) fn reserved(at: &str) -> String {
    format!("{at} is reserved for this system's own events; choose another one")
}

/// Says what stands twice. The schema has been satisfied, so a reader of its members has nothing else to find.
pub(super) fn twice(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let name = text.split('`').nth(1).unwrap_or("a member");
    format!("{name} stands twice in the same object")
}

/// A member's name as a part of a JSON pointer.
fn pointer(name: &str) -> String {
    let shown: String = name.chars().take(MAX_NAME).flat_map(char::escape_debug).collect();
    shown.replace('~', "~0").replace('/', "~1")
}
