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

/// How far a clock may be wrong: with writers that give up after half of [`SETTLE`], two clocks may differ by the other
/// half.
const SKEW_MS: i64 = 14_000;

/// How late a put may become visible after its stamp.
const LATEST_PUT_MS: i64 = 29_000;

/// What a seed plays with.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it begins.
    pub begins: DateTime<Utc>,
    /// When the trouble ends.
    pub ends: DateTime<Utc>,
    /// Out of a thousand calls, how many fail, lose their reply, are made twice, hang, or land after they were given up.
    pub faults: Faults,
    /// Out of a thousand runs, how many die somewhere.
    pub crashes: u32,
    /// Whether a run can find another at work.
    pub overlaps: bool,
    /// Whether windows are read with different outcomes, since writers break the settle contract or files are split
    /// otherwise. Unless runs are `alone`, they don't die just anywhere then: one that dies right after it has stored another
    /// reading over a committed one is what the README excludes.
    pub breach: bool,
    /// Whether writers break the settle contract.
    pub late: bool,
    /// Whether readings differ and no two runs are at work at once.
    pub alone: bool,
    /// Whether a customer refuses everything for days.
    pub siege: bool,
    /// Whether many runs are at work at once, over windows that they read differently.
    pub race: bool,
    /// Whether due tenants are handed over through a queue.
    pub fan_out: bool,
    /// For how many hours events are kept.
    pub retention: Option<i64>,
    /// For how long a run may go on, in seconds.
    pub time_limit: i64,
    /// How long a slow call takes at most, in milliseconds.
    pub slowest_ms: u32,
    /// Out of a thousand times that a run stores a committed window again, how often it dies in the middle of that.
    pub dead_repairs: u32,
    /// How many such runs die at most.
    pub most_dead_repairs: u32,
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
    pub detached: u32,
    pub slow: u32,
}

