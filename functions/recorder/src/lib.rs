//! The recorder: takes audit events in and stores them, once each.
//!
//! In reading order: [`store`] (events that were checked, into the table), [`queue`] and [`http`] (the two ways in),
//! [`openapi`] and [`schema`] (what is published about the second), [`invocation`] (which of the two it is), [`config`].
//!
//! What it never does: answer that an event is stored before it is, drop one without saying so, or log one.

pub mod config;
pub mod http;
pub mod invocation;
pub mod openapi;
pub mod queue;
pub mod schema;
mod shards;
pub mod store;
#[cfg(test)]
mod tests;
