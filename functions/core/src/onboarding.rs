//! The changes of a tenant's admin: connect a role, save settings, disconnect, rotate the external ID.
//!
//! Each change is a read, a decision and a conditional write, so that two admins or an admin and an export can't undo each
//! other's changes. Windows that were exported stay exported, and pending windows keep their bounds.

use chrono::{DateTime, Utc};

use crate::{
    failure::{Code, Failure, Party},
    ports::{Conditional, Rotations, Settings},
    records::{FinalDeliveries, MAX_PLACES, Place, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::{Draft, FieldError, FieldErrors, TenantConfig, parse_version},
    setup_draft::SetupDraft,
    system_events::{AdminChange, has_changes},
    tenant::{EventShards, ExternalId, ExternalIds, Invalid, Platform, RoleArn, TenantId},
    timestamp,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorState {
    /// There may be an external ID, but no role.
    NotConnected,
    /// There is a role, but no settings were ever saved.
    Connected,
    /// Exports are scheduled.
    Scheduled,
    /// Exports were scheduled and are stopped; a new connection resumes them where they stopped.
    Disconnected,
}

impl ConnectorState {
    pub fn from_records(records: &TenantRecords) -> Self {
        let role = records.config.as_ref().and_then(|config| config.role_arn.as_ref());
        match (role, &records.watermark) {
            (None, _) => Self::NotConnected,
            (Some(_), None) => Self::Connected,
            (Some(_), Some(StoredWatermark { due_shard: Some(_), .. })) => Self::Scheduled,
            (Some(_), Some(_)) => Self::Disconnected,
        }
    }

    /// Whether there is a role to export through.
    pub fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Scheduled)
    }
}

/// Whether the start of a tenant's history can still be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartOfHistory {
    Open,
    /// A run has the tenant's lease, or had it and was stopped. Its first files may be in the bucket already.
    Leased,
    /// Events were exported.
    Fixed,
}

impl StartOfHistory {
    pub fn from_records(records: &TenantRecords) -> Self {
        match records {
            TenantRecords { watermark: None, .. } => Self::Open,
            records if records.has_begun() => Self::Fixed,
            TenantRecords { lease: Some(_), .. } => Self::Leased,
            _ => Self::Open,
        }
    }
}

/// Returns what an unfinished setup has typed; none while exports are scheduled.
pub fn open_setup(records: &TenantRecords) -> Option<&SetupDraft> {
    records.setup_draft.as_ref().filter(|_| ConnectorState::from_records(records) != ConnectorState::Scheduled)
}

/// Keeps what an unfinished setup has typed, unless the settings have changed since they were read.
///
/// # Errors
/// If the store fails, a stored record is damaged, or a field is longer than any setting may be.
pub async fn save_setup_draft<S: Settings>(
    store: &S,
    as_read: &TenantRecords,
    tenant: &TenantId,
    draft: &SetupDraft,
) -> Result<Conditional, Failure> {
    draft.check_size()?;
    let version = as_read.config.as_ref().map_or(Ok(0), stored_version)?;
    store.save_setup_draft(tenant, version, draft).await
}

/// Stores a tenant's role. A tenant that has settings is scheduled again, with these and the new role.
///
/// # Errors
/// If the store fails, the tenant has no external ID yet, or the stored settings are invalid with this role; or as
/// [`ensure_room`].
pub async fn connect<S: Settings>(
    store: &S,
    as_read: &TenantRecords,
    tenant: &TenantId,
    role: &RoleArn,
    platform: &Platform,
    change: &AdminChange,
) -> Result<Conditional, Failure> {
    let TenantRecords { config, watermark, .. } = as_read;
    let Some(draft) = config.as_ref().filter(|config| config.external_id.is_some()) else {
        let message = "The tenant has no external ID yet, so no role can demand it. Show it to the tenant first.";
        return Err(Failure::by(Party::Platform, Code::ConfigInvalid, message));
    };
    let is_connected = ConnectorState::from_records(as_read).is_connected();
    let announcement = change.connected(tenant, role, draft, is_connected);
    let Some(watermark) = watermark else {
        return store.store_role(tenant, Some(role), stored_version(draft)?, &announcement).await;
    };
    let draft = Draft { role_arn: Some(role.as_str().to_owned()), ..draft.clone() };
    let config = draft.check(tenant, platform).map_err(FieldErrors::into_failure)?;
    ensure_room(as_read, tenant, &draft)?;
    let schedule = watermark.schedule().map_err(FieldErrors::into_failure)?.later_save(change.stamp.at);
    let announcement = announcement.leaving(final_deliveries(as_read, tenant, Some(&config), change));
    let is_verified = remains_verified(as_read, &config);
    store.save(&config, Some(watermark), schedule, is_verified, &announcement).await
}

