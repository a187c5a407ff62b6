//! The deployed EventBridge rules and the events that they send.

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{LocalAws, PLATFORM_ACCOUNT, REGION, tools};

/// Minute 1 of every hour.
const TICK_SCHEDULE: &str = "cron(1 * * * ? *)";

/// Minute 31 of every hour.
const CHECK_SCHEDULE: &str = "cron(31 * * * ? *)";

/// A rule that invokes the exporter.
#[derive(Clone, Debug)]
pub struct Rule {
    arn: String,
    /// The input template, if the rule has one.
    template: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Rules {
    pub tick: Rule,
    /// The hourly check.
    pub check: Rule,
}

impl Rules {
    /// Reads the rules that target a function. It is an error unless there is one for the tick, which sends its event
    /// unchanged, and one for the check, which sends its time alone, both on schedule, enabled, and allowed to invoke the
    /// function. The local AWS checks none of this.
    pub async fn load(aws: &LocalAws, function_arn: &str, function_policy: &str) -> Result<Self> {
        let list_rules = ["events", "list-rule-names-by-target", "--target-arn", function_arn];
        let names = tools::aws_cli(aws, PLATFORM_ACCOUNT, &list_rules).await?;
        let names = list(&names["RuleNames"]);
        ensure!(names.len() == 2, "two rules should invoke {function_arn}, not {names:?}");
        let (mut tick, mut check) = (None, None);
        for name in names {
            let name = name.as_str().context("a rule without a name")?;
            let (schedule, rule) = Rule::load(aws, name, function_arn, function_policy).await?;
            match schedule.as_str() {
                TICK_SCHEDULE => tick = Some(rule),
                CHECK_SCHEDULE => check = Some(rule),
                _ => {}
            }
        }
        let rules =
            Self { tick: tick.context("no rule for the tick")?, check: check.context("no rule for the check")? };
        ensure!(rules.tick.template.is_none(), "the tick's rule changes the event that it sends: {rules:?}");
        ensure!(rules.check.template.is_some(), "the check's rule sends the same event as the tick's: {rules:?}");
        Ok(rules)
    }
}

impl Rule {
    /// Runs `enable-rule` or `disable-rule`.
    pub(crate) async fn set_state(&self, aws: &LocalAws, command: &str) -> Result<()> {
        let (_, name) = self.arn.split_once("rule/").context("the ARN of no rule")?;
        tools::aws_cli(aws, PLATFORM_ACCOUNT, &["events", command, "--name", name]).await?;
        Ok(())
    }

    async fn load(aws: &LocalAws, name: &str, function_arn: &str, function_policy: &str) -> Result<(String, Self)> {
        let events =
            async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, &[&["events"], arguments].concat()).await;
        let (describe, list_targets) = (["describe-rule", "--name", name], ["list-targets-by-rule", "--rule", name]);
        let (rule, targets) = tokio::try_join!(events(&describe), events(&list_targets))?;

        let arn = rule["Arn"].as_str().context("a rule without an ARN")?.to_owned();
        ensure!(rule["State"] == "ENABLED", "the rule is {}", rule["State"]);
        let [target] = list(&targets["Targets"]) else {
            bail!("the rule should have one target, not {}", targets["Targets"]);
        };
        ensure!(target["Arn"] == function_arn, "the rule's target is {}", target["Arn"]);
        ensure!(["Input", "InputPath"].iter().all(|key| target.get(key).is_none()), "{target}");
        let template = target.get("InputTransformer").map(|transformer| {
            let paths = &transformer["InputPathsMap"];
            ensure!(*paths == json!({ "time": "$.time" }), "the input paths are {paths}");
            Ok(transformer["InputTemplate"].as_str().context("no template")?.to_owned())
        });
        ensure!(may_invoke(function_policy, &arn)?, "the function's policy does not allow the rule: {function_policy}");
        let schedule = rule["ScheduleExpression"].as_str().unwrap_or_default().to_owned();
        Ok((schedule, Self { arn, template: template.transpose()? }))
    }

    /// The event that the rule sends at a time.
    pub fn event(&self, time: DateTime<Utc>) -> Result<Value> {
        let time = time.to_rfc3339_opts(SecondsFormat::Secs, true);
        if let Some(template) = &self.template {
            // A text that is a whole value gets quotes: "Transforming event inputs" in the EventBridge user guide.
            return serde_json::from_str(&template.replace("<time>", &format!("{time:?}"))).context("the rule's input");
        }
        Ok(json!({
            "version": "0",
            // Random on AWS, but the same if an event is delivered twice.
            "id": Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{}@{time}", self.arn).as_bytes()).to_string(),
            "detail-type": "Scheduled Event",
            "source": "aws.events",
            "account": PLATFORM_ACCOUNT,
            "time": time,
            "region": REGION,
            "resources": [self.arn],
            "detail": {},
        }))
    }
}

/// Whether a function's policy, as SAM writes it, allows a rule.
fn may_invoke(policy: &str, rule: &str) -> Result<bool> {
    let policy: Value = serde_json::from_str(policy).context("the function's policy")?;
    Ok(list(&policy["Statement"]).iter().any(|statement| {
        statement["Effect"] == "Allow"
            && statement["Action"] == "lambda:InvokeFunction"
            && statement["Principal"]["Service"] == "events.amazonaws.com"
            && statement["Condition"]["ArnLike"]["AWS:SourceArn"] == rule
    }))
}

/// The values of an array; empty for anything else.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
