//! `make acceptance` against the local AWS: its binary, with profiles, a command for tokens, and the stack as it is on AWS.

#![allow(clippy::disallowed_methods, reason = "the hours to export are as of now")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_core::settings::Draft;
use audit_log_tests::{
    LocalAws, PLATFORM_ACCOUNT, Platform, REGION, Table, deploy_platform_with_sam, onboard, project, tools, wait_until,
};
use chrono::{DurationRound as _, TimeDelta, Utc};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Command;

const CUSTOMER_ACCOUNT: &str = "222222222222";

const EMAIL: &str = "oncall@platform.example";

/// What the local AWS can't answer.
const NOT_AVAILABLE: [&str; 3] =
    ["customers' template is readable", "customer's alarm is quiet", "email gets notifications"];

/// Has an alarm topic with a subscriber, an address for notifications, and the hourly rules enabled.
async fn deploy(aws: &LocalAws) -> Result<Platform<'_>> {
    let call = async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await;
    let topic = call(&["sns", "create-topic", "--name", "alerts"]).await?;
    let topic = topic["TopicArn"].as_str().context("a topic without an ARN")?;
    let subscribe = ["sns", "subscribe", "--topic-arn", topic, "--protocol", "email", "--notification-endpoint", EMAIL];
    call(&subscribe).await?;
    let organization = call(&["organizations", "describe-organization"]).await?;
    let parameters = [
        ("FanOut", "true"),
        ("OrganizationId", organization["Organization"]["Id"].as_str().context("no organization")?),
        ("AlarmTopicArn", topic),
        ("NotificationEmail", EMAIL),
        ("CustomerTemplateUrl", "https://templates.s3.amazonaws.com/audit-log-export-role/v1.0.0.yaml"),
    ];
    deploy_platform_with_sam(aws, &parameters).await
}

/// The acceptance test, run by a platform engineer with two profiles.
struct Engineer<'a> {
    aws: &'a LocalAws,
    platform: &'a Platform<'a>,
    home: PathBuf,
}

impl<'a> Engineer<'a> {
    fn new(aws: &'a LocalAws, platform: &'a Platform<'a>) -> Result<Self> {
        let home = aws.directory().join("engineer");
        fs::create_dir_all(&home)?;
        let profiles = [("platform", PLATFORM_ACCOUNT), ("customer", CUSTOMER_ACCOUNT)].map(|(name, account)| {
            format!(
                "[profile {name}]\nregion = {REGION}\naws_access_key_id = {account}\naws_secret_access_key = test\n"
            )
        });
        fs::write(home.join("config"), profiles.concat())?;
        // Stands for a request to the platform's identity provider.
        let mint = home.join("mint");
        fs::write(&mint, "#!/bin/sh\ncat \"$(dirname \"$0\")/$TENANT_ID.token\"\n")?;
        fs::set_permissions(&mint, fs::Permissions::from_mode(0o755))?;
        Ok(Self { aws, platform, home })
    }

    /// A run with a tenant for which tokens with these permissions are to be had.
    fn run(&self, tenant: &str, permissions: &[&str], customer: &str, more: &[&str]) -> Result<Command> {
        fs::write(self.home.join(format!("{tenant}.token")), self.platform.api().token(tenant, permissions))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_acceptance"));
        command
            .env_clear()
            .env("PATH", self.aws.path()?)
            .env("HOME", &self.home)
            .env("AWS_CONFIG_FILE", self.home.join("config"))
            .env("AWS_ENDPOINT_URL", self.aws.endpoint())
            .current_dir(project::repository())
            .args(["--stack", "audit-log-export", "--platform-profile", "platform", "--customer-profile", customer])
            .args(["--token-command", &self.home.join("mint").display().to_string(), "--tenant", tenant])
            .args(["--api-url", self.platform.api().base(), "--quiet-minutes", "8", "--yes"])
            .args(["--json".as_ref(), self.results(tenant).as_os_str()])
            .args(more)
            .kill_on_drop(true);
        Ok(command)
    }

    fn results(&self, tenant: &str) -> PathBuf {
        self.home.join(format!("{tenant}.json"))
    }

