//! Makes a role in each of the three ways, as an admin does. Each role must pass verification.

#[path = "../../functions/core/src/role_setup/tests/terraform.rs"]
mod terraform;

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result};
use audit_log_core::role_setup::{RoleSetup, TEMPLATE};
use audit_log_core::tenant::{self, AccountId, BucketName, ExternalId, Frequency, Partition, Prefix, Region, TenantId};
use audit_log_tests::{
    Bucket, LocalAws, PLATFORM_ACCOUNT, Platform, REGION, create_templates_bucket, follow_link, project,
    run_on_platform, tools, wait_until,
};
use serde_json::{Value, json};

/// Allowed characters that are hard to quote.
const EXTERNAL_ID: &str = "A-z_0+=,.@:/";
const PREFIX: &str = "it's(ok)!/a.b";
const BUCKET: &str = "acme-audit-logs";

struct Tenant {
    id: TenantId,
    platform: tenant::Platform,
    external_id: ExternalId,
    bucket: BucketName,
    prefix: Prefix,
}

impl Tenant {
    fn new(id: &str, bucket: &str) -> Result<Self> {
        let account = AccountId::parse(PLATFORM_ACCOUNT)?;
        Ok(Self {
            id: TenantId::parse(id)?,
            platform: tenant::Platform { account, partition: Partition::Aws },
            external_id: ExternalId::parse(EXTERNAL_ID)?,
            bucket: BucketName::parse(bucket)?,
            prefix: Prefix::parse(PREFIX)?,
        })
    }

    fn role_setup<'a>(&'a self, template_url: Option<&'a str>) -> Result<RoleSetup<'a>> {
        Ok(RoleSetup {
            tenant: &self.id,
            platform: &self.platform,
            role_name: "audit-log-exporter",
            region: Region::parse(REGION)?,
            template_url,
            external_id: &self.external_id,
            bucket: Some(&self.bucket),
            prefix: Some(&self.prefix),
            kms_key: None,
            create_bucket: false,
            frequency: Frequency::parse("1").ok(),
        })
    }
}

/// Verifies a role and asserts that all five steps pass.
async fn assert_passes(platform: &Platform<'_>, tenant: &str, role_arn: &str, bucket: &str) -> Result<()> {
    platform.store_external_id(tenant, EXTERNAL_ID).await?;
    let connection = json!({
        "tenantId": tenant, "roleArn": role_arn, "externalId": EXTERNAL_ID, "bucket": bucket, "region": REGION,
        "prefix": PREFIX,
    });
    let answer = platform.invoke(&json!({ "verify": connection })).await?;
    let statuses: Vec<_> = answer["steps"].as_array().into_iter().flatten().map(|step| &step["status"]).collect();
    assert_eq!(statuses, ["passed"; 5], "{answer:#}");
    Ok(())
}

