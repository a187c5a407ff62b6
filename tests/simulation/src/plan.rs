//! What a seed wants to happen: which faults there are at all, and a timeline of what the world outside does.
//!
//! Every seed has some kinds of trouble and lacks others. With all of them in every seed, the loud ones would hide what the
//! quiet ones do.

use audit_log_core::{event::Body, object::Format, settings::Draft, timestamp};
use chrono::{DateTime, TimeDelta, Utc};
use rand::{Rng as _, SeedableRng as _, seq::IndexedRandom as _};
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
    /// Whether writers break the settle contract: then windows are read with different outcomes, and runs don't die just
    /// anywhere, since one that dies right after it has stored another reading is what the README excludes.
    pub breach: bool,
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
            overlaps: breach || contested || (!long_outage && rng.random_ratio(2, 3)),
            breach,
            fan_out: !long_outage && rng.random(),
            retention,
            // A run that is cut off right after it stored something other is what the README excludes.
            time_limit: if breach || rng.random() { 800 } else { rng.random_range(2..60) },
            slowest_ms: 12_000,
            dead_repairs: 0,
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
        if plan.breach && rare.random() {
            // But no write that lands after it was given up: over another reading, nobody can see that.
            let mut rate = || rare.random_range(0..=40);
            plan.faults = Faults { fail: rate(), lost_reply: rate(), twice: rate(), ..plan.faults };
        }
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

    fn tenant(&mut self, tenant: usize, long_outage: bool, rng: &mut ChaCha8Rng) {
        let first = self.begins + TimeDelta::seconds(rng.random_range(0..5_000));
        let mut draft = draft(tenant, rng);
        let history =
            (rng.random_ratio(1, 4) && self.retention.is_none()).then(|| TimeDelta::hours(rng.random_range(1..5)));
        let first_event = first - history.unwrap_or(TimeDelta::minutes(30));
        self.push(first, Action::Save { tenant, draft: Box::new(draft.clone()), skew_ms: skew(rng), history });
        let mut saves: Vec<_> =
            (0..if rng.random() { 0 } else { rng.random_range(1..4) }).map(|_| self.moment(rng)).collect();
        saves.sort_unstable();
        // Writers use another shard only when the exporter has known of it for long.
        let shards = draft.event_shards.as_deref().and_then(|text| text.parse().ok()).unwrap_or(1);
        for at in saves {
            if rng.random_ratio(1, 3) {
                self.push(at, Action::Disconnect { tenant, skew_ms: skew(rng) });
                let back = at + TimeDelta::seconds(rng.random_range(1..9_000));
                self.push(back, Action::Reconnect { tenant, skew_ms: skew(rng) });
            } else {
                change(&mut draft, tenant, rng);
                self.push(
                    at,
                    Action::Save { tenant, draft: Box::new(draft.clone()), skew_ms: skew(rng), history: None },
                );
            }
        }
        if long_outage || (!self.breach && rng.random_ratio(1, 4)) {
            let from = self.moment(rng);
            let longest = if long_outage { 30 * 3_600 } else { 3 * 3_600 };
            let to = from + TimeDelta::seconds(rng.random_range(60..longest));
            self.push(from, Action::Refuse { tenant, at_the_role: rng.random() });
            self.push(to, Action::Allow { tenant });
        }
        if self.siege {
            let from = first + TimeDelta::seconds(rng.random_range(0..20_000));
            let days = rng.random_range(0..220) * 3_600;
            self.push(from, Action::Refuse { tenant, at_the_role: rng.random() });
            self.push(from + TimeDelta::seconds(days), Action::Allow { tenant });
        }
        self.events(tenant, shards, first_event, rng);
    }

    /// Hours with many events, with few and with none; many of them right at the edges.
    fn events(&mut self, tenant: usize, shards: u16, from: DateTime<Utc>, rng: &mut ChaCha8Rng) {
        let mut hour = audit_log_core::schedule::full_hour(from);
        let mut number = 0;
        while hour < self.ends {
            let counts: &[u32] = if self.siege { &[0, 0, 0, 1] } else { &[0, 0, 1, 3, 6, 14] };
            let count = *counts.choose(rng).unwrap_or(&0);
            for _ in 0..count {
                let offset = match rng.random_range(0..8) {
                    0 => 0,
                    1 => 3_599_999,
                    2 => rng.random_range(3_570_000..3_600_000),
                    3 => rng.random_range(0..70_000),
                    _ => rng.random_range(0..3_600_000),
                };
                let stamp = hour + TimeDelta::milliseconds(offset);
                let late = self.breach && rng.random_ratio(1, 3);
                let delay = if late { rng.random_range(60_000..150_000) } else { rng.random_range(0..LATEST_PUT_MS) };
                // Half of what is late becomes visible while the window is read.
                let at_the_end = late && rng.random();
                // The writer's clock is off, so the moment is another one than the stamp.
                let moment = stamp - TimeDelta::milliseconds(skew(rng));
                let visible = if at_the_end {
                    hour + TimeDelta::milliseconds(3_600_000 + delay)
                } else {
                    moment + TimeDelta::milliseconds(delay)
                };
                let visible = visible.max(self.begins);
                number += 1;
                let key = format!("{}#e{number:04}", timestamp::millis(stamp));
                let first_shard = rng.random_range(0..shards);
                let twins = if shards > 1 && rng.random_ratio(1, 4) { 2 } else { 1 };
                for twin in 0..twins {
                    let body = body(tenant, number, twin, rng);
                    let shard = (first_shard + twin) % shards;
                    self.push(visible, Action::Put { tenant, shard, key: key.clone(), body, late });
                }
            }
            hour += TimeDelta::hours(1);
        }
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

fn draft(tenant: usize, rng: &mut ChaCha8Rng) -> Draft {
    let text = |text: &str| Some(text.to_owned());
    let mut draft = Draft {
        external_id: Some(format!("external-id-of-{}", TENANTS[tenant])),
        role_arn: Some(format!("arn:aws:iam::22222222222{tenant}:role/audit")),
        bucket: Some(format!("{}-bucket-1", TENANTS[tenant])),
        region: text("eu-west-1"),
        frequency_hours: text("1"),
        event_shards: Some([1, 1, 2, 3].choose(rng).copied().unwrap_or(1).to_string()),
        ..Draft::default()
    };
    for _ in 0..3 {
        change(&mut draft, tenant, rng);
    }
    draft
}

/// What an admin changes; sometimes nothing.
fn change(draft: &mut Draft, tenant: usize, rng: &mut ChaCha8Rng) {
    let own = TENANTS[tenant];
    let pick = |rng: &mut ChaCha8Rng, of: &[&str]| of.choose(rng).map(|text| (*text).to_owned());
    match rng.random_range(0..7) {
        0 => draft.bucket = pick(rng, &[&format!("{own}-bucket-1"), &format!("{own}-bucket-2"), SHARED]),
        1 => draft.prefix = pick(rng, &["", "security", "logs/saas"]),
        2 => draft.frequency_hours = pick(rng, &["1", "2", "3", "6"]),
        3 => draft.format = pick(rng, &[Format::Json.as_str(), Format::Ndjson.as_str()]),
        4 => draft.compression = pick(rng, &["none", "gzip"]),
        5 => {
            let shards: u16 = draft.event_shards.as_deref().and_then(|text| text.parse().ok()).unwrap_or(1);
            draft.event_shards = Some((shards + 1).to_string());
        }
        _ => {}
    }
}

fn body(tenant: usize, number: u32, twin: u16, rng: &mut ChaCha8Rng) -> Body {
    let own = TENANTS[tenant];
    let pad = "x".repeat(rng.random_range(0..60));
    let text = format!(r#"{{"id":"e{number:04}","t":"{own}","twin":{twin},"pad":"{pad}"}}"#);
    match rng.random_range(0..24) {
        0 => Body::Text(format!("no JSON of {own}, number {number}")),
        1 => Body::NoText(format!(r#"{{"item":"of {own}, number {number}"}}"#)),
        2 => Body::Text(text.replace(',', ",\n  ")),
        _ => Body::Text(text),
    }
}
