//! The lists of all tenants in memory, as the reconciliation reads them.

use super::{Fakes, Op};
use crate::{
    failure::Failure,
    ports::{Due, Fleet},
    records::{ConnectedCount, StoredWatermark},
    tenant::DueShard,
};

impl Fleet for Fakes {
    async fn connected(&self, shard: DueShard) -> Result<Vec<Due>, Failure> {
        self.inject(Op::Fleet, &shard.to_string()).await?;
        let state = self.state();
        let entry = |(id, watermark): (&String, &StoredWatermark)| {
            let StoredWatermark { due_shard, next_due, .. } = watermark;
            let in_shard = due_shard.as_ref() == Some(&shard.to_string());
            Some(Due { tenant: id.clone(), next_due: next_due.clone().filter(|_| in_shard)? })
        };
        Ok(state.tenants.iter().filter_map(|(id, tenant)| entry((id, tenant.watermark.as_ref()?))).collect())
    }

    async fn saved(&self) -> Result<Vec<String>, Failure> {
        self.inject(Op::Fleet, "saved").await?;
        let state = self.state();
        let saved =
            state.tenants.iter().filter(|(_, tenant)| tenant.config.as_ref().is_some_and(|it| it.region.is_some()));
        Ok(saved.map(|(id, _)| id.clone()).collect())
    }

    async fn pending(&self) -> Result<Vec<String>, Failure> {
        self.inject(Op::Fleet, "pending").await?;
        let state = self.state();
        Ok(state.tenants.iter().filter(|(_, tenant)| !tenant.outbox.is_empty()).map(|(id, _)| id.clone()).collect())
    }

    async fn last_count(&self) -> Result<Option<ConnectedCount>, Failure> {
        self.inject(Op::Fleet, "count").await?;
        Ok(self.state().count)
    }

    async fn save_count(&self, count: ConnectedCount) -> Result<(), Failure> {
        self.inject(Op::Fleet, "count").await?;
        self.state().count = Some(count);
        Ok(())
    }
}