/// Something that the world outside does. Clocks are off by `skew_ms`.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields say what they are by their names")]
pub enum Action {
    /// An event becomes visible.
    Put { tenant: usize, shard: u16, key: String, body: Body, late: bool },
    /// An admin connects, or saves settings.
    Save { tenant: usize, draft: Box<Draft>, skew_ms: i64, history: Option<TimeDelta> },
    /// An admin stops the exports.
    Disconnect { tenant: usize, skew_ms: i64 },
    /// An admin connects the role again.
    Reconnect { tenant: usize, skew_ms: i64 },
    /// The function is invoked for a tick.
    Tick { event_time: DateTime<Utc>, skew_ms: i64 },
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
    pub fn of(seed: u64) -> Self {
        let mut rng = dice(seed, 1);
        let rng = &mut rng;
        let breach = rng.random_ratio(1, 6);
        let long_outage = !breach && rng.random_ratio(1, 8);
        let retention = long_outage.then(|| rng.random_range(6..=20));
        let mut rate = |most: u32| if breach || rng.random() { 0 } else { rng.random_range(0..=most) };
        let faults = Faults {
            fail: rate(40),
            lost_reply: rate(60),
            twice: rate(60),
            hang: rate(8),
            detached: rate(40),
            slow: 0,
        };
        let crashes = rate(500);
        let faults = Faults { slow: if rng.random() { 0 } else { rng.random_range(0..=60) }, ..faults };
        let begins = "2026-11-21T07:00:00Z".parse::<DateTime<Utc>>().unwrap_or_default()
            + TimeDelta::milliseconds(rng.random_range(0..3_600_000));
        let hours = if long_outage { rng.random_range(20..=50) } else { rng.random_range(3..=7) };
        // Many runs at once over windows of many files, while late events and other file sizes make them differ.
        let race = breach && rng.random();
        // Dice of their own, so that the other seeds stay as they were.
        let siege = dice(seed, 3).random_ratio(1, 80) && !breach && !long_outage;
        let hours = if siege { rng.random_range(60..=230) } else { hours };
        // Many runs at once over windows whose events are being deleted.
        let rare = &mut dice(seed, 4);
        let contested = long_outage && rare.random();
        let late = breach || contested && rare.random();
        // One run at a time, of which each may fail or die in whatever way, over windows that others may read otherwise.
        let alone = breach && !race && rare.random();
        let race = race || contested;
        let (faults, crashes) = if contested { (Faults::default(), 0) } else { (faults, crashes) };
        let faults = if race { Faults { slow: 300, ..faults } } else { faults };
        let mut plan = Self {
            siege,
            race,
            begins,
            ends: begins + TimeDelta::hours(hours),
            faults,
            crashes,
            overlaps: !alone && (breach || contested || (!long_outage && rng.random_ratio(2, 3))),
            breach,
            late,
            alone,
            fan_out: !long_outage && rng.random(),
            retention,
            // A run that is cut off right after it stored something other is what the README excludes.
            time_limit: if breach || rng.random() { 800 } else { rng.random_range(2..60) },
            slowest_ms: 12_000,
            dead_repairs: 0,
            most_dead_repairs: 2,
            max_object_bytes: if rng.random() { 1 << 20 } else { rng.random_range(100..900) },
            max_windows: if rng.random() { 168 } else { rng.random_range(1..4) },
            concurrency: rng.random_range(1..=4),
            page_size: if rng.random_ratio(1, 4) { 0 } else { rng.random_range(1..=6) },
            timeline: Vec::new(),
        };
        for tenant in 0..rng.random_range(1..=TENANTS.len()) {
            plan.tenant(tenant, long_outage, rng);
        }
        if race {
            plan.max_object_bytes = rng.random_range(100..500);
            if rare.random() {
                // Whoever stops in time has mended what it has stored before it is cut off.
                (plan.time_limit, plan.slowest_ms) = (rare.random_range(2..60), 1_500);
            } else {
                plan.time_limit = 800;
            }
        }
        if race && !contested && rare.random() {
            (plan.dead_repairs, plan.concurrency) = (500, 1);
        }
        if alone {
            let mut rate = |most: u32| if rare.random() { 0 } else { rare.random_range(0..=most) };
            let (fail, lost_reply, twice) = (rate(40), rate(60), rate(60));
            let (hang, detached, slow) = (rate(8), rate(40), rate(60));
            plan.faults = Faults { fail, lost_reply, twice, hang, detached, slow };
            plan.crashes = rate(500);
            plan.time_limit = if rare.random() { 800 } else { rare.random_range(2..60) };
        } else if plan.breach && rare.random() {
            // But no write that lands after it was given up: over another reading, nobody can see that.
            let mut rate = || rare.random_range(0..=40);
            plan.faults = Faults { fail: rate(), lost_reply: rate(), twice: rate(), ..plan.faults };
        }
        plan.most_dead_repairs = if rare.random() { 2 } else { 6 };
        plan.ticks(rng);
        let resizes =
            if race { rng.random_range(0..5) } else { u32::from((breach || !plan.overlaps) && rng.random_ratio(1, 3)) };
        for _ in 0..resizes {
            let at = plan.moment(rng);
            plan.push(at, Action::Resize(rng.random_range(100..900)));
        }
        plan.timeline.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Whether two runs may read one window differently.
    pub fn readings_differ(&self) -> bool {
        self.breach || self.race
    }

    fn push(&mut self, at: DateTime<Utc>, action: Action) {
        self.timeline.push((at, action));
    }

    fn moment(&self, rng: &mut ChaCha8Rng) -> DateTime<Utc> {
        let all = (self.ends - self.begins).num_milliseconds();
        let at = self.begins + TimeDelta::milliseconds(rng.random_range(0..all));
        if rng.random() {
            return at;
        }
        // Right when a tick is at work is when it matters most.
        let hour = audit_log_core::schedule::full_hour(at);
        (hour + TimeDelta::milliseconds(rng.random_range(50_000..100_000))).max(self.begins)
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
            let others = if self.race {
                rng.random_range(2..6)
            } else if self.overlaps {
                rng.random_range(0..3)
            } else {
                0
            };
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
    if rng.random() { 0 } else { rng.random_range(-SKEW_MS..=SKEW_MS) }
}
