//! The deployed schedules, and the events that they send.

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{LocalAws, PLATFORM_ACCOUNT, REGION, tools};

/// The schedule of the tick that the design promises: minute 1 of every hour.
const TICK: &str = "cron(1 * * * ? *)";

/// The schedule of the check: minute 31.
const CHECK: &str = "cron(31 * * * ? *)";

/// A rule that invokes the exporter, as it is deployed.
#[derive(Clone, Debug)]
pub struct Rule {
    arn: String,
    /// What it makes of its event, if it does not send it unchanged.
    template: Option<String>,
}

/// The rules that invoke the exporter.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The hourly tick's.
    pub tick: Rule,
    /// The hourly check's.
    pub check: Rule,
}

impl Rules {
    /// Reads the rules that target a function, and checks what the emulator lets pass and AWS wouldn't: that there is
    /// one for the tick, which sends its event unchanged, and one for the check, which sends its time alone, and each is
    /// enabled, on schedule, and allowed to invoke the function.
    ///
    /// # Errors
    /// When one of these is not so.
    pub async fn of(aws: &LocalAws, function_arn: &str, function_policy: &str) -> Result<Self> {
        let list_rules = ["events", "list-rule-names-by-target", "--target-arn", function_arn];
        let names = tools::aws_cli(aws, PLATFORM_ACCOUNT, &list_rules).await?;
        let names = list(&names["RuleNames"]);
        ensure!(names.len() == 2, "two rules should invoke {function_arn}, not {names:?}");
        let (mut tick, mut check) = (None, None);
        for name in names {
            let name = name.as_str().context("a rule without a name")?;
            let (schedule, rule) = Rule::of(aws, name, function_arn, function_policy).await?;
            match schedule.as_str() {
                TICK => tick = Some(rule),
                CHECK => check = Some(rule),
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
    /// Lets the rule fire by itself, or keeps it from that: `enable-rule` or `disable-rule`.
    pub(crate) async fn switch(&self, aws: &LocalAws, how: &str) -> Result<()> {
        let (_, name) = self.arn.split_once("rule/").context("the ARN of no rule")?;
        tools::aws_cli(aws, PLATFORM_ACCOUNT, &["events", how, "--name", name]).await?;
        Ok(())
    }

    async fn of(aws: &LocalAws, name: &str, function_arn: &str, function_policy: &str) -> Result<(String, Self)> {
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
            ensure!(*paths == json!({ "time": "$.time" }), "only an event's time can be asked for here: {paths}");
            Ok(transformer["InputTemplate"].as_str().context("no template")?.to_owned())
        });
        ensure!(
            may_invoke(function_policy, &arn)?,
            "the function's policy does not let the rule in: {function_policy}"
        );
        let schedule = rule["ScheduleExpression"].as_str().unwrap_or_default().to_owned();
        Ok((schedule, Self { arn, template: template.transpose()? }))
    }

    /// The event that EventBridge sends for the rule at a time, byte for byte the same each time that it does.
    ///
    /// # Errors
    /// When what the rule makes of it is not JSON.
    pub fn event(&self, time: DateTime<Utc>) -> Result<Value> {
        let time = time.to_rfc3339_opts(SecondsFormat::Secs, true);
        if let Some(template) = &self.template {
            // A text gets its quotes where it stands for a whole value, by "Transforming event inputs" in the EventBridge
            // user guide.
            return serde_json::from_str(&template.replace("<time>", &format!("{time:?}"))).context("the rule's input");
        }
        Ok(json!({
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
        }))
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
