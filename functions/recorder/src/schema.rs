//! What is published about events, as it lies in `schema/`.

/// The JSON Schema (draft 2020-12) of an event as it is sent.
pub const AUDIT_EVENT: &str = include_str!("../schema/audit-event.json");

/// The log types and actions that there are before anyone adds some.
pub const CATALOGUE: &str = include_str!("../schema/catalogue.json");
