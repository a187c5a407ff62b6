//! Verifies connections with the deployed function, with roles from the template and others.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use audit_log_core::{
    role_setup::RoleSetup,
    settings::Draft,
    tenant::{self, TenantId},
};
use audit_log_tests::{
    Bucket, Fixture, LocalAws, PLATFORM_ACCOUNT, Platform, REGION, onboard, project, quick_create, run_on_platform,
    tools,
};
use serde_json::{Value, json};

/// All that a delivery needs.
const DELIVERY: [&str; 2] = ["s3:PutObject", "s3:AbortMultipartUpload"];

const STEPS: [&str; 5] = ["assume_role", "external_id_enforced", "region", "put_object", "least_privilege"];

/// The steps of an answer. All must be there.
async fn verify(platform: &Platform<'_>, connection: &Value) -> Result<Vec<Value>> {
    let answer = platform.invoke(&json!({ "verify": connection })).await?;
    let steps = answer["steps"].as_array().with_context(|| format!("no steps: {answer}"))?.clone();
    let names: Vec<_> = steps.iter().filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(names, STEPS);
    Ok(steps)
}

/// Each step's status, and its code if it has one.
fn outline(steps: &[Value]) -> Vec<String> {
    let word = |step: &Value| {
        let words = [step["status"].as_str(), step["code"].as_str()];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    steps.iter().map(word).collect()
}

fn message(step: &Value) -> &str {
    step["message"].as_str().unwrap_or_default()
}

/// Creates a customer's bucket and quick-create stack, and returns the request to verify them.
async fn connection(
    Fixture { aws, platform }: &Fixture,
    tenant: &str,
    account: &str,
    prefix: &str,
) -> Result<(Bucket, Value)> {
    let name = format!("{tenant}-logs");
    let bucket = Bucket::create(aws, account, &name, REGION).await?;
    let external_id = format!("external-id-of-{tenant}");
    platform.store_external_id(tenant, &external_id).await?;
    let parameters = [
        ("BucketName", name.as_str()),
        ("BucketPrefix", prefix),
        ("TenantId", tenant),
        ("ExternalId", &external_id),
        ("ProviderAccountId", PLATFORM_ACCOUNT),
    ];
    let stack = quick_create(aws, account, "audit-log-export", &parameters).await?;
    let connection = json!({
        "tenantId": tenant, "roleArn": stack.outputs.role_arn, "externalId": external_id, "bucket": name,
        "region": REGION, "prefix": prefix,
    });
    Ok((bucket, connection))
}

/// A request with some fields replaced.
fn with(connection: &Value, changes: &Value) -> Value {
    let mut changed = connection.clone();
    for (field, value) in changes.as_object().into_iter().flatten() {
        changed[field] = value.clone();
    }
    changed
}

/// Creates a role that trusts the platform's account under a condition and allows `actions` of S3 on a path.
async fn homemade_role(
    aws: &LocalAws,
    account: &str,
    condition: &Value,
    actions: &[&str],
    path: &str,
) -> Result<String> {
    let document = |statement: Value| json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
    let trust = document(json!({
        "Effect": "Allow", "Action": "sts:AssumeRole", "Condition": condition,
        "Principal": { "AWS": format!("arn:aws:iam::{PLATFORM_ACCOUNT}:root") },
    }));
    let rights = document(json!({ "Effect": "Allow", "Action": actions, "Resource": format!("arn:aws:s3:::{path}") }));
    let iam = async |arguments: &[&str]| tools::aws_cli(aws, account, &[&["iam"], arguments].concat()).await;
    let role = ["--role-name", "homemade"];
    let created = iam(&[&["create-role", "--assume-role-policy-document", &trust], &role[..]].concat()).await?;
    iam(&[&["put-role-policy", "--policy-name", "rights", "--policy-document", &rights], &role[..]].concat()).await?;
    Ok(created["Role"]["Arn"].as_str().context("a role without an ARN")?.to_owned())
}

#[test]
fn a_connection_from_the_template_passes_and_repeated_verifications_leave_one_object() -> Result<()> {
    run_on_platform(async |fixture| {
        let (bucket, connection) = connection(fixture, "green", "200000000041", "security").await?;
        for _ in 0..2 {
            let steps = verify(&fixture.platform, &connection).await?;
            assert_eq!(outline(&steps), ["passed"; 5], "{steps:#?}");
        }
        let keys: Vec<String> = bucket.objects().await?.into_iter().map(|object| object.key).collect();
        assert_eq!(keys, ["security/audit-logs/tenant=green/_audit-log-export/connectivity-check"]);
        let object = bucket.get(&keys[0]).await?;
        assert_eq!(object.content_type.as_deref(), Some("text/plain"));
        assert!(object.bytes.starts_with(b"This file shows that audit logs can be delivered"), "{:?}", object.bytes);
        assert_eq!(object.metadata["tenant-id"], "green");
        let logs = fixture.platform.logs().await?;
        assert!(
            logs.iter().any(|line| line.contains("verified") && line.contains("green")),
            "the verification was not logged"
        );
        assert!(!logs.iter().any(|line| line.contains("external-id-of-green")), "the external ID was logged");
        Ok(())
    })
}

#[test]
fn without_a_bucket_only_the_role_is_verified() -> Result<()> {
    run_on_platform(async |fixture| {
        let (bucket, connection) = connection(fixture, "early", "200000000042", "").await?;
        let early = with(&connection, &json!({ "bucket": null, "region": null }));
        let steps = verify(&fixture.platform, &early).await?;
        assert_eq!(outline(&steps), ["passed", "passed", "skipped", "skipped", "skipped"], "{steps:#?}");
        assert_eq!(bucket.objects().await?, []);
        Ok(())
    })
}

#[test]
fn each_mistake_about_the_bucket_is_found_in_its_step() -> Result<()> {
    run_on_platform(async |fixture| {
        let platform = &fixture.platform;
        let (_, connection) = connection(fixture, "lost", "200000000043", "security").await?;
        for (changes, expected) in [
            (json!({ "bucket": "no-such-bucket-anywhere" }), ["skipped", "failed bucket_not_found"]),
            (json!({ "region": "eu-west-1" }), ["failed wrong_region", "skipped"]),
            (json!({ "prefix": "elsewhere" }), ["skipped", "failed access_denied"]),
        ] {
            let steps = verify(platform, &with(&connection, &changes)).await?;
            assert_eq!(outline(&steps)[2..4], expected, "{steps:#?}");
            assert_eq!(outline(&steps)[4], "skipped", "{steps:#?}");
        }
        let afar = verify(platform, &with(&connection, &json!({ "region": "eu-west-1" }))).await?;
        assert!(message(&afar[2]).contains(&format!("is in {REGION}")), "{}", afar[2]);
        for (changes, field) in [
            (json!({ "region": null }), "region: is required"),
            (json!({ "region": "moon-1" }), "region: "),
            (json!({ "bucketOwner": "me" }), "bucket_owner: "),
            (
                json!({ "roleArn": format!("arn:aws:iam::{PLATFORM_ACCOUNT}:role/audit-log-exporter") }),
                "platform's own",
            ),
        ] {
            let steps = verify(platform, &with(&connection, &changes)).await?;
            assert_eq!(outline(&steps), ["failed config_invalid", "skipped", "skipped", "skipped", "skipped"]);
            assert!(message(&steps[0]).contains(field), "{}", steps[0]);
        }
        Ok(())
    })
}

#[test]
fn a_role_that_demands_no_external_id_is_refused_and_nothing_is_written_with_it() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let bucket = Bucket::create(aws, "200000000044", "open-logs", REGION).await?;
        platform.store_external_id("open", "external-id-of-open").await?;
        let wildcard = json!({ "StringLike": { "sts:ExternalId": "*" } });
        let if_exists = json!({ "StringEqualsIfExists": { "sts:ExternalId": "external-id-of-open" } });
        let like = |pattern: &str| json!({ "StringLike": { "sts:ExternalId": pattern } });
        let random = "with a random external ID of the same length";
        for (account, condition, how) in [
            ("200000000044", json!({}), "without any external ID, with a random"),
            ("200000000045", wildcard, random),
            ("200000000046", if_exists, "without any external ID."),
            ("200000000054", like(&"?".repeat("external-id-of-open".len())), random),
            ("200000000060", like("*nal-id-of-open"), "with another first character of the external ID."),
            ("200000000055", like("external-id-of-ope?"), "with another last character of the external ID."),
            ("200000000056", like("external-id-of-open*"), "with a character appended to the external ID."),
        ] {
            let role = homemade_role(aws, account, &condition, &["s3:*"], "*").await?;
            let connection = json!({
                "tenantId": "open", "roleArn": role, "externalId": "external-id-of-open", "bucket": "open-logs",
                "region": REGION,
            });
            let steps = verify(platform, &connection).await?;
            let expected = ["passed", "failed external_id_not_enforced", "skipped", "skipped", "skipped"];
            assert_eq!(outline(&steps), expected, "{condition}: {steps:#?}");
            assert!(message(&steps[1]).contains(how) && message(&steps[1]).contains("confused deputy"), "{}", steps[1]);
        }
        assert_eq!(bucket.objects().await?, []);
        Ok(())
    })
}

