//! Plays the core under all faults at once, deterministically from a seed, and compares the result with a model.
//!
//! In reading order: [`plan`] (what happens in a seed), [`facts`] (the truth), [`world`] (clock, dice, trace), [`ports`] (fakes
//! with faults), [`runs`] (invokes the exporter), [`admin`] (saves, disconnects and reconnects), [`monitor`] (checks every
//! step), [`leaving`] (places that are left), `manifests` (what they must say), [`backoff`] and [`model`] (checks the end),
//! [`replays`] (windows that are delivered again), `lines` (reads
//! stored objects), [`mod@play`] (plays a seed) and [`bugs`] (what the simulation must catch).

pub mod admin;
pub mod backoff;
pub mod bugs;
pub mod facts;
pub mod leaving;
mod lines;
mod manifests;
pub mod model;
pub mod monitor;
pub mod plan;
pub mod play;
pub mod ports;
pub mod replays;
pub mod runs;
pub mod world;

pub use play::{Verdict, play};
