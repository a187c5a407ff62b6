//! The tenants' records with faults.

use audit_log_core::{
    failure::{Code, Failure},
    lease::{LEASE_MARGIN, Lease},
    outbox::{Announcement, Outbox},
    ports::{
        Acquisition, Commit, Conditional, Due, FailureRecord, Fence, FinalDeliveryWrite, Purpose, ReplayWrite, Tenants,
    },
    records::{ExportHealth, Location, StoredReceipt, StoredWatermark, TenantRecords},
    settings::TenantConfig,
    tenant::{DueShard, TenantId},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Ports, writes::Request};
use crate::{
    bugs::{self, Bug, Write, is_planted},
    manifests::{self, is_final},
    plan::TENANTS,
    replays,
    world::call_now,
};

impl Tenants for Ports {
    async fn due(&self, shard: DueShard, tick: DateTime<Utc>) -> Result<Vec<Due>, Failure> {
        if !TENANTS.iter().any(|of| TenantId::parse(of).is_ok_and(|of| DueShard::from_tenant(&of) == shard)) {
            return Ok(Vec::new());
        }
        // A run makes several of these calls: only some of them get a fault.
        let due = if self.world.roll(4) == 0 {
            self.read("due", &shard.to_string(), self.fakes().due(shard, tick)).await
        } else {
            self.fakes().due(shard, tick).await
        };
        match &due {
            Ok(due) => self.seen().listed.extend(due.iter().map(|due| due.tenant.clone())),
            Err(_) => self.seen().unread += 1,
        }
        let mut due = if is_planted(Bug::UnreadIndexIsEmpty) { due.unwrap_or_default() } else { due? };
        due.retain(|due| !is_planted(Bug::DueOnlyAfter) || due.next_due < timestamp::seconds(tick));
        Ok(due)
    }

    async fn any_connected(&self, shard: DueShard) -> Result<bool, Failure> {
        self.fakes().any_connected(shard).await
    }

    async fn load(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, TenantRecords)>, Failure> {
        let names = self.world.format(|| tenants.iter().map(TenantId::as_str).collect::<Vec<_>>().join(" "));
        let load = async {
            let loaded = self.fakes().load(tenants).await;
            self.note_backoff(tenants);
            tenants.iter().for_each(|tenant| self.note_settings_read(tenant));
            loaded
        };
        let mut loaded = self.read("load", &names, load).await?;
        for (tenant, records) in &mut loaded {
            if is_planted(Bug::StaleConfig) {
                let first = records.config.clone();
                records.config = self.seen().first_configs.entry(tenant.to_string()).or_insert(first).clone();
            }
            if is_planted(Bug::BackoffFromTheStart) {
                let since = &mut records.health.failing_since;
                *since = since.map(|since| since - TimeDelta::days(2));
            }
            records.watermark.iter_mut().for_each(|it| self.change_watermark(tenant, it));
            bugs::change_records(records);
        }
        Ok(loaded)
    }

    async fn redeliveries(&self) -> Result<Vec<String>, Failure> {
        self.read("redeliveries", "of all", self.fakes().redeliveries()).await
    }

    async fn write_replay(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        ReplayWrite { after, receipt, announcement }: ReplayWrite<'_>,
    ) -> Result<Conditional, Failure> {
        let of = self.world.format(|| format!("{tenant} {} {}", after.revision, after.to_text()));
        let (ports, tenant, lease) = (self.clone(), tenant.clone(), lease.clone());
        let (after, receipt, announcement) = (after.clone(), receipt.cloned(), announcement.cloned());
        let write = move |_| {
            let write = ReplayWrite { after: &after, receipt: receipt.as_ref(), announcement: announcement.as_ref() };
            let has_lease = ports.holds_lease(tenant.as_str());
            ports.note_writer(&tenant);
            let others = || ports.fakes().state().tenants.get(tenant.as_str()).map(replays::untouched);
            let before = others();
            let result = bugs::write_replay(&ports.world, &tenant, &lease, write);
            if result == Ok(Conditional::Written) {
                let run = ports.run;
                if !has_lease {
                    ports.world.violate(format!("{tenant}: run {run} writes a replay without the lease"));
                }
                if before != others() {
                    ports.world.violate(format!("{tenant}: run {run} changes more than the replay"));
                }
                ports.note_announced(announcement.as_ref());
            }
            result
        };
        self.write_with_faults(Request::new(self, "write replay", of, write)).await.result
    }

