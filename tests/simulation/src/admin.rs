//! The tenants' admins, who save, disconnect and connect in the middle of whatever goes on.

use std::sync::Arc;

use audit_log_core::{
    connect,
    event::User,
    failure::Failure,
    object::tenant_folder,
    ports::{Conditional, Settings as _},
    record::{Stamp, own::Change, time_ordered_id},
    records::TenantRecords,
    settings::{Draft, FieldErrors, TenantConfig},
    tenant::{Invalid, RoleArn, TenantId},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{plan::TENANTS, world::World};

/// What an admin does.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Saves these settings; the first save may begin so much earlier.
    Save(Box<Draft>, Option<TimeDelta>),
    /// Stops the exports.
    Disconnect,
    /// Goes on with them.
    Reconnect,
}

/// An admin, and how far the console's clock is off.
pub struct Admin {
    /// The world.
    pub world: Arc<World>,
    /// Whose admin.
    pub tenant: usize,
    /// In milliseconds.
    pub skew_ms: i64,
}

impl Admin {
    /// Does it, and again from the start if somebody came in between.
    pub async fn act(&self, deed: &Deed) {
        for _ in 0..5 {
            let result = self.try_once(deed).await;
            self.world.say(|| format!("admin of {} {}: {result:?}", TENANTS[self.tenant], deed.name()));
            self.world.look();
            match result {
                Ok(Conditional::LostRace) => {}
                Ok(Conditional::Written) | Err(_) => return,
            }
        }
    }

    async fn try_once(&self, deed: &Deed) -> Result<Conditional, Failure> {
        let world = &self.world;
        let tenant = TenantId::parse(TENANTS[self.tenant]).map_err(damaged)?;
        let records = world.memory.records(&tenant).await?;
        world.delay().await;
        let at = world.now() + TimeDelta::milliseconds(self.skew_ms);
        let change = Change {
            by: User { id: "u-17".to_owned(), name: None, email: None },
            stamp: Stamp { at, retention: None },
            id: time_ordered_id(
                at,
                &u128::from(world.roll(u32::MAX)).to_be_bytes()[6..].try_into().unwrap_or_default(),
            ),
        };
        let result = match deed {
            Deed::Save(draft, history) => self.save(&tenant, &records, draft, *history, &change).await,
            Deed::Disconnect => connect::disconnect(&world.memory, &records, &tenant, &change).await,
            Deed::Reconnect => {
                let Some(role) = records.config.as_ref().and_then(|config| config.role_arn.as_deref()) else {
                    return Ok(Conditional::Written);
                };
                let role = RoleArn::parse(role).map_err(damaged)?;
                self.note_save(&tenant);
                connect::connect(&world.memory, &records, &tenant, &role, &world.platform, &change).await
            }
        };
        if matches!((&result, deed), (Ok(Conditional::Written), Deed::Save(..) | Deed::Reconnect)) {
            world.facts().renewed.insert(tenant.to_string(), at);
            world.facts().saved.insert(tenant.to_string(), world.now());
        }
        result
    }

    async fn save(
        &self,
        tenant: &TenantId,
        records: &TenantRecords,
        draft: &Draft,
        history: Option<TimeDelta>,
        change: &Change,
    ) -> Result<Conditional, Failure> {
        let world = &self.world;
        let version = records.config.as_ref().and_then(|config| config.version.clone());
        let config =
            Draft { version, ..draft.clone() }.check(tenant, &world.platform).map_err(FieldErrors::into_failure)?;
        self.note_config(&config);
        let begins = history.map(|history| change.stamp.at - history);
        let result = connect::save(&world.memory, records, &config, begins, change).await;
        match (&result, records.watermark.is_some()) {
            (Ok(Conditional::Written), false) => self.note_begin(tenant, begins.unwrap_or(change.stamp.at)),
            (_, true) => self.note_save(tenant),
            _ => {}
        }
        result
    }

    /// Before it is saved: a run may go by it right after.
    fn note_config(&self, config: &TenantConfig) {
        let mut facts = self.world.facts();
        let folder = (config.bucket.to_string(), tenant_folder(&config.prefix, &config.tenant));
        facts.folders.entry(config.tenant.to_string()).or_default().insert(folder);
        let longest = facts.longest.entry(config.tenant.to_string()).or_default();
        *longest = config.frequency.duration().num_hours().max(*longest);
    }

    fn note_save(&self, tenant: &TenantId) {
        *self.world.facts().saves.entry(tenant.to_string()).or_default() += 1;
    }

    fn note_begin(&self, tenant: &TenantId, at: DateTime<Utc>) {
        self.world.facts().begins.insert(tenant.to_string(), timestamp::whole_seconds(at));
    }
}

impl Deed {
    fn name(&self) -> &'static str {
        match self {
            Self::Save(..) => "saves",
            Self::Disconnect => "disconnects",
            Self::Reconnect => "connects again",
        }
    }
}

fn damaged(Invalid(message): Invalid) -> Failure {
    Failure::new(audit_log_core::failure::Code::ConfigInvalid, message)
}
