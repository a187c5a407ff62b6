//! Looks at the deployed stack, and changes nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_tests::project::repository;
use serde_json::{Value, json};

use crate::{
    aws::{is_refused_with, list, text},
    platform::Deployment,
    report::{Found, Report, not_available, passed, skipped, warning},
};

pub(crate) const STEPS: [&str; 13] = [
    "stack is complete",
    "functions are active",
    "hourly rules are enabled",
    "queues invoke functions",
    "Lambda concurrency suffices",
    "AssumeRole rate fits STS",
    "only the exporter assumes roles",
    "manifest key is enabled and guarded",
    "token keys are readable",
    "customers' template is readable",
    "alarms notify someone",
    "log groups have a retention",
    "email is confirmed",
];

/// What ticks, checks, the console and the recorder's HTTP requests need beside the two queues. The defaults leave it in a new
/// account.
const SPARE_CONCURRENCY: u64 = 3;

/// Requests a second that STS answers per account and region ("Request rate quotas" in the IAM user guide).
const STS_REQUESTS_PER_SECOND: u64 = 600;

pub(crate) async fn look(deployment: &Deployment, report: &Report) {
    let [stack, functions, rules, queues, concurrency, rate, authority, signing, keys, template, alarms, logs, email] =
        STEPS;
    let _ = tokio::join!(
        report.step(stack, async { look_at_stack(deployment) }),
        report.step(functions, look_at_functions(deployment)),
        report.step(rules, look_at_rules(deployment)),
        report.step(queues, look_at_queues(deployment)),
        report.step(concurrency, look_at_concurrency(deployment)),
        report.step(rate, async { look_at_rate(deployment) }),
        report.step(authority, look_at_authority(deployment)),
        report.step(signing, look_at_manifest_key(deployment)),
        report.step(keys, look_at_keys(deployment)),
        report.step(template, look_at_template(deployment)),
        report.step(alarms, look_at_alarms(deployment)),
        report.step(logs, look_at_log_groups(deployment)),
        report.step(email, look_at_email(deployment)),
    );
}

fn look_at_stack(Deployment { stack, .. }: &Deployment) -> Result<Found<()>> {
    let is_complete = ["CREATE_COMPLETE", "UPDATE_COMPLETE"].contains(&stack.status.as_str());
    let answer = format!("{}, {} resources", stack.status, stack.resource_count());
    if stack.status == "UPDATE_ROLLBACK_COMPLETE" {
        return warning(format!("{answer}: the last update failed, and the version before it is deployed"));
    }
    ensure!(is_complete, "{answer}");
    passed((), answer)
}

async fn look_at_functions(Deployment { platform, stack, .. }: &Deployment) -> Result<Found<()>> {
    let mut found = Vec::new();
    for output in ["ExporterFunctionName", "ConsoleFunctionName", "RecorderFunctionName"] {
        let name = stack.output(output)?;
        let function = platform.call(&["lambda", "get-function-configuration", "--function-name", name]).await?;
        let (state, update) = (text(&function["State"]), text(&function["LastUpdateStatus"]));
        ensure!(state == "Active", "{name} is {state}: {}", function["StateReason"]);
        // The local AWS has no such status.
        ensure!(["Successful", ""].contains(&update), "the last update of {name} is {update}");
        found.push(format!("{name} {}", text(&function["Architectures"][0])));
    }
    passed((), found.join(", "))
}

async fn look_at_rules(Deployment { platform, stack, .. }: &Deployment) -> Result<Found<()>> {
    let mut found = Vec::new();
    for output in ["TickRuleName", "CheckRuleName"] {
        let name = stack.output(output)?;
        let rule = platform.call(&["events", "describe-rule", "--name", name]).await?;
        let state = text(&rule["State"]);
        ensure!(state == "ENABLED", "{name} is {state}: aws events enable-rule --name {name}");
        found.push(text(&rule["ScheduleExpression"]).to_owned());
    }
    passed((), found.join(", "))
}

