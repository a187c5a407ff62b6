//! A tick twice, two ticks at once, a tick after a crash: the same objects, byte for byte.

use anyhow::{Context as _, Result};
use audit_log_core::settings::Draft;
use audit_log_tests::{Table, on_the_platform, onboard};

use super::{as_json, clock, events_before, minute_one};

const KEY: &str = "audit-logs/tenant=";

#[test]
fn the_same_tick_again_leaves_the_same_bytes() -> Result<()> {
    on_the_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let acme = onboard(aws, platform, "again", "200000000001", Draft::default(), clock("10:00")?).await?;
        let events = events_before("again", "11:00", 25)?;
        platform.put_events("again", &events).await?;

        let report = platform.tick(minute_one("11:00")?).await?;
        assert_eq!((&report["exported"], &report["events"]), (&1.into(), &25.into()), "{report}");
        let first = acme.exports().await?;
        let key = format!("{KEY}again/dt=2026-11-20/20261120T100000Z_20261120T110000Z_0001.json");
        assert_eq!(first, [(key, as_json(&events))]);

        let again = platform.tick(minute_one("11:00")?).await?;
        assert_eq!(again["due"], 0, "{again}");
        assert_eq!(acme.exports().await?, first);
        Ok(())
    })
}

#[test]
fn two_ticks_at_once_leave_the_same_bytes_and_fail_nobody() -> Result<()> {
    on_the_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let acme = onboard(aws, platform, "atonce", "200000000002", Draft::default(), clock("08:00")?).await?;
        let mut expected = Vec::new();
        for hour in ["09:00", "10:00", "11:00"] {
            let events = events_before("atonce", hour, 300)?;
            platform.put_events("atonce", &events).await?;
            expected.push(as_json(&events));
        }
        let tick = || async { platform.tick(minute_one("11:00")?).await };
        for report in futures::future::try_join_all([tick(), tick(), tick()]).await? {
            assert_eq!(report["failed"], 0, "{report}");
        }
        let texts: Vec<String> = acme.exports().await?.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, expected);
        let receipts = platform.items(Table::Tenants, "atonce").await?;
        assert_eq!(receipts.len(), 2 + 3, "config, watermark and a receipt for each window");
        Ok(())
    })
}

#[test]
fn a_tick_after_a_crash_between_store_and_commit_leaves_the_same_bytes() -> Result<()> {
    on_the_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let acme = onboard(aws, platform, "crash", "200000000003", Draft::default(), clock("10:00")?).await?;
        platform.put_events("crash", &events_before("crash", "11:00", 50)?).await?;
        let before = platform.items(Table::Tenants, "crash").await?;
        platform.tick(minute_one("11:00")?).await?;
        let first = acme.exports().await?;

        // What such a crash leaves behind: the objects, and the records as they were before.
        platform.clear_table(Table::Tenants).await?;
        for item in before {
            platform.put_item(Table::Tenants, item).await?;
        }
        let report = platform.tick(minute_one("11:00")?).await?;
        assert_eq!(report["exported"], 1, "{report}");
        assert_eq!(acme.exports().await?, first);
        Ok(())
    })
}

#[test]
fn a_days_outage_is_caught_up_with_the_very_files_of_hourly_ticks() -> Result<()> {
    on_the_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let start = clock("00:00")?;
        let late = onboard(aws, platform, "late", "200000000004", Draft::default(), start).await?;
        for hour in ["03:00", "17:00"] {
            platform.put_events("late", &events_before("late", hour, 10)?).await?;
        }
        let report = platform.tick(minute_one("23:00")?).await?;
        assert_eq!((&report["objects"], &report["events"]), (&23.into(), &20.into()), "{report}");
        let exports = late.exports().await?;
        for (hour, (key, _)) in exports.iter().enumerate() {
            let file = key.rsplit('/').next().context("no file")?;
            assert_eq!(file, format!("20261120T{hour:02}0000Z_20261120T{:02}0000Z_0001.json", hour + 1));
        }
        assert_eq!(exports[2].1, as_json(&events_before("late", "03:00", 10)?));
        assert!(exports[3].1.contains("Audit Log Export Completed"), "{}", exports[3].1);
        Ok(())
    })
}
