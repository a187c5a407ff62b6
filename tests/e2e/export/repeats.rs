//! Repeated ticks, ticks at once, a tick during a run and a restored table lead to the same bytes.

use anyhow::{Context as _, Result, ensure};
use audit_log_core::settings::Draft;
use audit_log_tests::{Table, is_data, onboard, run_on_platform, wait_until};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{as_json, clock, events_before, minute_one};

const KEY: &str = "audit-logs/tenant=";

#[test]
fn a_repeated_tick_leaves_the_same_bytes() -> Result<()> {
    run_on_platform(async |fixture| {
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

fn number(answer: &Value, name: &str) -> Result<u64> {
    answer[name].as_u64().with_context(|| format!("no {name} in {answer}"))
}

#[test]
fn two_ticks_at_once_store_each_object_once_and_fail_no_tenant() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let mut customers = Vec::new();
        for (tenant, account) in [("atonce", "200000000002"), ("both", "200000000005")] {
            let customer = onboard(aws, platform, tenant, account, Draft::default(), clock("08:00")?).await?;
            customer.bucket.enable_versioning().await?;
            let mut expected = Vec::new();
            for hour in ["09:00", "10:00", "11:00"] {
                let events = events_before(tenant, hour, 300)?;
                platform.put_events(tenant, &events).await?;
                expected.push(as_json(&events));
            }
            customers.push((customer, expected));
        }
        let tick = || async { platform.tick(minute_one("11:00")?).await };
        let reports = futures::future::try_join_all([tick(), tick(), tick()]).await?;
        let mut objects = 0;
        for report in &reports {
            assert_eq!(report["failed"], 0, "{report}");
            assert_eq!(report["deferred"], report["leased"], "for no other reason: {report}");
            objects += number(report, "objects")?;
        }
        assert_eq!(objects, 2 * 3, "{reports:?}");
        for (customer, expected) in customers {
            let texts: Vec<String> = customer.exports().await?.into_iter().map(|(_, text)| text).collect();
            assert_eq!(texts, expected);
            let versions = customer.bucket.versions().await?;
            ensure!(versions.len() == 2 * 3 && versions.values().all(|all| all.len() == 1), "{versions:?}");
            let records = platform.items(Table::Tenants, &customer.tenant).await?;
            assert_eq!(records.len(), 3 + 3, "config, watermark, outbox and a receipt for each window");
            let watermark = platform.record(&customer.tenant, "watermark").await?;
            ensure!(!watermark.contains_key("lease") && !watermark.contains_key("lease_until"), "{watermark:?}");
        }
        Ok(())
    })
}

#[test]
fn a_tick_by_hand_during_a_run_defers_the_tenant_and_stores_nothing() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        // A long backlog, so that the run takes a while.
        let hours = 120;
        let start = clock("11:00")? - TimeDelta::hours(hours);
        let busy = onboard(aws, platform, "byhand", "200000000006", Draft::default(), start).await?;
        busy.bucket.enable_versioning().await?;
        let tick = minute_one("11:00")?;
        let by_hand = async {
            let begun = async || Ok(platform.record("byhand", "watermark").await?.remove("lease"));
            let lease = wait_until("a run has the lease", begun).await?;
            let answer = platform.tick(tick).await?;
            anyhow::Ok((lease, answer, platform.record("byhand", "watermark").await?))
        };
        let (report, (lease, answer, watermark)) = futures::try_join!(platform.tick(tick), by_hand)?;
        assert_eq!(watermark.get("lease"), Some(&lease), "the first run ended too early for this test");
        for (name, expected) in [("due", 1), ("deferred", 1), ("leased", 1), ("failed", 0), ("objects", 0)] {
            assert_eq!(number(&answer, name)?, expected, "{name}: {answer}");
        }
        assert_eq!((&report["exported"], &report["objects"]), (&json!(1), &json!(hours)), "{report}");
        let versions = busy.bucket.versions().await?;
        ensure!(
            versions.len() == 2 * usize::try_from(hours)? && versions.values().all(|all| all.len() == 1),
            "{versions:?}"
        );
        let logs = platform.logs().await?;
        let is_deferral =
            |line: &String| line.contains("byhand") && line.contains("another run has the tenant's lease");
        ensure!(logs.iter().any(is_deferral), "the log doesn't give the reason");
        Ok(())
    })
}

#[test]
fn after_a_restore_of_the_tenants_table_windows_are_exported_again_and_none_is_lost() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let acme = onboard(aws, platform, "restored", "200000000003", Draft::default(), clock("08:00")?).await?;
        acme.bucket.enable_versioning().await?;
        let mut expected = Vec::new();
        let mut before = Vec::new();
        for hour in ["09:00", "10:00", "11:00", "12:00"] {
            // The state right before the tick of 11:00.
            if hour == "11:00" {
                before = platform.items(Table::Tenants, "restored").await?;
            }
            let events = events_before("restored", hour, 50)?;
            platform.put_events("restored", &events).await?;
            assert_eq!(platform.tick(minute_one(hour)?).await?["exported"], 1);
            expected.push(as_json(&events));
        }
        let first = acme.exports().await?;

        // Recording continues during a restore.
        let events = events_before("restored", "13:00", 50)?;
        platform.put_events("restored", &events).await?;
        expected.push(as_json(&events));
        platform.clear_table(Table::Tenants).await?;
        for item in before {
            platform.put_item(Table::Tenants, item).await?;
        }
        let report = platform.tick(minute_one("13:00")?).await?;
        assert_eq!((&report["exported"], &report["objects"]), (&json!(1), &json!(3)), "{report}");

        let exports = acme.exports().await?;
        assert_eq!(exports[..4], first, "under the same keys");
        assert_eq!(exports.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), expected);
        let mut versions = acme.bucket.versions().await?;
        versions.retain(|key, _| is_data(key));
        let versions: Vec<Vec<String>> = versions.into_values().collect();
        assert_eq!(versions.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2, 2, 1], "{versions:?}");
        ensure!(versions[2..4].iter().all(|all| all[0] == all[1]), "the bytes differ: {versions:?}");
        let records = platform.items(Table::Tenants, "restored").await?;
        assert_eq!(records.len(), 3 + 5, "config, watermark, outbox and a receipt for each window");
        Ok(())
    })
}

#[test]
fn after_a_days_outage_the_files_are_the_same_as_those_of_hourly_ticks() -> Result<()> {
    run_on_platform(async |fixture| {
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
