//! Where a tenant's events go: what the pages say before an admin changes it.

use audit_log_core::{
    onboarding::ConnectorState,
    records::TenantRecords,
    settings::{Destination, Draft},
    tenant::RoleArn,
};
use chrono::{DateTime, Utc};

/// Where the events of a tenant with saved settings go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deliveries {
    /// Whether exports are scheduled. If not, this is where they go once a role is connected again.
    pub(crate) is_scheduled: bool,
    pub(crate) destination: Destination,
    /// The connected role's account; a role of another account is another destination.
    pub(crate) role_account: Option<String>,
    /// Whether the settings name the bucket's owner, so that it isn't that of the role.
    pub(crate) has_fixed_owner: bool,
    /// All events recorded before this were delivered. After a change, the new place gets all later ones.
    pub(crate) exported_until: DateTime<Utc>,
}

impl Deliveries {
    /// `None` before the first save, and if the watermark can't be read.
    pub(crate) fn from_records(records: &TenantRecords) -> Option<Self> {
        let config = records.config.as_ref()?;
        let Draft { bucket_owner, role_arn, .. } = config;
        let role = role_arn.as_deref().and_then(|arn| RoleArn::parse(arn).ok());
        Some(Self {
            is_scheduled: ConnectorState::from_records(records) == ConnectorState::Scheduled,
            destination: config.destination()?,
            role_account: role.map(|role| role.account().to_string()),
            has_fixed_owner: bucket_owner.as_ref().is_some_and(|owner| !owner.is_empty()),
            exported_until: records.watermark.as_ref()?.schedule().ok()?.exported_until,
        })
    }
}