/// Takes a tenant out of the schedule; before the first save, removes its role.
///
/// # Errors
/// If the store fails or a stored record is damaged.
pub async fn disconnect<S: Settings>(
    store: &S,
    as_read: &TenantRecords,
    tenant: &TenantId,
    change: &AdminChange,
) -> Result<Conditional, Failure> {
    let before = as_read.config.clone().unwrap_or_default();
    let announcement = change.disconnected(tenant, &before);
    match (ConnectorState::from_records(as_read), &as_read.config) {
        (ConnectorState::Scheduled, Some(config)) => {
            let announcement = announcement.leaving(final_deliveries(as_read, tenant, None, change));
            store.disconnect(tenant, stored_version(config)?, &announcement).await
        }
        (ConnectorState::Connected, Some(config)) => {
            store.store_role(tenant, None, stored_version(config)?, &announcement).await
        }
        // Not connected already.
        _ => Ok(Conditional::Written),
    }
}

/// Returns the settings and the watermark by which events are delivered before a change; none if exports are not scheduled. What is
/// recorded while they are not goes to the place of the next connection alone.
fn scheduled(records: &TenantRecords) -> Option<(&Draft, &StoredWatermark)> {
    let watermark = records.watermark.as_ref().filter(|watermark| watermark.due_shard.is_some());
    records.config.as_ref().zip(watermark)
}

/// Returns the record `final_delivery` after a change; none if deliveries stay where they are. With no settings after it, they
/// stop.
fn final_deliveries(
    as_read: &TenantRecords,
    tenant: &TenantId,
    after: Option<&TenantConfig>,
    change: &AdminChange,
) -> Option<FinalDeliveries> {
    let (before, watermark) = scheduled(as_read)?;
    let place = |after: &TenantConfig| Place::of(tenant, &Draft::from_config(after, after.version));
    let leaves = after.is_none_or(|after| place(after) != Place::of(tenant, before));
    leaves.then(|| as_read.final_deliveries.after_leaving(tenant, before, watermark, change.stamp.at)).flatten()
}

/// Checks that a save or a connection that leads to these settings finds room for the final deliveries that it leads to. A disconnect always
/// finds some.
///
/// # Errors
/// If too many places wait for their final delivery.
pub fn ensure_room(as_read: &TenantRecords, tenant: &TenantId, after: &Draft) -> Result<(), Failure> {
    let from = scheduled(as_read).and_then(|(before, _)| Place::of(tenant, before));
    let waiting = &as_read.final_deliveries;
    if waiting.has_room(from.as_ref(), Place::of(tenant, after).as_ref()) {
        return Ok(());
    }
    let when = waiting.room_at().map_or_else(
        || "in an hour: each tick and each hourly check delivers to them".to_owned(),
        |at| format!("after {}: then the first of them that refuses its delivery is given up", timestamp::seconds(at)),
    );
    let message = format!(
        "Exports have left so many places that {MAX_PLACES} of them still wait for their final delivery, and another change of \
         destination has to wait. Try again {when}. To stop the exports now, disconnect."
    );
    Err(Failure::by(Party::Customer, Code::ConfigInvalid, message))
}

/// Makes `candidate` the pending external ID. Keeps the one of a rotation that has begun already.
///
/// # Errors
/// If the store fails, or the tenant has no valid external ID.
pub async fn start_rotation<S: Rotations>(
    store: &S,
    as_read: &TenantRecords,
    tenant: &TenantId,
    candidate: &ExternalId,
    change: &AdminChange,
) -> Result<Conditional, Failure> {
    let ids = external_ids(as_read)?;
    if ids.pending.is_some() {
        return Ok(Conditional::Written);
    }
    let after = ExternalIds { pending: Some(candidate.clone()), ..ids.clone() };
    store.replace_external_ids(tenant, &ids, &after, None, &change.rotation_started(tenant)).await
}

/// Removes the pending external ID. Without one, changes nothing.
///
/// # Errors
/// If the store fails, or the tenant has no valid external ID.
pub async fn cancel_rotation<S: Rotations>(
    store: &S,
    as_read: &TenantRecords,
    tenant: &TenantId,
    change: &AdminChange,
) -> Result<Conditional, Failure> {
    let ids = external_ids(as_read)?;
    if ids.pending.is_none() {
        return Ok(Conditional::Written);
    }
    let after = ExternalIds { pending: None, ..ids.clone() };
    store.replace_external_ids(tenant, &ids, &after, None, &change.rotation_cancelled(tenant)).await
}

fn external_ids(TenantRecords { config, .. }: &TenantRecords) -> Result<ExternalIds, Failure> {
    let Draft { external_id, pending_external_id, .. } = config.clone().unwrap_or_default();
    let parse = |field, text: &str| ExternalId::parse(text).map_err(|invalid| invalid_field(field, invalid));
    let pending = pending_external_id.map(|text| parse("pending_external_id", &text)).transpose()?;
    Ok(ExternalIds { current: parse("external_id", &external_id.unwrap_or_default())?, pending })
}