#[test]
fn a_role_with_more_rights_gets_a_warning_and_no_object_of_the_customer_is_changed() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let bucket = Bucket::create(aws, "200000000047", "wide-logs", REGION).await?;
        platform.store_external_id("wide", "external-id-of-wide").await?;
        let condition = json!({ "StringEquals": { "sts:ExternalId": "external-id-of-wide" } });
        let role = homemade_role(aws, "200000000047", &condition, &["s3:*"], "*").await?;
        let put =
            ["s3api", "put-object", "--bucket", "wide-logs", "--key", "security/audit-logs/tenant=wide/theirs.json"];
        tools::aws_cli(aws, "200000000047", &put).await?;
        let before = bucket.objects().await?;
        let connection = json!({
            "tenantId": "wide", "roleArn": role, "externalId": "external-id-of-wide", "bucket": "wide-logs",
            "region": REGION, "prefix": "security",
        });
        let steps = verify(platform, &connection).await?;
        let expected = ["passed", "passed", "passed", "passed", "warning excess_rights"];
        assert_eq!(outline(&steps), expected, "{steps:#?}");
        for right in [
            "s3:GetObject",
            "s3:ListBucket",
            "s3:DeleteObject",
            "s3:PutObject outside the tenant's folder",
            "s3:PutObject outside the prefix",
        ] {
            assert!(message(&steps[4]).contains(right), "{}", steps[4]);
        }
        assert_eq!(bucket.objects().await?, before, "the verification removes its own objects and no others");
        Ok(())
    })
}

