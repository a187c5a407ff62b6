//! The bus, the queue and the fleet with faults around them.

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
    runs,
    world::at_once,
};

/// For how long a run waits for the bus.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

impl Bus for Ports {
    async fn publish(&self, notification: &Notification) -> Result<(), Failure> {
        let of = || format!("{} {:?} {}", notification.tenant, notification.kind, notification.sequence);
        let of = self.world.name(of);
        let (ports, mut notification) = (self.clone(), notification.clone());
        if is_planted(Bug::PublishedUnderNewId) {
            notification.id = format!("{}-{}", notification.id, self.run);
        }
        let publish = move |is_given_up: bool| {
            if !is_given_up {
                ports.publishes_under_lease(notification.tenant.as_str());
            }
            at_once(ports.fakes().publish(&notification))
        };
        let publishing = tokio::time::timeout(PUBLISH_TIMEOUT, self.writes(Request::new(self, "publish", of, publish)));
        let late = || Failure::new(Code::Unavailable, "The bus did not answer in time.");
        let result = publishing.await.map_or_else(|_| Err(late()), |answer| answer.result);
        if is_planted(Bug::RefusedIsPublished) { Ok(()) } else { result }
    }
}

impl Ports {
    /// Two runs that publish one outbox at once could publish it out of order.
    fn publishes_under_lease(&self, tenant: &str) {
        let until = self.seen().leases.get(tenant).copied();
        // A run that publishes alone may do so for longer than its lease lasts, if every call is slow.
        let is_over = until.is_some_and(|until| until < self.world.now() + TimeDelta::minutes(1));
        if !self.has_lease(tenant) && !is_over {
            self.world.violate(format!("{tenant}: run {} publishes without the lease", self.run));
        }
    }
}

impl Queue for Ports {
    async fn send(&self, batches: &[Batch]) -> Vec<(usize, Failure)> {
        let mut unsent = Vec::new();
        for (at, batch) in batches.iter().enumerate() {
            let (world, message) = (Arc::clone(&self.world), batch.clone());
            let send = move |_| {
                runs::deliver(&world, &message);
                Ok(())
            };
            match self.writes(Request::new(self, "send", batch.tenants.join(" "), send)).await.result {
                Ok(()) => self.seen().sent.extend(batch.tenants.iter().cloned()),
                Err(failure) => unsent.push((at, failure)),
            }
        }
        unsent
    }
}

/// For the hourly check; of the fleet, an export needs nothing else.
impl Fleet for Ports {
    async fn connected(&self, shard: DueShard) -> Result<Vec<Due>, Failure> {
        self.fakes().connected(shard).await
    }

    async fn saved(&self) -> Result<Vec<String>, Failure> {
        self.fakes().saved().await
    }

    async fn pending(&self) -> Result<Vec<String>, Failure> {
        self.reads("pending", "outboxes", self.fakes().pending()).await
    }

    async fn last_count(&self) -> Result<Option<ConnectedCount>, Failure> {
        self.fakes().last_count().await
    }

    async fn save_count(&self, count: ConnectedCount) -> Result<(), Failure> {
        self.fakes().save_count(count).await
    }
}
