//! What a tenant's admin does: take the external ID, connect a role, save settings, disconnect.
//!
//! Everything goes through a read, a decision and a conditional write, so that two admins at once, or an export in
//! between, can't undo each other. What was exported stays exported, and what waits to be exported keeps its windows.

use chrono::{DateTime, Utc};

use crate::{
    failure::{Code, Failure, Party},
    ports::{Conditional, Settings},
    records::{StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::{Draft, FieldError, FieldErrors, TenantConfig, parse_version},
    system_events::AdminChange,
    tenant::{EventShards, Invalid, Platform, RoleArn, TenantId},
};

/// How far a tenant has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectorState {
    /// There may be an external ID, but no role.
    NotConnected,
    /// There is a role, but no settings were ever saved.
    Connected,
    /// Exports are scheduled.
    Scheduled,
    /// Exports were scheduled and are stopped; who connects again goes on where they stopped.
    Disconnected,
}

impl ConnectorState {
    /// Of a tenant with these records.
    pub fn of(records: &TenantRecords) -> Self {
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

/// Stores the role of a tenant whose external ID was handed out, over the records that were read. A tenant that has settings is scheduled again with them
/// and the new role.
///
/// # Errors
/// If the store fails, if there is no external ID yet, or if the stored settings can't be used with this role.
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
        let message = "The tenant has no external ID yet, so no role can ask for it. Show it to the tenant first.";
        return Err(Failure::by(Party::Platform, Code::ConfigInvalid, message));
    };
    let is_connected = ConnectorState::of(as_read).is_connected();
    let announcement = change.connected(tenant, role, draft.role_arn.as_deref(), is_connected);
    let Some(watermark) = watermark else {
        return store.store_role(tenant, Some(role), version(draft)?, &announcement).await;
    };
    let draft = Draft { role_arn: Some(role.as_str().to_owned()), ..draft.clone() };
    let config = draft.check(tenant, platform).map_err(FieldErrors::into_failure)?;
    let schedule = watermark.schedule().map_err(FieldErrors::into_failure)?.later_save(change.stamp.at);
    store.save(&config, Some(watermark), schedule, &announcement).await
}

/// Takes a tenant out of the schedule, or its role back where none was ever saved.
///
/// # Errors
/// If the store fails, or what it holds is damaged.
pub async fn disconnect<S: Settings>(
    store: &S,
    as_read: &TenantRecords,
    tenant: &TenantId,
    change: &AdminChange,
) -> Result<Conditional, Failure> {
    let announcement = change.disconnected(tenant);
    match (ConnectorState::of(as_read), &as_read.config) {
        (ConnectorState::Scheduled, Some(config)) => store.disconnect(tenant, version(config)?, &announcement).await,
        (ConnectorState::Connected, Some(config)) => {
            store.store_role(tenant, None, version(config)?, &announcement).await
        }
        // What isn't connected is disconnected already.
        _ => Ok(Conditional::Written),
    }
}

/// The version of a stored config, for whoever changes it.
fn version(draft: &Draft) -> Result<u64, Failure> {
    let damaged =
        |invalid: Invalid| FieldErrors(vec![FieldError { field: "version", message: invalid.0 }]).into_failure();
    draft.version.as_deref().map_or(Ok(0), |text| parse_version(text).map_err(damaged))
}

/// Saves checked settings over the records that they were decided by, and schedules the next export.
///
/// The first save starts at `start_of_history`, or at the save itself; a later one ignores `start_of_history`, since
/// what was exported stays exported. If another save or an export came in between, nothing is written and the race is
/// lost; whoever saves reads again and decides anew.
///
/// # Errors
/// If the store fails; if the stored watermark is damaged, since it is never overwritten by a guess; or if the events
/// would be looked for in fewer shards than before, since those in the others would never be exported.
pub async fn save<S: Settings>(
    store: &S,
    as_read: &TenantRecords,
    config: &TenantConfig,
    start_of_history: Option<DateTime<Utc>>,
    change: &AdminChange,
) -> Result<Conditional, Failure> {
    let TenantRecords { config: before, watermark, .. } = as_read;
    let before = before.clone().unwrap_or_default();
    // Damaged ones are not overwritten by a guess either: events in the shards it leaves out would be lost.
    let damaged =
        |invalid: Invalid| FieldErrors(vec![FieldError { field: "event_shards", message: invalid.0 }]).into_failure();
    let shards = before.event_shards.as_ref().map(|text| EventShards::parse(text).map_err(damaged)).transpose()?;
    if shards.is_some_and(|before| before.count() > config.event_shards.count()) {
        let message = "event_shards may only grow: events in the shards that are left out would never be exported";
        let field = FieldError { field: "event_shards", message: message.to_owned() };
        return Err(FieldErrors(vec![field]).into_failure());
    }
    let schedule = schedule_after_save(watermark.as_ref(), start_of_history, change.stamp.at)?;
    let begins = watermark.is_none().then_some(schedule.exported_until);
    let announcement = change.settings_changed(&config.tenant, &before, &Draft::of(config, config.version), begins);
    store.save(config, watermark.as_ref(), schedule, &announcement).await
}

