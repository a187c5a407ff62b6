//! What is needed to check connections day by day.

use std::future::Future;

use super::Conditional;
use crate::{failure::Failure, outbox::Announcement, records::ConnectionCheck, tenant::TenantId};

/// What daily checks of tenants' connections have found.
pub trait Connections: Sync {
    /// What the last check of each tenant found, read consistently; one entry for each id, in any order. None also where
    /// the stored check can't be read.
    fn last_checks(
        &self,
        tenants: &[TenantId],
    ) -> impl Future<Output = Result<Vec<(TenantId, Option<ConnectionCheck>)>, Failure>> + Send;

    /// The same for one tenant.
    fn last_check(&self, tenant: &TenantId) -> impl Future<Output = Result<Option<ConnectionCheck>, Failure>> + Send {
        async {
            let found = self.last_checks(std::slice::from_ref(tenant)).await?;
            Ok(found.into_iter().find_map(|(_, check)| check))
        }
    }

    /// Keeps what a check found in the place of the last one, and announces what is new, all or nothing. Conditional on the last
    /// check as read (for none, on there being none that can be read), on the config's version that was checked, and on
    /// the tenant being connected. An audit event that was recorded before stays as it is.
    fn save_check(
        &self,
        tenant: &TenantId,
        as_read: Option<&ConnectionCheck>,
        found: &ConnectionCheck,
        announcement: Option<&Announcement>,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;
}