/// The version of a stored config; 0 without the attribute.
pub(crate) fn stored_version(draft: &Draft) -> Result<u64, Failure> {
    draft
        .version
        .as_deref()
        .map_or(Ok(0), |text| parse_version(text).map_err(|invalid| invalid_field("version", invalid)))
}

fn invalid_field(field: &'static str, invalid: Invalid) -> Failure {
    FieldErrors(vec![FieldError { field, message: invalid.0 }]).into_failure()
}

/// What a verification of settings has found just before they are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    Passed,
    /// They are saved anyway, and don't count as verified.
    Failed,
    /// There was none. They count as verified if those before do and deliver in the same way.
    NotTried,
}

/// Saves settings and schedules the next export.
///
/// After the first save, exports begin at `start_of_history`, or else at the save. Until something is exported, a later save may choose
/// another start. If another save or an export has changed the records since they were read, nothing is written: read them again and
/// retry. A save that changes nothing writes nothing, unless a failed verification takes away that the settings are verified.
///
/// # Errors
/// If the store fails; if the stored watermark or the number of shards is damaged, since neither is overwritten by a guess;
/// if the settings have fewer event shards than before, since events in the others would never be exported; if another start is chosen
/// that is no longer [open](StartOfHistory::Open); or as [`ensure_room`].
pub async fn save<S: Settings>(
    store: &S,
    as_read: &TenantRecords,
    config: &TenantConfig,
    start_of_history: Option<DateTime<Utc>>,
    verified: Verified,
    change: &AdminChange,
) -> Result<Conditional, Failure> {
    let TenantRecords { config: before, watermark, .. } = as_read;
    let before = before.clone().unwrap_or_default();
    let parse = |text| EventShards::parse(text).map_err(|invalid| invalid_field("event_shards", invalid));
    let shards = before.event_shards.as_deref().map(parse).transpose()?;
    if shards.is_some_and(|before| before.count() > config.event_shards.count()) {
        let message = "event_shards may only grow: events in the other shards would never be exported";
        return Err(invalid_field("event_shards", Invalid(message.to_owned())));
    }
    ensure_room(as_read, &config.tenant, &Draft::from_config(config, config.version))?;
    if start_of_history.is_some() && StartOfHistory::from_records(as_read) != StartOfHistory::Open {
        let message = "the start of the history can't be changed after the first export";
        return Err(invalid_field("history_from", Invalid(message.to_owned())));
    }
    let schedule = schedule_after_save(watermark.as_ref(), start_of_history, change.stamp.at)?;
    let after = Draft::from_config(config, config.version);
    let as_stored = watermark.as_ref().map(|watermark| watermark.exported_until.clone());
    let moves = as_stored != Some(Some(timestamp::seconds(schedule.exported_until)));
    let is_verified = match verified {
        Verified::Passed => true,
        Verified::Failed => false,
        Verified::NotTried => remains_verified(as_read, config),
    };
    let loses_verification = verified == Verified::Failed && as_read.is_verified();
    if !moves && !loses_verification && is_unchanged(as_read, config) {
        return Ok(Conditional::Written);
    }
    let begins = moves.then_some(schedule.exported_until);
    let announcement = change.settings_changed(&config.tenant, &before, &after, begins);
    let leaving = final_deliveries(as_read, &config.tenant, Some(config), change);
    // A delivery to a place that waits may begin meanwhile, and then the start is fixed.
    let waiting = || Some(as_read.final_deliveries.next_revision()).filter(|it| begins.is_some() && !it.is_empty());
    let announcement = announcement.leaving(leaving.or_else(waiting));
    store.save(config, watermark.as_ref(), schedule, is_verified, &announcement).await
}

/// Whether exports are scheduled by these very settings.
pub fn is_unchanged(as_read: &TenantRecords, config: &TenantConfig) -> bool {
    let Some((before, _)) = scheduled(as_read) else { return false };
    let shards = before.event_shards.as_deref().map_or(Ok(EventShards::ONE), EventShards::parse);
    let has_same_shards = shards.is_ok_and(|shards| shards == config.event_shards);
    has_same_shards && !has_changes(before, &Draft::from_config(config, config.version))
}

/// Whether verified settings are replaced by some that deliver through the same role to the same place.
fn remains_verified(as_read: &TenantRecords, after: &TenantConfig) -> bool {
    let Some(before) = as_read.config.as_ref().filter(|_| as_read.is_verified()) else { return false };
    let place = Place::of(&after.tenant, before);
    let after_place = Place::of(&after.tenant, &Draft::from_config(after, after.version));
    before.role_arn.as_deref() == Some(after.role.as_str()) && place.is_some() && place == after_place
}