/// Where a tenant's schedule stands once its settings are saved at that moment.
///
/// # Errors
/// If the stored watermark is damaged.
pub fn schedule_after_save(
    watermark: Option<&StoredWatermark>,
    start_of_history: Option<DateTime<Utc>>,
    saved_at: DateTime<Utc>,
) -> Result<Schedule, Failure> {
    match watermark {
        None => Ok(Schedule::first_save(start_of_history.unwrap_or(saved_at).min(saved_at))),
        Some(watermark) => Ok(watermark.schedule().map_err(FieldErrors::into_failure)?.later_save(saved_at)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::{
        event::User,
        fakes::Fakes,
        new_event::{Stamp, time_ordered_id},
        settings::tests::{draft, platform},
        tenant::ExternalId,
    };

    pub(crate) fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// A change by an admin at an instant.
    pub(crate) fn change_at(at: DateTime<Utc>) -> AdminChange {
        let by = User { id: "u-17".to_owned(), name: Some("Ada".to_owned()), email: None };
        AdminChange { by, stamp: Stamp { at, retention: None }, id: time_ordered_id(at, &[7; 10]) }
    }

    fn acme() -> TenantId {
        TenantId::parse("acme").unwrap()
    }

    fn role(name: &str) -> RoleArn {
        RoleArn::parse(&format!("arn:aws:iam::222222222222:role/{name}")).unwrap()
    }

    /// What an admin can do, each at an instant.
    struct Admin(Fakes);

    impl Admin {
        fn connect(&self, name: &str, now: &str) -> Result<Conditional, Failure> {
            let change = change_at(at(now));
            connect(&self.0, &self.records(), &acme(), &role(name), &platform(), &change).now_or_never().unwrap()
        }

        fn save(&self, draft: &Draft, history: Option<&str>, now: &str) -> Result<Conditional, Failure> {
            let config = draft.check(&acme(), &platform()).unwrap();
            save(&self.0, &self.records(), &config, history.map(at), &change_at(at(now))).now_or_never().unwrap()
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

        /// The actions of the tenant's own events, in order.
        fn news(&self) -> Vec<String> {
            self.0.actions("acme")
        }
    }

    /// With an external ID, as after the first look at the connector.
    fn admin() -> Admin {
        let fakes = Fakes::default();
        let id = ExternalId::parse("3f6c1d2e-external").unwrap();
        fakes.external_id(&acme(), &id).now_or_never().unwrap().unwrap();
        Admin(fakes)
    }

    #[test]
    fn a_tenant_goes_from_nothing_to_scheduled_and_back_and_each_step_is_its_own_event() {
        let admin = admin();
        assert_eq!(ConnectorState::of(&admin.records()), ConnectorState::NotConnected);
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        assert_eq!(ConnectorState::of(&admin.records()), ConnectorState::Connected);
        let version = admin.records().config.unwrap().version;
        assert_eq!(admin.save(&Draft { version, ..draft() }, None, "2026-11-21T10:03:00Z"), Ok(Conditional::Written));
        assert_eq!(ConnectorState::of(&admin.records()), ConnectorState::Scheduled);
        assert_eq!(admin.disconnect("2026-11-21T10:30:00Z"), Ok(Conditional::Written));
        assert_eq!(ConnectorState::of(&admin.records()), ConnectorState::Disconnected);
        assert_eq!(admin.connect("another", "2026-11-22T10:30:00Z"), Ok(Conditional::Written));
        assert_eq!(ConnectorState::of(&admin.records()), ConnectorState::Scheduled);
        assert_eq!(admin.exported_until().as_deref(), Some("2026-11-21T10:03:00Z"), "it goes on where it stopped");
        let config = admin.records().config.unwrap();
        assert_eq!(config.role_arn.as_deref(), Some(role("another").as_str()));
        assert_eq!(config.version.as_deref(), Some("4"), "each change raises it");
        let connected =
            ["Connector Connected", "Export Settings Changed", "Connector Disconnected", "Connector Connected"];
        assert_eq!(admin.news(), connected);
    }

    #[test]
    fn a_role_without_settings_is_taken_back_and_disconnecting_twice_changes_nothing() {
        let admin = admin();
        assert_eq!(admin.connect("audit", "2026-11-21T09:00:00Z"), Ok(Conditional::Written));
        for _ in 0..2 {
            assert_eq!(admin.disconnect("2026-11-21T09:10:00Z"), Ok(Conditional::Written));
            assert_eq!(ConnectorState::of(&admin.records()), ConnectorState::NotConnected);
        }
        assert_eq!(admin.news(), ["Connector Connected", "Connector Disconnected"]);
        assert_eq!(admin.records().config.unwrap().external_id.as_deref(), Some("3f6c1d2e-external"));
    }

    #[test]
    fn no_role_is_stored_for_a_tenant_that_was_never_given_an_external_id() {
        let refused = Admin(Fakes::default()).connect("audit", "2026-11-21T09:00:00Z").unwrap_err();
        assert_eq!((refused.code, refused.party), (Code::ConfigInvalid, Party::Platform));
    }

    #[test]
    fn saving_never_loses_events_of_a_shard_or_of_the_future() {
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
        let damage = Some("many".to_owned());
        admin.0.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap().event_shards = damage;
        assert!(save(&config(Some("1"), "2")).unwrap_err().message.contains("event_shards: "));
    }
}
