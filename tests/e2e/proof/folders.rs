//! The verifier on folders as customers have them, whole and damaged.

use std::fs;

use anyhow::{Context as _, Result};
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Spread, generate};
use audit_log_tests::{Auditor, Bucket, Customer, REGION, connect, onboard, run_on_platform, tools};
use chrono::{DurationRound as _, TimeDelta, Utc};
use serde_json::json;

use super::{auditor, clock, head, record, tick};

#[test]
fn late_arrivals_empty_windows_gzip_and_a_prefix_are_valid() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let zipped = Draft {
            prefix: Some("security/saas".to_owned()),
            format: Some("ndjson".to_owned()),
            compression: Some("gzip".to_owned()),
            ..Draft::default()
        };
        for (tenant, account, choices) in
            [("plain", "200000000111", Draft::default()), ("zipped", "200000000112", zipped)]
        {
            let customer = onboard(aws, platform, tenant, account, choices, clock("09:20")?).await?;
            for (hour, count) in [("10:00", 20), ("11:00", 30), ("12:00", 0), ("13:00", 10)] {
                record(platform, tenant, clock(hour)?, count).await?;
                assert_eq!(tick(platform, clock(hour)?).await?["failed"], 0);
                // Visible only after its window was read, so that the next window delivers its minute.
                let (from, to) = (clock(hour)? - TimeDelta::minutes(4), clock(hour)? - TimeDelta::minutes(3));
                let late = generate(&format!("{tenant}-late"), 3, Spread::Window { from, to });
                platform.put_events(tenant, &late).await?;
            }
            let auditor = auditor(platform, &customer).await?;
            assert_eq!(auditor.manifests()?.len(), 4);
            assert_eq!(auditor.files(|file| file.contains("_late_"))?.len(), 3);
            let verdict = auditor.verify(&["--head", &head(platform, tenant).await?])?;
            assert_eq!(verdict.kinds(0)?, Vec::<String>::new(), "{}", verdict.printed);
        }
        Ok(())
    })
}

#[test]
fn each_change_to_a_copy_is_found_as_what_it_is() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let customer = onboard(aws, platform, "hurt", "200000000113", Draft::default(), clock("08:00")?).await?;
        for hour in ["09:00", "10:00", "11:00", "12:00"] {
            record(platform, "hurt", clock(hour)?, 20).await?;
        }
        assert_eq!(tick(platform, clock("12:00")?).await?["objects"], 4);
        let (keys, head) = (platform.manifest_keys().await?, head(platform, "hurt").await?);
        let file = "dt=2026-11-20/20261120T090000Z_20261120T100000Z_0001.json";
        let manifest = "_audit-log-export/manifests/2026-11-20/20261120T090000Z_20261120T100000Z.manifest";
        let newest = "_audit-log-export/manifests/2026-11-20/20261120T110000Z_20261120T120000Z.manifest";
        let remove = |auditor: &Auditor, path: &str| fs::remove_file(auditor.folder().join(path));

        type Damage<'a> = &'a dyn Fn(&Auditor) -> Result<()>;
        let damages: [(&[&str], Damage<'_>); 7] = [
            (&["file_changed"], &|auditor| auditor.flip(file, 200)),
            (&["file_missing"], &|auditor| Ok(remove(auditor, file)?)),
            (&["file_unlisted"], &|auditor| {
                Ok(fs::write(
                    auditor.folder().join("dt=2026-11-20/20261120T090000Z_20261120T093000Z_0001.json"),
                    "[\n]\n",
                )?)
            }),
            // In the tenant's id.
            (&["manifest_changed"], &|auditor| auditor.flip(manifest, 36)),
            (&["manifest_missing"], &|auditor| Ok(remove(auditor, manifest)?)),
            (&["cut"], &|auditor| {
                remove(auditor, newest)?;
                Ok(remove(auditor, "dt=2026-11-20/20261120T110000Z_20261120T120000Z_0001.json")?)
            }),
            (&["cut", "unknown_key"], &|auditor| {
                // The same name, and the key of another platform: nothing is trusted, the head neither.
                auditor.pin(&[include_str!("another.key").trim().to_owned()])
            }),
        ];
        for (expected, damage) in damages {
            let auditor = Auditor::new(&customer, &keys).await?;
            damage(&auditor)?;
            let verdict = auditor.verify(&["--head", &head])?;
            let kinds = verdict.kinds(1).with_context(|| format!("{expected:?}"))?;
            assert_eq!(kinds, expected, "{}", verdict.printed);
        }
        Ok(())
    })
}

/// The chain goes on in the new place. The old one ends with its final delivery, which no later manifest names.
#[test]
fn after_a_change_of_destination_both_places_are_valid() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let (tenant, account) = ("moved", "200000000114");
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        let before = |hours| hour - TimeDelta::hours(hours);
        let customer = connect(aws, platform, tenant, account, Draft::default(), before(4)).await?;
        for hours in [3, 2] {
            record(platform, tenant, before(hours), 10).await?;
            assert_eq!(tick(platform, before(hours)).await?["exported"], 1);
        }
        record(platform, tenant, before(1), 10).await?;

        let elsewhere = Bucket::create(aws, account, "moved-elsewhere", REGION).await?;
        let role = customer.stack.outputs.role_arn.rsplit('/').next().context("no role")?;
        let rights = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::moved-elsewhere/*" },
        ] });
        let put = ["iam", "put-role-policy", "--role-name", role, "--policy-name", "elsewhere", "--policy-document"];
        tools::aws_cli(aws, account, &[&put[..], &[&rights.to_string()]].concat()).await?;
        let settings = json!({ "bucket": "moved-elsewhere", "region": REGION, "frequencyHours": 1 });
        platform.api().admin(tenant, "PUT", "/v1/export-settings", Some(&settings)).await?.ok()?;
        tick(platform, hour).await?;

        let old = auditor(platform, &customer).await?;
        for _ in 0..5 {
            platform.check(Utc::now()).await?;
            customer.bucket.download(&customer.folder(), &old.folder()).await?;
            if !old.files(|file| file.ends_with(".final.manifest"))?.is_empty() {
                break;
            }
            // Right before a full hour, no final delivery begins.
            tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        }
        assert_eq!(old.files(|file| file.ends_with(".final.manifest"))?.len(), 1);
        let verdict = old.verify(&[])?;
        assert_eq!(verdict.kinds(0)?, Vec::<String>::new(), "{}", verdict.printed);
        let new = auditor(platform, &Customer { bucket: elsewhere, ..customer }).await?;
        let verdict = new.verify(&["--head", &head(platform, tenant).await?])?;
        assert_eq!(verdict.kinds(0)?, ["predecessor_absent"], "{}", verdict.printed);
        Ok(())
    })
}
