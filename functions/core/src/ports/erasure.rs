//! What an operator needs to erase a tenant.

use std::future::Future;

use chrono::{DateTime, Utc};

use super::Conditional;
use crate::{
    failure::{Code, Failure, Party},
    records::TenantRecords,
    tenant::TenantId,
};

/// What the tenants table holds of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    pub records: TenantRecords,
    /// The names of all records, without a config that only says that an erasure has begun.
    pub names: Vec<String>,
    /// Whether there is such a config: an erasure was interrupted, or goes on.
    pub begun: bool,
    /// The names of the records that wait for a run of the exporter.
    pub pending: Vec<String>,
    /// Until when events are delivered, as written; none if no export was ever scheduled.
    pub delivered_until: Option<String>,
}

/// A part of what the events table holds of a tenant: one partition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsPart {
    /// The events of a shard.
    Shard(u16),
    /// The markers whose hashes begin with this byte.
    Markers(u8),
}

/// What one call has erased of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    pub items: u64,
    /// Whether there were more items.
    pub more: bool,
}

/// An erasure that has begun, by the config that it has put. Another run of the command that begins replaces that config, and
/// ends the right of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// The config's version.
    pub version: u64,
    /// Whole seconds.
    pub since: DateTime<Utc>,
}

/// Erases one tenant. No function of the platform has the rights for it.
pub trait Erasure: Sync {
    /// Reads a tenant's records consistently.
    fn inventory(&self, tenant: &TenantId) -> impl Future<Output = Result<Inventory, Failure>> + Send;

    /// Removes the watermark and the records that a run may wait for, and puts a config in place of the stored one with which
    /// nobody can connect the tenant, all or nothing. Conditional on the config's version, and on the tenant being out of the
    /// schedule, without a lease that [excludes others](crate::lease::Lease::excludes_others) at `now`, and without a record
    /// that waits. None if a condition fails.
    fn begin_erasure(
        &self,
        tenant: &TenantId,
        version: u64,
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<Option<Begun>, Failure>> + Send;

    /// Counts the items of a part.
    fn count(&self, tenant: &TenantId, part: EventsPart) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Erases the first items of a part. None, and nothing is erased, if the config is no longer that of this erasure after the
    /// items were listed: they may be those of a tenant that came back.
    fn erase_some(
        &self,
        tenant: &TenantId,
        begun: Begun,
        part: EventsPart,
    ) -> impl Future<Output = Result<Option<Erased>, Failure>> + Send;

    /// Erases records by their names, but never `config`: it keeps the tenant from being connected meanwhile. Each write is
    /// conditional on the config being that of this erasure.
    fn erase_records(
        &self,
        tenant: &TenantId,
        begun: Begun,
        names: &[String],
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Removes the config of this erasure. Conditional on its being that one.
    fn end_erasure(&self, tenant: &TenantId, begun: Begun)
    -> impl Future<Output = Result<Conditional, Failure>> + Send;
}

/// The failure of a tenant's admin who comes while the tenant is being erased.
pub fn being_erased() -> Failure {
    Failure::by(Party::Platform, Code::Unavailable, "An operator is erasing the tenant, or has to finish an erasure.")
}
