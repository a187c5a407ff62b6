//! Checks that untrusted input is accepted with its exact meaning or refused, and never causes a panic.
//!
//! A target takes bytes, asserts what must hold, and returns whether the bytes were accepted. `fuzz/` fuzzes the targets.
//! `corpus.rs` runs them in every test run, on the checked-in corpus and on some thousand mutations of it.
#![allow(clippy::expect_used, clippy::panic, reason = "a violation must stop the fuzzer or the test")]

pub mod arn;
pub mod console;
pub mod event_line;
pub mod payload;
pub mod query_page;
pub mod settings;
pub mod token;

/// A way by which untrusted input comes in.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As in `fuzz/fuzz_targets` and `fuzz/corpus`.
    pub name: &'static str,
    /// Returns whether the input is accepted. Panics at a violation.
    pub check: fn(&[u8]) -> bool,
}

pub const TARGETS: [Target; 7] = [
    Target { name: "arn", check: arn::check },
    Target { name: "console", check: console::check },
    Target { name: "event_line", check: event_line::check },
    Target { name: "payload", check: payload::check },
    Target { name: "query_page", check: query_page::check },
    Target { name: "settings", check: settings::check },
    Target { name: "token", check: token::check },
];
