//! The test harness: a local AWS with the project's templates deployed on it.
//!
//! In reading order: [`LocalAws`] runs the emulator. [`Platform`] is the platform deployed on it, [`CustomerStack`] a
//! customer's stack, [`Customer`] a connected tenant, [`Bucket`] a customer's bucket, [`Auditor`] verifies a copy of it. [`events`] generates events.
//! [`run_on_platform`] shares one deployment among the tests of a binary. [`lambda`] runs a function outside of the
//! emulator, and [`fault_proxy`] injects faults between the two. The harness knows no rule of the export.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the harness isn't deployed and may read the clock and the environment")]

mod api;
mod auditor;
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
pub mod project;
mod rule;
pub mod server;
mod session;
mod signals;
mod stacks;
pub mod tools;
mod waiting;

pub use api::{Answer, Api};
pub use auditor::{Auditor, Verdict};
pub use browser::Browser;
pub use bucket::{Bucket, Object, StoredObject, gunzip, is_data};
pub use customer::{Customer, connect, follow_link, onboard};
pub use fixture::{Fixture, run_on_platform};
pub use listener::Listener;
pub use local_aws::{LocalAws, PLATFORM_ACCOUNT, REGION};
pub use platform::{Item, Platform, PlatformOutputs, Table, attribute};
pub use rule::{Rule, Rules};
pub use session::{exporter_session, open_exporter_role, open_role, role_session};
pub use signals::Signals;
pub use stacks::{
    CustomerOutputs, CustomerStack, create_templates_bucket, delete_stack, deploy_platform, deploy_platform_with_sam,
    publish_template, quick_create,
};
pub use waiting::wait_until;
