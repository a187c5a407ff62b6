//! The bus, the queue and the requests to the exporter, in memory.

use super::{Fakes, Op};
use crate::{
    batch::Batch,
    failure::Failure,
    notification::Notification,
    ports::{Bus, ExporterTrigger, Queue},
    tenant::TenantId,
};

impl Bus for Fakes {
    async fn publish(&self, notification: &Notification) -> Result<(), Failure> {
        self.inject(Op::Publish, notification.tenant.as_str()).await?;
        self.state().notifications.push(notification.clone());
        Ok(())
    }
}

impl ExporterTrigger for Fakes {
    async fn request_publishing(&self, tenant: &TenantId) -> Result<(), Failure> {
        self.inject(Op::RequestPublishing, tenant.as_str()).await?;
        self.state().requested.push(tenant.to_string());
        Ok(())
    }

    async fn request_export(&self, tenant: &TenantId) -> Result<(), Failure> {
        self.inject(Op::RequestExport, tenant.as_str()).await?;
        self.state().requested_exports.push(tenant.to_string());
        Ok(())
    }
}

impl Queue for Fakes {
    async fn send(&self, batches: &[Batch]) -> Vec<(usize, Failure)> {
        let mut unsent = Vec::new();
        for (at, batch) in batches.iter().enumerate() {
            match self.inject(Op::Send, batch.tenants.first().map_or("", String::as_str)).await {
                Ok(()) => self.state().queue.push(batch.clone()),
                Err(failure) => unsent.push((at, failure)),
            }
        }
        unsent
    }
}
