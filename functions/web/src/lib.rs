//! What the recorder and the console share, so that both refuse the same requests with the same answers.
//!
//! In reading order: [`problem`] (error answers), [`token_error`] (why a token is refused), `keys` (the issuer's public
//! keys), [`access_token`] (verifies tokens), [`caller`] (requires a permission), [`body`] (reads bodies and queries),
//! `client` (from where a request was sent), [`origin`] (refuses requests that went around the CDN), [`headers`] (what every
//! answer has), [`compression`], [`access_log`] (who asked for what), [`invocation`] (passes requests from Lambda to a router).
//!
//! This crate never reads a clock or the environment, never logs a token, and never repeats in an answer what was sent.

pub mod access_log;
pub mod access_token;
pub mod body;
pub mod caller;
mod client;
pub mod compression;
pub mod headers;
pub mod invocation;
#[cfg(any(test, feature = "test-util"))]
pub mod issuer;
mod keys;
#[cfg(any(test, feature = "test-util"))]
pub mod log_lines;
pub mod origin;
pub mod problem;
mod strict;
pub mod token_error;
