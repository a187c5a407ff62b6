//! The tenants' admins, who save, disconnect and reconnect while runs are at work.

use std::sync::Arc;

use audit_log_core::{
    event::User,
    failure::{Code, Failure},
    new_event::{Stamp, time_ordered_id},
    notification::Kind,
    object::tenant_folder,
    onboarding::{self, Verified},
    ports::{Conditional, Settings as _},
    records::{Place, Progress, Replay, TenantRecords},
    schedule::Window,
    settings::{Draft, FieldErrors, TenantConfig},
    system_events::{AdminChange, Client},
    tenant::{Invalid, RoleArn, TenantId},
    timestamp,
};
use chrono::TimeDelta;

use crate::{
    bugs::{self, Bug, is_planted},
    leaving,
    plan::TENANTS,
    runs,
    world::World,
};

#[derive(Debug, Clone)]
pub enum AdminAction {
    /// The settings; with the first save, how much earlier the exports begin.
    Save(Box<Draft>, Option<TimeDelta>),
    Disconnect,
    Reconnect,
    /// The bucket.
    Move(String),
    /// A replay of the time from and to so long ago.
    Replay(TimeDelta, TimeDelta),
    StopReplay,
}

pub struct Admin {
    pub world: Arc<World>,
    /// The index in [`TENANTS`].
    pub tenant: usize,
    /// How far the console's clock is off.
    pub skew_ms: i64,
}

impl Admin {
    /// Repeats the action from the start if another write came first.
    pub async fn act(&self, action: &AdminAction) {
        for _ in 0..5 {
            let result = self.try_once(action).await;
            self.world.say(|| format!("admin of {} {}: {result:?}", TENANTS[self.tenant], action.name()));
            self.world.check_step();
            if result != Ok(Conditional::ConditionFailed) {
                return;
            }
        }
    }

    async fn try_once(&self, action: &AdminAction) -> Result<Conditional, Failure> {
        let world = &self.world;
        let tenant = TenantId::parse(TENANTS[self.tenant]).map_err(to_failure)?;
        let records = world.fakes.records(&tenant).await?;
        world.delay().await;
        let at = world.now() + TimeDelta::milliseconds(self.skew_ms);
        let change = AdminChange {
            by: User { id: "u-17".to_owned(), name: None, email: None },
            client: Client::default(),
            stamp: Stamp { at, retention: None },
            id: time_ordered_id(
                at,
                &u128::from(world.roll(u32::MAX)).to_be_bytes()[6..].try_into().unwrap_or_default(),
            ),
        };
        // The write may take as long as any other.
        world.delay().await;
        let pending = records.final_deliveries.places.clone();
        let result = match action {
            AdminAction::Save(draft, history) => self.save(&tenant, &records, draft, *history, &change).await,
            AdminAction::Move(bucket) => {
                // The first save is another action.
                let Some(stored) = records.config.as_ref().filter(|_| is_scheduled(&records)) else {
                    return Ok(Conditional::Written);
                };
                let draft = Draft { bucket: Some(bucket.clone()), ..stored.clone() };
                self.save(&tenant, &records, &draft, None, &change).await
            }
            AdminAction::Replay(from, to) => return self.request_replay(&tenant, &records, *from, *to, &change).await,
            AdminAction::StopReplay => return self.stop_replay(&tenant, &records).await,
            AdminAction::Disconnect => {
                let result = onboarding::disconnect(&world.fakes, &records, &tenant, &change).await;
                if result == Ok(Conditional::Written) && is_scheduled(&records) {
                    world.facts().signing_failed_since.remove(tenant.as_str());
                }
                result
            }
            AdminAction::Reconnect => {
                let Some(role) = records.config.as_ref().and_then(|config| config.role_arn.as_deref()) else {
                    return Ok(Conditional::Written);
                };
                let role = RoleArn::parse(role).map_err(to_failure)?;
                onboarding::connect(&world.fakes, &records, &tenant, &role, &world.platform, &change).await
            }
        };
        if result == Ok(Conditional::Written) {
            bugs::change_final_deliveries(&world.fakes, &tenant, pending);
        }
        if result == Ok(Conditional::Written) && !self.changes_nothing(&tenant, action, &records) {
            self.note_change(&tenant, action, &records, &change);
        }
        result
    }