    /// The steps with a result.
    fn steps(&self, tenant: &str, result: &str) -> Result<Vec<String>> {
        let rows: Value = serde_json::from_slice(&fs::read(self.results(tenant))?)?;
        let rows = rows.as_array().context("no list")?.iter().filter(|row| row["result"] == result);
        Ok(rows.map(|row| row["step"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Everything that a run makes, as far as it is there.
    async fn left(&self, tenant: &str) -> Result<Vec<String>> {
        let of_customer = async |arguments: &[&str]| tools::aws_cli(self.aws, CUSTOMER_ACCOUNT, arguments).await;
        let of_platform = async |arguments: &[&str]| tools::aws_cli(self.aws, PLATFORM_ACCOUNT, arguments).await;
        let names = |answer: &Value, list: &str, name: &str| -> Vec<String> {
            let entries = answer[list].as_array().map(Vec::as_slice).unwrap_or_default().iter();
            let names = entries.map(|it| if name.is_empty() { it } else { &it[name] });
            names.filter_map(Value::as_str).filter(|it| it.contains("acceptance")).map(str::to_owned).collect()
        };
        let mut left = names(&of_customer(&["s3api", "list-buckets"]).await?, "Buckets", "Name");
        left.extend(names(&of_customer(&["iam", "list-roles"]).await?, "Roles", "RoleName"));
        left.extend(names(&of_customer(&["kms", "list-aliases"]).await?, "Aliases", "AliasName"));
        left.extend(names(&of_customer(&["events", "list-rules"]).await?, "Rules", "Name"));
        left.extend(names(&of_customer(&["cloudwatch", "describe-alarms"]).await?, "MetricAlarms", "AlarmName"));
        left.extend(names(&of_customer(&["sns", "list-topics"]).await?, "Topics", "TopicArn"));
        left.extend(names(&of_platform(&["sqs", "list-queues"]).await?, "QueueUrls", ""));
        let bus = &self.platform.outputs().notification_bus_name;
        left.extend(names(&of_platform(&["events", "list-rules", "--event-bus-name", bus]).await?, "Rules", "Name"));
        for (table, partition) in [(Table::Tenants, tenant.to_owned()), (Table::Events, format!("{tenant}#0"))] {
            let items = self.platform.items(table, &partition).await?;
            left.extend(items.iter().map(|item| format!("{partition}: {item:?}")));
        }
        let outputs = self.platform.outputs();
        let values = serde_json::json!({ ":markers": { "S": format!("{tenant}#id#") } }).to_string();
        let scan = ["dynamodb", "scan", "--table-name", &outputs.events_table_name, "--consistent-read"];
        let filter =
            ["--filter-expression", "begins_with(tenant_shard, :markers)", "--projection-expression", "tenant_shard"];
        let markers = of_platform(&[&scan[..], &filter, &["--expression-attribute-values", &values]].concat()).await?;
        let markers = markers["Items"].as_array().context("no list")?;
        left.extend(markers.iter().map(|marker| format!("marker {marker}")));
        Ok(left)
    }
}

const BOTH: [&str; 2] = ["audit-logs:admin", "events:write"];

fn printed(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn a_deployment_is_accepted_or_refused_and_nothing_is_left_behind() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deploy(&aws).await?;
    let engineer = Engineer::new(&aws, &platform)?;
    refusals(&engineer).await?;
    interruption(&engineer).await?;

    // The run must not export a tenant that waits for the hourly tick.
    let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
    onboard(&aws, &platform, "overdue", "333333333333", Draft::default(), hour - TimeDelta::hours(3)).await?;
    let output = engineer.run("accepted", &BOTH, "customer", &["--keep"])?.output().await?;
    let printed = printed(&output);
    ensure!(output.status.success(), "{printed}");
    assert_eq!(engineer.steps("accepted", "failed")?, Vec::<String>::new(), "{printed}");
    assert_eq!(engineer.steps("accepted", "warning")?, Vec::<String>::new(), "{printed}");
    assert_eq!(engineer.steps("accepted", "not available here")?, NOT_AVAILABLE, "{printed}");
    assert_eq!(engineer.steps("accepted", "skipped")?, ["next hour's own tick"], "{printed}");
    let now = Utc::now();
    // Else the local AWS has ticked, too.
    if now < hour + TimeDelta::hours(1) {
        assert_eq!(platform.tick(now).await?["queued"], 1, "the run exported a tenant that was due");
    }
    let (_, run) = printed.split_once("REMOVE=").context("the run does not say how to remove what it kept")?;
    removal(&engineer, run.get(..8).context("no run")?).await
}

/// Nothing is begun with one account in both roles, or with a tenant that is in use.
async fn refusals(engineer: &Engineer<'_>) -> Result<()> {
    let same_account = engineer.run("refused", &BOTH, "platform", &[])?.output().await?;
    let said = printed(&same_account);
    ensure!(same_account.status.code() == Some(2) && said.contains("into other accounts only"), "{said}");

    let api = engineer.platform.api();
    let before = api.admin("real", "GET", "/v1/connector", None).await?.ok()?;
    engineer.platform.pause_rules().await?;
    let in_use = engineer.run("real", &BOTH, "customer", &[])?.output().await?;
    engineer.platform.resume_rules().await?;
    let said = printed(&in_use);
    // A rule that is disabled is found, too.
    assert_eq!(engineer.steps("real", "failed")?, ["hourly rules are enabled", "tenant is new"], "{said}");
    assert_eq!(api.admin("real", "GET", "/v1/connector", None).await?.ok()?, before, "{said}");
    Ok(())
}

/// After Ctrl-C in the middle, what was made is removed.
async fn interruption(engineer: &Engineer<'_>) -> Result<()> {
    let log = engineer.home.join("interrupted.log");
    let mut command = engineer.run("interrupted", &BOTH, "customer", &[])?;
    let mut run = command.stdout(fs::File::create(&log)?).spawn()?;
    let text = |path: &Path| fs::read_to_string(path);
    wait_for(&log, "connect the role …").await?;
    let id = i32::try_from(run.id().context("the run has ended")?)?;
    kill_process(Pid::from_raw(id).context("no process")?, Signal::INT)?;
    let status = tokio::time::timeout(Duration::from_secs(120), run.wait()).await??;
    let said = text(&log)?;
    ensure!(status.code() == Some(1), "{status}: {said}");
    assert_eq!(engineer.steps("interrupted", "failed")?, ["connect the role"], "{said}");
    assert_eq!(engineer.left("interrupted").await?, Vec::<String>::new(), "{said}");
    Ok(())
}

/// What a run has kept is removed later: its resources with any tenant, and records only of its own tenant.
async fn removal(engineer: &Engineer<'_>, run: &str) -> Result<()> {
    let kept = engineer.left("accepted").await?;
    for kind in [
        "#0: ",
        "accepted: ",
        "marker ",
        "alias/",
        "http://",
        "arn:aws:sns:",
        "-DeliveriesStopped-",
        "audit-log-acceptance-",
    ] {
        ensure!(kept.iter().any(|it| it.contains(kind)), "no {kind} in {kept:?}");
    }
    // As if the run had ended between the key and its alias.
    let kms = async |operation: &str, arguments: &[&str]| {
        tools::aws_cli(engineer.aws, CUSTOMER_ACCOUNT, &[&["kms", operation][..], arguments].concat()).await
    };
    let alias = format!("alias/audit-log-acceptance-{run}");
    let key = kms("describe-key", &["--key-id", &alias]).await?;
    let key = key["KeyMetadata"]["KeyId"].as_str().context("no key")?;
    kms("delete-alias", &["--alias-name", &alias]).await?;

    let api = engineer.platform.api();
    let before = api.admin("real", "GET", "/v1/connector", None).await?.ok()?;
    let mut removal = engineer.run("real", &BOTH, "customer", &["--remove", run])?;
    // No token is asked for.
    fs::remove_file(engineer.home.join("real.token"))?;
    let said = printed(&removal.output().await?);
    assert_eq!(engineer.steps("real", "failed")?, Vec::<String>::new(), "{said}");
    assert_eq!(engineer.steps("real", "skipped")?, ["remove: connection", "remove: tenant's records"], "{said}");
    assert_eq!(api.admin("real", "GET", "/v1/connector", None).await?.ok()?, before, "{said}");
    let left = engineer.left("accepted").await?;
    ensure!(!left.iter().any(|it| it.contains("alias/") || it.starts_with("http://")), "{left:?}");
    let described = kms("describe-key", &["--key-id", key]).await?;
    assert_eq!(described["KeyMetadata"]["KeyState"], "PendingDeletion", "{said}");

    let removed = engineer.run("accepted", &BOTH, "customer", &["--remove", run])?.output().await?;
    let said = printed(&removed);
    ensure!(removed.status.success(), "{said}");
    assert_eq!(engineer.left("accepted").await?, Vec::<String>::new(), "{said}");
    Ok(())
}

/// The look alone takes a while on a busy machine.
async fn wait_for(log: &Path, words: &str) -> Result<()> {
    for _ in 0..20 {
        let found = wait_until(words, async || Ok(fs::read_to_string(log)?.contains(words).then_some(()))).await;
        if found.is_ok() {
            return Ok(());
        }
    }
    bail!("the run never came to {words:?}: {}", fs::read_to_string(log)?)
}
