//! The core under everything that can go wrong at once: from a seed, deterministic, and held against a model.
//!
//! In reading order: [`plan`] (what a seed wants to happen), [`world`] (the clock, the dice and what is known to be true),
//! [`ports`] (the fakes with faults around them), [`runs`] (the function as the platform invokes it), [`admin`] (who saves
//! settings in the middle), [`monitor`] (what must hold at every step), [`model`] (what each bucket must hold in the end)
//! and [`mod@play`] (a seed from its beginning to its verdict).

#[cfg(feature = "planted-bugs")]
macro_rules! planted {
    ($bug:ident) => {
        audit_log_core::planted::is(audit_log_core::planted::Bug::$bug)
    };
}
#[cfg(not(feature = "planted-bugs"))]
macro_rules! planted {
    ($bug:ident) => {
        $crate::nothing_is_planted()
    };
}

/// What `planted!` stands for without the feature; a function, since lints would fold a bare `false` away.
#[cfg(not(feature = "planted-bugs"))]
const fn nothing_is_planted() -> bool {
    false
}

pub mod admin;
pub mod bugs;
pub mod model;
pub mod monitor;
pub mod patience;
pub mod plan;
pub mod play;
pub mod ports;
pub mod runs;
pub mod world;

pub use play::{Verdict, play};