/// The attack: a tenant's role, in the hands of a faulty or hostile platform, writes into another tenant's folder.
#[test]
fn a_stack_without_the_tenant_gets_a_warning_that_the_update_command_ends() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        for (tenant, account, prefix) in [("spread", "200000000058", "security"), ("spread2", "200000000059", "")] {
            let bucket_name = format!("{tenant}-logs");
            let bucket = Bucket::create(aws, account, &bucket_name, REGION).await?;
            let external_id = format!("external-id-of-{tenant}");
            platform.store_external_id(tenant, &external_id).await?;
            let id = TenantId::parse(tenant)?;
            let identity = tenant::Platform {
                account: tenant::AccountId::parse(PLATFORM_ACCOUNT)?,
                partition: tenant::Partition::Aws,
            };
            let role_setup = RoleSetup {
                tenant: &id,
                platform: &identity,
                role_name: "audit-log-exporter",
                region: tenant::Region::parse(REGION)?,
                template_url: None,
                external_id: &tenant::ExternalId::parse(&external_id)?,
                bucket: None,
                prefix: None,
                kms_key: None,
                create_bucket: false,
                frequency: None,
            };
            let parameters = [
                ("BucketName", bucket_name.as_str()),
                ("BucketPrefix", prefix),
                ("ExternalId", &external_id),
                ("ProviderAccountId", PLATFORM_ACCOUNT),
            ];
            let stack = quick_create(aws, account, &role_setup.stack_name(), &parameters).await?;
            let connection = json!({
                "tenantId": tenant, "roleArn": stack.outputs.role_arn, "externalId": external_id, "bucket": bucket_name,
                "region": REGION, "prefix": prefix,
            });
            let steps = verify(platform, &connection).await?;
            let expected = ["passed", "passed", "passed", "passed", "warning role_folder_too_wide"];
            assert_eq!(outline(&steps), expected, "{steps:#?}");
            let keys: Vec<_> = bucket.objects().await?.into_iter().map(|object| object.key).collect();
            let probe = keys.iter().find(|key| key.contains("/_audit-log-export-probe-"));
            ensure!(probe.is_some_and(|key| message(&steps[4]).contains(key.as_str())), "{keys:?} {}", steps[4]);

            let folder = project::repository().join("cloudformation");
            tools::run(tools::bash(aws, account, &role_setup.update_cli())?.current_dir(&folder)).await?;
            let steps = verify(platform, &connection).await?;
            assert_eq!(outline(&steps), ["passed"; 5], "{steps:#?}");
        }
        Ok(())
    })
}

#[test]
fn a_tenant_can_use_only_its_stored_external_id() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let start = "2026-11-20T10:00:00Z".parse()?;
        let victim = onboard(aws, platform, "victim", "200000000048", Draft::default(), start).await?;
        let thief = onboard(aws, platform, "thief", "200000000049", Draft::default(), start).await?;
        let theirs = json!({
            "tenantId": thief.tenant, "roleArn": victim.stack.outputs.role_arn, "region": REGION,
            "externalId": victim.stack.outputs.external_id, "bucket": victim.stack.outputs.bucket_name,
        });
        let steps = verify(platform, &theirs).await?;
        assert_eq!(outline(&steps), ["failed config_invalid", "skipped", "skipped", "skipped", "skipped"]);
        // The tenant's own external ID doesn't work for that role either.
        let steps = verify(platform, &with(&theirs, &json!({ "externalId": thief.stack.outputs.external_id }))).await?;
        assert_eq!(outline(&steps), ["failed assume_role_denied", "skipped", "skipped", "skipped", "skipped"]);
        // Nothing is stored of a tenant, so it has no external ID that could be right.
        let steps = verify(platform, &with(&theirs, &json!({ "tenantId": "nobody" }))).await?;
        assert_eq!(outline(&steps), ["failed config_invalid", "skipped", "skipped", "skipped", "skipped"]);
        let own = with(&theirs, &json!({ "tenantId": victim.tenant }));
        let steps = verify(platform, &own).await?;
        assert_eq!(outline(&steps), ["passed"; 5], "{steps:#?}");
        Ok(())
    })
}

