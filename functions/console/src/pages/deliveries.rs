//! How pages show where a tenant's events go.

use audit_log_core::{settings::Destination, timestamp};

use super::text::{When, shown};
use crate::deliveries::Deliveries;

/// Where events go, and from when on a change sends them elsewhere.
pub(super) struct DeliveriesView {
    pub(super) is_scheduled: bool,
    pub(super) place: String,
    pub(super) role_account: String,
    pub(super) has_fixed_owner: bool,
    pub(super) until: When,
}

impl From<Deliveries> for DeliveriesView {
    fn from(deliveries: Deliveries) -> Self {
        let Deliveries { is_scheduled, destination, role_account, has_fixed_owner, exported_until } = deliveries;
        Self {
            is_scheduled,
            place: place(&destination),
            role_account: role_account.unwrap_or_default(),
            has_fixed_owner,
            until: When::minute(&timestamp::seconds(exported_until)),
        }
    }
}

/// Bucket, folder and the bucket's owner in one line.
pub(super) fn place(Destination { bucket, region: _, prefix, bucket_owner }: &Destination) -> String {
    let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let owner = bucket_owner.as_ref().map(|owner| format!(" (account {owner})")).unwrap_or_default();
    shown(&format!("s3://{bucket}/{folder}{owner}"), 600)
}
