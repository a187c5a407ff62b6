//! A world that the ports are implemented on, and the fixtures that all bodies share.

use anyhow::{Context as _, Result, anyhow, ensure};
use audit_log_core::{
    event::User,
    failure::{Code, Failure},
    late_arrivals::TrailingCounts,
    lease::Lease,
    new_event::Stamp,
    notification::Notification,
    outbox::Announcement,
    ports::{
        Acquisition, Buckets, Commit, Conditional, Connections, Events, FailureRecord, Fence, Fleet, Purpose, Recorder,
        Settings, Tenants,
    },
    records::{ExportHealth, Receipt, StoredObject, StoredWatermark, TenantRecords},
    schedule::{Schedule, Window},
    settings::{Draft, TenantConfig},
    system_events::AdminChange,
    tenant::{AccountId, Partition, Platform, TenantId},
};
use audit_log_tests::{Object, PLATFORM_ACCOUNT, REGION};
use chrono::{DateTime, TimeDelta, Utc};

/// The ports, and what a test may see and do beside them.
pub(crate) trait World {
    /// The tenants as the export sees them.
    fn tenants(&self) -> &impl Tenants;

    /// All tenants at once.
    fn fleet(&self) -> &impl Fleet;

    /// What daily checks have found.
    fn connections(&self) -> &impl Connections;

    /// The tenants as whoever saves settings sees them.
    fn settings(&self) -> &impl Settings;

    /// Where events are recorded.
    fn recorder(&self) -> &impl Recorder;

    /// The recorded events.
    fn events(&self) -> &impl Events;

    /// The customers' buckets.
    fn buckets(&self) -> &impl Buckets;

    /// Publishes notifications of `acme`, and comes back with type and detail of what a listener has heard of them.
    async fn hear(&self, notifications: &[Notification]) -> Result<Vec<(String, String)>>;

    /// Puts a tenant's records there as they are, right or wrong.
    async fn put_records(&self, tenant: &TenantId, records: TenantRecords) -> Result<()>;

    /// Puts a lease that can't be read in the place of a connected tenant's own, damaged in one of several ways.
    async fn put_unreadable_lease(&self, tenant: &TenantId, damage: LeaseDamage) -> Result<()>;

    /// Puts a check that can't be read in the place of a connected tenant's last one; without that attribute, or with all
    /// that a check has.
    async fn put_unreadable_check(&self, tenant: &TenantId, without: Option<&str>) -> Result<()>;

    /// Records an event in a tenant's shard.
    async fn put_event(&self, tenant: &TenantId, shard: u16, recorded_at_id: &str, event: Recorded) -> Result<()>;

    /// The settings of a customer with a bucket and a role of its own; the same for the same tenant, so that tests
    /// share it.
    async fn customer(&self, tenant: &str) -> Result<TenantConfig>;

    /// Deletes a customer's bucket, which has to be empty.
    async fn delete_bucket(&self, config: &TenantConfig) -> Result<()>;

    /// The keys of all objects in a customer's bucket, in order.
    async fn keys(&self, config: &TenantConfig) -> Result<Vec<String>>;

    /// An object that is in a customer's bucket.
    async fn object(&self, config: &TenantConfig, key: &str) -> Result<Object>;

    /// The keys of uploads that were begun and neither finished nor aborted; the customer pays for their parts.
    async fn unfinished(&self, config: &TenantConfig) -> Result<Vec<String>>;
}

/// What the watermark says of failures.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    /// Code and message of the last, unless an export succeeded since.
    pub(crate) last: Option<(String, String)>,
    /// How many since the last success.
    pub(crate) in_a_row: u64,
}

impl Failures {
    pub(crate) fn of(code: Code, message: &str, in_a_row: u64) -> Self {
        Self { last: Some((code.to_string(), message.to_owned())), in_a_row }
    }
}

/// How a lease is damaged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeaseDamage {
    /// Its token is a number.
    TokenIsANumber,
    /// Its end is a text.
    EndIsAText,
    /// It has no end.
    NoEnd,
    /// It has an end and no token.
    NoToken,
}

impl LeaseDamage {
    pub(crate) const ALL: [Self; 4] = [Self::TokenIsANumber, Self::EndIsAText, Self::NoEnd, Self::NoToken];
}

/// What a writer put into the attribute `event`.
#[derive(Debug, Clone)]
pub(crate) enum Recorded {
    /// A text, as the contract has it.
    Text(String),
    /// A number, against the contract.
    Number(u32),
    /// Nothing, against the contract.
    Nothing,
}

pub(crate) fn id(tenant: &str) -> Result<TenantId> {
    Ok(TenantId::parse(tenant)?)
}

