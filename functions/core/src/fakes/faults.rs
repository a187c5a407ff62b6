//! Planned faults: an operation that fails, one that never comes back, and something that happens right before it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::failure::Failure;

/// An operation of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the port's method of that name, or the port")]
pub enum Op {
    Due,
    AnyConnected,
    Fleet,
    LastChecks,
    KeepCheck,
    Load,
    AcquireLease,
    ReleaseLease,
    Commit,
    SaveCheckpoint,
    RecordFailure,
    ResetBackoff,
    Outbox,
    RemovePublished,
    Send,
    Publish,
    RequestPublishing,
    Page,
    PageBack,
    Settings,
    Record,
    EventShards,
    Verify,
    Open,
    Write,
    Finish,
    Abort,
}

/// What goes wrong.
pub enum Fault {
    /// The operation does nothing and fails.
    Fail(Failure),
    /// The operation never comes back: whoever drops the run has seen it crash here.
    Crash,
    /// Something else happens first, then the operation goes on.
    After(Box<dyn FnOnce() + Send>),
}

struct Planned {
    op: Op,
    /// The tenant, or a shard where the operation is on a shard.
    of: Option<String>,
    fault: Fault,
    stays: bool,
}

/// What is planned, shared by all clones of a world.
#[derive(Clone, Default)]
pub(super) struct Faults {
    plan: Arc<Mutex<Vec<Planned>>>,
    calls: Arc<Mutex<HashMap<Op, usize>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    pub(super) fn plan(&self, op: Op, of: Option<&str>, fault: Fault, stays: bool) {
        lock(&self.plan).push(Planned { op, of: of.map(str::to_owned), fault, stays });
    }

    pub(super) fn clear(&self) {
        lock(&self.plan).clear();
    }

    pub(super) fn calls(&self, op: Op) -> usize {
        lock(&self.calls).get(&op).copied().unwrap_or(0)
    }

    pub(super) async fn pass(&self, op: Op, of: &str) -> Result<(), Failure> {
        *lock(&self.calls).entry(op).or_default() += 1;
        match self.next(op, of) {
            None => Ok(()),
            Some(Fault::Fail(failure)) => Err(failure),
            Some(Fault::Crash) => std::future::pending().await,
            Some(Fault::After(action)) => {
                action();
                Ok(())
            }
        }
    }

    fn next(&self, op: Op, of: &str) -> Option<Fault> {
        let mut plan = lock(&self.plan);
        let index = plan.iter().position(|it| it.op == op && it.of.as_deref().is_none_or(|tenant| tenant == of))?;
        match &plan[index] {
            Planned { fault: Fault::Fail(failure), stays: true, .. } => Some(Fault::Fail(failure.clone())),
            _ => Some(plan.remove(index).fault),
        }
    }
}
