//! Deploys the platform's and the customers' templates as their owners do.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use audit_log_aws::sdk::s3;
use audit_log_web::issuer::TestIssuer;
use chrono::Utc;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{LocalAws, PLATFORM_ACCOUNT, Platform, REGION, project, tools};

const TEMPLATE: &str = "infra/template.yaml";

const PLATFORM_STACK: &str = "audit-log-export";

/// The bucket for the functions' zips and the packaged template. With `--resolve-s3`, SAM would deploy another stack for one.
const ARTIFACTS_BUCKET: &str = "audit-log-export-artifacts";

const FUNCTIONS: [&str; 3] = ["console", "exporter", "recorder"];

/// The bucket for the customers' template.
const TEMPLATES_BUCKET: &str = "audit-log-export-templates";

/// For a stack's creation or deletion, while other suites run.
const STACK_TIMEOUT: Duration = Duration::from_secs(180);

/// A stack in a customer's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerStack {
    pub account: String,
    pub name: String,
    pub outputs: CustomerOutputs,
}

/// The outputs of the customer's template.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct CustomerOutputs {
    pub role_arn: String,
    pub external_id: String,
    pub bucket_name: String,
    /// Empty for the whole bucket.
    #[serde(default)]
    pub bucket_prefix: String,
    pub template_version: String,
}

/// Deploys the platform's template with `sam deploy`, as `make deploy` does. Otherwise like [`deploy_platform`], which is
/// quicker: SAM takes four seconds of a core to start and to read the template. A value must not contain `'`.
pub async fn deploy_platform_with_sam<'a>(aws: &'a LocalAws, overrides: &[(&str, &str)]) -> Result<Platform<'a>> {
    let issuer = TestIssuer::es256(Utc::now());
    prepare_artifacts(aws).await?;
    let mut sam = tools::tool(aws, PLATFORM_ACCOUNT, "sam")?;
    sam.args(["deploy", "--template-file", TEMPLATE, "--stack-name", PLATFORM_STACK])
        .args(["--s3-bucket", ARTIFACTS_BUCKET, "--capabilities", "CAPABILITY_NAMED_IAM"])
        .args(["--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar"])
        .arg("--parameter-overrides")
        // Without these quotes, SAM stops at the first quote of a JSON text.
        .args(parameters(&issuer, overrides).iter().map(|(name, value)| format!("{name}='{value}'")))
        // In seconds. The default is 5.
        .env("SAM_CLI_POLL_DELAY", "0.1");
    if let Err(failure) = tools::run(&mut sam).await {
        let reasons = failed_resources(aws, PLATFORM_ACCOUNT, PLATFORM_STACK).await;
        return Err(failure).context(format!("deploying the platform: {reasons}"));
    }
    deployed(aws, issuer).await
}

