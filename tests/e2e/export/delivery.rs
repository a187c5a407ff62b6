//! Every event is delivered once, in order, in the chosen format.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::settings::Draft;
use audit_log_tests::{Auditor, Table, onboard, run_on_platform, tools};
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{clock, events_before, minute_one, with};

#[test]
fn twelve_thousand_events_of_a_kilobyte_arrive_complete_and_in_order() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let busy = onboard(aws, platform, "busy", "200000000011", Draft::default(), clock("10:00")?).await?;
        let mut events = events_before("busy", "11:00", 12_000)?;
        for event in &mut events {
            let padding = "x".repeat(1024_usize.saturating_sub(event.document.len() + 13));
            event.document.insert_str(event.document.len() - 1, &format!(",\"padding\":\"{padding}\""));
        }
        // The last event is exactly at the window's end.
        let last = events.last_mut().context("no events")?;
        last.recorded_at = clock("11:00")?;
        platform.put_events("busy", &events).await?;

        let report = platform.tick(minute_one("11:00")?).await?;
        assert_eq!((&report["events"], &report["objects"]), (&11_999.into(), &1.into()), "{report}");
        let report = platform.tick(minute_one("12:00")?).await?;
        assert_eq!(report["events"], 1, "{report}");
        let exports = busy.exports().await?;
        // Not `assert_eq`, which would print twelve megabytes twice.
        assert!(
            exports[0].1 == super::as_json(&events[..11_999]),
            "the events of the window differ or are out of order"
        );
        assert_eq!(exports[1].1, super::as_json(&events[11_999..]));
        assert!(exports[0].1.len() > 8 * 1024 * 1024, "large enough for a multipart upload");
        Ok(())
    })
}

#[test]
fn a_tenant_gets_its_chosen_format_compression_and_folder() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let choices = with(|draft| {
            draft.format = Some("ndjson".to_owned());
            draft.compression = Some("gzip".to_owned());
            draft.prefix = Some("security/saas".to_owned());
        });
        let picky = onboard(aws, platform, "picky", "200000000012", choices, clock("10:00")?).await?;
        let events = events_before("picky", "11:00", 100)?;
        platform.put_events("picky", &events).await?;
        platform.tick(minute_one("11:00")?).await?;

        let objects = picky.bucket.objects().await?;
        let folder = "security/saas/audit-logs/tenant=picky/";
        let key = format!("{folder}dt=2026-11-20/20261120T100000Z_20261120T110000Z_0001.ndjson.gz");
        let manifest =
            format!("{folder}_audit-log-export/manifests/2026-11-20/20261120T100000Z_20261120T110000Z.manifest");
        assert_eq!(objects.iter().map(|object| &object.key).collect::<Vec<_>>(), [&manifest, &key]);
        assert_eq!(picky.bucket.get(&manifest).await?.content_type.as_deref(), Some("text/plain; charset=utf-8"));
        let object = picky.bucket.get(&key).await?;
        let lines: String = events.iter().map(|event| format!("{}\n", event.document)).collect();
        assert_eq!(audit_log_tests::gunzip(&object.bytes)?, lines);
        assert_eq!(object.content_type.as_deref(), Some("application/x-ndjson"));
        assert_eq!(object.content_encoding, None);
        let metadata = [
            ("schema-version", "1"),
            ("tenant-id", "picky"),
            ("window-from", "2026-11-20T10:00:00Z"),
            ("window-to", "2026-11-20T11:00:00Z"),
        ];
        assert_eq!(object.metadata, metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        Ok(())
    })
}

