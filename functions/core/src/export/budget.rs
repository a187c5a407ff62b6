//! A memory budget for events and objects in flight, over all tenants.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per permit of the semaphores.
const PERMIT_BYTES: usize = 64 * 1024;

/// A budget of bytes that all clones share.
///
/// What a tenant needs to advance at all is exempt: a page of events for each shard, and an object's first
/// [`EXEMPT_BYTES`]. So a small tenant never waits for a large one. One half is for optional reservations (prefetched
/// pages), which never wait. The other is for required ones (buffered parts), which wait, and are released without reserving
/// more. With a single half, tenants that hold optional reservations could wait for each other.
#[derive(Debug, Clone)]
pub struct Budget {
    optional: Arc<Semaphore>,
    required: Arc<Semaphore>,
    permits: u32,
}

/// Bytes per object that are exempt from the budget.
pub const EXEMPT_BYTES: usize = 1 << 20;

/// A reserved part of a budget, released when it is dropped.
pub type BudgetPermit = OwnedSemaphorePermit;

impl Budget {
    pub fn new(bytes: usize) -> Self {
        let permits = u32::try_from(bytes / 2 / PERMIT_BYTES).unwrap_or(u32::MAX).max(1);
        let half = || Arc::new(Semaphore::new(permits as usize));
        Self { optional: half(), required: half(), permits }
    }

    /// Reserves optional bytes, if they are free.
    pub fn try_reserve(&self, bytes: usize) -> Option<BudgetPermit> {
        Arc::clone(&self.optional).try_acquire_many_owned(self.permits(bytes)).ok()
    }

    /// Reserves required bytes, or all there are, once they are free: first come, first served. The holder must release
    /// them without reserving more.
    pub async fn reserve(&self, bytes: usize) -> Option<BudgetPermit> {
        Arc::clone(&self.required).acquire_many_owned(self.permits(bytes)).await.ok()
    }

    fn permits(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).min(self.permits)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn reserved_bytes_are_missing_until_they_are_released_and_no_reservation_is_too_large() {
        let budget = Budget::new(20 * PERMIT_BYTES);
        let first = budget.try_reserve(6 * PERMIT_BYTES).unwrap();
        assert!(budget.try_reserve(6 * PERMIT_BYTES).is_none());
        let required = budget.reserve(100 * PERMIT_BYTES).now_or_never().flatten();
        assert!(required.is_some(), "all there are, whatever is reserved of the other half");
        assert!(budget.reserve(PERMIT_BYTES).now_or_never().is_none());
        drop((first, required));
        assert!(
            budget.try_reserve(6 * PERMIT_BYTES).is_some()
                && budget.reserve(PERMIT_BYTES).now_or_never().flatten().is_some()
        );
    }
}