    async fn request_replay(
        &self,
        tenant: &TenantId,
        records: &TenantRecords,
        from: TimeDelta,
        to: TimeDelta,
        change: &AdminChange,
    ) -> Result<Conditional, Failure> {
        let world = &self.world;
        let before = records.replay.as_ref();
        let is_possible = is_scheduled(records) && before.is_none_or(|before| !before.is_running());
        let Some(config) = world.config(tenant.as_str()).filter(|_| is_possible) else {
            return Ok(Conditional::Written);
        };
        let [from, to] = [from, to].map(|ago| timestamp::whole_seconds(change.stamp.at - ago));
        let planned = Progress::default();
        let Some(place) = Place::of(tenant, &Draft::from_config(&config, config.version)) else {
            return Ok(Conditional::Written);
        };
        let (by, at) = (change.by.clone(), change.stamp.at);
        let replay = Replay::new(change.id.clone(), Window { from, to }, place, planned, by, at, before);
        let requested = change.replay_requested(tenant, &replay);
        let result = world.fakes.request_replay(tenant, &replay, Some(&requested)).await;
        if result == Ok(Conditional::Written) {
            world.facts().replays.note_request(tenant, &replay);
            world.note_visible(tenant.as_str(), 0, &format!("{}#{}", timestamp::millis(at), change.id));
            if !world.happens(400) {
                let (world, tenant, skew_ms) = (Arc::clone(world), tenant.clone(), world.skew_ms());
                self.world.spawn(async move {
                    world.sleep_ms(3_000).await;
                    runs::replay(&world, &tenant, skew_ms).await;
                });
            }
        }
        result
    }

    async fn stop_replay(&self, tenant: &TenantId, records: &TenantRecords) -> Result<Conditional, Failure> {
        let Some(replay) = records.replay.as_ref().filter(|replay| replay.is_running()) else {
            return Ok(Conditional::Written);
        };
        let after = replay.stopping(User { id: "u-17".to_owned(), name: None, email: None });
        let result = self.world.fakes.request_replay(tenant, &after, None).await;
        if result == Ok(Conditional::Written) {
            let now = self.world.now();
            self.world.facts().replays.stop_requested_at.entry(replay.id.clone()).or_insert(now);
        }
        result
    }

    fn note_change(&self, tenant: &TenantId, action: &AdminAction, records: &TenantRecords, change: &AdminChange) {
        let (world, id) = (&self.world, tenant.to_string());
        let (at, now) = (change.stamp.at, world.now());
        let mut facts = world.facts();
        if !matches!(action, AdminAction::Disconnect) {
            facts.saved_at.insert(id.clone(), at);
        }
        let key = format!("{}#{}", timestamp::millis(at), change.id);
        let after = if matches!(action, AdminAction::Disconnect) { None } else { world.config(&id) };
        leaving::note_change(&mut facts, tenant, records, after.as_ref(), key);
        facts.settings_changed_at.insert(id.clone(), now);
        if let Some(until) = records.watermark.as_ref().and_then(|watermark| watermark.exported_until.clone()) {
            facts.change_positions.insert((id.clone(), until));
        }
        let (event_action, kind) = action.announced();
        facts.changes.insert(change.id.clone(), (id.clone(), event_action, kind));
        drop(facts);
        world.note_visible(&id, 0, &format!("{}#{}", timestamp::millis(at), change.id));
        // The console asks the exporter to publish, and does not wait for the answer.
        if !world.happens(400) {
            let (world, tenant, skew_ms) = (Arc::clone(world), tenant.clone(), world.skew_ms());
            self.world.spawn(async move {
                world.sleep_ms(3_000).await;
                runs::publish(&world, &tenant, skew_ms).await;
            });
        }
    }

