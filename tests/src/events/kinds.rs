//! The kinds of generated events, and the users: those of a small security product.

use rand::Rng as _;
use rand::seq::IndexedRandom as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

pub(super) struct Kind {
    pub(super) log_type: &'static str,
    pub(super) action: &'static str,
    /// The relative frequency.
    weight: u32,
    pub(super) by_system: bool,
    pub(super) info: fn(&mut ChaCha8Rng, &str) -> Value,
}

pub(super) struct Person {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// The part of the address before the `@`.
    pub(super) mailbox: Option<&'static str>,
}

pub(super) const SYSTEM: Person = Person { id: "system", name: "System", mailbox: None };

/// Many names aren't ASCII, since consumers' bugs with text often concern those.
pub(super) const PEOPLE: [Person; 12] = [
    person("usr_01", "Priya Raman", "priya.raman"),
    person("usr_02", "Zoë Müller", "zoe.mueller"),
    person("usr_03", "José Álvarez Núñez", "jose.alvarez"),
    person("usr_04", "Hannah O'Connor", "hannah.oconnor"),
    person("usr_05", "Łukasz Wójcik", "lukasz.wojcik"),
    person("usr_06", "Nguyễn Thị Hương", "huong.nguyen"),
    person("usr_07", "山田 花子", "hanako.yamada"),
    person("usr_08", "Oluwaseun Adeyemi", "seun.adeyemi"),
    person("usr_09", "Søren Kjær", "soren.kjaer"),
    person("usr_10", "ليلى حداد", "layla.haddad"),
    person("usr_11", "Marcus \"Mac\" Doyle", "marcus.doyle"),
    person("usr_12", "Ana-Maria Popescu", "ana.popescu"),
];

const fn person(id: &'static str, name: &'static str, mailbox: &'static str) -> Person {
    Person { id, name, mailbox: Some(mailbox) }
}

/// A random kind, by weight.
pub(super) fn choose(rng: &mut ChaCha8Rng) -> &'static Kind {
    KINDS.choose_weighted(rng, |kind| kind.weight).unwrap_or(&KINDS[0])
}

const fn kind(
    weight: u32,
    log_type: &'static str,
    action: &'static str,
    info: fn(&mut ChaCha8Rng, &str) -> Value,
) -> Kind {
    Kind { log_type, action, weight, by_system: false, info }
}

const fn system(
    weight: u32,
    log_type: &'static str,
    action: &'static str,
    info: fn(&mut ChaCha8Rng, &str) -> Value,
) -> Kind {
    Kind { log_type, action, weight, by_system: true, info }
}

static KINDS: [Kind; 14] = [
    kind(30, "Authentication", "Login", |rng, _| {
        json!({
            "ip": ip(rng), "userAgent": pick(rng, &BROWSERS), "mfa": rng.random_bool(0.9),
            "role": pick(rng, &ROLES),
        })
    }),
    kind(4, "Authentication", "Login Failed", |rng, _| {
        json!({
            "ip": ip(rng), "userAgent": pick(rng, &BROWSERS),
            "reason": pick(rng, &["Wrong password", "MFA code expired", "Account locked"]),
        })
    }),
    kind(12, "Authentication", "Logout", |rng, _| json!({"ip": ip(rng)})),
    kind(16, "Scan", "Scan Now", |rng, tenant| json!({"scanId": id(rng, "scan"), "target": target(rng, tenant)})),
    system(18, "Scan", "Scan Completed", |rng, tenant| {
        json!({
            "scanId": id(rng, "scan"), "target": target(rng, tenant), "durationSeconds": rng.random_range(20..900),
            "findings": {"critical": rng.random_range(0..2), "high": rng.random_range(0..6), "low": rng.random_range(0..40)},
        })
    }),
    system(14, "Alert", "Slack Alert Sent", |rng, tenant| {
        json!({
            "channel": pick(rng, &["#security", "#on-call", "#sécurité"]), "severity": pick(rng, &SEVERITIES),
            "alertId": id(rng, "alert"), "target": target(rng, tenant),
        })
    }),
    kind(
        8,
        "Alert",
        "Alert Acknowledged",
        |rng, _| json!({"alertId": id(rng, "alert"), "comment": pick(rng, &["Looking into it", "Known – fix is rolling out", "誤検知"])}),
    ),
    kind(9, "Ticket", "Jira Ticket Opened", |rng, _| {
        json!({
            "key": format!("SEC-{}", rng.random_range(100..9999)), "severity": pick(rng, &SEVERITIES),
            "summary": pick(rng, &["Outdated TLS on the edge", "Public bucket \"exports\"", "Token in a log line"]),
        })
    }),
    kind(4, "Settings", "Settings Changed", |rng, _| {
        let (setting, from, to) = *[
            ("sessionTimeoutMinutes", "60", "30"),
            ("requireMfa", "false", "true"),
            ("scanSchedule", "weekly", "daily"),
        ]
        .choose(rng)
        .unwrap_or(&("", "", ""));
        json!({"setting": setting, "from": from, "to": to})
    }),
    kind(3, "Settings", "Slack Integration Connected", |rng, _| json!({"workspace": id(rng, "T")})),
    kind(
        3,
        "Member",
        "Member Invited",
        |rng, tenant| json!({"email": format!("new.hire{}@{tenant}.example", rng.random_range(1..99)), "role": pick(rng, &ROLES)}),
    ),
    kind(
        2,
        "Member",
        "Member Role Changed",
        |rng, _| json!({"member": pick_person(rng), "from": "Viewer", "to": pick(rng, &ROLES)}),
    ),
    kind(
        2,
        "API Key",
        "API Key Created",
        |rng, _| json!({"keyId": id(rng, "key"), "scopes": ["scans:read", "alerts:read"], "expiresInDays": 90}),
    ),
    kind(1, "API Key", "API Key Revoked", |rng, _| json!({"keyId": id(rng, "key")})),
];

const ROLES: [&str; 4] = ["Owner", "Admin", "Analyst", "Viewer"];
const SEVERITIES: [&str; 3] = ["critical", "high", "medium"];
const BROWSERS: [&str; 3] = [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
];

fn pick(rng: &mut ChaCha8Rng, from: &[&'static str]) -> &'static str {
    from.choose(rng).copied().unwrap_or_default()
}

fn pick_person(rng: &mut ChaCha8Rng) -> &'static str {
    PEOPLE.choose(rng).map_or("", |person| person.name)
}

/// An address from the blocks reserved for documentation.
fn ip(rng: &mut ChaCha8Rng) -> String {
    format!("{}.{}", pick(rng, &["192.0.2", "198.51.100", "203.0.113"]), rng.random_range(1..255))
}

fn id(rng: &mut ChaCha8Rng, prefix: &str) -> String {
    format!("{prefix}_{:012x}", rng.random_range(0..1_u64 << 48))
}

fn target(rng: &mut ChaCha8Rng, tenant: &str) -> String {
    format!("{}.{tenant}.example", pick(rng, &["www", "api", "login", "shop", "status"]))
}
