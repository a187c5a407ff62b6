//! A run: a process of the exporter, its invocations and answers.

use std::collections::{BTreeSet, VecDeque};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_tests::attribute;
use audit_log_tests::fault_proxy::{Call, Fault, FaultProxy};
use audit_log_tests::lambda::{Launch, Process, ProcessEvent};
use serde_json::{Value, json};

use crate::scenario::{CALLS, Scenario};
use crate::start::is_record;
use crate::world::World;

/// By signal(7).
const SIGKILL: i32 = 9;

/// For an invocation with all its retries.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// A tick, its batch, and batches that are queued again. More would never end.
const MAX_INVOCATIONS: usize = 6;

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) calls: Vec<Call>,
    /// Whether the planned call was made.
    pub(crate) hit: bool,
    /// In order. A killed run has those before.
    pub(crate) answers: Vec<Value>,
    pub(crate) failed: bool,
    /// Whether the run began with a batch that was left in the queue, and not with a tick.
    pub(crate) redelivered: bool,
    /// The tenants deferred because another run has their lease.
    pub(crate) deferred: BTreeSet<String>,
}

impl World {
    /// Runs the exporter in a new process for the tick of an hour, with a fault at a call or without. If messages are left in the
    /// queue, it is invoked with these and not with a tick, since the queue redelivers long before the next tick. Queued batches
    /// are exported until none is left or an invocation fails.
    pub(crate) async fn run(&self, scenario: Scenario, hour: &str, plan: Option<&(Call, Fault)>) -> Result<Outcome> {
        let proxy = FaultProxy::start(self.aws, plan.cloned(), scenario.denied()).await?;
        let environment = self.environment(scenario, proxy.endpoint()).await?;
        let (function_arn, scratch) = (self.function_arn.as_str(), self.scratch.as_path());
        let (name, path, environment) = ("exporter", self.binary.as_path(), environment.as_slice());
        let launch = Launch { name, path, arguments: &[], function_arn, environment, scratch };
        let mut process = Process::start(launch).await?;
        proxy.set_kill_target(process.id()?)?;
        let may_die = plan.is_some_and(|(_, fault)| fault.kills());
        let (mut answers, mut failed) = (Vec::new(), false);
        let fans_out = scenario == Scenario::FannedOut;
        let mut messages = if fans_out { Messages::receive(self).await? } else { Messages::default() };
        let redelivered = !messages.0.is_empty();
        let mut events = VecDeque::from(match messages.event() {
            Some(batch) => vec![batch],
            // No tick comes to a tenant that isn't due. The hourly check publishes what a replay has left.
            None if scenario == Scenario::Replay && hour == scenario.next_hour() => {
                let records = self.records().await?;
                let waiting = records.iter().filter(|it| is_record(it, "outbox") && it.contains_key("pending_shard"));
                waiting.map(|it| json!({ "publish": { "tenantId": attribute(it, "tenant_id") } })).collect()
            }
            None => vec![self.tick(hour)?],
        });
        while let Some(event) = events.pop_front() {
            ensure!(answers.len() < MAX_INVOCATIONS, "batches are queued again and again");
            let invoked = invoke(&mut process, &event).await?;
            let done = if let Invoked::Answered(answer, false) = &invoked { Some(answer) } else { None };
            let redelivers = std::mem::take(&mut messages).acknowledge(self, done).await?;
            match invoked {
                Invoked::Answered(answer, is_error) => {
                    failed |= is_error;
                    answers.push(answer);
                }
                Invoked::Ended(status) if may_die && status.signal() == Some(SIGKILL) => break,
                Invoked::Ended(status) => bail!("the process ended ({status}):\n{}", process.log_tail()),
            }
            if fans_out && !redelivers {
                messages = Messages::receive(self).await?;
                events.extend(messages.event());
            }
        }
        let log = process.log();
        process.stop().await?;
        let proxied = proxy.finish().await?;
        ensure!(!log.contains("panicked"), "the process panicked:\n{}", audit_log_tests::project::last_lines(&log, 15));
        ensure!(!log.contains("external-id-of-"), "an external ID is in the log:\n{log}");
        ensure!(!log.contains("additionalInfo"), "an event is in the log:\n{log}");
        ensure!(!log.contains("lease_lost"), "a run lost its lease:\n{log}");
        let deferred = deferred(&log)?;
        let unknown = proxied.calls.iter().find(|call| !CALLS.contains(&call.name.operation.as_str()));
        ensure!(unknown.is_none(), "the kind of call isn't in CALLS: {unknown:?}");
        Ok(Outcome { calls: proxied.calls, hit: proxied.hit, answers, failed, redelivered, deferred })
    }
}

