//! Deploying both sides' templates with the tools and the calls that their owners use.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use audit_log_aws::sdk::s3;
use audit_log_web::issuer::TestIssuer;
use chrono::Utc;
use serde::Deserialize;
use serde_json::Value;

use crate::{LocalAws, PLATFORM_ACCOUNT, Platform, tools};

/// The stack of the platform.
const PLATFORM_STACK: &str = "audit-log-export";

/// Where `sam deploy` uploads to. Its own choice of a bucket (`--resolve-s3`) costs another stack.
const ARTIFACTS: &str = "audit-log-export-artifacts";

/// The functions that the platform's template deploys.
const FUNCTIONS: [&str; 3] = ["console", "exporter", "recorder"];

/// Where customers find the template.
const TEMPLATES: &str = "audit-log-export-templates";

/// How long a stack's creation or deletion may take.
const STACK_TIMEOUT: Duration = Duration::from_secs(60);

/// What the platform's stack says about itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct PlatformOutputs {
    /// The function that the hourly rule invokes.
    pub exporter_function_name: String,
    /// The one role that customers let in.
    pub exporter_role_arn: String,
    /// The table with each tenant's config, watermark, outbox and receipts.
    pub tenants_table_name: String,
    /// The table that services record events in.
    pub events_table_name: String,
    /// The function that answers tenants' admins.
    pub console_function_name: String,
    /// The function that records events.
    pub recorder_function_name: String,
    /// The API's address on AWS.
    pub api_url: String,
    /// The API's id, under which the local AWS serves it.
    pub api_id: String,
    /// The queue that services send events to.
    pub ingestion_queue_url: String,
    /// The same, by its ARN.
    pub ingestion_queue_arn: String,
    /// The queue of messages that could not be recorded.
    pub ingestion_dead_letters_url: String,
    /// The bus for notifications.
    pub notification_bus_name: String,
    /// Where ticks hand due tenants over, if they do.
    pub export_queue_url: Option<String>,
}

/// A stack in a customer's account, and what the customer copies from its outputs into the platform's console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerStack {
    /// The customer's account.
    pub account: String,
    /// The stack's name.
    pub name: String,
    /// What the template hands out.
    pub outputs: CustomerOutputs,
}

/// The outputs of the customer's template.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct CustomerOutputs {
    /// The role that the exporter is to assume.
    pub role_arn: String,
    /// The external ID without which it can't.
    pub external_id: String,
    /// The bucket to deliver to.
    pub bucket_name: String,
    /// The prefix that the role may write under; empty for the whole bucket.
    #[serde(default)]
    pub bucket_prefix: String,
    /// The version of the template.
    pub template_version: String,
}

/// Deploys the platform's template with `sam deploy`, for this machine's architecture, with the functions' zips
/// as they were built last, and an issuer of tokens of its own. A second call updates the stack; a parameter that it doesn't name keeps its value.
///
/// # Errors
/// When the deployment fails: then with what SAM said and the resources that failed. A value with a `'` in it would
/// be misread.
///
/// Unless told otherwise, one invocation exports everybody, so that the answer to a tick tells of it.
pub async fn deploy_platform<'a>(aws: &'a LocalAws, overrides: &[(&str, &str)]) -> Result<Platform<'a>> {
    for function in FUNCTIONS {
        let zip = tools::repository().join(format!("target/lambda/{function}/bootstrap.zip"));
        if !zip.exists() {
            // The emulator would create the function without it, and fail only once it is invoked.
            bail!("{} is missing: `make build` builds it", zip.display());
        }
    }
    // Creating it again is fine: it is the same owner's.
    s3::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT)).create_bucket().bucket(ARTIFACTS).send().await?;

    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let issuer = TestIssuer::es256(Utc::now());
    let jwks = issuer.jwks();
    let own = [
        ("Architecture", architecture),
        ("AwsEndpointUrl", aws.endpoint()),
        ("TokenIssuer", &issuer.issuer),
        ("TokenAudience", &issuer.audience),
        ("TokenJwks", &jwks),
    ];
    // Whoever says whose tokens count says all of it.
    let tokens = overrides.iter().any(|(name, _)| name.starts_with("Token"));
    let own = own.iter().filter(|(name, _)| !tokens || !name.starts_with("Token"));
    let inline = [("FanOut", "false")];
    let inline = inline.iter().filter(|(name, _)| overrides.iter().all(|(other, _)| other != name));
    // In quotes, without which SAM would not get past the first one of a JSON text.
    let parameters = own.chain(inline).chain(overrides).map(|(name, value)| format!("{name}='{value}'"));
    let mut sam = tools::tool(aws, PLATFORM_ACCOUNT, "sam")?;
    sam.args(["deploy", "--template-file", "infra/template.yaml", "--stack-name", PLATFORM_STACK])
        .args(["--s3-bucket", ARTIFACTS, "--capabilities", "CAPABILITY_NAMED_IAM"])
        .args(["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"])
        .arg("--parameter-overrides")
        .args(parameters)
        // Seconds between its looks at the stack; its default of five is for a cloud that takes minutes.
        .env("SAM_CLI_POLL_DELAY", "0.1");
    if let Err(failure) = tools::run(&mut sam).await {
        let reasons = failures(aws, PLATFORM_ACCOUNT, PLATFORM_STACK).await;
        return Err(failure).context(format!("deploying the platform: {reasons}"));
    }
    let stack = settled(aws, PLATFORM_ACCOUNT, PLATFORM_STACK).await?.context("the platform's stack is gone")?;
    Platform::new(aws, outputs(&stack)?, issuer).await
}