async fn look_at_queues(Deployment { platform, stack, .. }: &Deployment) -> Result<Found<()>> {
    let mut found = Vec::new();
    let exports = stack.output("ExportQueueArn").ok().map(|queue| ("ExporterFunctionName", queue));
    for (function, queue) in exports.into_iter().chain([("RecorderFunctionName", stack.output("IngestionQueueArn")?)]) {
        let function = stack.output(function)?;
        let mappings = ["lambda", "list-event-source-mappings", "--function-name", function];
        let mappings = platform.call(&mappings).await?;
        let mapping = list(&mappings["EventSourceMappings"]).iter().find(|it| it["EventSourceArn"] == queue);
        let state = mapping.map(|mapping| text(&mapping["State"])).unwrap_or("missing");
        ensure!(state == "Enabled", "the event source mapping of {function} for {queue} is {state}");
        found.push(format!("{function} {state}"));
    }
    passed((), found.join(", "))
}

async fn look_at_concurrency(Deployment { platform, stack, .. }: &Deployment) -> Result<Found<()>> {
    let settings = platform.call(&["lambda", "get-account-settings"]).await?;
    let limit = &settings["AccountLimit"];
    let [limit, unreserved] = ["ConcurrentExecutions", "UnreservedConcurrentExecutions"]
        .map(|name| limit[name].as_u64().with_context(|| format!("no {name}")));
    let (limit, unreserved) = (limit?, unreserved?);
    let exports = if stack.output("ExportQueueArn").is_ok() { stack.number("ExportConcurrency")? } else { 1 };
    let reservations = ["Exporter", "Console", "Recorder"].map(|of| format!("{of}ReservedConcurrency"));
    let reserved: u64 = reservations.iter().filter_map(|name| stack.parameter(name).parse::<u64>().ok()).sum();
    judge_concurrency(limit, unreserved + reserved, exports + stack.number("IngestionConcurrency")?)
}

fn judge_concurrency(limit: u64, unreserved: u64, queues: u64) -> Result<Found<()>> {
    let answer = format!("{unreserved} of {limit} unreserved or the stack's own; the two queues use up to {queues}");
    if unreserved < queues + SPARE_CONCURRENCY {
        return warning(format!(
            "{answer}. Ask for a higher quota of concurrent executions (Service Quotas, Lambda, L-B99A9384), or lower \
             ExportConcurrency and IngestionConcurrency, so that at least {SPARE_CONCURRENCY} are left for the API"
        ));
    }
    passed((), answer)
}

fn look_at_rate(Deployment { stack, .. }: &Deployment) -> Result<Found<()>> {
    let fans_out = stack.output("ExportQueueArn").is_ok();
    let invocations = if fans_out { stack.number("ExportConcurrency")? } else { 1 };
    let rate = stack.number("AssumeRolesPerSecond")? * invocations;
    let answer = format!("at most {rate} of about {STS_REQUESTS_PER_SECOND} requests a second");
    if rate >= STS_REQUESTS_PER_SECOND {
        return warning(format!("{answer}. Lower AssumeRolesPerSecond or ExportConcurrency"));
    }
    passed((), answer)
}

