//! Plans a seed: how often faults happen, and a timeline of events, saves, ticks and outages.
//!
//! Each seed has some kinds of faults and lacks others. Otherwise frequent ones would hide the effects of rare ones.

mod tenants;

use audit_log_core::{event::Body, settings::Draft, timestamp};
use chrono::{DateTime, TimeDelta, Utc};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How long after its end a window is read.
pub const SETTLE: TimeDelta = TimeDelta::seconds(60);

/// The largest clock skew of a run or the console. Writers give up after half of [`SETTLE`]; their clocks and a run's may
/// differ by the other half.
pub const MAX_SKEW: TimeDelta = TimeDelta::seconds(30);

/// How long after its timestamp an event may become visible.
const MAX_EVENT_DELAY_MS: i64 = 29_000;

#[derive(Debug, Clone)]
pub struct Plan {
    pub begins: DateTime<Utc>,
    /// When the faults end.
    pub ends: DateTime<Utc>,
    pub faults: Faults,
    /// The share of runs that die, per mille.
    pub crashes: u32,
    /// The most runs besides each regular tick.
    pub max_extra_runs: u32,
    /// Some writers take longer than the settle time allows.
    pub late: bool,
    /// Admins save again and again while ticks are at work.
    pub busy: bool,
    /// A customer refuses everything for days.
    pub long_outage: bool,
    /// Due tenants go through the queue.
    pub fan_out: bool,
    /// In hours.
    pub retention: Option<i64>,
    /// Of a run, in seconds.
    pub time_limit: i64,
    /// The longest duration of a slow call, in milliseconds.
    pub slowest_ms: u32,
    pub max_object_bytes: u64,
    /// Of a tenant in one run.
    pub max_windows: u32,
    /// The number of tenants that a run exports at once.
    pub concurrency: usize,
    /// How long a run replays, in seconds.
    pub replay_time: i64,
    /// In events.
    pub page_size: usize,
    /// In order.
    pub timeline: Vec<(DateTime<Utc>, Action)>,
    /// The number of the platform's first key for manifests.
    pub key: Option<u32>,
}

/// How often calls get each `Fate`, per mille.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub fail: u32,
    pub lost_reply: u32,
    pub twice: u32,
    pub hang: u32,
    pub given_up: u32,
    pub slow: u32,
}

/// Something that happens outside the system.
#[derive(Debug, Clone)]
pub enum Action {
    /// An event becomes visible.
    Put {
        tenant: usize,
        shard: u16,
        key: String,
        body: Body,
    },
    Save {
        tenant: usize,
        draft: Box<Draft>,
        skew_ms: i64,
        history: Option<TimeDelta>,
    },
    Disconnect {
        tenant: usize,
        skew_ms: i64,
    },
    Reconnect {
        tenant: usize,
        skew_ms: i64,
    },
    /// Only the bucket of the settings changes.
    Move {
        tenant: usize,
        bucket: String,
        skew_ms: i64,
    },
    /// The admin asks for a replay of the time from and to so long ago.
    Replay {
        tenant: usize,
        from: TimeDelta,
        to: TimeDelta,
        skew_ms: i64,
    },
    StopReplay {
        tenant: usize,
    },
    Tick {
        event_time: DateTime<Utc>,
        skew_ms: i64,
    },
    /// The hourly check publishes the outboxes.
    Check {
        skew_ms: i64,
    },
    /// From now on the customer's role or bucket refuses everything.
    Refuse {
        tenant: usize,
        at_the_role: bool,
    },
    /// Ends `Refuse`.
    Allow {
        tenant: usize,
    },
    /// The operator changes `MAX_OBJECT_BYTES`.
    Resize(u64),
    /// The operator takes the platform's key for manifests away, or replaces it by the one of this number.
    Key(Option<u32>),
    /// From now on the key signs nothing.
    KeyDown,
    /// Ends `KeyDown`.
    KeyUp,
}

pub const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// A bucket that several tenants may use.
pub const SHARED_BUCKET: &str = "shared-bucket";

