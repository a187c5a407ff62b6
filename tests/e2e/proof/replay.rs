//! A replay on the deployed functions, requested over the API: into the bucket where the windows lie, and into another one.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Spread, generate};
use audit_log_tests::{Bucket, Customer, Platform, REGION, Table, attribute, connect, is_data, run_on_platform, tools};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{auditor, head, record, tick};

/// The bytes of each object, and the text of each manifest: two signatures of one text differ.
async fn contents(bucket: &Bucket) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut contents = BTreeMap::new();
    for object in bucket.objects().await?.into_iter().filter(|object| !object.key.ends_with("connectivity-check")) {
        let bytes = bucket.get(&object.key).await?.bytes;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.split_once("\n\n").map(|(text, _)| text.as_bytes().to_vec());
        contents.insert(object.key, text.unwrap_or(bytes));
    }
    Ok(contents)
}

/// Asks for a replay, and waits for its end. Right before a full hour, none goes on.
async fn replay(platform: &Platform<'_>, tenant: &str, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Value> {
    let range = json!({ "from": from.to_rfc3339(), "to": to.to_rfc3339() });
    let requested = platform.api().admin(tenant, "POST", "/v1/replays", Some(&range)).await?;
    ensure!(requested.status == 202, "{requested:?}");
    let mut last = Value::Null;
    for round in 1..=240 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let current = platform.api().admin(tenant, "GET", "/v1/replays/current", None).await?.ok()?;
        if current["state"] != "running" {
            return Ok(current);
        }
        last = current;
        if round % 30 == 0 {
            platform.check(Utc::now()).await?;
        }
    }
    bail!("the replay doesn't end: {last:#}");
}

/// Makes the windows as old as they are after an hour: a request that stored them can't be carried out any more.
async fn age_receipts(platform: &Platform<'_>, tenant: &str) -> Result<()> {
    for mut item in platform.items(Table::Tenants, tenant).await? {
        let record = attribute(&item, "record");
        if record.starts_with("export#") || record.starts_with("replayed#") {
            let at = (Utc::now() - TimeDelta::hours(1)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
            item.insert("exported_at".to_owned(), AttributeValue::S(at));
            platform.put_item(Table::Tenants, item).await?;
        }
    }
    Ok(())
}

#[test]
fn windows_are_delivered_again_where_they_lie_and_into_another_bucket_and_both_are_proved() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let (tenant, account) = ("again", "200000000117");
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        let before = |hours| hour - TimeDelta::hours(hours);
        let customer = connect(aws, platform, tenant, account, Draft::default(), before(4)).await?;
        for (hours, count) in [(3, 10), (2, 0), (1, 12), (0, 5)] {
            record(platform, tenant, before(hours), count).await?;
            assert_eq!(tick(platform, before(hours)).await?["exported"], 1);
        }
        let exported = contents(&customer.bucket).await?;
        let preview = format!("/v1/replays/preview?from={}&to={}", stamp(before(4)), stamp(hour));
        let preview = platform.api().admin(tenant, "GET", &preview, None).await?.ok()?;
        assert_eq!(preview["windows"], 4, "{preview:#}");

        // The customer has lost a whole bucket.
        customer.bucket.empty().await?;
        let ended = replay(platform, tenant, before(4), hour).await?;
        assert_eq!((&ended["state"], &ended["delivered"]["windows"]), (&"completed".into(), &4.into()), "{ended:#}");
        assert_eq!(contents(&customer.bucket).await?, exported, "byte for byte");
        let proved = auditor(platform, &customer).await?.verify(&["--head", &head(platform, tenant).await?])?;
        assert_eq!(proved.kinds(0)?, Vec::<String>::new(), "{}", proved.printed);

        // An event of the first window was recorded too late for any export.
        let minute = Spread::Window { from: before(4), to: before(4) + TimeDelta::minutes(1) };
        platform.put_events(tenant, &generate("again-late", 1, minute)).await?;
        age_receipts(platform, tenant).await?;
        let ended = replay(platform, tenant, before(4), before(3)).await?;
        assert_eq!((&ended["state"], &ended["amended"]), (&"completed".into(), &1.into()), "{ended:#}");
        let amended = auditor(platform, &customer).await?.verify(&["--head", &head(platform, tenant).await?])?;
        assert_eq!(amended.kinds(0)?, ["amended"], "{}", amended.printed);

        let elsewhere = move_to(platform, &customer, aws, account).await?;
        for _ in 0..5 {
            platform.check(Utc::now()).await?;
            if !platform.record(tenant, "final_delivery").await?.contains_key("pending_shard") {
                break;
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        let ended = replay(platform, tenant, before(4), hour).await?;
        assert_eq!((&ended["state"], &ended["delivered"]["windows"]), (&"completed".into(), &4.into()), "{ended:#}");
        let moved = contents(&elsewhere).await?;
        for (key, bytes) in contents(&customer.bucket).await?.iter().filter(|(key, _)| is_data(key)) {
            ensure!(key.contains("_final_") || moved.get(key) == Some(bytes), "{key} differs");
        }
        let new = auditor(platform, &Customer { bucket: elsewhere, ..customer }).await?;
        let proved = new.verify(&["--head", &head(platform, tenant).await?])?;
        assert_eq!(proved.kinds(0)?, ["amended"], "{}", proved.printed);
        Ok(())
    })
}

fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Points the export at another bucket of the customer, in which the role may write too.
async fn move_to(
    platform: &Platform<'_>,
    customer: &Customer,
    aws: &audit_log_tests::LocalAws,
    account: &str,
) -> Result<Bucket> {
    let elsewhere = Bucket::create(aws, account, "again-elsewhere", REGION).await?;
    let role = customer.stack.outputs.role_arn.rsplit('/').next().context("no role")?;
    let rights = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::again-elsewhere/*" },
    ] });
    let put = ["iam", "put-role-policy", "--role-name", role, "--policy-name", "elsewhere", "--policy-document"];
    tools::aws_cli(aws, account, &[&put[..], &[&rights.to_string()]].concat()).await?;
    let settings = json!({ "bucket": "again-elsewhere", "region": REGION, "frequencyHours": 1 });
    platform.api().admin(&customer.tenant, "PUT", "/v1/export-settings", Some(&settings)).await?.ok()?;
    Ok(elsewhere)
}
