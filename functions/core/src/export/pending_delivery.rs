//! One final delivery under a lease, and the record that holds it.

use chrono::{DateTime, Utc};

use super::{
    AbortReason,
    held_lease::{HeldLease, lease_lost},
};
use crate::{
    outbox::Announcement,
    ports::{Conditional, FinalDeliveryWrite, Tenants},
    records::{FinalDeliveries, FinalDelivery},
};

/// How often a write is tried while admins change the same record.
const MAX_ATTEMPTS: usize = 3;

/// A final delivery, and its record as it was read or written last under the lease.
pub(super) struct PendingDelivery {
    record: FinalDeliveries,
    pub(super) delivery: FinalDelivery,
}

impl PendingDelivery {
    pub(super) fn new(record: FinalDeliveries, delivery: FinalDelivery) -> Self {
        Self { record, delivery }
    }

    pub(super) fn into_record(self) -> FinalDeliveries {
        self.record
    }

    pub(super) fn is_in_record(&self) -> bool {
        self.record.places.iter().any(|it| it.place == self.delivery.place)
    }

    /// Replaces this place's delivery in the record, or removes it. An admin may move the end of a delivery meanwhile, or leave
    /// another place; `change` then is applied to the record as it is now.
    pub(super) async fn write<T: Tenants>(
        &mut self,
        tenants: &T,
        held: &HeldLease,
        delivered_until: Option<DateTime<Utc>>,
        change: impl Fn(&FinalDelivery) -> (Option<FinalDelivery>, Option<Announcement>),
    ) -> Result<(), AbortReason> {
        let lease = held.lease.as_ref().ok_or_else(lease_lost)?;
        for _ in 0..MAX_ATTEMPTS {
            let (delivery, announcement) = change(&self.delivery);
            let after = self.record.with(&self.delivery.place, delivery.clone());
            let write = FinalDeliveryWrite { after: &after, delivered_until, announcement: announcement.as_ref() };
            if tenants.write_final_deliveries(&held.tenant, lease, write).await? == Conditional::Written {
                self.record = after;
                if let Some(delivery) = delivery {
                    self.delivery = delivery;
                }
                return Ok(());
            }
            let records = tenants.load_one(&held.tenant).await?;
            if !held.holds(&records) {
                return Err(lease_lost().into());
            }
            self.record = records.final_deliveries;
            let delivery = self.record.places.iter().find(|it| it.place == self.delivery.place);
            // Only the run with the lease removes a delivery: the answer to an earlier attempt was lost.
            match delivery.filter(|it| it.since == self.delivery.since) {
                Some(delivery) => self.delivery = delivery.clone(),
                None => return Ok(()),
            }
        }
        Err(AbortReason::Changed)
    }

    pub(super) async fn save_checkpoint<T: Tenants>(
        &mut self,
        tenants: &T,
        held: &HeldLease,
        checkpoint: String,
    ) -> Result<(), AbortReason> {
        let with_checkpoint = |it: &FinalDelivery| {
            let checkpoint = Some(checkpoint.clone());
            let delivered = FinalDelivery { checkpoint, failing_since: None, refused_since: None, ..it.clone() };
            (Some(delivered), None)
        };
        self.write(tenants, held, None, with_checkpoint).await
    }
}