#[test]
fn a_tenant_that_chose_ocsf_gets_every_event_in_it_and_an_auditor_finds_nothing_wrong() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let choices = with(|draft| draft.schema = Some("ocsf".to_owned()));
        let mapped = onboard(aws, platform, "mapped", "200000000020", choices, clock("10:00")?).await?;
        let events = events_before("mapped", "11:00", 100)?;
        platform.put_events("mapped", &events).await?;
        for hour in ["11:00", "12:00"] {
            platform.tick(minute_one(hour)?).await?;
        }
        let mut exported: Vec<Vec<Value>> = Vec::new();
        for (key, text) in mapped.exports().await? {
            let metadata = mapped.bucket.get(&key).await?.metadata;
            assert_eq!(metadata.get("schema-version").map(String::as_str), Some("ocsf-1.8.0"), "{key}");
            exported.push(serde_json::from_str(&text)?);
        }
        let [window, heartbeat] = exported.as_slice() else { bail!("other files: {exported:#?}") };
        let origin = |event: &Value| ["uid", "event_code"].map(|name| event["metadata"][name].clone());
        let recorded: Vec<_> = events.iter().map(|event| [json!(event.id), json!(event.action)]).collect();
        assert_eq!(window.iter().map(origin).collect::<Vec<_>>(), recorded);
        let login = window.iter().find(|event| event["metadata"]["event_code"] == "Login").context("no login")?;
        assert_eq!((&login["class_uid"], &login["type_uid"]), (&3002.into(), &300_201.into()), "{login:#}");
        assert_eq!(heartbeat.len(), 1);
        assert_eq!(heartbeat[0]["metadata"]["event_code"], "Audit Log Export Completed");

        let verdict = Auditor::new(&mapped, &platform.manifest_keys().await?).await?.verify(&[])?;
        assert_eq!(verdict.kinds(0)?, Vec::<String>::new(), "{}", verdict.printed);
        Ok(())
    })
}

#[test]
fn a_tenant_with_a_kms_key_gets_all_objects_encrypted_with_it() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let made = tools::aws_cli(aws, "200000000019", &["kms", "create-key"]).await?;
        let key = made["KeyMetadata"]["Arn"].as_str().context("no key")?.to_owned();
        let choices = with(|draft| {
            draft.encryption = Some("sse-kms".to_owned());
            draft.kms_key_arn = Some(key.clone());
        });
        let sealed = onboard(aws, platform, "sealed", "200000000019", choices, clock("10:00")?).await?;
        let report = platform.tick(minute_one("11:00")?).await?;
        assert_eq!(report["exported"], 1, "{report}");
        let objects = sealed.bucket.objects().await?;
        assert_eq!(objects.len(), 2, "a file and its manifest: {objects:?}");
        for object in objects {
            assert_eq!(sealed.bucket.get(&object.key).await?.kms_key.as_ref(), Some(&key), "{}", object.key);
        }
        Ok(())
    })
}

