//! Final deliveries: what is left to deliver to places that tenants have left.
//!
//! A change of destination writes the record `final_delivery` in its own transaction. Each run that comes to the tenant tries
//! it, after all due windows of all its tenants, under the tenant's lease. It stores objects as a window's are stored, but moves
//! neither watermark nor schedule: the new place gets every window whole. A place that refuses is tried for a day after its
//! first refusal, or for seven if the failure is the platform's.

use std::{
    ops::AddAssign,
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
};

use chrono::TimeDelta;
use futures::{
    StreamExt as _,
    future::{Either, select},
    stream,
};
use tracing::Instrument as _;

use super::{
    AbortReason, Export, Run,
    held_lease::{HeldLease, lease_lost, log_error},
    pending_delivery::PendingDelivery,
    report::{Deferral, FinalDeliveryCounts},
    time_is_up,
    window::{Delivery, LeaseContext},
};
use crate::{
    checkpoint::Checkpoint,
    failure::{Code, Failure, Party},
    lease::LEASE_MARGIN,
    new_event::Stamp,
    ports::{Acquisition, Buckets, Bus, Events, Purpose, Signer, Tenants},
    records::{FinalDeliveries, FinalDelivery, Receipt},
    schedule::{Window, full_hour, next_full_hour, wait_to_settle},
    settings::{Draft, FieldErrors},
    system_events::{self, EndedDelivery},
    tenant::TenantId,
    timestamp,
};

/// How long before the next tick a delivery stops: it has the lease, and must not delay that tick's window.
pub(super) const BEFORE_TICK: TimeDelta = TimeDelta::seconds(30);

/// How one delivery went in a run.
struct Delivered {
    /// Whether the rest is left to a later run.
    in_part: bool,
    /// Whether its manifest is not signed.
    unsigned: bool,
}

impl<T: Tenants, E: Events, B: Buckets, N: Bus, S: Signer> Export<T, E, B, N, S> {
    /// Adds the tenants with pending final deliveries or a replay to the due ones. If the index can't be read, the next tick reads
    /// it.
    pub(super) async fn add_redeliveries(&self, due: &mut Vec<String>) {
        match self.tenants.redeliveries().await {
            Ok(mut leaving) => {
                leaving.retain(|tenant| !due.contains(tenant));
                due.extend(leaving);
            }
            Err(Failure { code, message, .. }) => {
                tracing::error!(code = %code, reason = message, "the pending final deliveries and replays could not be listed");
            }
        }
    }

    /// Makes the final deliveries of all tenants of the index `pending`, for the hourly check.
    ///
    /// # Errors
    /// If the index could not be read.
    pub async fn deliver_pending_finals(&self, run: Run<'_>) -> Result<FinalDeliveryCounts, Failure> {
        let leaving = self.tenants.redeliveries().await?;
        Ok(self.deliver_finals(run, leaving.iter().filter_map(|id| TenantId::parse(id).ok()).collect()).await)
    }

    /// Makes these tenants' final deliveries, until the time is up. No failure of one affects another, or any window.
    pub(super) async fn deliver_finals(&self, run: Run<'_>, tenants: Vec<TenantId>) -> FinalDeliveryCounts {
        let next_tick = next_full_hour((run.now)());
        let stop = || (run.should_stop)() || (run.now)() + BEFORE_TICK >= next_tick;
        let deliveries = tenants.iter().map(|tenant| {
            let span = tracing::info_span!("final delivery", tenant = %tenant);
            self.deliver_to_places(Run { should_stop: &stop, ..run }, tenant).instrument(span)
        });
        self.side_by_side(run, deliveries).await
    }

    /// Runs jobs of tenants, some side by side, and abandons those that don't end in time.
    pub(super) async fn side_by_side<C: Default + AddAssign>(
        &self,
        run: Run<'_>,
        jobs: impl Iterator<Item = impl Future<Output = C>>,
    ) -> C {
        let mut counts = C::default();
        let mut time_is_up = pin!(time_is_up(run));
        let mut jobs = pin!(stream::iter(jobs).buffer_unordered(self.options.concurrency.max(1)));
        while let Either::Left((Some(of_tenant), _)) = select(jobs.next(), &mut time_is_up).await {
            counts += of_tenant;
        }
        counts
    }

