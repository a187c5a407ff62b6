//! What the functions that face the web share, so that both refuse the same things in the same words.
//!
//! In reading order: [`problem`] (every refusal, as RFC 9457 has it), [`authority`] (from an access token to who is
//! asking, or why not), `keys` (the issuer's public keys), [`caller`] (the authority that a handler asks for by naming
//! it in its arguments), [`body`] (what is sent, read or refused), [`invocation`] (a request on its way to all of that).
//!
//! What this crate never does: read a clock or the environment, log a token, or repeat in an answer what was sent.

pub mod authority;
pub mod body;
pub mod caller;
pub mod invocation;
#[cfg(any(test, feature = "test-util"))]
pub mod issuer;
mod keys;
pub mod problem;
mod strict;