/// Publishes the customers' template with the project's own script, and returns its address.
///
/// # Errors
/// When it can't be uploaded.
pub async fn publish_template(aws: &LocalAws) -> Result<String> {
    s3::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT)).create_bucket().bucket(TEMPLATES).send().await?;
    let script = format!("cloudformation/publish bucket {TEMPLATES}");
    let printed = tools::run(&mut tools::bash(aws, PLATFORM_ACCOUNT, &script)?).await?;
    let key = printed
        .lines()
        .find_map(|line| line.strip_prefix(&format!("s3://{TEMPLATES}/")).filter(|it| it.ends_with(".yaml")));
    Ok(format!("https://{TEMPLATES}.s3.amazonaws.com/{}", key.context("nothing was published")?))
}

/// Creates a stack from the customer's template in a customer's account, as the console's quick-create page does.
///
/// # Errors
/// When it can't be created: then with the resources that failed.
pub async fn quick_create(
    aws: &LocalAws,
    account: &str,
    name: &str,
    parameters: &[(&str, &str)],
) -> Result<CustomerStack> {
    let parameters: Vec<_> = parameters
        .iter()
        .map(|(name, value)| serde_json::json!({"ParameterKey": name, "ParameterValue": value}))
        .collect();
    let create = [
        "cloudformation",
        "create-stack",
        "--stack-name",
        name,
        "--template-body",
        "file://cloudformation/audit-log-export-role.yaml",
        "--capabilities",
        "CAPABILITY_NAMED_IAM",
        "--parameters",
        &Value::from(parameters).to_string(),
    ];
    tools::aws_cli(aws, account, &create).await?;
    let stack = settled(aws, account, name).await?.with_context(|| format!("the stack {name} is gone"))?;
    let outputs = outputs(&stack)?;
    Ok(CustomerStack { account: account.to_owned(), name: name.to_owned(), outputs })
}

/// Deletes a stack, as a customer who revokes access does, and waits until it is gone.
///
/// # Errors
/// When it can't be deleted.
pub async fn delete_stack(aws: &LocalAws, account: &str, name: &str) -> Result<()> {
    tools::aws_cli(aws, account, &["cloudformation", "delete-stack", "--stack-name", name]).await?;
    match settled(aws, account, name).await? {
        None => Ok(()),
        Some(stack) => bail!("the stack {name} is still there: {}", stack["StackStatus"]),
    }
}

/// The stack once nothing is in progress any more; `None` where there is none (any more).
async fn settled(aws: &LocalAws, account: &str, name: &str) -> Result<Option<Value>> {
    let describe = ["cloudformation", "describe-stacks", "--stack-name", name];
    // `aws cloudformation wait` would look every thirty seconds.
    let poll = async {
        loop {
            let stack = match tools::aws_cli(aws, account, &describe).await {
                Ok(mut answer) => answer["Stacks"][0].take(),
                Err(refused) if refused.to_string().contains("does not exist") => return Ok(None),
                Err(failure) => return Err(failure),
            };
            match stack["StackStatus"].as_str().unwrap_or_default() {
                "CREATE_COMPLETE" | "UPDATE_COMPLETE" => return Ok(Some(stack)),
                "DELETE_COMPLETE" => return Ok(None),
                status if status.ends_with("_IN_PROGRESS") => tokio::time::sleep(Duration::from_millis(100)).await,
                status => bail!("the stack {name} is {status}: {}", failures(aws, account, name).await),
            }
        }
    };
    tokio::time::timeout(STACK_TIMEOUT, poll)
        .await
        .with_context(|| format!("the stack {name} did not settle within {STACK_TIMEOUT:?}"))?
}

fn outputs<T: serde::de::DeserializeOwned>(stack: &Value) -> Result<T> {
    let entries = stack["Outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let outputs = entries
        .iter()
        .filter_map(|output| Some((output["OutputKey"].as_str()?.to_owned(), output["OutputValue"].clone())))
        .collect();
    serde_json::from_value(Value::Object(outputs)).with_context(|| format!("the outputs of {}", stack["StackName"]))
}

/// Which resources failed and why, for an error message; an answer in any case.
async fn failures(aws: &LocalAws, account: &str, name: &str) -> String {
    // Unlike describe-stack-events, it names what was refused before anything was created.
    let describe = ["cloudformation", "describe-events", "--stack-name", name];
    let Ok(answer) = tools::aws_cli(aws, account, &describe).await else {
        return "the stack has no events".to_owned();
    };
    let events = answer["OperationEvents"].as_array().map(Vec::as_slice);
    let failed: Vec<_> = events.unwrap_or_default().iter().filter_map(failure).collect();
    if failed.is_empty() { "no resource failed".to_owned() } else { failed.join("; ") }
}

/// What an event of a stack complains about.
fn failure(event: &Value) -> Option<String> {
    let resource = event["LogicalResourceId"].as_str()?;
    let validation = event["ValidationStatusReason"].as_str();
    let failed = event["ResourceStatus"].as_str().is_some_and(|status| status.ends_with("_FAILED"));
    let reason = validation.or_else(|| event["ResourceStatusReason"].as_str().filter(|_| failed))?;
    Some(format!("{resource}: {reason}"))
}
