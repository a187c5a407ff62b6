//! The recorder: receives audit events and stores each of them once.
//!
//! [`store`] stores valid events. They come through [`queue`] and [`http`], and [`invocation`] decides which of the two it is.
//! [`answer`] has the answers over HTTP, [`openapi`] the published description, [`config`] the configuration.
//!
//! It never answers that an event is stored before it is, never drops one without saying so, and never logs one.

pub mod answer;
pub mod config;
pub mod http;
pub mod invocation;
pub mod openapi;
pub mod queue;
pub mod store;
#[cfg(test)]
mod tests;