/// The bucket's default encryption satisfies no such policy: S3 evaluates the request's own header.
#[test]
fn a_bucket_whose_policy_demands_sse_s3_takes_only_deliveries_that_ask_for_it() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let account = "200000000010";
        let mut strict = onboard(aws, platform, "strict", account, Draft::default(), clock("10:00")?).await?;
        let bucket = strict.stack.outputs.bucket_name.clone();
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": format!("arn:aws:s3:::{bucket}/*"),
            "Condition": { "StringNotEquals": { "s3:x-amz-server-side-encryption": "AES256" } },
        }] });
        let put = ["s3api", "put-bucket-policy", "--bucket", &bucket, "--policy", &policy.to_string()];
        tools::aws_cli(aws, account, &put).await?;
        let report = platform.tick(minute_one("11:00")?).await?;
        assert_eq!(report["failures"][0]["code"], "access_denied", "{report}");

        strict.settings.encryption = Some("sse-s3".to_owned());
        strict.save(aws, platform, clock("11:30")?).await?;
        let report = platform.tick(minute_one("12:00")?).await?;
        assert_eq!((&report["objects"], &report["failed"]), (&2.into(), &0.into()), "{report}");
        for object in strict.bucket.objects().await? {
            assert_eq!(strict.bucket.get(&object.key).await?.encryption.as_deref(), Some("AES256"), "{}", object.key);
        }
        Ok(())
    })
}

#[test]
fn an_item_that_breaks_the_contract_is_exported_as_malformed() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let sloppy = onboard(aws, platform, "sloppy", "200000000013", Draft::default(), clock("10:00")?).await?;
        let text = |text: &str| AttributeValue::S(text.to_owned());
        for (id, event) in [
            ("1", None),
            ("2", Some(AttributeValue::M(HashMap::from([("action".to_owned(), text("Login"))])))),
            ("3", Some(text("not json"))),
            ("4", Some(text("{\n  \"id\": \"4\"\n}"))),
        ] {
            let mut item = HashMap::from([
                ("tenant_shard".to_owned(), text("sloppy#0")),
                ("recorded_at_id".to_owned(), text(&format!("2026-11-20T10:30:00.000Z#{id}"))),
            ]);
            item.extend(event.map(|event| ("event".to_owned(), event)));
            platform.put_item(Table::Events, item).await?;
        }
        assert_eq!(platform.tick(minute_one("11:00")?).await?["events"], 4);
        let exported: Vec<Value> = serde_json::from_str(&sloppy.exports().await?[0].1)?;
        assert_eq!(
            exported.iter().map(|event| event["id"].as_str()).collect::<Vec<_>>(),
            ["1", "2", "3", "4"].map(Some)
        );
        for event in &exported[..3] {
            assert_eq!(event["action"], "Malformed Audit Event");
        }
        assert!(exported[1]["additionalInfo"]["raw"].as_str().context("no raw")?.contains("Login"));
        assert_eq!(exported[2]["additionalInfo"]["raw"], "not json");
        assert_eq!(exported[3], serde_json::json!({ "id": "4" }));
        Ok(())
    })
}

#[test]
fn a_tenant_that_is_not_due_gets_nothing_and_an_empty_window_gets_a_heartbeat() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let quiet = onboard(aws, platform, "quiet", "200000000014", Draft::default(), clock("10:00")?).await?;
        let six = with(|draft| draft.frequency_hours = Some("6".to_owned()));
        let rare = onboard(aws, platform, "rare", "200000000015", six, clock("10:00")?).await?;
        for hour in ["11:00", "12:00", "13:00"] {
            platform.tick(minute_one(hour)?).await?;
        }
        assert_eq!((quiet.exports().await?.len(), rare.exports().await?.len()), (3, 1));
        let heartbeat: Vec<Value> = serde_json::from_str(&quiet.exports().await?[0].1)?;
        assert_eq!(heartbeat[0]["additionalInfo"]["eventCount"], 0);
        Ok(())
    })
}

#[test]
fn each_event_reaches_its_own_tenants_bucket_and_no_other() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let one = onboard(aws, platform, "one", "200000000016", Draft::default(), clock("10:00")?).await?;
        let two = onboard(aws, platform, "two", "200000000017", Draft::default(), clock("10:00")?).await?;
        // Ids that begin with another tenant's id, so that their keys sort next to each other.
        for tenant in ["one", "two", "one-", "on"] {
            platform.put_events(tenant, &events_before(tenant, "11:00", 20)?).await?;
        }
        platform.tick(minute_one("11:00")?).await?;
        for customer in [one, two] {
            let expected = super::as_json(&events_before(&customer.tenant, "11:00", 20)?);
            let texts: Vec<String> = customer.exports().await?.into_iter().map(|(_, text)| text).collect();
            assert_eq!(texts, [expected]);
        }
        Ok(())
    })
}

#[test]
fn an_event_is_exported_once_whatever_minute_its_window_ends_at() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let odd_start = clock("10:00")? + TimeDelta::milliseconds(754_321);
        let odd = onboard(aws, platform, "odd", "200000000018", Draft::default(), odd_start).await?;
        platform.put_events("odd", &events_before("odd", "11:00", 100)?).await?;
        platform.tick(minute_one("11:00")?).await?;
        let (key, text) = odd.exports().await?.remove(0);
        assert!(key.ends_with("/20261120T101234Z_20261120T110000Z_0001.json"), "{key}");
        let from = clock("10:00")? + TimeDelta::seconds(754);
        let mut expected = events_before("odd", "11:00", 100)?;
        expected.retain(|event| event.recorded_at >= from);
        assert_eq!(text, super::as_json(&expected));
        Ok(())
    })
}
