//! Measures how many events are written in a second of CPU time as they are, and in OCSF: from the stored event to the object's
//! bytes. Needs Linux.
//!
//! ```sh
//! cargo run --release --locked --package audit-log-core --example ocsf_throughput
//! ```
//!
//! The crate depends on no AWS SDK, so that it may be built alone.
#![forbid(unsafe_code)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use audit_log_core::{
    event::{Body, StoredEvent},
    object::Encoder,
    ocsf::Mapping,
    tenant::{Compression, Format, TenantId},
};

const EVENTS: usize = 20_000;

fn events() -> Vec<StoredEvent> {
    let event = |number: usize| {
        // Random enough to compress about as well as real events.
        let random = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let at = format!("2026-11-20T10:{:02}:00.{:03}Z", number / 1000, number % 1000);
        let (id, address) = (format!("01a1f899-{random:016x}"), random >> 8 & 0xff);
        let user = format!(r#"{{"id":"usr_{:02}","name":"Zoë Müller","email":"someone@acme.example"}}"#, random % 12);
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
        let (log_type, action, info) = match number % 4 {
            0 | 1 => {
                ("Authentication", "Login", format!(r#"{{"ip":"192.0.2.{address}","userAgent":"{agent}","mfa":true}}"#))
            }
            2 => (
                "Scan",
                "Scan Completed",
                format!(r#"{{"scanId":"scan_{random:012x}","findings":{{"high":{address}}}}}"#),
            ),
            _ => {
                ("Alert", "Slack Alert Sent", format!(r##"{{"channel":"#security","alertId":"alert_{random:012x}"}}"##))
            }
        };
        let text = format!(
            r#"{{"id":"{id}","date":"{at}","logType":"{log_type}","action":"{action}","user":{user},"additionalInfo":{info}}}"#
        );
        StoredEvent { recorded_at_id: format!("{at}#{id}"), body: Body::Text(text) }
    };
    (0..EVENTS).map(event).collect()
}

/// Returns the object's bytes and how many there were before compression.
fn encode(events: &[StoredEvent], mapping: Option<(&Mapping, &TenantId)>, compression: Compression) -> (usize, usize) {
    let (mut encoder, mut lines, mut stored) = (Encoder::new(Format::Ndjson, compression), 0, 0);
    for event in events {
        let (line, _) = event.line();
        let line = mapping.map_or_else(|| line.clone(), |(mapping, tenant)| mapping.event(tenant, &line, None).into());
        lines += line.len();
        let _ = encoder.push(&line);
        stored += encoder.take_ready(256 * 1024).map_or(0, |bytes| bytes.len());
    }
    (stored + encoder.finish().map_or(0, |finished| finished.bytes.len()), lines)
}

/// What this thread has used, by the kernel's account. Other programs on the machine don't count.
fn cpu_time() -> Result<Duration, Box<dyn std::error::Error>> {
    let account = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(Duration::from_nanos(account.split(' ').next().unwrap_or_default().parse()?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mapping = Mapping::parse(include_str!("../../schema/ocsf.json"))?;
    let (events, tenant) = (events(), TenantId::parse("acme")?);
    println!("{:<16} {:>10} {:>12} {:>14}", "", "events/s", "bytes/event", "stored/event");
    for (name, compression) in [("plain", Compression::None), ("gzip", Compression::Gzip)] {
        for (schema, mapping) in [("native", None), ("OCSF", Some((&mapping, &tenant)))] {
            let (mut best, began, mut sizes) = (Duration::MAX, Instant::now(), (0, 0));
            while began.elapsed() < Duration::from_secs(5) {
                let before = cpu_time()?;
                sizes = black_box(encode(&events, mapping, compression));
                best = best.min(cpu_time()?.saturating_sub(before));
            }
            let rate = EVENTS as f64 / best.as_secs_f64();
            let (stored, lines) = sizes;
            println!("{:<16} {rate:>10.0} {:>12} {:>14}", format!("{schema}, {name}"), lines / EVENTS, stored / EVENTS);
        }
    }
    Ok(())
}
