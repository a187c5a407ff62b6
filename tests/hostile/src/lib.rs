//! What must hold of any input, whoever made it: it is accepted and means what it says, or it is refused; never a panic.
//!
//! A target takes bytes, makes sure of what has to hold, and says whether they were accepted. The same functions are
//! the fuzz targets of `fuzz/` and are run by `corpus.rs` with every test run: on the checked-in corpus, and on some
//! thousand mutations of it.
#![allow(clippy::expect_used, clippy::panic, reason = "whatever does not hold is to stop the fuzzer or the test")]

pub mod arn;
pub mod console;
pub mod event_line;
pub mod payload;
pub mod query_page;
pub mod settings;
pub mod token;

/// A door through which hostile input comes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name in `fuzz/fuzz_targets` and `fuzz/corpus`.
    pub name: &'static str,
    /// Whether the input is accepted; panics if something doesn't hold that has to.
    pub check: fn(&[u8]) -> bool,
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target { name: "arn", check: arn::check },
    Target { name: "console", check: console::check },
    Target { name: "event_line", check: event_line::check },
    Target { name: "payload", check: payload::check },
    Target { name: "query_page", check: query_page::check },
    Target { name: "settings", check: settings::check },
    Target { name: "token", check: token::check },
];
