//! The export end to end: the zipped function, both templates, a tick, and what lies in the customer's bucket.

use anyhow::Result;
use audit_log_core::settings::Draft;
use audit_log_tests::{
    events::{Spread, generate},
    on_the_platform, onboard,
};
use chrono::{DateTime, TimeDelta, Utc};

/// `10:00` and the like, on the day of these tests.
fn clock(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

/// The rule's time in an hour: its first minute.
fn minute_one(hour: &str) -> Result<DateTime<Utc>> {
    Ok(clock(hour)? + TimeDelta::minutes(1))
}

#[test]
fn a_tick_exports_a_window_and_the_same_tick_again_leaves_the_same_bytes() -> Result<()> {
    on_the_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let acme = onboard(aws, platform, "acme", "200000000001", Draft::default(), clock("10:00")?).await?;
        let events = generate("acme", 25, Spread::Window { from: clock("10:00")?, to: clock("11:00")? });
        platform.put_events("acme", &events).await?;

        let report = platform.tick(minute_one("11:00")?).await?;
        assert_eq!((&report["exported"], &report["events"]), (&1.into(), &25.into()), "{report}");
        let first = acme.exports().await?;
        let lines: Vec<&str> = events.iter().map(|event| event.document.as_str()).collect();
        let key = "audit-logs/tenant=acme/dt=2026-11-20/20261120T100000Z_20261120T110000Z_0001.json";
        assert_eq!(first, [(key.to_owned(), format!("[\n{}\n]\n", lines.join(",\n")))]);

        let again = platform.tick(minute_one("11:00")?).await?;
        assert_eq!(again["due"], 0, "{again}");
        assert_eq!(acme.exports().await?, first);
        Ok(())
    })
}
