//! Proves offline that a folder of delivered audit logs is complete and unchanged.
//!
//! The folder is a copy of a tenant's folder in a bucket. Its manifests are signed by the platform and name each other by their
//! hashes. This program shares no code with the exporter that writes them, so that a mistake in one is found by the other.
//!
//! In reading order: [`arguments`] is the command line; [`key`] and [`note`] are the signatures; [`manifest`] and [`names`] are
//! what the platform writes; `folder` and `manifest_file` read it; [`chain`] puts the manifests in order and finds what is wrong
//! between them; `data`, `data_file` and [`events`] read the data, and
//! `comparison` compares it with the manifests; `unlisted` explains other files; [`check()`] does all of it; [`report`] says what was proved.
#![forbid(unsafe_code)]

pub mod arguments;
pub mod chain;
mod check;
mod comparison;
mod data;
mod data_file;
pub mod events;
pub mod finding;
mod folder;
pub mod hash;
pub mod key;
pub mod manifest;
mod manifest_file;
pub mod names;
pub mod note;
mod parallel;
pub mod progress;
pub mod report;
mod unlisted;
pub mod window;

pub use check::{Request, check};
