//! Plans one tenant: its settings, its admin's actions, its customer's outages, and its events.

use audit_log_core::{event::Body, settings::Draft, tenant::Format, timestamp};
use chrono::{DateTime, TimeDelta, Utc};
use rand::{Rng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;

use super::{Action, MAX_EVENT_DELAY_MS, Plan, SHARED_BUCKET, TENANTS, skew};

impl Plan {
    pub(super) fn add_tenant(&mut self, tenant: usize, rng: &mut ChaCha8Rng) {
        let first = self.begins + TimeDelta::seconds(rng.random_range(0..5_000));
        let mut draft = draft(tenant, rng);
        let history = rng.random_ratio(1, 4).then(|| TimeDelta::hours(rng.random_range(1..5)));
        let first_event = first - history.unwrap_or(TimeDelta::minutes(30));
        self.push(first, Action::Save { tenant, draft: Box::new(draft.clone()), skew_ms: skew(rng), history });
        let count = match rng.random_range(0..2) {
            _ if self.busy => rng.random_range(4..12),
            0 => 0,
            _ => rng.random_range(1..4),
        };
        let mut saves: Vec<_> = (0..count).map(|_| self.random_time(rng)).collect();
        saves.sort_unstable();
        // Writers use another shard only when the exporter has known of it for long.
        let shards = draft.event_shards.as_deref().and_then(|text| text.parse().ok()).unwrap_or(1);
        for at in saves {
            if rng.random_ratio(1, if self.busy { 8 } else { 3 }) {
                self.push(at, Action::Disconnect { tenant, skew_ms: skew(rng) });
                let back = at + TimeDelta::seconds(rng.random_range(1..9_000));
                self.push(back, Action::Reconnect { tenant, skew_ms: skew(rng) });
            } else {
                // Half of a busy admin's saves change nothing, so that the same objects are stored again.
                if !self.busy || rng.random() {
                    change(&mut draft, tenant, rng);
                }
                self.push(
                    at,
                    Action::Save { tenant, draft: Box::new(draft.clone()), skew_ms: skew(rng), history: None },
                );
            }
        }
        if rng.random_ratio(1, if self.retention.is_some() { 2 } else { 4 }) {
            let from = self.random_time(rng);
            let longest = if self.retention.is_some() { 20 * 3_600 } else { 3 * 3_600 };
            let to = from + TimeDelta::seconds(rng.random_range(60..longest));
            self.push(from, Action::Refuse { tenant, at_the_role: rng.random() });
            self.push(to, Action::Allow { tenant });
        }
        if self.long_outage {
            let from = first + TimeDelta::seconds(rng.random_range(0..20_000));
            let days = rng.random_range(0..220) * 3_600;
            self.push(from, Action::Refuse { tenant, at_the_role: rng.random() });
            self.push(from + TimeDelta::seconds(days), Action::Allow { tenant });
        }
        self.add_events(tenant, shards, first_event, rng);
    }

    /// Plans hours with many, few and no events. Many events are at the edges of their hour.
    fn add_events(&mut self, tenant: usize, shards: u16, from: DateTime<Utc>, rng: &mut ChaCha8Rng) {
        let mut hour = audit_log_core::schedule::full_hour(from);
        let mut number = 0;
        while hour < self.ends {
            let counts: &[u32] = if self.long_outage { &[0, 0, 0, 1] } else { &[0, 0, 1, 3, 6, 14] };
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
                let late = self.late && rng.random_ratio(1, 3);
                let delay = match rng.random_range(0..4) {
                    _ if !late => rng.random_range(-14_000..MAX_EVENT_DELAY_MS),
                    0 => rng.random_range(150_000..1_200_000),
                    _ => rng.random_range(30_000..150_000),
                };
                // Half of the late events become visible while the window is read.
                let since = if late && rng.random() { hour + TimeDelta::hours(1) } else { stamp };
                let visible = (since + TimeDelta::milliseconds(delay)).max(self.begins);
                number += 1;
                let key = format!("{}#e{number:04}", timestamp::millis(stamp));
                let first_shard = rng.random_range(0..shards);
                let twins = if shards > 1 && rng.random_ratio(1, 4) { 2 } else { 1 };
                for twin in 0..twins {
                    let body = body(tenant, number, twin, rng);
                    let shard = (first_shard + twin) % shards;
                    self.push(visible, Action::Put { tenant, shard, key: key.clone(), body });
                }
            }
            hour += TimeDelta::hours(1);
        }
    }
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

/// Changes one setting or none.
fn change(draft: &mut Draft, tenant: usize, rng: &mut ChaCha8Rng) {
    let own = TENANTS[tenant];
    let pick = |rng: &mut ChaCha8Rng, of: &[&str]| of.choose(rng).map(|text| (*text).to_owned());
    match rng.random_range(0..7) {
        0 => draft.bucket = pick(rng, &[&format!("{own}-bucket-1"), &format!("{own}-bucket-2"), SHARED_BUCKET]),
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

pub(super) fn body(tenant: usize, number: u32, twin: u16, rng: &mut ChaCha8Rng) -> Body {
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