    async fn receipts_after(
        &self,
        tenant: &TenantId,
        after: DateTime<Utc>,
        most: usize,
    ) -> Result<Vec<StoredReceipt>, Failure> {
        // Fewer at once, so that a run reads them several times.
        let most = most.min(1 + self.world.roll(4) as usize);
        let receipts = self.fakes().receipts_after(tenant, after, most);
        let mut receipts = self.read("receipts after", tenant.as_str(), receipts).await?;
        receipts.iter_mut().for_each(bugs::change_receipt);
        Ok(receipts)
    }

    async fn replayed_receipt(
        &self,
        tenant: &TenantId,
        window_end: DateTime<Utc>,
        location: &Location,
    ) -> Result<Option<StoredReceipt>, Failure> {
        let receipt = self.fakes().replayed_receipt(tenant, window_end, location);
        let mut receipt = self.read("replayed receipt", tenant.as_str(), receipt).await?;
        receipt.iter_mut().for_each(|receipt| {
            bugs::change_receipt(receipt);
            bugs::change_replayed_receipt(receipt);
        });
        Ok(receipt)
    }

    async fn write_final_deliveries(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        FinalDeliveryWrite { after, delivered_until, announcement }: FinalDeliveryWrite<'_>,
    ) -> Result<Conditional, Failure> {
        let of = self.world.format(|| format!("{tenant} {} {:?}", after.revision, after.places));
        let (ports, tenant, lease) = (self.clone(), tenant.clone(), lease.clone());
        let (after, announcement) = (after.clone(), announcement.cloned());
        let write = move |_| {
            let write = FinalDeliveryWrite { after: &after, delivered_until, announcement: announcement.as_ref() };
            let has_lease = ports.holds_lease(tenant.as_str());
            ports.note_writer(&tenant);
            let result = bugs::write_final_deliveries(ports.fakes(), &tenant, &lease, write);
            if result == Ok(Conditional::Written) {
                if !has_lease {
                    let run = ports.run;
                    ports.world.violate(format!("{tenant}: run {run} writes a final delivery without the lease"));
                }
                ports.note_announced(announcement.as_ref());
            }
            result
        };
        self.write_with_faults(Request::new(self, "write final deliveries", of, write)).await.result
    }

    async fn acquire_lease(
        &self,
        tenant: &TenantId,
        purpose: Purpose<'_>,
        lease: &Lease,
        now: DateTime<Utc>,
    ) -> Result<Acquisition, Failure> {
        let is_redelivery = matches!(purpose, Purpose::Redelivery);
        let as_read = match purpose {
            Purpose::Export(as_read) => Some(as_read.clone()),
            Purpose::Publish | Purpose::Redelivery => None,
        };
        let (ports, of, mut lease) = (self.clone(), tenant.clone(), lease.clone());
        if is_planted(Bug::MarginZero) && as_read.is_some() {
            lease.until -= LEASE_MARGIN;
        }
        let acquire = move |_| ports.acquire(&of, as_read.as_ref(), is_redelivery, &lease, now);
        let mut answer =
            self.write_with_faults(Request::new(self, "acquire lease", tenant.to_string(), acquire)).await.result?;
        match &mut answer {
            Acquisition::Acquired(watermark, _) => self.change_watermark(tenant, watermark),
            Acquisition::HeldUntil(_) if !is_redelivery => drop(self.seen().leased.insert(tenant.to_string())),
            Acquisition::HeldUntil(_) | Acquisition::ConditionFailed => {}
        }
        Ok(answer)
    }

    async fn release_lease(&self, tenant: &TenantId, lease: &Lease) -> Result<(), Failure> {
        let (fakes, of, lease) = (self.fakes().clone(), tenant.clone(), lease.clone());
        let release = move |_| call_now(fakes.release_lease(&of, &lease));
        self.write_with_faults(Request::new(self, "release lease", tenant.to_string(), release)).await.result
    }

