//! Connects the throw-away tenant, as an admin does on the API and in AWS.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use crate::{
    act::{Run, Tenant},
    aws::{argument, list, settled_stack, text},
    platform::Deployment,
    report::{Found, passed},
};

/// IAM is eventually consistent: a new or changed role may be refused, or used as it was, for so long.
const IAM_DELAY: Duration = Duration::from_secs(120);

/// A tenant has ten verifications a minute.
const VERIFICATION_INTERVAL: Duration = Duration::from_secs(10);

/// Nobody has it ("Reserved Example Second Level Domain Names" in RFC 2606). The alarm's state shows that it works.
const ALARM_EMAIL: &str = "audit-log-acceptance@example.com";

const TEMPLATE: &str = "cloudformation/audit-log-export-role.yaml";

/// The parameters of the customer's template that the platform knows.
pub(crate) type Setup = Vec<(String, String)>;

/// The customer's side, as its admin enters it.
pub(crate) struct Customer {
    pub(crate) role_arn: String,
    pub(crate) kms_key_arn: Option<String>,
    bucket: String,
    region: String,
}

impl Customer {
    pub(crate) fn role_name(&self) -> &str {
        self.role_arn.rsplit('/').next().unwrap_or_default()
    }

    fn settings(&self) -> Value {
        let mut settings = json!({ "bucket": self.bucket, "region": self.region, "frequencyHours": 1 });
        if let Some(key) = &self.kms_key_arn {
            settings["kmsKeyArn"] = json!(key);
            settings["encryption"] = json!("sse-kms");
        }
        settings
    }
}

/// Refuses a tenant that has any record: it may be a real one.
pub(crate) async fn ensure_tenant_is_new(run: &Run<'_>) -> Result<Found<()>> {
    let tenant = &run.deployment.names.tenant;
    if let Some(table) = holding_table(run).await? {
        bail!("{table} already holds something of the tenant {tenant}: choose another one, it may be real");
    }
    run.set_tenant(Tenant::Own);
    passed((), format!("nothing is stored of {tenant}"))
}

/// A table that holds something of the tenant.
pub(crate) async fn holding_table<'a>(run: &Run<'a>) -> Result<Option<&'a str>> {
    let Deployment { platform, stack, names, .. } = run.deployment;
    let tables = [
        (stack.output("TenantsTableName")?, "tenant_id", names.tenant.clone()),
        (stack.output("EventsTableName")?, "tenant_shard", format!("{}#0", names.tenant)),
    ];
    for (table, key, value) in tables {
        let values = json!({ ":value": { "S": value } }).to_string();
        let condition = format!("{key} = :value");
        let query = ["dynamodb", "query", "--table-name", table, "--limit", "1", "--no-paginate", "--consistent-read"];
        let query = [&query[..], &["--key-condition-expression", &condition, "--expression-attribute-values", &values]];
        let found = platform.call(&query.concat()).await?;
        if !list(&found["Items"]).is_empty() {
            return Ok(Some(table));
        }
    }
    Ok(None)
}

pub(crate) async fn external_id(run: &Run<'_>) -> Result<Found<Setup>> {
    let connector = run.api.send("GET", "/v1/connector", None).await?.ok()?;
    ensure!(connector["status"] == "not_connected", "the new tenant is already {}", connector["status"]);
    let setup = match connector["quickCreateUrl"].as_str() {
        Some(link) => quick_create_parameters(link)?,
        None => {
            let tenant = ("TenantId", run.deployment.names.tenant.as_str());
            let fields = [
                ("ExternalId", "externalId"),
                ("ProviderAccountId", "providerAccountId"),
                ("ProviderRoleName", "providerRoleName"),
            ]
            .map(|(parameter, field)| (parameter, text(&connector[field])));
            let all = std::iter::once(tenant).chain(fields);
            all.map(|(parameter, value)| (parameter.to_owned(), value.to_owned())).collect()
        }
    };
    // The external ID is a secret of the tenant, so it isn't printed.
    passed(setup, "created by the first look at the connector")
}

/// The parameters in a quick-create link.
fn quick_create_parameters(link: &str) -> Result<Setup> {
    let link = Url::parse(link)?;
    let (_, query) = link.fragment().and_then(|fragment| fragment.split_once('?')).context("a link without values")?;
    let values = form_urlencoded::parse(query.as_bytes());
    Ok(values.filter_map(|(name, value)| Some((name.strip_prefix("param_")?.to_owned(), value.into_owned()))).collect())
}

pub(crate) async fn create_stack(run: &Run<'_>, setup: &Setup) -> Result<Found<Customer>> {
    let role_arn = apply_stack(run, setup, "create-stack", None).await?;
    let Deployment { names, region, .. } = run.deployment;
    let customer = Customer { role_arn, kms_key_arn: None, bucket: names.resource.clone(), region: region.clone() };
    passed(customer, format!("CREATE_COMPLETE, with the bucket {}", names.resource))
}

