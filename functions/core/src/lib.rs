//! The rules of the export, without AWS, clocks and environment: this crate names no AWS SDK and reads neither a clock nor
//! the environment.
//!
//! In reading order; docs/architecture.md has the terms:
//!
//! Domain types and pure rules
//! - [`tenant`]: parsed names: tenants, roles, buckets, formats.
//! - [`settings`]: checks raw fields and makes a [`settings::TenantConfig`], or returns every error at once.
//! - [`setup_draft`]: what an unfinished setup has typed.
//! - [`schedule`]: when a tenant is due, and for which windows.
//! - [`event`]: one line of an export.
//! - [`member_names`]: names that occur twice in an object of an event.
//! - [`object`]: keys and bytes of exported objects.
//! - [`ocsf`]: one line of an export in OCSF.
//! - [`failure`]: what went wrong, who must act, and what to do.
//! - [`filter`]: values to keep and to leave out.
//! - [`records`]: watermarks, receipts and connection checks.
//! - [`lease`]: the exclusive right to export a tenant for one run.
//! - [`checkpoint`]: the position in a window that is longer than a run.
//! - [`late_arrivals`]: events that became visible after their window was read.
//! - [`backoff`]: when a failing tenant is tried again.
//! - [`notification`] and [`outbox`]: what is published on the bus, and where it waits.
//! - [`new_event`], [`ingestion`] and [`system_events`]: events on their way into the table.
//! - [`batch`]: a message with due tenants.
//! - [`verification`]: the steps and findings of a verification.
//! - [`role_setup`]: what a customer makes the role with.
//! - [`timestamp`]: the written forms of instants.
//! - [`deployment`]: the settings that all functions share.
//!
//! Ports
//! - [`ports`]: what the services need of AWS.
//!
//! Services
//! - [`export`]: the one path that exports tenants; its docs list the steps of a tick.
//! - [`verify`]: tries a connection out in five steps.
//! - [`connection_check`]: verifies saved connections every day.
//! - [`reconciliation`]: finds lost or damaged records.
//! - [`onboarding`]: an admin's changes: connect, save, disconnect.
//! - [`replays`]: an admin's replays: preview, request, stop.
//! - [`erasure`]: erases a tenant that has left.
//! - [`search`]: finds and counts recorded events.
//! - [`status`]: how a tenant's exports go.
//! - [`undelivered`]: events of disconnected tenants that are in no bucket.

pub mod backoff;
pub mod batch;
pub mod checkpoint;
pub mod connection_check;
pub mod deployment;
pub mod erasure;
pub mod event;
pub mod export;
pub mod failure;
#[cfg(any(test, feature = "test-util"))]
pub mod fakes;
pub mod filter;
pub mod ingestion;
pub mod late_arrivals;
pub mod lease;
pub mod manifest;
pub mod member_names;
pub mod new_event;
pub mod notification;
pub mod object;
pub mod ocsf;
pub mod onboarding;
pub mod outbox;
pub mod ports;
pub mod reconciliation;
pub mod records;
pub mod replays;
pub mod role_setup;
#[cfg(test)]
mod round_trips;
pub mod schedule;
pub mod search;
pub mod settings;
pub mod setup_draft;
pub mod status;
mod surrogates;
pub mod system_events;
pub mod tenant;
pub mod timestamp;
pub mod undelivered;
pub mod verification;
pub mod verify;
