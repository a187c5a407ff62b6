//! The deployed schedule, and the event that it sends.

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{LocalAws, PLATFORM_ACCOUNT, REGION, tools};

/// The schedule that the design promises: minute 1 of every hour.
const SCHEDULE: &str = "cron(1 * * * ? *)";

/// The rule that invokes the exporter, as it is deployed.
#[derive(Clone, Debug)]
pub struct Rule {
    arn: String,
}

impl Rule {
    /// Reads the rule that targets a function, and checks what the emulator lets pass and AWS wouldn't: that it
    /// is enabled, on schedule, sends its event unchanged, and is allowed to invoke the function.
    ///
    /// # Errors
    /// When one of these is not so.
    pub async fn of(aws: &LocalAws, function_arn: &str, function_policy: &str) -> Result<Self> {
        let events =
            async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, &[&["events"], arguments].concat()).await;
        let names = events(&["list-rule-names-by-target", "--target-arn", function_arn]).await?;
        let [name] = list(&names["RuleNames"]) else {
            bail!("one rule should invoke {function_arn}, not {}", names["RuleNames"]);
        };
        let name = name.as_str().context("a rule without a name")?;
        let (describe, list_targets) = (["describe-rule", "--name", name], ["list-targets-by-rule", "--rule", name]);
        let (rule, targets) = tokio::try_join!(events(&describe), events(&list_targets))?;

        let arn = rule["Arn"].as_str().context("a rule without an ARN")?.to_owned();
        ensure!(rule["State"] == "ENABLED", "the rule is {}", rule["State"]);
        ensure!(rule["ScheduleExpression"] == SCHEDULE, "the rule's schedule is {}", rule["ScheduleExpression"]);
        let [target] = list(&targets["Targets"]) else {
            bail!("the rule should have one target, not {}", targets["Targets"]);
        };
        ensure!(target["Arn"] == function_arn, "the rule's target is {}", target["Arn"]);
        let untouched = ["Input", "InputPath", "InputTransformer"].iter().all(|key| target.get(key).is_none());
        ensure!(untouched, "the rule changes the event that it sends: {target}");
        ensure!(
            may_invoke(function_policy, &arn)?,
            "the function's policy does not let the rule in: {function_policy}"
        );
        Ok(Self { arn })
    }

    /// The event that EventBridge sends for the rule at a time, byte for byte the same each time that it does.
    #[must_use]
    pub fn event(&self, time: DateTime<Utc>) -> Value {
        let time = time.to_rfc3339_opts(SecondsFormat::Secs, true);
        json!({
            "version": "0",
            // Random on AWS, but one and the same when an event is delivered twice.
            "id": Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{}@{time}", self.arn).as_bytes()).to_string(),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": PLATFORM_ACCOUNT,
            "time": time,
            "region": REGION,
            "resources": [self.arn],
            "detail": {},
        })
    }
}

/// Whether a function's policy lets a rule in, in the words that SAM writes.
fn may_invoke(policy: &str, rule: &str) -> Result<bool> {
    let policy: Value = serde_json::from_str(policy).context("the function's policy")?;
    Ok(list(&policy["Statement"]).iter().any(|statement| {
        statement["Effect"] == "Allow"
            && statement["Action"] == "lambda:InvokeFunction"
            && statement["Principal"]["Service"] == "events.amazonaws.com"
            && statement["Condition"]["ArnLike"]["AWS:SourceArn"] == rule
    }))
}

/// An array's values; none for anything else.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
