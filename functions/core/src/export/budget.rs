//! How much may be held in memory of what is on its way, by all tenants together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which it is counted, in bytes.
const UNIT: usize = 64 * 1024;

/// A budget of bytes; a clone is the same one.
///
/// What everybody needs to get on at all is not counted: a page of events for each shard, and an object's first
/// [`FREE_BYTES`]. So a small tenant never waits for a large one. One half is for what can be done without, which is never
/// waited for; the other for what has to be waited for, and is given back without any more of the budget. If both were
/// one, tenants that held of the first could wait for each other.
#[derive(Debug, Clone)]
pub struct Budget {
    spare: Arc<Semaphore>,
    needed: Arc<Semaphore>,
    half: usize,
}

/// Until when an object's bytes are not counted.
pub const FREE_BYTES: usize = 1 << 20;

/// A part of the budget; given back when it is dropped.
#[derive(Debug)]
pub struct Taken(#[allow(dead_code, reason = "it is held, and not looked at")] OwnedSemaphorePermit);

impl Budget {
    /// Of so many bytes.
    pub fn new(bytes: usize) -> Self {
        let half = (bytes / 2 / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { spare: Arc::new(Semaphore::new(half)), needed: Arc::new(Semaphore::new(half)), half }
    }

    /// So many bytes, if they are free, of what can be done without.
    pub fn try_take(&self, bytes: usize) -> Option<Taken> {
        Arc::clone(&self.spare).try_acquire_many_owned(self.units(bytes)).ok().map(Taken)
    }

    /// So many bytes, or all there are, once they are free. Whoever asks first is served first; and whoever has them gives
    /// them back without asking for more.
    pub async fn take(&self, bytes: usize) -> Option<Taken> {
        Arc::clone(&self.needed).acquire_many_owned(self.units(bytes)).await.ok().map(Taken)
    }

    fn units(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT).min(self.half)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn what_is_taken_is_missing_until_it_is_given_back_and_nothing_is_too_large() {
        let budget = Budget::new(20 * UNIT);
        let first = budget.try_take(6 * UNIT).unwrap();
        assert!(budget.try_take(6 * UNIT).is_none());
        let needed = budget.take(100 * UNIT).now_or_never().flatten();
        assert!(needed.is_some(), "all there are, whatever is held of the other half");
        assert!(budget.take(UNIT).now_or_never().is_none());
        drop((first, needed));
        assert!(budget.try_take(6 * UNIT).is_some() && budget.take(UNIT).now_or_never().flatten().is_some());
    }
}