    async fn commit(
        &self,
        config: &TenantConfig,
        fence: Fence<'_>,
        Commit { after, receipt, announcement, releases }: Commit<'_>,
    ) -> Result<Conditional, Failure> {
        let of = || format!("{} {} {} objects", config.tenant, receipt.window, receipt.objects.len());
        let of = self.world.format(of);
        if is_planted(Bug::CheckpointBeforePut) || is_planted(Bug::ManifestBeforeLastObject) {
            self.put_postponed().await;
        }
        let write = Write::new(&config.tenant, fence, announcement, releases);
        let (ports, config, receipt) = (self.clone(), config.clone(), receipt.clone());
        let signing_failed_since = self.world.facts().signing_failed_since.get(config.tenant.as_str()).copied();
        let commit = move |is_given_up: bool| {
            let commit = || bugs::commit(ports.fakes(), &config, &write, after, &receipt);
            let result = ports.note_settings_version(&write, ports.fenced("commit", &write, commit));
            // It was sent before its run recorded another failure.
            if let (true, Ok(Conditional::Written), Some(since)) = (is_given_up, &result, signing_failed_since) {
                ports.world.facts().signing_failed_since.entry(config.tenant.to_string()).or_insert(since);
            }
            result
        };
        let result = self.write_with_faults(Request::new(self, "commit", of, commit)).await.result;
        self.put_postponed().await;
        result
    }

    async fn save_checkpoint(
        &self,
        config: &TenantConfig,
        fence: Fence<'_>,
        checkpoint: &str,
    ) -> Result<Conditional, Failure> {
        if is_planted(Bug::WatermarkBeforePut) || is_planted(Bug::ManifestBeforeLastObject) {
            self.put_postponed().await;
        }
        let write = Write { releases: false, ..Write::new(&config.tenant, fence, None, false) };
        let (ports, config, checkpoint) = (self.clone(), config.clone(), checkpoint.to_owned());
        let of = config.tenant.to_string();
        let save = move |_| {
            let save = || bugs::save_checkpoint(ports.fakes(), &config, &write, &checkpoint);
            ports.note_settings_version(&write, ports.fenced("checkpoint", &write, save))
        };
        let result = self.write_with_faults(Request::new(self, "save checkpoint", of, save)).await.result;
        self.put_postponed().await;
        result
    }

    async fn record_failure(
        &self,
        tenant: &TenantId,
        fence: Fence<'_>,
        FailureRecord { failure, at, announcement, releases }: FailureRecord<'_>,
    ) -> Result<Conditional, Failure> {
        let of = self.world.format(|| format!("{tenant} {} {}", failure.code, failure.message));
        let write = Write::new(tenant, fence, announcement, releases);
        let (ports, failure) = (self.clone(), failure.clone());
        let record = move |_| {
            let record = || bugs::record_failure(ports.fakes(), &write, &failure, at);
            let result = ports.fenced("recorded failure", &write, record);
            if result == Ok(Conditional::Written) {
                let mut facts = ports.world.facts();
                let noted = match failure.code {
                    Code::SigningFailed => manifests::note_failure(&mut facts, write.tenant.as_str(), at),
                    // The hours begin anew.
                    _ => {
                        facts.signing_failed_since.remove(write.tenant.as_str());
                        Ok(())
                    }
                };
                drop(facts);
                noted.unwrap_or_else(|violation| ports.world.violate(violation));
            }
            result
        };
        self.write_with_faults(Request::new(self, "record failure", of, record)).await.result
    }

    async fn outbox(&self, tenant: &TenantId) -> Result<Outbox, Failure> {
        self.read("outbox", tenant.as_str(), self.fakes().outbox(tenant)).await
    }

    async fn remove_published(&self, tenant: &TenantId, as_read: &Outbox, ids: &[String]) -> Result<(), Failure> {
        let of = self.world.format(|| format!("{tenant} {}", ids.len()));
        let (fakes, tenant, as_read, ids) = (self.fakes().clone(), tenant.clone(), as_read.clone(), ids.to_vec());
        let remove = move |_| bugs::remove_published(&fakes, &tenant, &as_read, &ids);
        self.write_with_faults(Request::new(self, "remove published", of, remove)).await.result
    }
}

