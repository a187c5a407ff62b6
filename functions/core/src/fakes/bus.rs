//! A bus in memory, and the requests to publish on it.

use super::{Fakes, Op};
use crate::{
    failure::Failure,
    notification::Notification,
    ports::{Bus, PublishTrigger},
    tenant::TenantId,
};

impl Bus for Fakes {
    async fn publish(&self, notification: &Notification) -> Result<(), Failure> {
        self.pass(Op::Publish, notification.tenant.as_str()).await?;
        self.state().notifications.push(notification.clone());
        Ok(())
    }
}

impl PublishTrigger for Fakes {
    async fn request_publishing(&self, tenant: &TenantId) -> Result<(), Failure> {
        self.pass(Op::RequestPublishing, tenant.as_str()).await?;
        self.state().requested.push(tenant.to_string());
        Ok(())
    }
}