/// The policies of the exporter's role must limit AssumeRole to the function, also those that were added by hand.
async fn look_at_authority(Deployment { platform, stack, .. }: &Deployment) -> Result<Found<()>> {
    let role = stack.output("ProviderRoleName")?;
    let function = stack.output("ExporterFunctionName")?;
    let function = platform.call(&["lambda", "get-function-configuration", "--function-name", function]).await?;
    let of_role = async |operation: &str, more: &[&str]| {
        platform.call(&[&["iam", operation, "--role-name", role][..], more].concat()).await
    };
    let attached = of_role("list-attached-role-policies", &[]).await?;
    if let Some(policy) = list(&attached["AttachedPolicies"]).first() {
        return warning(format!("{role} has the policy {} beside the stack's own", text(&policy["PolicyArn"])));
    }
    let (mut allowed, mut denied) = (0, Vec::new());
    for name in list(&of_role("list-role-policies", &[]).await?["PolicyNames"]) {
        let policy = of_role("get-role-policy", &["--policy-name", text(name)]).await?;
        for statement in list(&policy["PolicyDocument"]["Statement"]) {
            let actions = statement["Action"].as_array().cloned().unwrap_or_else(|| vec![statement["Action"].clone()]);
            if !actions.iter().any(|action| ["sts:AssumeRole", "sts:*", "*"].contains(&text(action))) {
                continue;
            }
            if statement["Effect"] == "Deny" {
                denied.extend(statement["Condition"]["StringEquals"]["aws:ResourceOrgID"].as_str().map(str::to_owned));
                continue;
            }
            let source = &statement["Condition"]["ArnEquals"]["lambda:SourceFunctionArn"];
            ensure!(*source == function["FunctionArn"], "{} lets {role} assume roles anywhere", text(name));
            allowed += 1;
        }
    }
    ensure!(allowed > 0, "no policy lets {role} assume roles");
    let answer = format!("{role}, from {} alone", text(&function["FunctionName"]));
    let organization = match platform.call(&["organizations", "describe-organization"]).await {
        Ok(answer) => text(&answer["Organization"]["Id"]).to_owned(),
        // In no organization, or this profile may not ask.
        Err(_) => return passed((), answer),
    };
    if !denied.contains(&organization) {
        return warning(format!(
            "{answer}. To refuse roles of your own organization, set OrganizationId={organization}"
        ));
    }
    passed((), format!("{answer}, and none of {organization}"))
}

/// The key must be usable, and its policy must refuse signatures by others than the exporter's role.
async fn look_at_manifest_key(Deployment { platform, stack, .. }: &Deployment) -> Result<Found<()>> {
    let Ok(key) = stack.output("ManifestKeyArn") else {
        return warning("ManifestKeyArn is none, so that nobody can prove that an export is complete");
    };
    let described = match platform.call(&["kms", "describe-key", "--key-id", key]).await {
        Err(error) if is_refused_with(&error, &["AccessDenied", "AccessDeniedException"]) => {
            return warning(format!("{key} may be unusable: this profile can't look at it"));
        }
        described => described.with_context(|| format!("{key} can't be looked at"))?,
    };
    let [state, spec, usage] = ["KeyState", "KeySpec", "KeyUsage"].map(|name| text(&described["KeyMetadata"][name]));
    ensure!(state == "Enabled", "{key} is {state}");
    ensure!([spec, usage] == ["ECC_NIST_P256", "SIGN_VERIFY"], "{key} is a key of {spec} for {usage}");
    // In another account, this profile can't read it.
    let get = ["kms", "get-key-policy", "--policy-name", "default", "--key-id", key];
    let Ok(policy) = platform.call(&get).await else {
        return warning(format!("{key} is enabled, but this profile can't read who may sign with it"));
    };
    if !only_lets_sign(text(&policy["Policy"]), stack.output("ExporterRoleArn")?)? {
        return warning(format!("the policy of {key} doesn't deny kms:Sign to all but the exporter's role"));
    }
    passed((), format!("{key}, which the exporter's role alone may sign with"))
}

/// Whether a key policy denies signatures to everyone but a role.
fn only_lets_sign(policy: &str, role: &str) -> Result<bool> {
    let policy: Value = serde_json::from_str(policy).context("the key policy is no JSON")?;
    let denies = |statement: &Value| {
        let actions = statement["Action"].as_array().cloned().unwrap_or_else(|| vec![statement["Action"].clone()]);
        let everyone = [json!("*"), json!({"AWS": "*"})].contains(&statement["Principal"]);
        let except = json!({"ArnNotEquals": {"aws:PrincipalArn": role}});
        statement["Effect"] == "Deny"
            && everyone
            && actions.iter().any(|action| ["kms:Sign", "kms:*"].contains(&text(action)))
            && statement["Condition"] == except
    };
    Ok(list(&policy["Statement"]).iter().any(denies))
}