/// The tenants that the log names as deferred because of a lease. The report in the log must count the same.
fn deferred(log: &str) -> Result<BTreeSet<String>> {
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let is_leased =
        |line: &&Value| line["message"] == "deferred" && line["why"] == "another run has the tenant's lease";
    let leased: Vec<_> = lines.iter().filter(is_leased).filter_map(|line| line["span"]["tenant"].as_str()).collect();
    let is_report = |line: &&Value| line["message"] == "tick" || line["message"] == "batch";
    let counted: u64 = lines.iter().filter(is_report).filter_map(|line| line["leased"].as_u64()).sum();
    ensure!(leased.len() as u64 == counted, "{counted} tenants are counted as leased, {leased:?} are named");
    Ok(leased.into_iter().map(str::to_owned).collect())
}

/// The result of an invocation.
enum Invoked {
    /// The answer, and whether it is an error.
    Answered(Value, bool),
    Ended(ExitStatus),
}

async fn invoke(process: &mut Process, event: &Value) -> Result<Invoked> {
    process.runtime.invoke(event)?;
    loop {
        let event = tokio::time::timeout(ANSWER_TIMEOUT, process.next_event()).await;
        match event.with_context(|| format!("no answer in time:\n{}", process.log_tail()))?? {
            // The request for this invocation.
            ProcessEvent::Ready(_) => {}
            ProcessEvent::Answered { body, failed, .. } => {
                return Ok(Invoked::Answered(serde_json::from_slice(&body)?, failed));
            }
            ProcessEvent::Exited(status) => return Ok(Invoked::Ended(status)),
        }
    }
}

/// Messages of the export queue. They stay there until they are acknowledged.
#[derive(Default)]
struct Messages(Vec<Message>);

struct Message {
    id: String,
    receipt: String,
    body: String,
}

impl Messages {
    async fn receive(world: &World) -> Result<Self> {
        let mut all = Vec::<Message>::new();
        loop {
            let receive = world.sqs.receive_message().queue_url(&world.export_queue).max_number_of_messages(10);
            let some = receive.visibility_timeout(30).send().await?.messages.unwrap_or_default();
            if some.is_empty() {
                return Ok(Self(all));
            }
            for message in some {
                let (id, receipt) = (message.message_id, message.receipt_handle);
                let id = id.context("a message without an id")?;
                let receipt = receipt.context("a message without a receipt")?;
                all.push(Message { id, receipt, body: message.body.unwrap_or_default() });
            }
        }
    }

    fn event(&self) -> Option<Value> {
        let record =
            |Message { id, body, .. }: &Message| json!({ "messageId": id, "body": body, "eventSource": "aws:sqs" });
        (!self.0.is_empty()).then(|| json!({ "Records": self.0.iter().map(record).collect::<Vec<_>>() }))
    }

    /// Deletes messages as the function's answer says, and makes the others visible again. Returns whether there are others.
    async fn acknowledge(self, world: &World, answer: Option<&Value>) -> Result<bool> {
        let mut redelivers = false;
        for Message { id, receipt, .. } in self.0 {
            let again = answer.is_none_or(|answer| {
                let failures = answer["batchItemFailures"].as_array().map(Vec::as_slice).unwrap_or_default();
                answer.get("batchItemFailures").is_none() || failures.iter().any(|it| it["itemIdentifier"] == id)
            });
            let queue = &world.export_queue;
            redelivers |= again;
            if again {
                let visible = world.sqs.change_message_visibility().queue_url(queue).receipt_handle(receipt);
                visible.visibility_timeout(0).send().await?;
            } else {
                world.sqs.delete_message().queue_url(queue).receipt_handle(receipt).send().await?;
            }
        }
        Ok(redelivers)
    }
}

impl World {
    /// Empties the export queue.
    pub(crate) async fn drain(&self) -> Result<()> {
        let done = json!({ "batchItemFailures": [] });
        Messages::receive(self).await?.acknowledge(self, Some(&done)).await?;
        Ok(())
    }
}
