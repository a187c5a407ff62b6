//! The published schema and catalogue, from the folder `schema`.

/// The JSON Schema (draft 2020-12) of an event that is sent.
pub const AUDIT_EVENT: &str = include_str!("../../schema/audit-event.json");

/// The log types and actions without `EXTRA_ACTIONS`.
pub const CATALOGUE: &str = include_str!("../../schema/catalogue.json");