async fn look_at_keys(Deployment { stack, .. }: &Deployment) -> Result<Found<()>> {
    ensure!(!stack.parameter("TokenIssuer").is_empty(), "TokenIssuer is blank, so that the API refuses every token");
    let url = stack.parameter("TokenJwksUrl");
    let (keys, place) = match url {
        "" => (stack.parameter("TokenJwks").to_owned(), "TokenJwks"),
        url => (get(url).await?, url),
    };
    let keys: Value = serde_json::from_str(&keys).with_context(|| format!("{place} has no JSON Web Key Set"))?;
    let count = list(&keys["keys"]).len();
    ensure!(count > 0, "{place} has no key");
    passed((), format!("{count} in {place}"))
}

async fn look_at_template(Deployment { platform, stack, .. }: &Deployment) -> Result<Found<()>> {
    let url = stack.parameter("CustomerTemplateUrl");
    if url.is_empty() {
        return warning("CustomerTemplateUrl is blank, so that the console has no quick-create link");
    }
    if platform.is_local() {
        return not_available("the local AWS doesn't serve the template under its public address");
    }
    // CloudFormation reads it with the customer's credentials, which are a stranger's to the bucket.
    let published = get(url).await?;
    let template = std::fs::read_to_string(repository().join("cloudformation/audit-log-export-role.yaml"))?;
    if published != template {
        return warning(format!("{url} is readable, but differs from this checkout's template"));
    }
    passed((), format!("{url} is this checkout's template"))
}

async fn look_at_alarms(Deployment { platform, stack, .. }: &Deployment) -> Result<Found<()>> {
    let names = stack.resources_of_type("AWS::CloudWatch::Alarm");
    ensure!(!names.is_empty(), "the stack has no alarms");
    let describe = [&["cloudwatch", "describe-alarms", "--alarm-names"][..], &names].concat();
    let alarms = platform.call(&describe).await?;
    let alarms = list(&alarms["MetricAlarms"]);
    // The local AWS makes no alarm with metric math.
    ensure!(platform.is_local() || alarms.len() == names.len(), "{} of {} alarms are there", alarms.len(), names.len());
    let named = |test: &dyn Fn(&&Value) -> bool| -> Vec<String> {
        alarms.iter().filter(|alarm| test(alarm)).map(|alarm| text(&alarm["AlarmName"]).to_owned()).collect()
    };
    let topic = stack.parameter("AlarmTopicArn");
    if topic.is_empty() {
        return warning(format!("{} alarms show only in CloudWatch: set AlarmTopicArn", alarms.len()));
    }
    let silent = named(&|alarm| alarm["ActionsEnabled"] == false || list(&alarm["AlarmActions"]).is_empty());
    ensure!(silent.is_empty(), "these alarms have no action: {}", silent.join(", "));
    let ringing = named(&|alarm| alarm["StateValue"] == "ALARM");
    let subscriptions = match platform.call(&["sns", "list-subscriptions-by-topic", "--topic-arn", topic]).await {
        // The topic may be in an account of the platform that has the topics of all others.
        Err(error) if is_refused_with(&error, &["AuthorizationError", "AccessDenied", "AccessDeniedException"]) => {
            let ringing = if ringing.is_empty() { "none".to_owned() } else { ringing.join(", ") };
            return warning(format!(
                "{topic} may have no subscriber: this profile can't list them. In alarm now: {ringing}"
            ));
        }
        subscriptions => subscriptions.with_context(|| format!("{topic} can't be looked at"))?,
    };
    let confirmed =
        list(&subscriptions["Subscriptions"]).iter().filter(|it| text(&it["SubscriptionArn"]).starts_with("arn:"));
    let confirmed = confirmed.count();
    ensure!(confirmed > 0, "{topic} has no confirmed subscription, so that nobody hears of an alarm");
    if !ringing.is_empty() {
        return warning(format!("in alarm now: {}", ringing.join(", ")));
    }
    passed((), format!("{} alarms, none in alarm; confirmed subscriptions of their topic: {confirmed}", alarms.len()))
}

