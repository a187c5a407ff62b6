//! The bus, the queue and the fleet with faults.

use std::{sync::Arc, time::Duration};

use audit_log_core::{
    batch::Batch,
    failure::{Code, Failure},
    notification::Notification,
    ports::{Bus, Due, Fleet, Queue},
    records::ConnectedCount,
    tenant::DueShard,
};
use chrono::TimeDelta;

use super::{Ports, writes::Request};
use crate::{
    bugs::{Bug, is_planted},
    world::call_now,
};

/// How long a run waits for the bus.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

impl Bus for Ports {
    async fn publish(&self, notification: &Notification) -> Result<(), Failure> {
        let of = || format!("{} {:?} {}", notification.tenant, notification.kind, notification.sequence);
        let of = self.world.format(of);
        let (ports, mut notification) = (self.clone(), notification.clone());
        if is_planted(Bug::PublishedUnderNewId) {
            notification.id = format!("{}-{}", notification.id, self.run);
        }
        let publish = move |is_given_up: bool| {
            if !is_given_up {
                ports.check_publishing_lease(notification.tenant.as_str());
            }
            call_now(ports.fakes().publish(&notification))
        };
        let publishing =
            tokio::time::timeout(PUBLISH_TIMEOUT, self.write_with_faults(Request::new(self, "publish", of, publish)));
        let late = || Failure::new(Code::Unavailable, "The bus did not answer in time.");
        let result = publishing.await.map_or_else(|_| Err(late()), |answer| answer.result);
        if is_planted(Bug::RefusedIsPublished) { Ok(()) } else { result }
    }
}

impl Ports {
    /// Only the run with the lease publishes: two runs could publish an outbox out of order.
    fn check_publishing_lease(&self, tenant: &str) {
        let until = self.seen().leases.get(tenant).copied();
        // If every call is slow, publishing may outlast the lease.
        let is_over = until.is_some_and(|until| until < self.world.now() + TimeDelta::minutes(1));
        if !self.holds_lease(tenant) && !is_over {
            self.world.violate(format!("{tenant}: run {} publishes without the lease", self.run));
        }
    }
}

impl Queue for Ports {
    async fn send(&self, batches: &[Batch]) -> Vec<(usize, Failure)> {
        let mut unsent = Vec::new();
        for (at, batch) in batches.iter().enumerate() {
            let (world, deliver, message) = (Arc::clone(&self.world), self.deliver, batch.clone());
            let send = move |_| {
                deliver(&world, &message);
                Ok(())
            };
            match self.write_with_faults(Request::new(self, "send", batch.tenants.join(" "), send)).await.result {
                Ok(()) => self.seen().sent.extend(batch.tenants.iter().cloned()),
                Err(failure) => unsent.push((at, failure)),
            }
        }
        unsent
    }
}

/// The hourly check uses only `pending`.
impl Fleet for Ports {
    async fn connected(&self, shard: DueShard) -> Result<Vec<Due>, Failure> {
        self.fakes().connected(shard).await
    }

    async fn saved(&self) -> Result<Vec<String>, Failure> {
        self.fakes().saved().await
    }

    async fn pending(&self) -> Result<Vec<String>, Failure> {
        self.read("pending", "outboxes", self.fakes().pending()).await
    }

    async fn last_count(&self) -> Result<Option<ConnectedCount>, Failure> {
        self.fakes().last_count().await
    }

    async fn save_count(&self, count: ConnectedCount) -> Result<(), Failure> {
        self.fakes().save_count(count).await
    }
}