/// Returns the schedule after a save at that time. A start of the history replaces the schedule, so pass one only while it is
/// [open](StartOfHistory::Open).
///
/// # Errors
/// If the stored watermark is damaged.
pub fn schedule_after_save(
    watermark: Option<&StoredWatermark>,
    start_of_history: Option<DateTime<Utc>>,
    saved_at: DateTime<Utc>,
) -> Result<Schedule, Failure> {
    match (watermark, start_of_history) {
        (None, start) => Ok(Schedule::first_save(start.unwrap_or(saved_at).min(saved_at))),
        (Some(_), Some(start)) => Ok(Schedule::first_save(start.min(saved_at))),
        (Some(watermark), None) => Ok(watermark.schedule().map_err(FieldErrors::into_failure)?.later_save(saved_at)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::{
        event::User,
        fakes::{FakeTenant, Fakes},
        new_event::{Stamp, time_ordered_id},
        settings::tests::{draft, platform},
        system_events::Client,
        tenant::ExternalId,
    };

    pub(crate) fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    pub(crate) fn change_at(at: DateTime<Utc>) -> AdminChange {
        let by = User { id: "u-17".to_owned(), name: Some("Ada".to_owned()), email: None };
        AdminChange {
            by,
            client: Client::default(),
            stamp: Stamp { at, retention: None },
            id: time_ordered_id(at, &[7; 10]),
        }
    }

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    fn role(name: &str) -> RoleArn {
        RoleArn::parse(&format!("arn:aws:iam::222222222222:role/{name}")).unwrap()
    }

    struct Admin(Fakes);

    impl Admin {
        fn connect(&self, name: &str, now: &str) -> Result<Conditional, Failure> {
            let change = change_at(at(now));
            connect(&self.0, &self.records(), &acme(), &role(name), &platform(), &change).now_or_never().unwrap()
        }

        fn save(&self, draft: &Draft, history: Option<&str>, now: &str) -> Result<Conditional, Failure> {
            let config = draft.check(&acme(), &platform()).unwrap();
            let change = change_at(at(now));
            save(&self.0, &self.records(), &config, history.map(at), Verified::NotTried, &change)
                .now_or_never()
                .unwrap()
        }

        fn disconnect(&self, now: &str) -> Result<Conditional, Failure> {
            disconnect(&self.0, &self.records(), &acme(), &change_at(at(now))).now_or_never().unwrap()
        }

        fn records(&self) -> TenantRecords {
            self.0.records(&acme()).now_or_never().unwrap().unwrap()
        }

        fn exported_until(&self) -> Option<String> {
            self.records().watermark.unwrap().exported_until
        }

        /// The actions of the tenant's events, in order.
        fn actions(&self) -> Vec<String> {
            self.0.actions("acme")
        }
    }

    /// An admin whose tenant has an external ID but no role.
    fn admin() -> Admin {
        let fakes = Fakes::default();
        let id = ExternalId::parse("3f6c1d2e-external").unwrap();
        let viewed = change_at(at("2026-11-21T08:59:00Z")).external_id_viewed(&acme());
        fakes.external_id(&acme(), &id, &viewed).now_or_never().unwrap().unwrap();
        Admin(fakes)
    }

    #[test]
    fn a_tenant_connects_saves_and_disconnects_and_each_change_is_an_event() {
        let admin = admin();
        assert_eq!(ConnectorState::from_records(&admin.records()), ConnectorState::NotConnected);
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        assert_eq!(ConnectorState::from_records(&admin.records()), ConnectorState::Connected);
        let version = admin.records().config.unwrap().version;
        assert_eq!(admin.save(&Draft { version, ..draft() }, None, "2026-11-21T10:03:00Z"), Ok(Conditional::Written));
        assert_eq!(ConnectorState::from_records(&admin.records()), ConnectorState::Scheduled);
        assert_eq!(admin.disconnect("2026-11-21T10:30:00Z"), Ok(Conditional::Written));
        assert_eq!(ConnectorState::from_records(&admin.records()), ConnectorState::Disconnected);
        assert_eq!(admin.connect("another", "2026-11-22T10:30:00Z"), Ok(Conditional::Written));
        assert_eq!(ConnectorState::from_records(&admin.records()), ConnectorState::Scheduled);
        assert_eq!(
            admin.exported_until().as_deref(),
            Some("2026-11-21T10:03:00Z"),
            "exports resume where they stopped"
        );
        let config = admin.records().config.unwrap();
        assert_eq!(config.role_arn.as_deref(), Some(role("another").as_str()));
        assert_eq!(config.version.as_deref(), Some("4"), "each change raises it");
        let connected = [
            "External ID Viewed",
            "Connector Connected",
            "Export Settings Changed",
            "Connector Disconnected",
            "Connector Connected",
        ];
        assert_eq!(admin.actions(), connected);
    }

    impl Admin {
        fn start_rotation(&self, candidate: &str) -> Result<Conditional, Failure> {
            let candidate = ExternalId::parse(candidate).unwrap();
            let change = change_at(at("2026-11-21T12:00:00Z"));
            start_rotation(&self.0, &self.records(), &acme(), &candidate, &change).now_or_never().unwrap()
        }

        fn cancel_rotation(&self) -> Result<Conditional, Failure> {
            let change = change_at(at("2026-11-21T13:00:00Z"));
            cancel_rotation(&self.0, &self.records(), &acme(), &change).now_or_never().unwrap()
        }

        fn external_ids(&self) -> (Option<String>, Option<String>) {
            let config = self.records().config.unwrap();
            (config.external_id, config.pending_external_id)
        }
    }

    #[test]
    fn a_rotation_is_started_once_cancelled_once_and_survives_other_changes() {
        let admin = admin();
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        let (current, pending) = (Some("3f6c1d2e-external".to_owned()), Some("pending-one".to_owned()));
        for candidate in ["pending-one", "another"] {
            assert_eq!(admin.start_rotation(candidate), Ok(Conditional::Written));
            assert_eq!(admin.external_ids(), (current.clone(), pending.clone()), "the first one stays");
        }
        let version = admin.records().config.unwrap().version;
        assert_eq!(version.as_deref(), Some("1"), "no export in progress is discarded");
        // The settings of a form that was opened before the rotation.
        assert_eq!(admin.save(&Draft { version, ..draft() }, None, "2026-11-21T12:03:00Z"), Ok(Conditional::Written));
        assert_eq!(admin.disconnect("2026-11-21T12:10:00Z"), Ok(Conditional::Written));
        assert_eq!(admin.connect("another", "2026-11-21T12:20:00Z"), Ok(Conditional::Written));
        assert_eq!(admin.external_ids(), (current.clone(), pending));
        for _ in 0..2 {
            assert_eq!(admin.cancel_rotation(), Ok(Conditional::Written));
            assert_eq!(admin.external_ids(), (current.clone(), None));
        }
        let rotation = admin.actions().into_iter().filter(|action| action.starts_with("External ID Rotation"));
        assert_eq!(rotation.collect::<Vec<_>>(), ["External ID Rotation Started", "External ID Rotation Cancelled"]);
        let state = admin.0.state();
        let documents: Vec<String> =
            state.events.values().flat_map(|shard| shard.values()).map(|it| format!("{it:?}")).collect();
        assert!(documents.iter().all(|it| !it.contains("pending-one") && !it.contains("3f6c1d2e")), "{documents:?}");
    }

    #[test]
    fn a_rotation_that_was_completed_meanwhile_is_not_cancelled() {
        let admin = admin();
        assert_eq!(admin.start_rotation("pending-one"), Ok(Conditional::Written));
        let as_read = admin.records();
        admin.0.state().tenants.get_mut("acme").unwrap().config = Some(Draft {
            external_id: Some("pending-one".to_owned()),
            pending_external_id: None,
            ..as_read.config.clone().unwrap()
        });
        let change = change_at(at("2026-11-21T13:00:00Z"));
        let cancelled = cancel_rotation(&admin.0, &as_read, &acme(), &change).now_or_never().unwrap();
        assert_eq!(cancelled, Ok(Conditional::ConditionFailed));
        assert_eq!(admin.external_ids(), (Some("pending-one".to_owned()), None));
    }

    #[test]
    fn a_tenant_that_was_erased_and_comes_back_gets_a_new_external_id() {
        let admin = admin();
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        admin.0.state().tenants.clear();
        assert_eq!(admin.start_rotation("pending-one").unwrap_err().code, Code::ConfigInvalid, "nothing to rotate");
        assert!(admin.connect("audit", "2026-11-22T09:00:00Z").is_err(), "the earlier role is not taken");
        let new = ExternalId::parse("a-new-one").unwrap();
        let viewed = change_at(at("2026-11-22T09:00:00Z")).external_id_viewed(&acme());
        let given = admin.0.external_id(&acme(), &new, &viewed).now_or_never().unwrap();
        assert_eq!(given.as_deref(), Ok("a-new-one"));
    }

    #[test]
    fn nothing_is_delivered_of_what_was_recorded_while_the_tenant_was_disconnected() {
        let admin = admin();
        let settings = |bucket: &str| {
            let version = admin.records().config.unwrap().version;
            Draft { bucket: Some(bucket.to_owned()), version, ..draft() }
        };
        let places = || admin.records().final_deliveries.places.len();
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        assert_eq!(admin.save(&settings("one"), None, "2026-11-21T10:03:00Z"), Ok(Conditional::Written));
        assert_eq!(admin.disconnect("2026-11-21T10:30:00Z"), Ok(Conditional::Written));
        assert_eq!(places(), 1);
        // The exporter has made the final delivery.
        admin.0.state().tenants.get_mut("acme").unwrap().final_deliveries.places.clear();
        assert_eq!(admin.save(&settings("two"), None, "2026-11-21T18:00:00Z"), Ok(Conditional::Written));
        assert_eq!(places(), 0, "a save");
        assert_eq!(admin.disconnect("2026-11-21T18:30:00Z"), Ok(Conditional::Written));
        admin.0.state().tenants.get_mut("acme").unwrap().final_deliveries.places.clear();
        let role = RoleArn::parse("arn:aws:iam::333333333333:role/audit").unwrap();
        let change = change_at(at("2026-11-22T10:00:00Z"));
        let connected = connect(&admin.0, &admin.records(), &acme(), &role, &platform(), &change).now_or_never();
        assert_eq!((connected, places()), (Some(Ok(Conditional::Written)), 0), "a connection");
    }

    #[test]
    fn a_place_is_never_left_silently_however_many_wait() {
        let admin = admin();
        let save = |bucket: &str| {
            let version = admin.records().config.unwrap().version;
            let settings = Draft { bucket: Some(bucket.to_owned()), version, ..draft() };
            admin.save(&settings, None, "2026-11-21T10:20:00Z")
        };
        let places = || admin.records().final_deliveries.places;
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        for n in 0..=MAX_PLACES {
            assert_eq!(save(&format!("invented-{n}")), Ok(Conditional::Written), "{n}");
        }
        assert_eq!(places().len(), MAX_PLACES);
        let before = admin.records();
        let refused = save("evil").unwrap_err();
        assert_eq!((refused.party, admin.records()), (Party::Customer, before));
        assert!(refused.message.contains("Try again in an hour: "), "{refused}");
        assert_eq!(save("invented-8"), Ok(Conditional::Written), "a save that stays where it is");
        assert_eq!(admin.disconnect("2026-11-21T10:30:00Z"), Ok(Conditional::Written));
        assert_eq!((places().len(), places()[MAX_PLACES].place.bucket.as_str()), (9, "invented-8"));
        {
            let mut state = admin.0.state();
            let places = &mut state.tenants.get_mut("acme").unwrap().final_deliveries.places;
            places[3] = places[3].after_failure(&Failure::new(Code::AccessDenied, ""), at("2026-11-21T11:02:00Z"));
        }
        let refused = save("evil").unwrap_err();
        assert!(refused.message.contains("Try again after 2026-11-22T11:02:00Z: "), "{refused}");
        assert_eq!(save("invented-8"), Ok(Conditional::Written), "back to a place that waits");
        admin.0.state().tenants.get_mut("acme").unwrap().final_deliveries.places.truncate(MAX_PLACES - 1);
        assert_eq!(save("evil"), Ok(Conditional::Written));
    }

    #[test]
    fn disconnecting_before_the_first_save_removes_the_role_and_a_second_time_changes_nothing() {
        let admin = admin();
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        for _ in 0..2 {
            assert_eq!(admin.disconnect("2026-11-21T09:10:00Z"), Ok(Conditional::Written));
            assert_eq!(ConnectorState::from_records(&admin.records()), ConnectorState::NotConnected);
        }
        assert_eq!(admin.actions(), ["External ID Viewed", "Connector Connected", "Connector Disconnected"]);
        assert_eq!(admin.records().config.unwrap().external_id.as_deref(), Some("3f6c1d2e-external"));
    }

    #[test]
    fn no_role_is_stored_for_a_tenant_without_an_external_id() {
        let refused = Admin(Fakes::default()).connect("audit", "2026-11-21T09:00:00Z").unwrap_err();
        assert_eq!((refused.code, refused.party), (Code::ConfigInvalid, Party::Platform));
    }

    #[test]
    fn saving_never_loses_events_of_a_shard_or_after_the_save() {
        let admin = Admin(Fakes::default());
        let config = |shards: Option<&str>, version: &str| {
            let (event_shards, version) = (shards.map(str::to_owned), Some(version.to_owned()));
            Draft { event_shards, version, ..draft() }
        };
        let save = |draft: &Draft| admin.save(draft, Some("2026-11-21T15:00:00Z"), "2026-11-21T10:00:00Z");
        assert_eq!(save(&config(Some("4"), "0")), Ok(Conditional::Written));
        assert_eq!(admin.exported_until().as_deref(), Some("2026-11-21T10:00:00Z"), "not later than the save");
        for fewer in [Some("2"), None] {
            let refused = save(&config(fewer, "1")).unwrap_err();
            assert!(refused.message.contains("event_shards: event_shards may only grow"), "{refused}");
        }
        assert_eq!(save(&config(Some("8"), "1")), Ok(Conditional::Written));
        let damaged = Some("many".to_owned());
        admin.0.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap().event_shards = damaged;
        assert!(save(&config(Some("1"), "2")).unwrap_err().message.contains("event_shards: "));
    }

    #[test]
    fn the_start_of_the_history_can_be_chosen_until_something_is_exported() {
        let admin = admin();
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        let as_saved = || Draft { version: admin.records().config.unwrap().version, ..draft() };
        let save = |history: Option<&str>| admin.save(&as_saved(), history, "2026-11-21T10:30:00Z");
        assert_eq!(save(None), Ok(Conditional::Written));
        for start in ["2026-11-20T00:00:00Z", "2026-11-21T08:20:00Z"] {
            assert_eq!(save(Some(start)), Ok(Conditional::Written));
            let schedule = admin.records().watermark.unwrap().schedule().unwrap();
            assert_eq!(schedule, Schedule::first_save(at(start)), "later or earlier");
        }
        let before = admin.records();
        assert_eq!(save(None), Ok(Conditional::Written));
        assert_eq!(admin.records(), before, "without another start, it stays");

        type Begin = fn(&mut FakeTenant);
        let begun: [(Begin, StartOfHistory); 7] = [
            (
                |it| {
                    let text = "2026-11-21T10:20:01Z".to_owned();
                    it.watermark.as_mut().unwrap().final_delivered_until = Some(text);
                },
                StartOfHistory::Fixed,
            ),
            (
                |it| {
                    let FakeTenant { config, watermark, final_deliveries, .. } = it;
                    let (config, watermark) = (config.as_ref().unwrap(), watermark.as_ref().unwrap());
                    let left_at = at("2026-11-21T10:20:00Z");
                    let mut left = final_deliveries.after_leaving(&acme(), config, watermark, left_at).unwrap();
                    left.places[0].checkpoint = Some("{}".to_owned());
                    *final_deliveries = left;
                },
                StartOfHistory::Fixed,
            ),
            (|it| it.last_success_at = Some(at("2026-11-21T10:02:00Z")), StartOfHistory::Fixed),
            (|it| it.watermark.as_mut().unwrap().checkpoint = Some("{}".to_owned()), StartOfHistory::Fixed),
            (|it| it.watermark.as_mut().unwrap().trailing_counts = Some("{}".to_owned()), StartOfHistory::Fixed),
            (|it| it.watermark.as_mut().unwrap().manifest_sha256 = Some("3b1f".to_owned()), StartOfHistory::Fixed),
            // Also an expired one: that run may have stored a manifest without committing the window.
            (
                |it| it.lease = Some(crate::lease::Lease { token: "a".to_owned(), until: at("2026-11-20T09:00:00Z") }),
                StartOfHistory::Leased,
            ),
        ];
        let untouched = admin.0.state().tenants["acme"].clone();
        for (begin, expected) in begun {
            begin(admin.0.state().tenants.get_mut("acme").unwrap());
            assert_eq!(StartOfHistory::from_records(&admin.records()), expected);
            let refused = save(Some("2026-11-19T00:00:00Z")).unwrap_err();
            assert!(refused.party == Party::Customer && refused.message.contains("history_from: "), "{refused}");
            // The run began after the records were read.
            let config = as_saved().check(&acme(), &platform()).unwrap();
            let change = change_at(at("2026-11-21T10:31:00Z"));
            let raced =
                super::save(&admin.0, &before, &config, Some(at("2026-11-19T00:00:00Z")), Verified::NotTried, &change);
            assert_eq!(raced.now_or_never().unwrap(), Ok(Conditional::ConditionFailed));
            assert_eq!(
                admin.records().watermark.unwrap().exported_until,
                before.watermark.as_ref().unwrap().exported_until
            );
            *admin.0.state().tenants.get_mut("acme").unwrap() = untouched.clone();
        }
    }

    #[test]
    fn a_save_without_a_change_writes_nothing() {
        let admin = admin();
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        let save = |now: &str| {
            let version = admin.records().config.unwrap().version;
            admin.save(&Draft { version, ..draft() }, None, now)
        };
        assert_eq!(save("2026-11-21T10:03:00Z"), Ok(Conditional::Written));
        let before = admin.0.state().tenants["acme"].clone();
        assert_eq!(save("2026-11-21T10:20:00Z"), Ok(Conditional::Written));
        assert_eq!(admin.0.state().tenants["acme"], before);
        assert_eq!(admin.actions().iter().filter(|it| *it == "Export Settings Changed").count(), 1);
        assert_eq!(admin.disconnect("2026-11-21T10:30:00Z"), Ok(Conditional::Written));
        assert_eq!(save("2026-11-21T10:40:00Z"), Ok(Conditional::Written));
        assert_eq!(ConnectorState::from_records(&admin.records()), ConnectorState::Scheduled, "it reconnects");
    }

    #[test]
    fn what_a_setup_has_typed_lies_beside_the_settings_until_they_are_saved() {
        let typed = SetupDraft { create_bucket: true, ..SetupDraft::default() };
        let keep_after = |admin: &Admin, as_read: &TenantRecords| {
            save_setup_draft(&admin.0, as_read, &acme(), &typed).now_or_never().unwrap()
        };
        let keep = |admin: &Admin| keep_after(admin, &admin.records());
        assert_eq!(keep(&Admin(Fakes::default())), Ok(Conditional::ConditionFailed), "no tenant has begun");
        let admin = admin();
        let before = admin.records();
        assert_eq!(keep(&admin), Ok(Conditional::Written));
        assert_eq!(admin.records(), TenantRecords { setup_draft: Some(typed.clone()), ..before.clone() });
        assert_eq!(admin.actions(), ["External ID Viewed"]);
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        assert_eq!(open_setup(&admin.records()), Some(&typed));
        assert_eq!(keep_after(&admin, &before), Ok(Conditional::ConditionFailed), "a role was connected meanwhile");
        let as_read = admin.records();
        let version = admin.records().config.unwrap().version;
        assert_eq!(admin.save(&Draft { version, ..draft() }, None, "2026-11-21T10:03:00Z"), Ok(Conditional::Written));
        assert_eq!(admin.records().setup_draft, None);
        assert_eq!(keep_after(&admin, &as_read), Ok(Conditional::ConditionFailed), "settings were saved meanwhile");
        // One that was left beside the settings of scheduled exports is of no use any more.
        admin.0.state().tenants.get_mut("acme").unwrap().setup_draft = Some(typed.clone());
        assert_eq!(open_setup(&admin.records()), None);
    }

    #[test]
    fn settings_that_a_verification_refused_are_not_verified_and_others_stay_as_they_were() {
        let admin = admin();
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        let save = |verified: Verified, format: &str, now: &str| {
            let version = admin.records().config.unwrap().version;
            let draft = Draft { version, format: Some(format.to_owned()), ..draft() };
            let config = draft.check(&acme(), &platform()).unwrap();
            let (as_read, change) = (admin.records(), change_at(at(now)));
            let saved = super::save(&admin.0, &as_read, &config, None, verified, &change);
            assert_eq!(saved.now_or_never().unwrap(), Ok(Conditional::Written));
            admin.records().is_verified()
        };
        assert!(!save(Verified::NotTried, "json", "2026-11-21T10:01:00Z"));
        assert!(save(Verified::Passed, "ndjson", "2026-11-21T10:02:00Z"));
        assert!(save(Verified::NotTried, "json", "2026-11-21T10:03:00Z"), "to the same place through the same role");
        assert!(!save(Verified::Failed, "ndjson", "2026-11-21T10:04:00Z"));
        assert!(!save(Verified::NotTried, "json", "2026-11-21T10:05:00Z"));
        assert!(save(Verified::Passed, "ndjson", "2026-11-21T10:06:00Z"));
        assert!(!save(Verified::Failed, "ndjson", "2026-11-21T10:07:00Z"), "nothing else changes");
        let before = admin.records();
        assert!(!save(Verified::Failed, "ndjson", "2026-11-21T10:08:00Z"));
        assert_eq!(admin.records(), before, "there is nothing left to change");
    }

    #[test]
    fn the_start_of_the_history_does_not_move_while_the_delivery_to_a_place_that_was_left_begins() {
        let admin = admin();
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        let save = |as_read: &TenantRecords, bucket: &str, history: Option<&str>| {
            let version = as_read.config.clone().unwrap().version;
            let draft = Draft { version, bucket: Some(bucket.to_owned()), ..draft() };
            let config = draft.check(&acme(), &platform()).unwrap();
            let (history, change) = (history.map(at), change_at(at("2026-11-21T10:30:00Z")));
            super::save(&admin.0, as_read, &config, history, Verified::NotTried, &change).now_or_never().unwrap()
        };
        assert_eq!(save(&admin.records(), "one", None), Ok(Conditional::Written));
        assert_eq!(save(&admin.records(), "two", None), Ok(Conditional::Written));
        let as_read = admin.records();
        admin.0.state().tenants.get_mut("acme").unwrap().final_deliveries.revision += 1;
        assert_eq!(save(&as_read, "two", Some("2026-11-20T00:00:00Z")), Ok(Conditional::ConditionFailed));
        assert_eq!(save(&admin.records(), "two", Some("2026-11-20T00:00:00Z")), Ok(Conditional::Written));
    }
}
