//! What is needed to look at all tenants at once.

use std::future::Future;

use super::Due;
use crate::{failure::Failure, records::ConnectedCount, tenant::DueShard};

/// All tenants, as whoever looks for what is missing sees them. Indexes lag, so what they list, or don't, is a hint.
pub trait Fleet: Sync {
    /// Every entry of one shard of the index `due`, due or not: the connected tenants.
    fn connected(&self, shard: DueShard) -> impl Future<Output = Result<Vec<Due>, Failure>> + Send;

    /// The ids of all tenants with saved settings, connected or not, in any order: the index `saved`.
    fn saved(&self) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    /// The ids of all tenants whose outbox holds anything, in order: the index `pending`.
    fn pending(&self) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    /// How many connected tenants there were when they were counted last, read consistently.
    fn last_count(&self) -> impl Future<Output = Result<Option<ConnectedCount>, Failure>> + Send;

    /// Keeps a count in the place of the last one.
    fn save_count(&self, count: ConnectedCount) -> impl Future<Output = Result<(), Failure>> + Send;
}
