//! The rules of the export, free of AWS, clocks and environment.
//!
//! In reading order: [`tenant`] (who, and where to: parsed names), [`settings`] (from raw fields to a
//! [`settings::TenantConfig`], or every error at once), [`schedule`] (who is due, which windows), [`event`] (one line of
//! an export), [`object`] (keys and bytes), [`failure`] (what went wrong and who must act), [`record`] (an event on its
//! way into the table), [`records`] (watermarks and receipts), [`lease`] (one run at a time), [`checkpoint`] (a window that is stored in part), [`late`] (what came after its window was read), [`backoff`] (how long a failing tenant waits), [`ports`] (what the export needs of the world), [`export`]
//! (the one orchestration), [`reconciliation`] (what is missing that no export would notice), [`verify`] (whether a connection would work, before it has to), [`drift`] (whether it still would, day by day), [`connect`] (what an admin
//! does), [`role_setup`] (what a customer makes the role with), [`status`] (how exports fare), [`notification`] and [`outbox`] (what is published of that), [`search`] (looking at the
//! events) and [`deployment`] (what the functions are deployed with).
//!
//! What this crate never does: name AWS's SDK, read a clock, read the environment, move a watermark before the object
//! is stored.

pub mod backoff;
pub mod batch;
pub mod checkpoint;
pub mod connection_check;
pub mod deployment;
pub mod event;
pub mod export;
pub mod failure;
#[cfg(any(test, feature = "test-util"))]
pub mod fakes;
pub mod ingestion;
pub mod late_arrivals;
pub mod lease;
pub mod new_event;
pub mod notification;
pub mod object;
pub mod onboarding;
pub mod outbox;
pub mod ports;
pub mod reconciliation;
pub mod records;
pub mod role_setup;
#[cfg(test)]
mod round_trips;
pub mod schedule;
pub mod search;
pub mod settings;
pub mod status;
pub mod system_events;
pub mod tenant;
pub mod timestamp;
pub mod verification;
pub mod verify;
