//! What implements the ports, and the fixtures that all tests share.

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
        Acquisition, Buckets, Commit, Conditional, Connections, Erasure, Events, FailureRecord, Fence, Fleet,
        ManifestKeys, Purpose, Recorder, Repairs, Rotations, Settings, Signer, Tenants,
    },
    records::{ExportHealth, Location, Receipt, StoredObject, StoredWatermark, TenantRecords},
    schedule::{Schedule, Window},
    settings::{Draft, TenantConfig},
    system_events::{AdminChange, Client},
    tenant::{AccountId, ExternalId, Partition, Platform, TenantId},
};
use audit_log_tests::{Object, PLATFORM_ACCOUNT, REGION};
use chrono::{DateTime, TimeDelta, Utc};

/// The ports, and what tests need in addition.
pub(crate) trait World {
    fn tenants(&self) -> &impl Tenants;

    fn fleet(&self) -> &impl Fleet;

    fn connections(&self) -> &impl Connections;

    fn settings(&self) -> &impl Settings;

    fn rotations(&self) -> &impl Rotations;

    fn repairs(&self) -> &impl Repairs;

    fn recorder(&self) -> &impl Recorder;

    fn events(&self) -> &impl Events;

    fn buckets(&self) -> &impl Buckets;

    fn erasure(&self) -> &impl Erasure;

    /// With the exporter's rights, like the signer.
    fn manifest_keys(&self) -> &impl ManifestKeys;

    /// Makes a signer with the platform's key, as each run does that begins.
    fn new_signer(&self) -> Result<impl Signer>;

    /// Publishes notifications of `acme`, and returns types and details as a listener receives them.
    async fn publish_and_receive(&self, notifications: &[Notification]) -> Result<Vec<(String, String)>>;

    /// Stores a tenant's records without checking them.
    async fn put_records(&self, tenant: &TenantId, records: TenantRecords) -> Result<()>;

    /// Replaces a connected tenant's lease by an unreadable one.
    async fn put_unreadable_lease(&self, tenant: &TenantId, damage: LeaseDamage) -> Result<()>;

    /// Replaces a connected tenant's last connection check by an unreadable one, without an attribute or with all.
    async fn put_unreadable_check(&self, tenant: &TenantId, without: Option<&str>) -> Result<()>;

    /// Stores an event, with copies of the action and the log type that its text has.
    async fn put_event(&self, tenant: &TenantId, shard: u16, recorded_at_id: &str, event: Recorded) -> Result<()>;

    /// The settings of a customer with its own bucket and role. Tests share the customer of a tenant.
    async fn customer(&self, tenant: &str) -> Result<TenantConfig>;

    /// Deletes a customer's empty bucket.
    async fn delete_bucket(&self, config: &TenantConfig) -> Result<()>;

    /// The keys in a customer's bucket, in order.
    async fn keys(&self, config: &TenantConfig) -> Result<Vec<String>>;

    async fn object(&self, config: &TenantConfig, key: &str) -> Result<Object>;

    /// The keys of uploads that are neither completed nor aborted. Customers pay for their parts.
    async fn unfinished(&self, config: &TenantConfig) -> Result<Vec<String>>;
}

/// The watermark's attributes of failures.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    /// Code and message of the last failure, unless an export succeeded since.
    pub(crate) last: Option<(String, String)>,
    /// The number since the last success.
    pub(crate) in_a_row: u64,
}

impl Failures {
    pub(crate) fn new(code: Code, message: &str, in_a_row: u64) -> Self {
        Self { last: Some((code.to_string(), message.to_owned())), in_a_row }
    }
}

/// How a lease is damaged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LeaseDamage {
    TokenIsANumber,
    EndIsAText,
    NoEnd,
    NoToken,
}

impl LeaseDamage {
    pub(crate) const ALL: [Self; 4] = [Self::TokenIsANumber, Self::EndIsAText, Self::NoEnd, Self::NoToken];
}

/// The attribute `event` of an item.
#[derive(Debug, Clone)]
pub(crate) enum Recorded {
    Text(String),
    Number(u32),
    Nothing,
}

pub(crate) fn id(tenant: &str) -> Result<TenantId> {
    Ok(TenantId::parse(tenant)?)
}