/// Runs commands with an `aws` that prints each call in a line, its arguments in brackets.
fn dry_run(commands: &str) -> Result<(bool, String, String)> {
    let aws = r#"aws() { printf '[%s]' "$@"; echo; }"#;
    let output = Command::new("bash").args(["-c", &format!("{aws}\n{commands}")]).env_clear().output()?;
    Ok((output.status.success(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

#[test]
fn a_shell_passes_the_commands_values_unchanged() -> Result<()> {
    let tenant = Tenant::new("acme", BUCKET)?;
    let known = tenant.role_setup(Some("https://s3.amazonaws.com/our-templates/it's a $(template)!.yaml"))?;
    let parameter = |name, value| format!("[{}]", json!({ "ParameterKey": name, "ParameterValue": value }));
    let (bucket, others) = (
        parameter("BucketName", BUCKET),
        [
            parameter("BucketPrefix", PREFIX),
            parameter("TenantId", "acme"),
            parameter("ExternalId", EXTERNAL_ID),
            parameter("ProviderAccountId", PLATFORM_ACCOUNT),
            parameter("ProviderRoleName", "audit-log-exporter"),
            parameter("AlarmAfterHours", "4"),
        ]
        .concat(),
    );
    let calls = |parameters: &str| {
        let place = format!("[--stack-name][{}][--region][{REGION}]", known.stack_name());
        format!(
            "[cloudformation][create-stack]{place}\
             [--template-url][https://s3.amazonaws.com/our-templates/it's a $(template)!.yaml]\
             [--capabilities][CAPABILITY_NAMED_IAM][--parameters]{parameters}\n\
             [cloudformation][wait][stack-create-complete]{place}\n\
             [cloudformation][describe-stacks]{place}\
             [--query][Stacks[0].Outputs[?OutputKey=='RoleArn'].OutputValue][--output][text]\n"
        )
    };
    assert_eq!(dry_run(&known.cli())?, (true, calls(&format!("{bucket}{others}")), String::new()));

    let unknown = RoleSetup { bucket: None, ..known }.cli();
    let filled_in = unknown.replace("\nBUCKET=\n", &format!("\nBUCKET={BUCKET}\n"));
    assert_eq!(dry_run(&filled_in)?, (true, calls(&format!("{others}{bucket}")), String::new()));
    let (success, called, said) = dry_run(&unknown)?;
    assert_eq!((success, called.as_str()), (false, ""), "nothing may be created without a bucket");
    assert!(said.contains("fill in the name of your bucket after BUCKET="), "{said}");
    Ok(())
}

#[test]
fn the_cli_commands_make_a_role_that_passes_with_a_published_or_a_downloaded_template() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        // The local AWS reads templates only from the account's own buckets, so the customer publishes here.
        create_templates_bucket(aws, "200000000061", "our-templates").await?;
        let publish = "cloudformation/publish bucket our-templates";
        tools::run(&mut tools::bash(aws, "200000000061", publish)?).await?;
        let published = "https://s3.amazonaws.com/our-templates/audit-log-export-role/v1.3.0.yaml";
        // The downloaded template is read from the current directory.
        let folder = project::repository().join("cloudformation");
        for (account, template_url) in [("200000000061", Some(published)), ("200000000062", None)] {
            let bucket = format!("logs-{account}");
            Bucket::create(aws, account, &bucket, REGION).await?;
            let commands = Tenant::new("acme", &bucket)?.role_setup(template_url)?.cli();
            let printed = tools::run(tools::bash(aws, account, &commands)?.current_dir(&folder)).await?;
            let role_arn = printed.lines().last().context("nothing printed")?;
            assert_passes(platform, "acme", role_arn, &bucket).await?;
        }
        Ok(())
    })
}

/// The template as an older version: without one of today's parameters, and without what depends on it.
const OLDER: &str = r#"{
    "Parameters": {
        "BucketName": {"Type": "String"}, "BucketPrefix": {"Type": "String", "Default": ""},
        "ExternalId": {"Type": "String"}, "ProviderAccountId": {"Type": "String"}
    },
    "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}
}"#;

