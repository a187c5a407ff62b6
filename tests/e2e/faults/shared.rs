//! The worlds that the tests of this binary share.

use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use audit_log_tests::LocalAws;
use tokio::runtime::Runtime;

use crate::world::World;

/// A world whose tests run one after the other. There are two, so that one works while the other waits for a retry.
pub(crate) struct SharedWorld {
    // Shared, since the SDK's connections end with the runtime that made them.
    world: LazyLock<Result<(Runtime, World)>>,
    lock: Mutex<()>,
}

impl SharedWorld {
    pub(crate) const fn new() -> Self {
        Self { world: LazyLock::new(start), lock: Mutex::new(()) }
    }

    pub(crate) fn run_alone(&self, test: impl AsyncFnOnce(&World) -> Result<()>) -> Result<()> {
        let _lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let (runtime, world) = self.world.as_ref().map_err(|error| anyhow!("{error:#}"))?;
        runtime.block_on(test(world))
    }
}

fn start() -> Result<(Runtime, World)> {
    let runtime = Runtime::new()?;
    // A static is never dropped, but the local AWS ends with this process and removes its files.
    let aws: &'static LocalAws = Box::leak(Box::new(runtime.block_on(LocalAws::start())?));
    let world = runtime.block_on(async {
        let mut world = World::start(aws).await?;
        world.start.later = world.after_a_tick().await?;
        world.start.replay = world.with_replays().await?;
        anyhow::Ok(world)
    })?;
    Ok((runtime, world))
}