impl Ports {
    /// Changes a watermark that was read, by the planted bug.
    fn change_watermark(&self, tenant: &TenantId, watermark: &mut StoredWatermark) {
        bugs::change_watermark(&self.world, tenant, watermark);
        bugs::change_chain(&self.world, tenant, self.key.is_some(), watermark);
    }

    fn acquire(
        &self,
        tenant: &TenantId,
        as_read: Option<&StoredWatermark>,
        is_redelivery: bool,
        lease: &Lease,
        now: DateTime<Utc>,
    ) -> Result<Acquisition, Failure> {
        if is_planted(Bug::AcquireUnconditionally)
            && let Some(stored) = self.fakes().state().tenants.get_mut(tenant.as_str())
        {
            stored.lease = None;
        }
        let purpose = as_read.map_or(Purpose::Publish, Purpose::Export);
        let acquisition = call_now(self.fakes().acquire_lease(tenant, purpose, lease, now));
        if is_planted(Bug::ReplayUnleased)
            && is_redelivery
            && matches!(acquisition, Ok(Acquisition::HeldUntil(_)))
            && let Some(stored) = self.fakes().state().tenants.get(tenant.as_str())
        {
            return Ok(Acquisition::Acquired(stored.watermark.clone().unwrap_or_default(), ExportHealth::default()));
        }
        if let Ok(Acquisition::Acquired(..)) = acquisition {
            self.world.facts().lease_runs.insert(lease.token.clone(), self.run);
            self.seen().leases.insert(tenant.to_string(), lease.until);
            self.check_puts_in_flight(tenant);
        }
        acquisition
    }

    /// After a lease is acquired, no put of another run may take effect, unless it stores the committed bytes.
    fn check_puts_in_flight(&self, tenant: &TenantId) {
        let (state, facts) = (self.fakes().state(), self.world.facts());
        let other = facts.in_flight.values().find(|put| {
            // Only another final delivery could store another reading under a final delivery's key, and only another replay under
            // that of a committed window. Both wait.
            let is_final = is_final(&put.place.1) || replays::is_replayed(&state, &put.tenant, &put.place.1);
            put.tenant == tenant.as_str()
                && put.run != self.run
                && !is_final
                && facts.committed.get(&put.place) != Some(&put.sha256)
        });
        let other = other.map(|put| format!("{}'s put of {}", put.run, put.place.1));
        drop((state, facts));
        if let Some(other) = other {
            self.world.violate(format!("{tenant}: run {} has the lease, and run {other} is still in flight", self.run));
        }
    }

    /// A fenced write succeeds only if this run holds the lease.
    fn fenced(
        &self,
        what: &str,
        write: &Write,
        apply: impl FnOnce() -> Result<Conditional, Failure>,
    ) -> Result<Conditional, Failure> {
        let tenant = write.tenant.as_str();
        let has_lease = self.holds_lease(tenant);
        self.note_writer(&write.tenant);
        let result = apply();
        if result == Ok(Conditional::Written) {
            if !has_lease {
                self.world.violate(format!("{tenant}: a {what} succeeds without the lease of run {}", self.run));
            }
            if write.releases {
                self.seen().released.insert(tenant.to_owned());
            }
            self.note_announced(write.announcement.as_ref());
        }
        result
    }

    /// A write that is conditional on the config's version confirms the settings like a read.
    fn note_settings_version(
        &self,
        write: &Write,
        result: Result<Conditional, Failure>,
    ) -> Result<Conditional, Failure> {
        if result == Ok(Conditional::Written) {
            self.note_settings_read(&write.tenant);
        }
        result
    }

    fn note_announced(&self, announcement: Option<&Announcement>) {
        if let Some(Announcement { event, .. }) = announcement {
            self.world.note_visible(event.tenant.as_str(), event.shard, &event.recorded_at_id());
        }
    }
}