/// The local AWS doesn't compare owners. Tests with stubbed answers cover the header.
#[test]
fn a_bucket_may_be_in_another_account_than_the_role() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        Bucket::create(aws, "200000000051", "central-logs", REGION).await?;
        platform.store_external_id("apart", "external-id-of-apart").await?;
        let condition = json!({ "StringEquals": { "sts:ExternalId": "external-id-of-apart" } });
        let role =
            homemade_role(aws, "200000000050", &condition, &DELIVERY, "central-logs/audit-logs/tenant=apart/*").await?;
        let elsewhere = json!({
            "tenantId": "apart", "roleArn": role, "externalId": "external-id-of-apart", "bucket": "central-logs",
            "region": REGION, "bucketOwner": "200000000051",
        });
        let steps = verify(platform, &elsewhere).await?;
        assert_eq!(outline(&steps)[2..4], ["skipped", "failed access_denied"], "the bucket's account must allow it");

        // The whole account, since the local AWS ignores roles in a bucket policy if the session has its own policy.
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": DELIVERY, "Principal": { "AWS": "arn:aws:iam::200000000050:root" },
            "Resource": "arn:aws:s3:::central-logs/audit-logs/tenant=apart/*",
        }] });
        let put = ["s3api", "put-bucket-policy", "--bucket", "central-logs", "--policy", &policy.to_string()];
        tools::aws_cli(aws, "200000000051", &put).await?;
        let steps = verify(platform, &elsewhere).await?;
        let expected = ["passed", "passed", "passed", "warning object_ownership", "passed"];
        assert_eq!(outline(&steps), expected, "{steps:#?}");
        Ok(())
    })
}

#[test]
fn a_role_that_may_not_abort_a_multipart_upload_is_found_before_a_large_window() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let bucket = Bucket::create(aws, "200000000052", "narrow-logs", REGION).await?;
        platform.store_external_id("narrow", "external-id-of-narrow").await?;
        let condition = json!({ "StringEquals": { "sts:ExternalId": "external-id-of-narrow" } });
        let role =
            homemade_role(aws, "200000000052", &condition, &["s3:PutObject"], "narrow-logs/audit-logs/tenant=narrow/*")
                .await?;
        let connection = json!({
            "tenantId": "narrow", "roleArn": role, "externalId": "external-id-of-narrow", "bucket": "narrow-logs",
            "region": REGION,
        });
        let steps = verify(platform, &connection).await?;
        let expected = ["passed", "passed", "passed", "failed access_denied", "passed"];
        assert_eq!(outline(&steps), expected, "{steps:#?}");
        assert!(
            message(&steps[3]).contains("could not be aborted: S3 refused s3:AbortMultipartUpload"),
            "{}",
            steps[3]
        );
        assert_eq!(bucket.objects().await?.len(), 1, "the object of the put");
        Ok(())
    })
}

/// The stack's role is made while the admin connects it already.
#[test]
fn a_role_that_is_created_a_moment_later_is_assumed_in_the_same_request() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        platform.store_external_id("new", "external-id-of-new").await?;
        let condition = json!({ "StringEquals": { "sts:ExternalId": "external-id-of-new" } });
        let request = json!({
            "tenantId": "new", "roleArn": "arn:aws:iam::200000000053:role/homemade",
            "externalId": "external-id-of-new",
        });
        let create_later = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            homemade_role(aws, "200000000053", &condition, &DELIVERY, "*").await
        };
        let (steps, role) = tokio::join!(verify(platform, &request), create_later);
        role?;
        let steps = steps?;
        assert_eq!(outline(&steps)[..2], ["passed"; 2], "{steps:#?}");
        let refused = platform.logs().await?.iter().filter(|line| line.contains("AWS refused a request")).count();
        assert!(refused > 8, "AWS knew the role at once");
        Ok(())
    })
}

#[test]
fn a_malformed_request_is_refused_with_the_reason() -> Result<()> {
    run_on_platform(async |fixture| {
        let body = json!({ "verify": { "tenantId": "acme", "externalID": "misspelt" } });
        let refused = fixture.platform.invoke(&body).await.err().context("taken")?;
        assert!(format!("{refused:#}").contains("unknown field `externalID`"), "{refused:#}");
        Ok(())
    })
}