/// `10:00` and the like, on the day of these tests.
pub(crate) fn clock(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

pub(crate) fn window(from: &str, to: &str) -> Result<Window> {
    Ok(Window { from: clock(from)?, to: clock(to)? })
}

/// Checked settings of a tenant: `draft`, with a default for what it leaves out.
pub(crate) fn config(tenant: &str, draft: Draft) -> Result<TenantConfig> {
    let or = |field: Option<String>, default: &str| field.or(Some(default.to_owned()));
    let draft = Draft {
        external_id: or(draft.external_id, "some-external-id"),
        role_arn: or(draft.role_arn, "arn:aws:iam::222222222222:role/audit"),
        bucket: or(draft.bucket, "some-bucket"),
        region: or(draft.region, REGION),
        frequency_hours: or(draft.frequency_hours, "1"),
        ..draft
    };
    draft.check(&id(tenant)?, &platform()?).map_err(|errors| anyhow!("{errors:?}"))
}

pub(crate) fn platform() -> Result<Platform> {
    Ok(Platform { account: AccountId::parse(PLATFORM_ACCOUNT)?, partition: Partition::Aws })
}

/// What an admin does at a time.
pub(crate) fn change(time: &str) -> Result<AdminChange> {
    let stamp = Stamp { at: clock(time)?, retention: None };
    Ok(AdminChange { by: User::system(), stamp, id: format!("change-at-{time}") })
}

/// What announces a change.
pub(crate) fn announcement(tenant: &str, time: &str) -> Result<Announcement> {
    Ok(change(time)?.disconnected(&id(tenant)?))
}

/// The same under an id.
pub(crate) fn announcement_of(tenant: &str, event_id: &str, time: &str) -> Result<Announcement> {
    Ok(AdminChange { id: event_id.to_owned(), ..change(time)? }.disconnected(&id(tenant)?))
}

/// A lease until a time that is told from others by its token.
pub(crate) fn lease(token: u8, until: &str) -> Result<Lease> {
    Ok(Lease::new([token; 16], clock(until)?))
}

pub(crate) fn denied() -> Failure {
    Failure::new(Code::AccessDenied, "S3 refused it.")
}

/// A tenant as a run has read it, under the run's lease.
#[derive(Debug, Clone)]
pub(crate) struct AsRead {
    pub(crate) config: TenantConfig,
    pub(crate) watermark: StoredWatermark,
    pub(crate) schedule: Schedule,
    pub(crate) lease: Lease,
}

/// Connects a tenant whose first window is from 10:00 to 11:00.
pub(crate) async fn connect(world: &impl World, tenant: &str) -> Result<AsRead> {
    let new = config(tenant, Draft::default())?;
    let schedule = Schedule { exported_until: clock("10:00")?, next_due: clock("11:00")? };
    let saved = world.settings().save(&new, None, schedule, &announcement(tenant, "10:00")?).await?;
    ensure!(saved == Conditional::Written, "{tenant} was there already");
    let watermark = StoredWatermark::connected(&new.tenant, schedule);
    Ok(AsRead { config: TenantConfig { version: 1, ..new }, watermark, schedule, lease: lease(1, "11:45")? })
}

/// Connects a tenant and acquires its lease.
pub(crate) async fn connect_and_acquire(world: &impl World, tenant: &str) -> Result<AsRead> {
    let connected = connect(world, tenant).await?;
    acquire(world, &connected).await?;
    Ok(connected)
}

/// Acquires the lease for an export at 11:02, if nothing stands in the way.
pub(crate) async fn acquire(world: &impl World, AsRead { config, watermark, lease, .. }: &AsRead) -> Result<()> {
    let purpose = Purpose::Export(watermark);
    let acquired = world.tenants().acquire_lease(&config.tenant, purpose, lease, clock("11:02")?).await?;
    ensure!(matches!(acquired, Acquisition::Acquired(..)), "{acquired:?}");
    Ok(())
}

impl AsRead {
    pub(crate) fn fence(&self) -> Fence<'_> {
        Fence { lease: &self.lease, as_read: &self.watermark }
    }

    /// Commits a receipt for the window that is due, and keeps the lease.
    pub(crate) async fn commit(&self, world: &impl World, receipt: &Receipt) -> Result<Conditional> {
        let commit = Commit { after: self.after(), receipt, announcement: None, releases: false };
        Ok(world.tenants().commit(&self.config, self.fence(), commit).await?)
    }

    /// Records a failure, and keeps the lease.
    pub(crate) async fn fail(&self, world: &impl World, failure: &Failure, time: &str) -> Result<Conditional> {
        let record = FailureRecord { failure, at: clock(time)?, announcement: None, releases: false };
        Ok(world.tenants().record_failure(&self.config.tenant, self.fence(), record).await?)
    }

    /// The schedule after the window that is due.
    pub(crate) fn after(&self) -> Schedule {
        self.schedule.advance(self.config.frequency)
    }

    /// A receipt for the window that is due, of one object whose bytes are told from others by their checksum.
    pub(crate) fn receipt(&self, sha256: &str) -> Receipt {
        let window = Window { from: self.schedule.exported_until, to: self.schedule.next_due };
        let key = format!("audit-logs/tenant={}/{window}_0001.json", self.config.tenant);
        Receipt {
            window,
            bucket: self.config.bucket.to_string(),
            objects: vec![StoredObject { key, bytes: 2048, events: 3, sha256: sha256.to_owned(), late: None }],
            trailing_counts: TrailingCounts::of(window),
            late: 0,
            malformed: 1,
            gap: false,
            exported_at: window.to + TimeDelta::minutes(2),
            duration: TimeDelta::milliseconds(250),
        }
    }
}

/// A tenant's records as a run would read them now.
pub(crate) async fn load(world: &impl World, tenant: &TenantId) -> Result<TenantRecords> {
    let loaded = world.tenants().load(std::slice::from_ref(tenant)).await?;
    let [(of, records)] = &loaded[..] else { return Err(anyhow!("not one entry: {loaded:?}")) };
    ensure!(of == tenant, "the records of {of}");
    Ok(records.clone())
}

pub(crate) async fn failures(world: &impl World, tenant: &TenantId) -> Result<Failures> {
    let ExportHealth { last_error, consecutive_failures, .. } = load(world, tenant).await?.health;
    Ok(Failures { last: last_error.map(|error| (error.code, error.message)), in_a_row: consecutive_failures })
}

pub(crate) async fn stored_watermark(world: &impl World, tenant: &TenantId) -> Result<StoredWatermark> {
    load(world, tenant).await?.watermark.context("no watermark")
}
