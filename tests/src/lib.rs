//! The harness: a local AWS with the project's own templates on it, driven as its users drive the real one.
//!
//! In reading order: [`LocalAws`] runs the emulator, [`Platform`] is our side deployed on it, [`CustomerStack`]
//! a customer's side, [`Customer`] both of them connected, [`Bucket`] what a customer finds in the end, and
//! [`events`] what there is to export. [`on_the_platform`] shares one deployment among a binary's tests. Apart from these,
//! [`lambda`] runs a function outside of the emulator, and [`fault_proxy`] does harm between the two.
//! Nothing here knows the rules of the export: it deploys what is built and reads what has landed.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "a harness may read the clock and the environment; nothing here ships")]

mod api;
mod browser;
mod bucket;
mod customer;
pub mod events;
pub mod fault_proxy;
mod fixture;
pub mod lambda;
mod listener;
mod local_aws;
mod platform;
mod rule;
pub mod server;
mod session;
mod stacks;
pub mod tools;
mod waiting;

pub use api::{Answer, Api};
pub use browser::Browser;
pub use bucket::{Bucket, Object, StoredObject, gunzip};
pub use customer::{Customer, connect, onboard, quick_create_parameters};
pub use fixture::{Fixture, on_the_platform};
pub use listener::Listener;
pub use local_aws::{LocalAws, PLATFORM_ACCOUNT, REGION};
pub use platform::{Item, Platform, Table};
pub use rule::{Rule, Rules};
pub use session::{exporter_session, open_exporter_role};
pub use stacks::{
    CustomerOutputs, CustomerStack, PlatformOutputs, delete_stack, deploy_platform, publish_template, quick_create,
};
pub use waiting::until;
