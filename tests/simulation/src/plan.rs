//! What a seed wants to happen: which faults there are at all, and a timeline of what the world outside does.
//!
//! Every seed has some kinds of trouble and lacks others. With all of them in every seed, the loud ones would hide what the
//! quiet ones do.

mod tenants;

use audit_log_core::{event::Body, settings::Draft};
use chrono::{DateTime, TimeDelta, Utc};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// How long a window is left alone.
pub const SETTLE: TimeDelta = TimeDelta::seconds(60);

/// How far the clock of a run or of the console may be wrong. Writers give up after half of [`SETTLE`], and their clocks and
/// that of a run may differ by the other half.
pub const MAX_SKEW: TimeDelta = TimeDelta::seconds(30);

/// How late an event may become visible after its stamp.
const LATEST_EVENT_MS: i64 = 29_000;

/// What a seed plays with.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it begins.
    pub begins: DateTime<Utc>,
    /// When the trouble ends.
    pub ends: DateTime<Utc>,
    /// How often calls go wrong.
    pub faults: Faults,
    /// Out of a thousand runs, how many die somewhere.
    pub crashes: u32,
    /// How many runs there are at most beside each regular tick.
    pub most_others: u32,
    /// Whether writers break the settle contract.
    pub late: bool,
    /// Whether admins save again and again while ticks are at work.
    pub busy: bool,
    /// Whether a customer refuses everything for days.
    pub siege: bool,
    /// Whether due tenants are handed over through a queue.
    pub fan_out: bool,
    /// For how many hours events are kept.
    pub retention: Option<i64>,
    /// For how long a run may go on, in seconds.
    pub time_limit: i64,
    /// How long a slow call takes at most, in milliseconds.
    pub slowest_ms: u32,
    /// Where files are split.
    pub max_object_bytes: u64,
    /// How many windows of a tenant a run exports.
    pub max_windows: u32,
    /// How many tenants are exported side by side.
    pub concurrency: usize,
    /// How many events a page has.
    pub page_size: usize,
    /// What happens when, in order.
    pub timeline: Vec<(DateTime<Utc>, Action)>,
}

/// How often calls go wrong, out of a thousand.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs, reason = "each is the fate of that name")]
pub struct Faults {
    pub fail: u32,
    pub lost_reply: u32,
    pub twice: u32,
    pub hang: u32,
    pub given_up: u32,
    pub slow: u32,
}

/// Something that the world outside does. Clocks are off by `skew_ms`.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields say what they are by their names")]
pub enum Action {
    /// An event becomes visible.
    Put { tenant: usize, shard: u16, key: String, body: Body },
    /// An admin connects, or saves settings.
    Save { tenant: usize, draft: Box<Draft>, skew_ms: i64, history: Option<TimeDelta> },
    /// An admin stops the exports.
    Disconnect { tenant: usize, skew_ms: i64 },
    /// An admin connects the role again.
    Reconnect { tenant: usize, skew_ms: i64 },
    /// The function is invoked for a tick.
    Tick { event_time: DateTime<Utc>, skew_ms: i64 },
    /// The hourly check publishes what outboxes hold.
    Check { skew_ms: i64 },
    /// The customer's side refuses everything, at the role or at the bucket.
    Refuse { tenant: usize, at_the_role: bool },
    /// It no longer does.
    Allow { tenant: usize },
    /// The operator changes where files are split.
    Resize(u64),
}

/// The tenants of the simulation.
pub const TENANTS: [&str; 3] = ["acme", "globex", "initech"];

/// A bucket that several tenants use.
pub const SHARED: &str = "shared-bucket";

/// The dice of a seed, for one purpose.
pub fn dice(seed: u64, purpose: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose);
    rng
}

impl Plan {
    /// What this seed wants.
    pub fn new(seed: u64) -> Self {
        let mut rng = dice(seed, 1);
        let rng = &mut rng;
        let retention = rng.random_ratio(1, 7).then(|| rng.random_range(6..=12));
        let siege = rng.random_ratio(1, 120);
        let mut rate = |most: u32| if rng.random() { 0 } else { rng.random_range(0..=most) };
        let faults = Faults {
            fail: rate(40),
            lost_reply: rate(60),
            twice: rate(60),
            hang: rate(8),
            given_up: rate(60),
            slow: rate(60),
        };
        let crashes = rate(500);
        let most_others = if siege { rng.random_range(0..2) } else { [0, 2, 2, 5][rng.random_range(0..4)] };
        let busy = rng.random_ratio(1, 8);
        // Where much is at work at once, calls take longer, so that runs and saves meet in the middle of windows.
        let is_slow = busy || most_others > 2 && rng.random();
        let faults = if is_slow { Faults { slow: 300, ..faults } } else { faults };
        let begins = "2026-11-21T07:00:00Z".parse::<DateTime<Utc>>().unwrap_or_default()
            + TimeDelta::milliseconds(rng.random_range(0..3_600_000));
        let hours = match (siege, retention) {
            (true, _) => rng.random_range(40..=220),
            (false, Some(_)) => rng.random_range(10..=24),
            (false, None) => rng.random_range(2..=6),
        };
        let mut plan = Self {
            begins,
            ends: begins + TimeDelta::hours(hours),
            faults,
            crashes,
            most_others,
            busy,
            late: rng.random_ratio(1, 3),
            siege,
            fan_out: rng.random(),
            retention,
            time_limit: if rng.random() { 800 } else { rng.random_range(2..60) },
            slowest_ms: if rng.random() { 12_000 } else { 1_500 },
            max_object_bytes: if rng.random() { 1 << 20 } else { rng.random_range(100..900) },
            max_windows: if rng.random() { 168 } else { rng.random_range(1..4) },
            concurrency: rng.random_range(1..=4),
            page_size: if rng.random_ratio(1, 4) { 0 } else { rng.random_range(1..=6) },
            timeline: Vec::new(),
        };
        for tenant in 0..rng.random_range(1..=TENANTS.len()) {
            plan.tenant(tenant, rng);
        }
        plan.ticks(rng);
        for _ in 0..if rng.random_ratio(1, 3) { rng.random_range(1..5) } else { 0 } {
            let at = plan.moment(rng);
            plan.push(at, Action::Resize(rng.random_range(100..900)));
        }
        plan.timeline.sort_by_key(|(at, _)| *at);
        plan
    }

    fn push(&mut self, at: DateTime<Utc>, action: Action) {
        self.timeline.push((at, action));
    }

    fn moment(&self, rng: &mut ChaCha8Rng) -> DateTime<Utc> {
        let all = (self.ends - self.begins).num_milliseconds();
        let at = self.begins + TimeDelta::milliseconds(rng.random_range(0..all));
        if !self.busy && rng.random() {
            return at;
        }
        // While a tick is at work is when it matters most.
        let hour = audit_log_core::schedule::full_hour(at);
        (hour + TimeDelta::milliseconds(rng.random_range(50_000..120_000))).max(self.begins)
    }

    /// The rule at minute 1 of every hour: now and then it misses, and now and then it fires twice or is repeated late.
    fn ticks(&mut self, rng: &mut ChaCha8Rng) {
        let mut hour = audit_log_core::schedule::next_full_hour(self.begins);
        // As close as they have to be to find one another at work.
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
            let others = rng.random_range(self.most_others / 3..=self.most_others);
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

/// How far a clock is off, in milliseconds.
pub fn skew(rng: &mut ChaCha8Rng) -> i64 {
    let most = MAX_SKEW.num_milliseconds();
    if rng.random() { 0 } else { rng.random_range(-most..=most) }
}
