//! Generates realistic audit events, the same in every run.
//!
//! The random generator is seeded by tenant and day, so that tests can rely on an event.

use std::collections::HashMap;

use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::object::sha256;
use chrono::{DateTime, Duration, NaiveDate, NaiveTime, SecondsFormat, Utc};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::Value;
use uuid::Builder;

use crate::events::kinds::{Kind, Person, SYSTEM};

mod kinds;
#[cfg(test)]
mod tests;

/// Long, so that the local AWS never expires events of a test's fixed day.
const RETENTION: Duration = Duration::days(3650);

/// The relative number of events in each hour of a day (UTC).
const OFFICE_HOURS: [u32; 24] = [1, 1, 1, 1, 1, 2, 5, 14, 38, 62, 70, 58, 34, 52, 66, 60, 44, 22, 10, 6, 4, 3, 2, 1];

/// The key of the marker of an event that the recorder, the console or the exporter wrote, by "The events table" in
/// docs/data-model.md.
pub fn marker_key(tenant_shard: &str, recorded_at_id: &str, submitted_by: &str) -> Option<(String, String)> {
    let (tenant, _) = tenant_shard.split_once('#')?;
    let (_, id) = recorded_at_id.split_once('#')?;
    let hash = sha256(format!("{id}/{submitted_by}").as_bytes());
    Some((format!("{tenant}#id#{}", hash.get(..2)?), hash))
}

/// A recorded event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub shard: u32,
    /// A UUID of version 7.
    pub id: String,
    /// In whole milliseconds.
    pub recorded_at: DateTime<Utc>,
    pub log_type: String,
    pub action: String,
    /// None for events of the system.
    pub user_email: Option<String>,
    /// The JSON document that is exported.
    pub document: String,
}

impl Event {
    #[must_use]
    pub fn recorded_at_id(&self) -> String {
        format!("{}#{}", timestamp(self.recorded_at), self.id)
    }

    /// The event as an item of the events table.
    #[must_use]
    pub fn item(&self, tenant: &str) -> HashMap<String, AttributeValue> {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let expires_at = (self.recorded_at + RETENTION).timestamp();
        let mut item = HashMap::from([
            ("tenant_shard".to_owned(), AttributeValue::S(format!("{tenant}#{}", self.shard))),
            ("recorded_at_id".to_owned(), AttributeValue::S(self.recorded_at_id())),
            ("event".to_owned(), text(&self.document)),
            ("action".to_owned(), text(&self.action)),
            ("log_type".to_owned(), text(&self.log_type)),
            ("expires_at".to_owned(), AttributeValue::N(expires_at.to_string())),
        ]);
        item.extend(self.user_email.as_deref().map(|email| ("user_email".to_owned(), text(email))));
        item
    }
}

/// How events are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Over a day, most in office hours.
    OfficeDay(NaiveDate),
    /// Evenly over a window, its end excluded.
    Window { from: DateTime<Utc>, to: DateTime<Utc> },
}

/// A tenant's events, ordered by the time of recording; always the same for the same arguments.
#[must_use]
pub fn generate(tenant: &str, count: usize, spread: Spread) -> Vec<Event> {
    let mut rng = seeded_rng(tenant, spread);
    let mut instants: Vec<_> = (0..count).map(|_| instant(&mut rng, spread)).collect();
    instants.sort_unstable();
    let mut events: Vec<_> = instants.into_iter().map(|at| event(&mut rng, tenant, at)).collect();
    // Within a millisecond, the table orders events by id.
    events.sort_by_cached_key(Event::recorded_at_id);
    events
}

/// UTC with exactly three fraction digits, as in range keys.
#[must_use]
pub fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn seeded_rng(tenant: &str, spread: Spread) -> ChaCha8Rng {
    let start = match spread {
        Spread::OfficeDay(day) => day.and_time(NaiveTime::MIN).and_utc(),
        Spread::Window { from, .. } => from,
    };
    let mut seed = *b"audit log events for the tenant ";
    for (at, byte) in format!("{} {tenant}", timestamp(start)).bytes().enumerate() {
        seed[at % 32] = seed[at % 32].wrapping_mul(31).wrapping_add(byte);
    }
    ChaCha8Rng::from_seed(seed)
}

fn instant(rng: &mut ChaCha8Rng, spread: Spread) -> DateTime<Utc> {
    let (from, to) = match spread {
        Spread::Window { from, to } => (from, to),
        Spread::OfficeDay(day) => {
            let mut left = rng.random_range(0..OFFICE_HOURS.iter().sum());
            let hour = OFFICE_HOURS.iter().take_while(|weight| {
                let earlier = left >= **weight;
                left = left.saturating_sub(**weight);
                earlier
            });
            let from = day.and_time(NaiveTime::MIN).and_utc() + Duration::hours(hour.map(|_| 1).sum());
            (from, from + Duration::hours(1))
        }
    };
    let length = (to - from).num_milliseconds().max(1);
    from + Duration::milliseconds(rng.random_range(0..length))
}

/// An event as it is exported, with the schema's order of fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    id: &'a str,
    date: String,
    log_type: &'a str,
    action: &'a str,
    user: User<'a>,
    additional_info: Value,
}

#[derive(Serialize)]
struct User<'a> {
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
}

fn event(rng: &mut ChaCha8Rng, tenant: &str, recorded_at: DateTime<Utc>) -> Event {
    let mut random = [0; 10];
    rng.fill_bytes(&mut random);
    let millis = u64::try_from(recorded_at.timestamp_millis()).unwrap_or_default();
    let id = Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string();

    let Kind { log_type, action, by_system, info, .. } = kinds::choose(rng);
    let Person { id: user_id, name, mailbox, .. } =
        if *by_system { &SYSTEM } else { kinds::PEOPLE.choose(rng).unwrap_or(&SYSTEM) };
    let user_email = mailbox.map(|mailbox| format!("{mailbox}@{tenant}.example"));
    let document = Document {
        id: &id,
        date: timestamp(recorded_at),
        log_type,
        action,
        user: User { id: user_id, name, email: user_email.as_deref() },
        additional_info: info(rng, tenant),
    };
    // Serializing strings and a JSON value can't fail.
    let document = serde_json::to_string(&document).unwrap_or_default();
    let (log_type, action) = ((*log_type).to_owned(), (*action).to_owned());
    Event { shard: 0, id, recorded_at, log_type, action, user_email, document }
}
