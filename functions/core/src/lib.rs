//! The rules of the export, free of AWS, clocks and environment.
//!
//! In reading order: [`tenant`] (who, and where to: parsed names), [`settings`] (from raw fields to a
//! [`settings::TenantConfig`], or every error at once), [`schedule`] (who is due, which windows), [`event`] (one line of
//! an export), [`object`] (keys and bytes), [`failure`] (what went wrong and who must act), [`record`] (an event on its
//! way into the table), [`records`] (watermarks and receipts), [`lease`] (one run at a time), [`checkpoint`] (a window that is stored in part), [`late`] (what came after its window was read), [`backoff`] (how long a failing tenant waits), [`ports`] (what the export needs of the world), [`export`]
//! (the one orchestration), [`census`] (what is missing that no export would notice), [`verify`] (whether a connection would work, before it has to), [`drift`] (whether it still would, day by day), [`connect`] (what an admin
//! does), [`handover`] (what a customer makes the role with), [`status`] (how exports fare), [`notification`] and [`outbox`] (what is published of that), [`search`] (looking at the
//! events) and [`deployment`] (what the functions are deployed with).
//!
//! What this crate never does: name AWS's SDK, read a clock, read the environment, move a watermark before the object
//! is stored.

pub mod backoff;
pub mod census;
pub mod checkpoint;
pub mod connect;
pub mod deployment;
pub mod drift;
pub mod event;
pub mod export;
pub mod failure;
pub mod handover;
pub mod late;
pub mod lease;
#[cfg(any(test, feature = "test-util"))]
pub mod memory;
pub mod notification;
pub mod object;
pub mod outbox;
pub mod ports;
pub mod record;
pub mod records;
#[cfg(test)]
mod round_trips;
pub mod schedule;
pub mod search;
pub mod settings;
pub mod status;
pub mod tenant;
pub mod timestamp;
pub mod verify;
