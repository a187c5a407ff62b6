//! The contract of the ports: what `audit_log_core::ports` promises, proved of the fake in memory and of the adapters.
//!
//! Each test body is written once, over the traits, and runs against both: whatever core's own tests prove on
//! [`Fakes`](audit_log_core::fakes::Fakes) therefore holds on AWS. The adapters run on the local AWS, against the
//! deployed tables and customers' stacks, under the deployed exporter's role; a right that the templates forget fails
//! here.

/// Makes two tests of each body.
macro_rules! on_both_worlds {
    ($($body:ident)*) => {$(
        mod $body {
            #[test]
            fn in_memory() -> anyhow::Result<()> {
                crate::fakes::in_memory(async |world| super::$body(world).await)
            }

            #[test]
            fn on_local_aws() -> anyhow::Result<()> {
                crate::local::on_local_aws(async |world| super::$body(world).await)
            }
        }
    )*};
}

mod backoff;
mod buckets;
mod checkpoint;
mod checks;
mod connecting;
mod events;
mod fakes;
mod fencing;
mod fleet;
mod leases;
mod local;
mod outbox;
mod receipts;
mod settings;
mod tenants;
mod watermark;
mod world;