/// Creates or updates the customer's stack, and returns its role.
async fn apply_stack(run: &Run<'_>, setup: &Setup, operation: &str, kms_key_arn: Option<&str>) -> Result<String> {
    let Deployment { customer, names, .. } = run.deployment;
    let name = names.resource.as_str();
    let own = [
        ("BucketName", name),
        ("RoleName", name),
        ("CreateBucket", "true"),
        ("AlarmEmail", ALARM_EMAIL),
        ("KmsKeyArn", kms_key_arn.unwrap_or_default()),
    ];
    let known = setup.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let known = known.filter(|(name, _)| own.iter().all(|(other, _)| other != name));
    let parameters = known.chain(own).map(|(name, value)| json!({ "ParameterKey": name, "ParameterValue": value }));
    let parameters = customer.input(&parameters.collect::<Value>().to_string())?;
    let template = format!("file://{}", audit_log_tests::project::repository().join(TEMPLATE).display());
    let tag = format!("Key=audit-log-acceptance,Value={}", names.run);
    let apply = ["cloudformation", operation, "--stack-name", name, "--template-body", &template];
    let apply = [&apply[..], &["--capabilities", "CAPABILITY_NAMED_IAM", "--tags", &tag, "--parameters"]].concat();
    customer.call(&[&apply[..], &[argument(&parameters).as_str()]].concat()).await?;
    let stack = settled_stack(customer, name).await?.context("the customer's stack is gone")?;
    let status = text(&stack["StackStatus"]);
    if !["CREATE_COMPLETE", "UPDATE_COMPLETE"].contains(&status) {
        let events = customer.call(&["cloudformation", "describe-stack-events", "--stack-name", name]).await?;
        let failed = list(&events["StackEvents"]).iter().filter(|it| text(&it["ResourceStatus"]).ends_with("_FAILED"));
        let reasons: Vec<&str> = failed.map(|event| text(&event["ResourceStatusReason"])).collect();
        bail!("the customer's stack is {status}: {}", reasons.join("; "));
    }
    let role = list(&stack["Outputs"]).iter().find(|output| output["OutputKey"] == "RoleArn");
    Ok(role.map(|output| text(&output["OutputValue"])).context("the stack has no output RoleArn")?.to_owned())
}

pub(crate) async fn connect_role(run: &Run<'_>, customer: &Customer) -> Result<Found<()>> {
    let role = json!({ "roleArn": customer.role_arn });
    let platform = &run.deployment.platform;
    let connected = platform.poll(IAM_DELAY, VERIFICATION_INTERVAL, async || {
        let answer = run.api.send("PUT", "/v1/connector", Some(&role)).await?;
        let is_early = [429, 503].contains(&answer.status) || answer.body["code"] == "role_refused";
        if is_early { Ok(None) } else { answer.ok().map(Some) }
    });
    connected.await?.context("the role was refused for two minutes")?;
    passed((), "the role can be assumed with the external ID only")
}

/// Verifies settings until they pass, since IAM may be late.
pub(crate) async fn verify(run: &Run<'_>, customer: &Customer) -> Result<Found<()>> {
    let settings = customer.settings();
    let platform = &run.deployment.platform;
    let passes = platform.poll(IAM_DELAY, VERIFICATION_INTERVAL, async || {
        Ok(verification(run, &settings).await?.filter(|report| report["passed"] == true))
    });
    let Some(report) = passes.await? else {
        let report = verification(run, &settings).await?.unwrap_or_default();
        bail!("for two minutes: {}", outline(&report));
    };
    passed((), outline(&report))
}

/// `None` if there were too many in this minute.
pub(crate) async fn verification(run: &Run<'_>, settings: &Value) -> Result<Option<Value>> {
    let answer = run.api.send("POST", "/v1/export-settings/verify", Some(settings)).await?;
    if answer.status == 429 { Ok(None) } else { answer.ok().map(Some) }
}

/// Waits until the verification's first step fails or passes, as it should once IAM has taken a change over.
pub(crate) async fn wait_for_role(run: &Run<'_>, customer: &Customer, status: &str) -> Result<()> {
    let settings = customer.settings();
    let platform = &run.deployment.platform;
    let found = platform.poll(IAM_DELAY, VERIFICATION_INTERVAL, async || {
        let report = verification(run, &settings).await?;
        Ok(report.filter(|report| report["steps"][0]["status"] == status))
    });
    found.await?.with_context(|| format!("two minutes after the change, assume_role has not {status}"))?;
    if !platform.is_local() {
        // Another of IAM's copies may still have the old policy.
        tokio::time::sleep(VERIFICATION_INTERVAL).await;
    }
    Ok(())
}

fn outline(report: &Value) -> String {
    let steps = list(&report["steps"]).iter().map(|step| {
        let [name, status, code] = ["step", "status", "code"].map(|field| text(&step[field]));
        format!("{name} {status} {code}").trim_end().to_owned()
    });
    steps.collect::<Vec<_>>().join(", ")
}

/// Saves the settings; the first time with a start of history.
pub(crate) async fn save(run: &Run<'_>, customer: &Customer, from: Option<DateTime<Utc>>) -> Result<Found<()>> {
    let mut settings = customer.settings();
    if let Some(from) = from {
        settings["historyFrom"] = json!(from.to_rfc3339_opts(SecondsFormat::Secs, true));
    }
    let saved = run.api.send("PUT", "/v1/export-settings", Some(&settings)).await?.ok()?;
    passed((), format!("next run at {}", text(&saved["nextRunAt"])))
}

/// Makes a key in the customer's account, updates the stack with it, and saves it.
pub(crate) async fn encrypt(run: &Run<'_>, setup: &Setup, customer: &mut Customer) -> Result<Found<()>> {
    let Deployment { customer: account, names, .. } = run.deployment;
    let tag = format!("TagKey=audit-log-acceptance,TagValue={}", names.run);
    let describe = format!("Acceptance test {} of an audit log export", names.run);
    let key = account.call(&["kms", "create-key", "--description", &describe, "--tags", &tag]).await?;
    let arn = text(&key["KeyMetadata"]["Arn"]).to_owned();
    let alias = names.key_alias();
    account.call(&["kms", "create-alias", "--alias-name", &alias, "--target-key-id", &arn]).await?;
    apply_stack(run, setup, "update-stack", Some(&arn)).await?;
    customer.kms_key_arn = Some(arn);
    // The local AWS ignores the bucket's own encryption, so each delivery names the key.
    verify(run, customer).await?;
    save(run, customer, None).await?;
    passed((), "the customer's stack has the key, and the settings are saved")
}