async fn look_at_log_groups(Deployment { platform, stack, .. }: &Deployment) -> Result<Found<()>> {
    let mut found = Vec::new();
    for output in ["ExporterLogGroupName", "ConsoleLogGroupName", "RecorderLogGroupName", "ApiLogGroupName"] {
        let name = stack.output(output)?;
        let groups = platform.call(&["logs", "describe-log-groups", "--log-group-name-prefix", name]).await?;
        let group = list(&groups["logGroups"]).iter().find(|group| group["logGroupName"] == name);
        let group = group.with_context(|| format!("the log group {name} is missing"))?;
        let days = group["retentionInDays"].as_u64();
        let days = days.with_context(|| format!("the log group {name} keeps its logs, and their cost, forever"))?;
        found.push(format!("{name} {days} days"));
    }
    passed((), found.join(", "))
}

async fn look_at_email(Deployment { platform, stack, .. }: &Deployment) -> Result<Found<()>> {
    let Some(topic) = stack.resource("NotificationTopic") else {
        return skipped("the stack has no NotificationEmail");
    };
    let subscriptions = platform.call(&["sns", "list-subscriptions-by-topic", "--topic-arn", topic]).await?;
    let address = stack.parameter("NotificationEmail");
    let subscription = list(&subscriptions["Subscriptions"]).iter().find(|it| it["Endpoint"] == address);
    // A subscription that was rejected in the email is gone from the list.
    match subscription.map(|it| text(&it["SubscriptionArn"])) {
        Some(arn) if arn.starts_with("arn:") => passed((), format!("{address} is confirmed")),
        Some(state) => bail!("the subscription of {address} is {state}: open the link in AWS's email"),
        None => bail!("{address} is no longer subscribed to {topic}: subscribe it again and confirm it"),
    }
}

/// Reads a URL as anybody.
async fn get(url: &str) -> Result<String> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build()?;
    let answer = http.get(url).send().await.with_context(|| format!("{url} can't be reached"))?;
    let status = answer.status();
    ensure!(status.is_success(), "{url} answers {status} to a request without credentials");
    Ok(answer.text().await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Outcome;

    #[test]
    fn a_new_account_has_enough_concurrency_for_the_defaults() {
        for (unreserved, queues, outcome) in
            [(10, 4 + 3, Outcome::Passed), (9, 4 + 3, Outcome::Warning), (10, 4 + 4, Outcome::Warning)]
        {
            assert_eq!(judge_concurrency(10, unreserved, queues).unwrap().outcome, outcome, "{unreserved} {queues}");
        }
    }

    #[test]
    fn a_key_policy_must_deny_signatures_to_all_but_the_role() {
        let role = "arn:aws:iam::111111111111:role/audit-log-exporter";
        let denial = json!({
            "Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "kms:Sign", "Resource": "*",
            "Condition": {"ArnNotEquals": {"aws:PrincipalArn": role}},
        });
        let judge = |statement: &Value| only_lets_sign(&json!({"Statement": [statement]}).to_string(), role).unwrap();
        assert!(judge(&denial));
        for (member, value) in [
            ("Effect", json!("Allow")),
            ("Principal", json!({"AWS": "arn:aws:iam::111111111111:root"})),
            ("Action", json!("kms:Verify")),
            ("Condition", json!({"ArnNotEquals": {"aws:PrincipalArn": [role, "arn:aws:iam::111111111111:role/x"]}})),
        ] {
            let mut other = denial.clone();
            other[member] = value;
            assert!(!judge(&other), "{member}");
        }
    }
}
