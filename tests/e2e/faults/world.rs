//! A platform with a few customers, and the exporter's real binary outside of it, as a process.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context as _, Result, anyhow};
use audit_log_aws::sdk::{dynamodb, s3, sqs};
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Event, Spread, generate};
use audit_log_tests::{
    Customer, LocalAws, PLATFORM_ACCOUNT, Platform, REGION, deploy_platform, exporter_session, onboard,
    open_exporter_role, tools,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::announcements::{Announcement, listen};
use crate::scenario::{FILES, Scenario};
use crate::start::Records;

/// All that the tests of this binary share. They take turns.
pub(crate) struct World {
    pub(crate) aws: &'static LocalAws,
    pub(crate) platform: Platform<'static>,
    pub(crate) dynamodb: dynamodb::Client,
    pub(crate) sqs: sqs::Client,
    /// What lies at the start in both tables.
    pub(crate) start: Records,
    /// The function's environment as it is deployed.
    environment: BTreeMap<String, String>,
    pub(crate) function_arn: String,
    pub(crate) export_queue: String,
    /// Where what is published on the bus arrives; and what of it was heard, with its sequence numbers.
    pub(crate) notifications_queue: String,
    pub(crate) heard: Mutex<Vec<(u64, Announcement)>>,
    pub(crate) binary: PathBuf,
    /// For the exporter's log; it goes when the local AWS goes.
    pub(crate) scratch: PathBuf,
    /// Each tenant with the documents of its events, in order.
    customers: Vec<(Customer, Vec<String>)>,
}

/// A tenant, and what is special about it.
struct Member {
    tenant: &'static str,
    account: &'static str,
    choices: Draft,
    start: &'static str,
    events: Vec<Event>,
}

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// `10:00` and the like, on the day of these tests.
pub(crate) fn clock(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

/// The tenant that fails in every run, and is never done.
pub(crate) const FAILING: &str = "denied";

/// A tenant that has failed before, and has two windows to catch up with, of which the first is empty.
pub(crate) const RECOVERING: &str = "recovering";

/// Another one that has failed before, and has one window. Its events lie in several shards, and go into a gzipped file; and
/// how many shards these are.
pub(crate) const SHARDED: &str = "sharded";
pub(crate) const SHARDS: u32 = 3;

fn members() -> Result<Vec<Member>> {
    let hour = |tenant: &str, count| -> Result<Vec<Event>> {
        Ok(generate(tenant, count, Spread::Window { from: clock("10:00")?, to: clock("11:00")? }))
    };
    let member = |tenant, account, choices, events| Member { tenant, account, choices, start: "10:00", events };
    let sharded = |(at, event)| Event { shard: u32::try_from(at).unwrap_or_default() % SHARDS, ..event };
    // Few items of many bytes, so that there are few pages: 9 MB, of which 8 MiB are the first part.
    let long = |event: Event| Event { document: event.document.replacen('{', &filler(), 1), ..event };
    Ok(vec![
        Member { start: "09:00", ..member(RECOVERING, "200000000201", Draft::default(), hour(RECOVERING, 3)?) },
        // The role is limited to another folder than the one that the settings say.
        member(FAILING, "200000000202", Draft { prefix: text("allowed"), ..Draft::default() }, hour(FAILING, 3)?),
        member(FILES, "200000000203", Draft::default(), hour(FILES, 450)?),
        member(
            SHARDED,
            "200000000204",
            Draft {
                event_shards: Some(SHARDS.to_string()),
                format: text("ndjson"),
                compression: text("gzip"),
                ..Draft::default()
            },
            hour(SHARDED, 12)?.into_iter().enumerate().map(sharded).collect(),
        ),
        member("parts", "200000000205", Draft::default(), hour("parts", 30)?.into_iter().map(long).collect()),
    ])
}

fn filler() -> String {
    format!(r#"{{"filler":"{}","#, "audit-log ".repeat(30_000))
}

/// One of two worlds, each with tests that take turns in it: while those of one wait for a retry, the other is at work.
pub(crate) struct Turns {
    // The SDK's connections die with the runtime that made them, so all tests of a world run on one.
    begun: LazyLock<Result<(Runtime, World)>>,
    turn: Mutex<()>,
}

impl Turns {
    pub(crate) const fn new() -> Self {
        Self { begun: LazyLock::new(begin), turn: Mutex::new(()) }
    }

    /// Runs a test after those before it are done.
    pub(crate) fn take(&self, test: impl AsyncFnOnce(&World) -> Result<()>) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (runtime, world) = self.begun.as_ref().map_err(|error| anyhow!("{error:#}"))?;
        runtime.block_on(test(world))
    }
}

fn begin() -> Result<(Runtime, World)> {
    let runtime = Runtime::new()?;
    // A static is never dropped; the local AWS ends with this process all the same, and removes what lies in its folder.
    let aws: &'static LocalAws = Box::leak(Box::new(runtime.block_on(LocalAws::start())?));
    let world = runtime.block_on(World::begin(aws))?;
    Ok((runtime, world))
}

impl World {
    async fn begin(aws: &'static LocalAws) -> Result<Self> {
        let platform = deploy_platform(aws, &[("FanOut", "true"), ("EventsRetentionDays", "0")]).await?;
        // Or the real hour has the deployed function run in between.
        platform.pause_rules().await?;
        let outputs = platform.outputs();
        let function = outputs.exporter_function_name.clone();
        let export_queue = outputs.export_queue_url.clone().context("no export queue")?;
        let ask = async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await;
        // The deployed function must not take what is handed over: here the tests do.
        let mappings = ask(&["lambda", "list-event-source-mappings", "--function-name", &function]).await?;
        let mapping = mappings["EventSourceMappings"][0]["UUID"].as_str().context("no mapping")?;
        ask(&["lambda", "update-event-source-mapping", "--uuid", mapping, "--no-enabled"]).await?;
        let deployed = ask(&["lambda", "get-function-configuration", "--function-name", &function]).await?;
        let function_arn = deployed["FunctionArn"].as_str().context("a function without an ARN")?.to_owned();
        let environment = serde_json::from_value(deployed["Environment"]["Variables"].clone())?;
        open_exporter_role(aws, &platform).await?;
        let notifications_queue = listen(aws, &outputs.notification_bus_name).await?;

        let mut customers = Vec::new();
        for Member { tenant, account, choices, start, events } in members()? {
            let mut customer = onboard(aws, &platform, tenant, account, choices, clock(start)?).await?;
            if tenant == FAILING {
                customer.settings.prefix = None;
                customer.save(aws, &platform, clock(start)?).await?;
            }
            platform.put_events(tenant, &events).await?;
            // The tenant that fails has nothing delivered.
            let documents = events.into_iter().map(|event| event.document).filter(|_| tenant != FAILING);
            customers.push((customer, documents.collect()));
        }
        let scratch = tempfile::Builder::new().prefix("faults-").tempdir_in(aws.directory())?.keep();
        let binary = unpack(&scratch).await?;
        let config = aws.sdk_config(PLATFORM_ACCOUNT);
        let (dynamodb, sqs) = (dynamodb::Client::new(&config), sqs::Client::new(&config));
        let start = Records::at_the_start(&dynamodb, outputs).await?;
        let mut world = Self {
            aws,
            platform,
            dynamodb,
            sqs,
            start,
            environment,
            function_arn,
            export_queue,
            notifications_queue,
            heard: Mutex::default(),
            binary,
            scratch,
            customers,
        };
        world.start.later = world.after_a_tick().await?;
        Ok(world)
    }

    /// A tenant's bucket, with a client of the customer's.
    pub(crate) fn bucket(&self, tenant: &str) -> Result<(String, s3::Client)> {
        let (customer, _) = self.find(tenant)?;
        let config = self.aws.sdk_config(&customer.stack.account);
        Ok((customer.stack.outputs.bucket_name.clone(), s3::Client::new(&config)))
    }

    /// The environment as it is deployed, at this endpoint, and with a session of the function's role. One export at a time
    /// and files of a size: the same calls in every run, in an order that hardly varies.
    pub(crate) async fn environment(&self, scenario: Scenario, endpoint: String) -> Result<Vec<(String, String)>> {
        let session = exporter_session(self.aws, &self.platform).await?;
        let mut environment = self.environment.clone();
        let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
        set("AWS_ENDPOINT_URL", endpoint);
        set("AWS_REGION", REGION.to_owned());
        set("AWS_ACCESS_KEY_ID", session.access_key_id().to_owned());
        set("AWS_SECRET_ACCESS_KEY", session.secret_access_key().to_owned());
        set("AWS_SESSION_TOKEN", session.session_token().unwrap_or_default().to_owned());
        set("MAX_CONCURRENT_EXPORTS", "1".to_owned());
        set("MAX_OBJECT_BYTES", scenario.file_size().to_string());
        if scenario == Scenario::FannedOut {
            set("MAX_WINDOWS_PER_TENANT", "1".to_owned());
        } else {
            set("EXPORT_QUEUE_URL", String::new());
        }
        Ok(environment.into_iter().collect())
    }

    /// The documents that a tenant has to be delivered, in order.
    pub(crate) fn events(&self, tenant: &str) -> Result<impl Iterator<Item = &str>> {
        let (_, documents) = self.find(tenant)?;
        Ok(documents.iter().map(String::as_str))
    }

    fn find(&self, tenant: &str) -> Result<&(Customer, Vec<String>)> {
        let found = self.customers.iter().find(|(customer, _)| customer.tenant == tenant);
        found.with_context(|| format!("no tenant is {tenant}"))
    }

    /// The rule's event of 11:01, or of another hour.
    pub(crate) fn tick(&self, hour: &str) -> Result<Value> {
        self.platform.rule_event(clock(hour)? + TimeDelta::minutes(1))
    }
}

/// The binary in the zip that is deployed.
async fn unpack(scratch: &Path) -> Result<PathBuf> {
    let zip = tools::repository().join("target/lambda/exporter/bootstrap.zip");
    let mut python = tokio::process::Command::new(tools::installed(".venv/bin/python")?);
    tools::run(python.args(["-m", "zipfile", "-e"]).arg(&zip).arg(scratch)).await?;
    let binary = scratch.join("bootstrap");
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))?;
    Ok(binary)
}