/// Deploys the platform's template for this machine's architecture, with the zips that were built last and a test issuer of
/// tokens.
///
/// A second call updates the stack; parameters that it doesn't name keep their values. `FanOut` is off unless `overrides` set
/// it, so that the answer to a tick covers all tenants. An error holds the refusal, or the failed resources.
pub async fn deploy_platform<'a>(aws: &'a LocalAws, overrides: &[(&str, &str)]) -> Result<Platform<'a>> {
    let issuer = TestIssuer::es256(Utc::now());
    prepare_artifacts(aws).await?;
    let packaged = aws.directory().join("packaged.yaml");
    let file = packaged.to_str().context("a path that isn't a text")?;
    let call = async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await;
    let package = ["cloudformation", "package", "--template-file", TEMPLATE, "--s3-bucket", ARTIFACTS_BUCKET];
    // Text, since it prints no JSON.
    tools::run_aws_cli(aws, PLATFORM_ACCOUNT, &[&package[..], &["--output-template-file", file]].concat()).await?;
    call(&["s3api", "put-object", "--bucket", ARTIFACTS_BUCKET, "--key", "packaged.yaml", "--body", file]).await?;
    let url = format!("{}/{ARTIFACTS_BUCKET}/packaged.yaml", aws.endpoint());
    let before = wait_for_stack(aws, PLATFORM_ACCOUNT, PLATFORM_STACK).await?;
    let overrides = parameters(&issuer, overrides);
    let given = overrides.iter().map(|(name, value)| json!({ "ParameterKey": name, "ParameterValue": value }));
    let kept = before.iter().flat_map(|stack| stack["Parameters"].as_array()).flatten();
    let kept =
        kept.filter_map(|it| it["ParameterKey"].as_str()).filter(|it| overrides.iter().all(|(name, _)| name != it));
    let kept = kept.map(|name| json!({ "ParameterKey": name, "UsePreviousValue": true }));
    let parameters = given.chain(kept).collect::<Value>().to_string();
    let operation = if before.is_some() { "update-stack" } else { "create-stack" };
    let deploy = ["cloudformation", operation, "--stack-name", PLATFORM_STACK, "--template-url", &url];
    let capabilities = ["--capabilities", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"];
    call(&[&deploy[..], &capabilities, &["--parameters", &parameters]].concat()).await?;
    deployed(aws, issuer).await
}

/// Fails if a zip is missing, and creates the bucket for the artifacts.
async fn prepare_artifacts(aws: &LocalAws) -> Result<()> {
    for function in FUNCTIONS {
        let zip = project::repository().join(format!("target/lambda/{function}/bootstrap.zip"));
        if !zip.exists() {
            // The emulator would create the function without it, and fail only once it is invoked.
            bail!("{} is missing: `make build` builds it", zip.display());
        }
    }
    // Its owner may create a bucket again.
    s3::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT)).create_bucket().bucket(ARTIFACTS_BUCKET).send().await?;
    Ok(())
}

/// The stack's parameters: those of all tests, unless `overrides` set them.
fn parameters(issuer: &TestIssuer, overrides: &[(&str, &str)]) -> Vec<(String, String)> {
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let jwks = issuer.jwks();
    let defaults = [
        ("Architecture", architecture),
        ("TokenIssuer", &issuer.issuer),
        ("TokenAudience", &issuer.audience),
        ("TokenJwks", &jwks),
        // Tests poll the audit logs.
        ("SearchesPerMinute", "100000"),
        ("FanOut", "false"),
    ];
    // Overrides of tokens replace all defaults of tokens.
    let tokens = overrides.iter().any(|(name, _)| name.starts_with("Token"));
    let is_kept = |(name, _): &&(&str, &str)| {
        overrides.iter().all(|(other, _)| other != name) && !(tokens && name.starts_with("Token"))
    };
    let all = defaults.iter().filter(is_kept).chain(overrides);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The platform, once its stack is complete.
async fn deployed(aws: &LocalAws, issuer: TestIssuer) -> Result<Platform<'_>> {
    let stack = wait_for_stack(aws, PLATFORM_ACCOUNT, PLATFORM_STACK).await?.context("the platform's stack is gone")?;
    Platform::new(aws, outputs(&stack)?, issuer).await
}

/// Creates a bucket that everyone can read the customers' templates from, with the commands of docs/deployment.md.
pub async fn create_templates_bucket(aws: &LocalAws, account: &str, bucket: &str) -> Result<()> {
    let commands = project::recipe("docs/deployment.md", "templates-bucket")?;
    let mut bash = tools::bash(aws, account, &format!("set -e\n{commands}"))?;
    tools::run(bash.env("BUCKET", bucket).env("REGION", REGION)).await?;
    Ok(())
}

