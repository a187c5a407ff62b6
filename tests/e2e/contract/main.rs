//! The contract of the ports: tests that both the fakes and the adapters pass.
//!
//! Each test is written once over the traits and runs against both. So what the core's tests prove on
//! [`Fakes`](audit_log_core::fakes::Fakes) also holds on AWS. The adapters run on the local AWS with the deployed tables,
//! customers' stacks and the exporter's role, so a right that is missing in the templates fails a test.

/// Makes two tests of each function: on the fakes and on the local AWS.
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
mod connecting;
mod connection_checks;
mod erasure;
mod events;
mod fakes;
mod fencing;
mod final_deliveries;
mod fleet;
mod leases;
mod local;
mod manifest_keys;
mod manifests;
mod outbox;
mod receipts;
mod replays;
mod settings;
mod signer;
mod tenants;
mod watermark;
mod world;