#[tokio::test]
async fn the_update_commands_keep_what_the_stack_has_also_one_of_an_older_template() -> Result<()> {
    let aws = LocalAws::start().await?;
    let account = "200000000065";
    let folder = project::repository().join("cloudformation");
    let tenant = Tenant::new("acme", BUCKET)?;
    let role_setup = tenant.role_setup(None)?;
    let name = role_setup.stack_name();
    let call = async |arguments: &[&str]| tools::aws_cli(&aws, account, arguments).await;
    let update = async || tools::run(tools::bash(&aws, account, &role_setup.update_cli())?.current_dir(&folder)).await;
    let parameters = async || {
        let stack = call(&["cloudformation", "describe-stacks", "--stack-name", &name]).await?;
        let parameters = stack["Stacks"][0]["Parameters"].as_array().context("no parameters")?.iter();
        let pair =
            |it: &Value| Some((it["ParameterKey"].as_str()?.to_owned(), it["ParameterValue"].as_str()?.to_owned()));
        anyhow::Ok(parameters.filter_map(pair).collect::<BTreeMap<_, _>>())
    };
    let given = [("BucketName", BUCKET), ("ExternalId", "the-old-one"), ("ProviderAccountId", PLATFORM_ACCOUNT)];
    let given: Value =
        given.iter().map(|(name, value)| json!({ "ParameterKey": name, "ParameterValue": value })).collect();
    let given = given.to_string();
    let create = ["cloudformation", "create-stack", "--stack-name", &name, "--template-body", OLDER];
    call(&[&create[..], &["--parameters", &given]].concat()).await?;
    update().await?;
    let updated = parameters().await?;
    for (name, value) in [
        ("BucketName", BUCKET),
        ("ExternalId", EXTERNAL_ID),
        ("TenantId", "acme"),
        ("BucketPrefix", PREFIX),
        ("AlarmEmail", ""),
    ] {
        assert_eq!(updated.get(name).map(String::as_str), Some(value), "{name} in {updated:?}");
    }

    // A stack with an alarm keeps it, and gets the new external ID.
    let mut watched = updated.clone();
    watched.extend(
        [("AlarmEmail", "ops@acme.example"), ("AlarmAfterHours", "9"), ("ExternalId", "the-old-one")]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let given: Value =
        watched.iter().map(|(name, value)| json!({ "ParameterKey": name, "ParameterValue": value })).collect();
    let given = given.to_string();
    let alarm = ["cloudformation", "update-stack", "--stack-name", &name, "--use-previous-template"];
    call(&[&alarm[..], &["--capabilities", "CAPABILITY_NAMED_IAM", "--parameters", &given]].concat()).await?;
    // `aws cloudformation wait` polls only every 30 seconds.
    wait_until("the stack is updated", async || {
        let stacks = call(&["cloudformation", "describe-stacks", "--stack-name", &name]).await?;
        Ok((stacks["Stacks"][0]["StackStatus"] == "UPDATE_COMPLETE").then_some(()))
    })
    .await?;
    update().await?;
    watched.insert("ExternalId".to_owned(), EXTERNAL_ID.to_owned());
    assert_eq!(parameters().await?, watched);
    Ok(())
}

#[test]
fn the_terraform_file_makes_a_role_that_passes() -> Result<()> {
    run_on_platform(async |fixture| {
        let account = "200000000063";
        Bucket::create(fixture.aws, account, "logs-of-terraform", REGION).await?;
        let made = terraform::evaluate(&Tenant::new("acme", "logs-of-terraform")?.role_setup(None)?.terraform(), &[])?;
        let role_arn = apply(fixture.aws, account, &made).await?;
        assert_passes(&fixture.platform, "acme", &role_arn, "logs-of-terraform").await
    })
}

/// Creates the evaluated resources, as Terraform does, and returns the role's ARN.
async fn apply(aws: &LocalAws, account: &str, made: &Value) -> Result<String> {
    let (role, rights) = (&made["aws_iam_role"]["audit_log_export"], &made["aws_iam_role_policy"]["audit_log_export"]);
    let text = |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("not a text: {value}"));
    let name = text(&role["name_prefix"])? + "20261121100000000000000001";
    let iam = async |arguments: &[&str]| tools::aws_cli(aws, account, &[&["iam"], arguments].concat()).await;
    let (trust, description) = (text(&role["assume_role_policy"])?, text(&role["description"])?);
    let duration = role["max_session_duration"].to_string();
    let settings = ["--assume-role-policy-document", &trust, "--description", &description];
    let limit = ["--max-session-duration", &duration];
    let created = iam(&[&["create-role", "--role-name", &name], &settings[..], &limit].concat()).await?;
    let (policy_name, policy) = (text(&rights["name"])?, text(&rights["policy"])?);
    let policy = ["--policy-name", &policy_name, "--policy-document", &policy];
    iam(&[&["put-role-policy", "--role-name", &name], &policy[..]].concat()).await?;
    text(&created["Role"]["Arn"])
}

#[test]
fn the_quick_create_links_of_two_tenants_make_roles_that_pass_in_one_account() -> Result<()> {
    run_on_platform(async |fixture| {
        let account = "200000000064";
        for (id, bucket) in [("acme", "logs-of-link"), ("globex", "more-logs-of-link")] {
            Bucket::create(fixture.aws, account, bucket, REGION).await?;
            let tenant = Tenant::new(id, bucket)?;
            let link =
                tenant.role_setup(Some("https://s3.amazonaws.com/our-templates/v1.0.0.yaml"))?.quick_create_url();
            let stack = follow_link(fixture.aws, account, &link.context("no link")?, &[]).await?;
            assert!(TEMPLATE.contains(&stack.outputs.template_version), "the template has another version");
            assert_passes(&fixture.platform, id, &stack.outputs.role_arn, bucket).await?;
        }
        Ok(())
    })
}