/// A time such as `10:00` on the day of these tests.
pub(crate) fn clock(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

pub(crate) fn window(from: &str, to: &str) -> Result<Window> {
    Ok(Window { from: clock(from)?, to: clock(to)? })
}

/// Checked settings: `draft` with defaults.
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

pub(crate) fn change(time: &str) -> Result<AdminChange> {
    let stamp = Stamp { at: clock(time)?, retention: None };
    Ok(AdminChange { by: User::system(), client: Client::default(), stamp, id: format!("change-at-{time}") })
}

/// Returns the tenant's external ID, which is this one if there was none.
pub(crate) async fn external_id(world: &impl World, tenant: &TenantId, candidate: &str) -> Result<String> {
    let viewed = AdminChange { id: candidate.to_owned(), ..change("10:00")? }.external_id_viewed(tenant);
    Ok(world.settings().external_id(tenant, &ExternalId::parse(candidate)?, &viewed).await?)
}

pub(crate) fn announcement(tenant: &str, time: &str) -> Result<Announcement> {
    Ok(change(time)?.disconnected(&id(tenant)?, &Draft::default()))
}

pub(crate) fn announcement_of(tenant: &str, event_id: &str, time: &str) -> Result<Announcement> {
    Ok(AdminChange { id: event_id.to_owned(), ..change(time)? }.disconnected(&id(tenant)?, &Draft::default()))
}

/// A lease with a token made of one byte.
pub(crate) fn lease(token: u8, until: &str) -> Result<Lease> {
    Ok(Lease::new([token; 16], clock(until)?))
}

pub(crate) fn denied() -> Failure {
    Failure::new(Code::AccessDenied, "S3 refused it.")
}

/// A tenant as a run read it, and the run's lease.
#[derive(Debug, Clone)]
pub(crate) struct AsRead {
    pub(crate) config: TenantConfig,
    pub(crate) watermark: StoredWatermark,
    pub(crate) schedule: Schedule,
    pub(crate) lease: Lease,
}

/// Connects a tenant with a first window from 10:00 to 11:00.
pub(crate) async fn connect(world: &impl World, tenant: &str) -> Result<AsRead> {
    let new = config(tenant, Draft::default())?;
    let schedule = Schedule { exported_until: clock("10:00")?, next_due: clock("11:00")? };
    let saved = world.settings().save(&new, None, schedule, false, &announcement(tenant, "10:00")?).await?;
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

/// Acquires the lease for an export at 11:02.
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

    /// Commits the due window, without releasing the lease.
    pub(crate) async fn commit(&self, world: &impl World, receipt: &Receipt) -> Result<Conditional> {
        let commit = Commit { after: self.after(), receipt, announcement: None, releases: false };
        Ok(world.tenants().commit(&self.config, self.fence(), commit).await?)
    }

    /// Records a failure, without releasing the lease.
    pub(crate) async fn fail(&self, world: &impl World, failure: &Failure, time: &str) -> Result<Conditional> {
        let record = FailureRecord { failure, at: clock(time)?, announcement: None, releases: false };
        Ok(world.tenants().record_failure(&self.config.tenant, self.fence(), record).await?)
    }

    /// The schedule after the due window.
    pub(crate) fn after(&self) -> Schedule {
        self.schedule.advance(self.config.frequency)
    }

    /// A receipt for the due window, with one object with this checksum.
    pub(crate) fn receipt(&self, sha256: &str) -> Receipt {
        let window = Window { from: self.schedule.exported_until, to: self.schedule.next_due };
        let key = format!("audit-logs/tenant={}/{window}_0001.json", self.config.tenant);
        let sha256 = sha256.to_owned();
        Receipt {
            objects: vec![StoredObject { key, bytes: 2048, events: 3, sha256, late: None, last_event: None }],
            malformed: 1,
            exported_at: window.to + TimeDelta::minutes(2),
            duration: TimeDelta::milliseconds(250),
            ..Receipt::empty(window, Location::of(&self.config), TrailingCounts::new(window))
        }
    }
}

pub(crate) async fn load(world: &impl World, tenant: &TenantId) -> Result<TenantRecords> {
    let loaded = world.tenants().load(std::slice::from_ref(tenant)).await?;
    let [(of, records)] = &loaded[..] else { return Err(anyhow!("expected one entry: {loaded:?}")) };
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