    /// Disconnecting a disconnected tenant changes nothing, nor does a save of the settings as they are.
    fn changes_nothing(&self, tenant: &TenantId, action: &AdminAction, records: &TenantRecords) -> bool {
        match action {
            AdminAction::Disconnect => !is_scheduled(records),
            AdminAction::Reconnect | AdminAction::Replay(..) | AdminAction::StopReplay => false,
            AdminAction::Save(draft, _) => self.is_unchanged(tenant, draft, records),
            AdminAction::Move(bucket) => records.config.as_ref().is_some_and(|stored| {
                self.is_unchanged(tenant, &Draft { bucket: Some(bucket.clone()), ..stored.clone() }, records)
            }),
        }
    }

    fn is_unchanged(&self, tenant: &TenantId, draft: &Draft, records: &TenantRecords) -> bool {
        let config = draft.check(tenant, &self.world.platform);
        config.is_ok_and(|config| onboarding::is_unchanged(records, &config))
    }

    async fn save(
        &self,
        tenant: &TenantId,
        records: &TenantRecords,
        draft: &Draft,
        history: Option<TimeDelta>,
        change: &AdminChange,
    ) -> Result<Conditional, Failure> {
        let world = &self.world;
        let version = records.config.as_ref().and_then(|config| config.version.clone());
        let config =
            Draft { version, ..draft.clone() }.check(tenant, &world.platform).map_err(FieldErrors::into_failure)?;
        self.note_config(&config);
        let begins = history.filter(|_| records.watermark.is_none()).map(|history| change.stamp.at - history);
        let reset_at = records.health.backoff_reset_at;
        let result = onboarding::save(&world.fakes, records, &config, begins, Verified::NotTried, change).await;
        if result == Ok(Conditional::Written) && records.watermark.is_none() {
            let begins = timestamp::whole_seconds(begins.unwrap_or(change.stamp.at));
            world.facts().begins.insert(tenant.to_string(), begins);
        }
        if result == Ok(Conditional::Written) {
            bugs::forget_head(&world.fakes, tenant, Bug::SaveRestartsTheChain, None);
        }
        if is_planted(Bug::SaveKeepsTheBackoff)
            && let Some(stored) = world.fakes.state().tenants.get_mut(tenant.as_str())
        {
            stored.backoff_reset_at = reset_at;
        }
        result
    }

    /// Call it before the save: a run may use the settings right after.
    fn note_config(&self, config: &TenantConfig) {
        let mut facts = self.world.facts();
        let folder = (config.bucket.to_string(), tenant_folder(&config.prefix, &config.tenant));
        facts.folders.entry(config.tenant.to_string()).or_default().insert(folder);
        let longest = facts.longest.entry(config.tenant.to_string()).or_default();
        *longest = config.frequency.duration().num_hours().max(*longest);
    }
}

fn is_scheduled(records: &TenantRecords) -> bool {
    records.watermark.as_ref().is_some_and(|watermark| watermark.due_shard.is_some())
}

impl AdminAction {
    fn name(&self) -> &'static str {
        match self {
            Self::Save(..) => "saves",
            Self::Disconnect => "disconnects",
            Self::Reconnect => "connects again",
            Self::Move(_) => "moves",
            Self::Replay(..) => "asks for a replay",
            Self::StopReplay => "stops the replay",
        }
    }

    /// The action of its audit event, and the kind of its notification.
    fn announced(&self) -> (&'static str, Kind) {
        match self {
            Self::Save(..) | Self::Move(_) | Self::Replay(..) | Self::StopReplay => {
                ("Export Settings Changed", Kind::SettingsChanged)
            }
            Self::Disconnect => ("Connector Disconnected", Kind::Disconnected),
            Self::Reconnect => ("Connector Connected", Kind::Connected),
        }
    }
}

fn to_failure(Invalid(message): Invalid) -> Failure {
    Failure::new(Code::ConfigInvalid, message)
}
