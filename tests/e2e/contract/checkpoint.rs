//! The checkpoint of a window that isn't committed yet.

use anyhow::Result;
use audit_log_core::{
    ports::{Conditional, Tenants},
    records::StoredWatermark,
};

use crate::world::{AsRead, World, connect_and_acquire, denied, stored_watermark};

on_both_worlds! {
    a_checkpoint_is_stored_until_the_window_is_committed
    a_failure_leaves_the_checkpoint
}

async fn save(world: &impl World, acme: &AsRead, checkpoint: &str) -> Result<()> {
    let saved = world.tenants().save_checkpoint(&acme.config, acme.fence(), checkpoint).await?;
    assert_eq!(saved, Conditional::Written);
    Ok(())
}

async fn a_checkpoint_is_stored_until_the_window_is_committed(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    for checkpoint in ["first", "second"] {
        // No other run writes it under the lease, so the fence doesn't compare it.
        save(world, &acme, checkpoint).await?;
        let stored = StoredWatermark { checkpoint: Some(checkpoint.to_owned()), ..acme.watermark.clone() };
        assert_eq!(stored_watermark(world, &acme.config.tenant).await?, stored, "nothing else changes");
    }
    let receipt = acme.receipt("a");
    assert_eq!(acme.commit(world, &receipt).await?, Conditional::Written);
    let committed = acme.watermark.after(&receipt, acme.after());
    assert_eq!((&stored_watermark(world, &acme.config.tenant).await?, &committed.checkpoint), (&committed, &None));
    Ok(())
}

async fn a_failure_leaves_the_checkpoint(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    save(world, &acme, "so far").await?;
    assert_eq!(acme.fail(world, &denied(), "11:05").await?, Conditional::Written);
    let stored = stored_watermark(world, &acme.config.tenant).await?;
    assert_eq!((stored.checkpoint.as_deref(), stored.failing), (Some("so far"), true));
    Ok(())
}