/// A seed's random numbers, independent for each purpose.
pub fn dice(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        let mut rng = dice(seed, 1);
        let rng = &mut rng;
        let retention = rng.random_ratio(1, 7).then(|| rng.random_range(6..=12));
        let long_outage = rng.random_ratio(1, 120);
        let mut rate = |max: u32| if rng.random() { 0 } else { rng.random_range(0..=max) };
        let faults = Faults {
            fail: rate(40),
            lost_reply: rate(60),
            twice: rate(60),
            hang: rate(8),
            given_up: rate(60),
            slow: rate(60),
        };
        let crashes = rate(500);
        let max_extra_runs = if long_outage { rng.random_range(0..2) } else { [0, 2, 2, 5][rng.random_range(0..4)] };
        let busy = rng.random_ratio(1, 8);
        // With many concurrent runs and saves, calls take longer, so that they overlap within windows.
        let is_slow = busy || max_extra_runs > 2 && rng.random();
        let faults = if is_slow { Faults { slow: 300, ..faults } } else { faults };
        let begins = "2026-11-21T07:00:00Z".parse::<DateTime<Utc>>().unwrap_or_default()
            + TimeDelta::milliseconds(rng.random_range(0..3_600_000));
        let mut keys = dice(seed, 3);
        let signing_outage = keys.random_ratio(1, 12);
        let hours = match (long_outage, retention) {
            (true, _) => rng.random_range(40..=220),
            (false, Some(_)) => rng.random_range(10..=24),
            (false, None) if signing_outage => rng.random_range(9..=16),
            (false, None) => rng.random_range(2..=6),
        };
        let mut plan = Self {
            begins,
            ends: begins + TimeDelta::hours(hours),
            faults,
            crashes,
            max_extra_runs,
            busy,
            late: rng.random_ratio(1, 3),
            long_outage,
            fan_out: rng.random(),
            retention,
            time_limit: if rng.random() { 800 } else { rng.random_range(2..60) },
            slowest_ms: if rng.random() { 12_000 } else { 1_500 },
            max_object_bytes: if rng.random() { 1 << 20 } else { rng.random_range(100..900) },
            max_windows: if rng.random() { 168 } else { rng.random_range(1..4) },
            concurrency: rng.random_range(1..=4),
            replay_time: 120,
            page_size: if rng.random_ratio(1, 4) { 0 } else { rng.random_range(1..=6) },
            timeline: Vec::new(),
            key: None,
        };
        for tenant in 0..rng.random_range(1..=TENANTS.len()) {
            plan.add_tenant(tenant, rng);
        }
        plan.add_ticks(rng);
        for _ in 0..if rng.random_ratio(1, 3) { rng.random_range(1..5) } else { 0 } {
            let at = plan.random_time(rng);
            plan.push(at, Action::Resize(rng.random_range(100..900)));
        }
        plan.add_keys(signing_outage, &mut keys);
        plan.add_replays(&mut dice(seed, 4));
        plan.add_events_near_replays(&mut dice(seed, 5));
        plan.timeline.sort_by_key(|(at, _)| *at);
        plan
    }

    fn push(&mut self, at: DateTime<Utc>, action: Action) {
        self.timeline.push((at, action));
    }

    fn random_time(&self, rng: &mut ChaCha8Rng) -> DateTime<Utc> {
        let all = (self.ends - self.begins).num_milliseconds();
        let at = self.begins + TimeDelta::milliseconds(rng.random_range(0..all));
        if !self.busy && rng.random() {
            return at;
        }
        // It matters most while a tick is at work.
        let hour = audit_log_core::schedule::full_hour(at);
        (hour + TimeDelta::milliseconds(rng.random_range(50_000..120_000))).max(self.begins)
    }

    /// Plans the platform's keys for manifests: none, one, or several in turn, and hours in which the key signs nothing.
    fn add_keys(&mut self, outage: bool, rng: &mut ChaCha8Rng) {
        self.key = (outage || rng.random_ratio(3, 4)).then_some(1);
        let changes = if rng.random_ratio(1, 3) { rng.random_range(1..4) } else { 0 };
        for number in 2..2 + changes {
            let at = self.random_time(rng);
            self.push(at, Action::Key(rng.random_ratio(2, 3).then_some(number)));
        }
        if outage || rng.random_ratio(1, 6) {
            let from = if outage {
                self.begins + TimeDelta::seconds(rng.random_range(0..3 * 3_600))
            } else {
                self.random_time(rng)
            };
            let hours = match (outage, self.long_outage) {
                (_, true) => 1..60,
                (true, false) => 4..13,
                (false, false) => 0..2,
            };
            let to = from + TimeDelta::seconds(rng.random_range(hours.start * 3_600 + 60..hours.end * 3_600));
            self.push(from, Action::KeyDown);
            self.push(to, Action::KeyUp);
        }
    }

    /// Plans requests for replays, some of which are stopped, and changes of the bucket before, during and after them.
    fn add_replays(&mut self, rng: &mut ChaCha8Rng) {
        self.replay_time = if rng.random() { 900 } else { rng.random_range(2..60) };
        if rng.random_ratio(1, 3) {
            return;
        }
        let hours = (self.ends - self.begins).num_hours().min(30);
        for (tenant, own) in TENANTS.iter().enumerate() {
            let is_moving = rng.random_ratio(1, 3);
            for _ in 0..rng.random_range(0..5) {
                let at = self.begins + TimeDelta::seconds(rng.random_range(4_000..=3_600 * hours.max(2)));
                let from = TimeDelta::seconds(rng.random_range(0..3_600 * (hours + 2)));
                let to = TimeDelta::seconds(rng.random_range(0..=from.num_seconds()));
                self.push(at, Action::Replay { tenant, from, to, skew_ms: skew(rng) });
                if rng.random_ratio(1, 6) {
                    let later = at + TimeDelta::seconds(rng.random_range(0..2_000));
                    self.push(later, Action::StopReplay { tenant });
                }
                if is_moving {
                    let there = format!("{own}-bucket-{}", rng.random_range(1..=2));
                    let bucket = if rng.random_ratio(1, 4) { SHARED_BUCKET.to_owned() } else { there };
                    let moved = at + TimeDelta::seconds(rng.random_range(-3_000..3_000));
                    self.push(moved, Action::Move { tenant, bucket, skew_ms: skew(rng) });
                }
            }
        }
    }

    /// Plans events that become visible hours late, around replays of their windows: deliveries of a window then differ.
    fn add_events_near_replays(&mut self, rng: &mut ChaCha8Rng) {
        if !self.late {
            return;
        }
        let kept = self.retention.map_or(TimeDelta::MAX, TimeDelta::hours);
        let mut events = Vec::new();
        for (at, action) in &self.timeline {
            let Action::Replay { tenant, from, to, .. } = *action else { continue };
            for _ in 0..rng.random_range(0..4) {
                let visible = *at + TimeDelta::seconds(rng.random_range(-600..6_000));
                let stamp =
                    *at - TimeDelta::milliseconds(rng.random_range(to.num_milliseconds()..=from.num_milliseconds()));
                if (TimeDelta::minutes(2)..kept).contains(&(visible - stamp)) && visible > self.begins {
                    events.push((visible, tenant, stamp));
                }
            }
        }
        for (number, (visible, tenant, stamp)) in (5_000..).zip(events) {
            let key = format!("{}#e{number}", timestamp::millis(stamp));
            self.push(visible, Action::Put { tenant, shard: 0, key, body: tenants::body(tenant, number, 0, rng) });
        }
    }

    /// Plans the rule's ticks at minute 1 of every hour. Some are missed, doubled or late.
    fn add_ticks(&mut self, rng: &mut ChaCha8Rng) {
        let mut hour = audit_log_core::schedule::next_full_hour(self.begins);
        // Close enough to overlap.
        let spread = i64::from(self.slowest_ms) * 5;
        while hour < self.ends {
            let on_time = hour + TimeDelta::milliseconds(rng.random_range(60_000..75_000));
            if !rng.random_ratio(1, 10) {
                self.push(on_time, Action::Tick { event_time: hour + TimeDelta::minutes(1), skew_ms: skew(rng) });
            }
            if !rng.random_ratio(1, 4) {
                let at = hour + TimeDelta::milliseconds(rng.random_range(0..3_600_000));
                self.push(at, Action::Check { skew_ms: skew(rng) });
            }
            let others = rng.random_range(self.max_extra_runs / 3..=self.max_extra_runs);
            for _ in 0..others {
                let at = match rng.random_range(0..3) {
                    0 => hour + TimeDelta::milliseconds(rng.random_range(0..3_600_000)),
                    _ => on_time + TimeDelta::milliseconds(rng.random_range(-spread / 3..spread)),
                };
                let event_time = if rng.random() { at } else { hour + TimeDelta::minutes(1) };
                self.push(at, Action::Tick { event_time, skew_ms: skew(rng) });
            }
            hour += TimeDelta::hours(1);
        }
    }
}

/// A random clock skew, in milliseconds.
pub fn skew(rng: &mut ChaCha8Rng) -> i64 {
    let max = MAX_SKEW.num_milliseconds();
    if rng.random() { 0 } else { rng.random_range(-max..=max) }
}