    /// Makes one tenant's final deliveries, each on its own.
    async fn deliver_to_places(&self, run: Run<'_>, tenant: &TenantId) -> FinalDeliveryCounts {
        let mut counts = FinalDeliveryCounts::default();
        let (mut held, mut record, config) = match self.acquire_for_final(run, tenant).await {
            Ok(Some(acquired)) => acquired,
            Ok(None) => return counts,
            Err(failure) => {
                log_error(tenant, &failure, "the final deliveries could not be begun");
                return counts;
            }
        };
        for text in &record.unreadable {
            tracing::error!(bytes = text.len(), "unreadable final delivery");
        }
        counts.failed += record.unreadable.len() as u64;
        let (places, mut in_doubt) = (record.places.iter().map(|it| it.place.clone()).collect::<Vec<_>>(), false);
        for place in places {
            // As the record is now: an admin may have left the place again while another one was delivered to.
            let Some(delivery) = record.places.iter().find(|it| it.place == place).cloned() else { continue };
            if (run.should_stop)() {
                break;
            }
            if delivery.retry_after.is_some_and(|after| (run.now)() <= after) {
                tracing::info!(bucket = delivery.place.bucket, "deferred: a failed request may still store an object");
                continue;
            }
            let mut pending = PendingDelivery::new(record, delivery);
            held.in_doubt = false;
            let mut failed = None;
            match self.deliver_to_place(run, &mut held, &mut pending, config.as_ref()).await {
                Ok(Delivered { in_part, unsigned }) => {
                    counts.completed += u64::from(!in_part);
                    counts.signing_failed += u64::from(unsigned);
                }
                Err(AbortReason::Deferred(deferral)) => {
                    tracing::info!(bucket = pending.delivery.place.bucket, why = deferral.reason(), "deferred");
                }
                Err(AbortReason::Changed) => {
                    tracing::info!(bucket = pending.delivery.place.bucket, "deferred: the record keeps changing");
                }
                Err(AbortReason::Failed(failure)) => {
                    let is_given_up = pending.delivery.is_given_up(&failure, (run.now)());
                    log_refusal(&pending.delivery, &failure, is_given_up);
                    counts.lease_lost += u64::from(failure.code == Code::LeaseLost);
                    counts.signing_failed += u64::from(failure.code == Code::SigningFailed);
                    if is_given_up {
                        let was_failing = pending.delivery.was_failing;
                        let is_stored = self.give_up(run, &mut held, &mut pending, &failure).await;
                        counts.given_up += u64::from(is_stored && !was_failing);
                    } else {
                        counts.failed += 1;
                        failed = Some(failure);
                    }
                }
            }
            self.note_failed_delivery(run, &mut held, &mut pending, failed.as_ref()).await;
            in_doubt |= held.in_doubt;
            record = pending.into_record();
        }
        held.in_doubt = in_doubt;
        self.finish(run, &mut held).await;
        counts
    }

    /// Acquires the lease, and reads the records under it. None if there is nothing to deliver, or if another run has the lease;
    /// a later run delivers then.
    async fn acquire_for_final(
        &self,
        run: Run<'_>,
        tenant: &TenantId,
    ) -> Result<Option<(HeldLease, FinalDeliveries, Option<Draft>)>, Failure> {
        if (run.should_stop)() || self.tenants.load_one(tenant).await?.final_deliveries.is_empty() {
            return Ok(None);
        }
        let lease = run.new_lease(run.deadline + LEASE_MARGIN)?;
        let acquisition = self.acquire_or_release(tenant, Purpose::Redelivery, &lease, (run.now)()).await?;
        let (watermark, health) = match acquisition {
            Acquisition::Acquired(watermark, health) => (watermark, health),
            Acquisition::HeldUntil(until) => {
                let why = Deferral::Leased { until }.reason();
                tracing::info!(until = timestamp::seconds(until), why, "final deliveries deferred");
                return Ok(None);
            }
            Acquisition::ConditionFailed => return Ok(None),
        };
        let mut held = HeldLease::new(tenant.clone(), watermark, health, false);
        held.lease = Some(lease);
        match self.tenants.load_one(tenant).await {
            Ok(records) => {
                held.has_notifications = records.has_notifications;
                Ok(Some((held, records.final_deliveries, records.config)))
            }
            Err(failure) => {
                self.finish(run, &mut held).await;
                Err(failure)
            }
        }
    }

    /// Delivers to one place, up to the end of the delivery or as far as it has settled. `stored` are the tenant's settings now.
    async fn deliver_to_place(
        &self,
        run: Run<'_>,
        held: &mut HeldLease,
        pending: &mut PendingDelivery,
        stored: Option<&Draft>,
    ) -> Result<Delivered, AbortReason> {
        let config = pending.delivery.config_now(stored);
        let config = config.check(&held.tenant, run.platform).map_err(FieldErrors::into_failure)?;
        let as_read = pending.delivery.clone();
        let window = self.settled_window(run, &as_read).await?;
        let uncommitted_objects = Arc::<AtomicU64>::default();
        let mut bucket = None;
        let delivery = Delivery::Final(pending);
        let context = LeaseContext { run, tenants: &self.tenants, config: &config, held, delivery };
        let receipt = self.store(context, window, &mut bucket, &uncommitted_objects).await?;
        if held.lease.as_ref().is_none_or(|lease| lease.until < (run.now)()) {
            return Err(lease_lost().into());
        }
        let delivered_until = held.watermark.final_delivered_until.as_deref().and_then(timestamp::parse_seconds);
        let delivered_until = delivered_until.map_or(window.to, |before| before.max(window.to));
        let stamp = Stamp { at: (run.now)(), retention: self.options.retention };
        let tenant = held.tenant.clone();
        let after = |it: &FinalDelivery| {
            // The rest is a delivery of its own, so that no flood of changes can hold up what is before them.
            match it.rest(&as_read, &receipt) {
                None => (None, Some(EndedDelivery { tenant: &tenant, delivery: it }.completed(stamp, &receipt))),
                rest => {
                    let unsigned = receipt.is_unsigned();
                    (rest, unsigned.then(|| system_events::window_unsigned(&tenant, stamp, &receipt)))
                }
            }
        };
        pending.write(&self.tenants, held, Some(delivered_until), after).await?;
        held.has_notifications |= receipt.is_unsigned();
        held.watermark.final_delivered_until = Some(timestamp::seconds(delivered_until));
        // What may still be stored are the very bytes that are delivered.
        held.in_doubt = false;
        log_delivery(&pending.delivery, &receipt);
        Ok(Delivered { in_part: pending.is_in_record(), unsigned: receipt.is_unsigned() })
    }

