//! Faults that tests plan for calls of ports.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::failure::Failure;

/// A port's method, or the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    Due,
    AnyConnected,
    Fleet,
    LastChecks,
    SaveCheck,
    Load,
    AcquireLease,
    ReleaseLease,
    Commit,
    SaveCheckpoint,
    RecordFailure,
    ResetBackoff,
    MarkVerified,
    FinalDeliveries,
    WriteFinalDeliveries,
    Outbox,
    RemovePublished,
    Send,
    Publish,
    Sign,
    ManifestKeys,
    RequestPublishing,
    RequestExport,
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
    Inventory,
    BeginErasure,
    Erase,
}

pub enum Fault {
    /// The call does nothing and fails.
    Fail(Failure),
    /// The call never returns; a test drops the run here, as in a crash.
    Crash,
    /// The action runs, then the call succeeds.
    After(Box<dyn FnOnce() + Send>),
}

struct Planned {
    op: Op,
    /// The tenant, or the shard of an operation on a shard.
    of: Option<String>,
    fault: Fault,
    is_permanent: bool,
}

/// The planned faults, which clones share.
#[derive(Clone, Default)]
pub(super) struct Faults {
    plan: Arc<Mutex<Vec<Planned>>>,
    calls: Arc<Mutex<HashMap<Op, usize>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    pub(super) fn plan(&self, op: Op, of: Option<&str>, fault: Fault, is_permanent: bool) {
        lock(&self.plan).push(Planned { op, of: of.map(str::to_owned), fault, is_permanent });
    }

    pub(super) fn clear(&self) {
        lock(&self.plan).clear();
    }

    pub(super) fn calls(&self, op: Op) -> usize {
        lock(&self.calls).get(&op).copied().unwrap_or(0)
    }

    pub(super) async fn inject(&self, op: Op, of: &str) -> Result<(), Failure> {
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
            Planned { fault: Fault::Fail(failure), is_permanent: true, .. } => Some(Fault::Fail(failure.clone())),
            _ => Some(plan.remove(index).fault),
        }
    }
}