/// Publishes the customers' template with `cloudformation/publish`, and returns its URL.
pub async fn publish_template(aws: &LocalAws) -> Result<String> {
    create_templates_bucket(aws, PLATFORM_ACCOUNT, TEMPLATES_BUCKET).await?;
    let script = format!("cloudformation/publish bucket {TEMPLATES_BUCKET}");
    let printed = tools::run(&mut tools::bash(aws, PLATFORM_ACCOUNT, &script)?).await?;
    let key = printed
        .lines()
        .find_map(|line| line.strip_prefix(&format!("s3://{TEMPLATES_BUCKET}/")).filter(|it| it.ends_with(".yaml")));
    Ok(format!("https://{TEMPLATES_BUCKET}.s3.amazonaws.com/{}", key.context("nothing was published")?))
}

/// Creates a stack from the customers' template, as CloudFormation's quick-create page does.
pub async fn quick_create(
    aws: &LocalAws,
    account: &str,
    name: &str,
    parameters: &[(&str, &str)],
) -> Result<CustomerStack> {
    let parameters: Vec<_> =
        parameters.iter().map(|(name, value)| json!({ "ParameterKey": name, "ParameterValue": value })).collect();
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
    let stack = wait_for_stack(aws, account, name).await?.with_context(|| format!("the stack {name} is gone"))?;
    let outputs = outputs(&stack)?;
    Ok(CustomerStack { account: account.to_owned(), name: name.to_owned(), outputs })
}

/// Deletes a stack and waits until it is gone.
pub async fn delete_stack(aws: &LocalAws, account: &str, name: &str) -> Result<()> {
    tools::aws_cli(aws, account, &["cloudformation", "delete-stack", "--stack-name", name]).await?;
    match wait_for_stack(aws, account, name).await? {
        None => Ok(()),
        Some(stack) => bail!("the stack {name} is still there: {}", stack["StackStatus"]),
    }
}

/// Waits until nothing is in progress. Returns `None` if there is no stack.
async fn wait_for_stack(aws: &LocalAws, account: &str, name: &str) -> Result<Option<Value>> {
    let describe = ["cloudformation", "describe-stacks", "--stack-name", name];
    // `aws cloudformation wait` polls only every 30 seconds.
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
                status => bail!("the stack {name} is {status}: {}", failed_resources(aws, account, name).await),
            }
        }
    };
    tokio::time::timeout(STACK_TIMEOUT, poll)
        .await
        .with_context(|| format!("the stack {name} is still in progress after {STACK_TIMEOUT:?}"))?
}

fn outputs<T: serde::de::DeserializeOwned>(stack: &Value) -> Result<T> {
    let entries = stack["Outputs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let outputs = entries
        .iter()
        .filter_map(|output| Some((output["OutputKey"].as_str()?.to_owned(), output["OutputValue"].clone())))
        .collect();
    serde_json::from_value(Value::Object(outputs)).with_context(|| format!("the outputs of {}", stack["StackName"]))
}

/// The failed resources with reasons, for an error message.
async fn failed_resources(aws: &LocalAws, account: &str, name: &str) -> String {
    // Unlike describe-stack-events, this names what was refused before anything was created.
    let describe = ["cloudformation", "describe-events", "--stack-name", name];
    let Ok(answer) = tools::aws_cli(aws, account, &describe).await else {
        return "the stack has no events".to_owned();
    };
    let events = answer["OperationEvents"].as_array().map(Vec::as_slice);
    let failed: Vec<_> = events.unwrap_or_default().iter().filter_map(failure_reason).collect();
    if failed.is_empty() { "no resource failed".to_owned() } else { failed.join("; ") }
}

/// The resource and reason of a failure event.
fn failure_reason(event: &Value) -> Option<String> {
    let resource = event["LogicalResourceId"].as_str()?;
    let validation = event["ValidationStatusReason"].as_str();
    let failed = event["ResourceStatus"].as_str().is_some_and(|status| status.ends_with("_FAILED"));
    let reason = validation.or_else(|| event["ResourceStatusReason"].as_str().filter(|_| failed))?;
    Some(format!("{resource}: {reason}"))
}
