//! The core under everything that can go wrong at once: from a seed, deterministic, and held against a model.
//!
//! In reading order: [`plan`] (what a seed wants to happen), [`world`] (the clock, the dice and what is known to be true),
//! [`ports`] (the fakes with faults around them), [`runs`] (the function as the platform invokes it), [`admin`] (saves,
//! disconnections and reconnections in the middle), [`monitor`] (what must hold at every step), [`backoff`] and [`model`] (what
//! must hold in the end), [`mod@play`] (a seed from its beginning to its verdict) and [`bugs`] (what all of this must catch).

pub mod admin;
pub mod backoff;
pub mod bugs;
pub mod model;
pub mod monitor;
pub mod plan;
pub mod play;
pub mod ports;
pub mod runs;
pub mod world;

pub use play::{Verdict, play};