    /// Returns the window to deliver. A window that was begun is ended first; else it ends with the delivery or, if that is too
    /// recent to wait for, with the last hour that has settled.
    async fn settled_window(&self, run: Run<'_>, delivery: &FinalDelivery) -> Result<Window, AbortReason> {
        let begun = delivery.checkpoint.as_deref().and_then(Checkpoint::stored_window);
        let begun = begun.filter(|begun| begun.from == delivery.from && begun.to <= delivery.until);
        let window = begun.unwrap_or_else(|| delivery.window());
        let (now, settle) = ((run.now)(), self.options.settle);
        let window = match wait_to_settle(window, now, settle) {
            Some(wait) => {
                tokio::time::sleep(wait.to_std().unwrap_or_default()).await;
                window
            }
            None => Window { to: full_hour(now - settle), ..window },
        };
        if window.to <= window.from {
            return Err(AbortReason::Deferred(Deferral::NotSettled));
        }
        if (run.should_stop)() {
            return Err(AbortReason::Deferred(Deferral::OutOfTime));
        }
        Ok(window)
    }

    /// Ends a delivery that is refused for good. Returns whether that is stored.
    async fn give_up(
        &self,
        run: Run<'_>,
        held: &mut HeldLease,
        pending: &mut PendingDelivery,
        failure: &Failure,
    ) -> bool {
        let stamp = Stamp { at: (run.now)(), retention: self.options.retention };
        let tenant = held.tenant.clone();
        let failed =
            |it: &FinalDelivery| (None, Some(EndedDelivery { tenant: &tenant, delivery: it }.failed(stamp, failure)));
        match pending.write(&self.tenants, held, None, failed).await {
            Ok(()) => {
                held.has_notifications = true;
                // No other run stores anything there any more.
                held.in_doubt = false;
                true
            }
            Err(AbortReason::Failed(failure)) => {
                log_error(&held.tenant, &failure, "the end of a final delivery could not be noted");
                false
            }
            Err(AbortReason::Changed | AbortReason::Deferred(_)) => false,
        }
    }

    /// Notes since when a delivery fails, and that a failed request may still store an object, so that no other run stores another
    /// reading under its key. Windows have other keys, so the lease need not last that long. If the doubt can't be noted, the lease
    /// is left to expire.
    async fn note_failed_delivery(
        &self,
        run: Run<'_>,
        held: &mut HeldLease,
        pending: &mut PendingDelivery,
        failure: Option<&Failure>,
    ) {
        let (now, in_doubt) = ((run.now)(), held.in_doubt);
        let after = |it: &FinalDelivery| {
            let failed = failure.map_or_else(|| it.clone(), |failure| it.after_failure(failure, now));
            let doubt = in_doubt.then(|| timestamp::whole_seconds(now + LEASE_MARGIN));
            FinalDelivery { retry_after: doubt.or(failed.retry_after), ..failed }
        };
        if !pending.is_in_record() || after(&pending.delivery) == pending.delivery {
            return;
        }
        if pending.write(&self.tenants, held, None, |it| (Some(after(it)), None)).await.is_ok() {
            held.in_doubt = false;
        }
    }
}

fn log_delivery(FinalDelivery { place, until, .. }: &FinalDelivery, receipt: &Receipt) {
    tracing::info!(
        window = %receipt.window,
        until = timestamp::seconds(*until),
        bucket = place.bucket,
        key = receipt.objects.last().map(|object| object.key.as_str()),
        objects = receipt.objects.len(),
        events = receipt.events(),
        bytes = receipt.bytes(),
        gap = receipt.gap,
        unsigned = receipt.is_unsigned(),
        "final delivery"
    );
}

fn log_refusal(FinalDelivery { place, since, .. }: &FinalDelivery, failure: &Failure, is_given_up: bool) {
    let Failure { code, party, message } = failure;
    let (since, bucket, hint) = (timestamp::seconds(*since), &place.bucket, code.hint());
    match party {
        Party::Platform => {
            tracing::error!(bucket, since, code = %code, party = %party, reason = message, hint, is_given_up, "final delivery failed");
        }
        Party::Customer => {
            tracing::warn!(bucket, since, code = %code, party = %party, reason = message, hint, is_given_up, "final delivery failed");
        }
    }
}
