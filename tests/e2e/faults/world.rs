//! A platform with a few customers, and the exporter's binary to run as a process.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use audit_log_aws::sdk::{dynamodb, s3, sqs};
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Event, Spread, generate};
use audit_log_tests::{
    Customer, LocalAws, PLATFORM_ACCOUNT, Platform, REGION, deploy_platform, exporter_session, onboard,
    open_exporter_role, project, tools,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::announcements::Announcement;
use crate::scenario::{FAILING, FILES, RECOVERING, SHARDED, SHARDS, Scenario};
use crate::start::InitialRecords;

pub(crate) struct World {
    pub(crate) aws: &'static LocalAws,
    pub(crate) platform: Platform<'static>,
    pub(crate) dynamodb: dynamodb::Client,
    pub(crate) sqs: sqs::Client,
    pub(crate) start: InitialRecords,
    /// As deployed.
    environment: BTreeMap<String, String>,
    pub(crate) function_arn: String,
    pub(crate) export_queue: String,
    /// Receives all notifications from the bus.
    pub(crate) notifications_queue: String,
    /// The received notifications, with sequence numbers.
    pub(crate) received: Mutex<Vec<(u64, Announcement)>>,
    pub(crate) binary: PathBuf,
    /// For the exporter's log. It is removed with the local AWS.
    pub(crate) scratch: PathBuf,
    /// Each tenant, with its events' documents in order.
    customers: Vec<(Customer, Vec<String>)>,
}

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

/// A time such as `10:00` on the day of these tests.
pub(crate) fn clock(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

fn members() -> Result<Vec<Member>> {
    let hour = |tenant: &str, count| -> Result<Vec<Event>> {
        Ok(generate(tenant, count, Spread::Window { from: clock("10:00")?, to: clock("11:00")? }))
    };
    let member = |tenant, account, choices, events| Member { tenant, account, choices, start: "10:00", events };
    let sharded = |(at, event)| Event { shard: u32::try_from(at).unwrap_or_default() % SHARDS, ..event };
    // Few large items make few pages. Of 9 MB, the first part has 8 MiB.
    let long = |event: Event| Event { document: event.document.replacen('{', &filler(), 1), ..event };
    Ok(vec![
        Member { start: "09:00", ..member(RECOVERING, "200000000201", Draft::default(), hour(RECOVERING, 3)?) },
        // The role is limited to another folder than the settings'.
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

impl World {
    pub(crate) async fn start(aws: &'static LocalAws) -> Result<Self> {
        let platform = deploy_platform(aws, &[("FanOut", "true"), ("EventsRetentionDays", "0")]).await?;
        // A tick of the real hour must not run in between.
        platform.pause_rules().await?;
        let outputs = platform.outputs();
        let function = outputs.exporter_function_name.clone();
        let export_queue = outputs.export_queue_url.clone().context("no export queue")?;
        let call = async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await;
        // The tests receive the queue's messages, not the deployed function.
        let mappings = call(&["lambda", "list-event-source-mappings", "--function-name", &function]).await?;
        let mapping = mappings["EventSourceMappings"][0]["UUID"].as_str().context("no mapping")?;
        call(&["lambda", "update-event-source-mapping", "--uuid", mapping, "--no-enabled"]).await?;
        let deployed = call(&["lambda", "get-function-configuration", "--function-name", &function]).await?;
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
            // The failing tenant gets nothing delivered.
            let documents = events.into_iter().map(|event| event.document).filter(|_| tenant != FAILING);
            customers.push((customer, documents.collect()));
        }
        let scratch = tempfile::Builder::new().prefix("faults-").tempdir_in(aws.directory())?.keep();
        let binary = unpack(&scratch).await?;
        let config = aws.sdk_config(PLATFORM_ACCOUNT);
        let (dynamodb, sqs) = (dynamodb::Client::new(&config), sqs::Client::new(&config));
        let start = InitialRecords::load(&dynamodb, outputs).await?;
        Ok(Self {
            aws,
            platform,
            dynamodb,
            sqs,
            start,
            environment,
            function_arn,
            export_queue,
            notifications_queue,
            received: Mutex::default(),
            binary,
            scratch,
            customers,
        })
    }

    /// A tenant's bucket, with the customer's client.
    pub(crate) fn bucket(&self, tenant: &str) -> Result<(String, s3::Client)> {
        let (customer, _) = self.find(tenant)?;
        let config = self.aws.sdk_config(&customer.stack.account);
        Ok((customer.stack.outputs.bucket_name.clone(), s3::Client::new(&config)))
    }

    /// The deployed environment with this endpoint and a session of the function's role. With one export at a time and the same
    /// file size, every run makes the same calls in nearly the same order.
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

    /// The documents to deliver to a tenant, in order.
    pub(crate) fn events(&self, tenant: &str) -> Result<impl Iterator<Item = &str>> {
        let (_, documents) = self.find(tenant)?;
        Ok(documents.iter().map(String::as_str))
    }

    pub(crate) fn find(&self, tenant: &str) -> Result<&(Customer, Vec<String>)> {
        let found = self.customers.iter().find(|(customer, _)| customer.tenant == tenant);
        found.with_context(|| format!("no tenant is {tenant}"))
    }

    /// The notifications since the last clear, in order. The local AWS delivers events before it answers, and keeps their order.
    pub(crate) async fn received(&self) -> Result<Vec<(u64, Announcement)>> {
        let queue = &self.notifications_queue;
        loop {
            let receive = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10);
            let messages = receive.visibility_timeout(3600).send().await?.messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                let event = serde_json::from_str(message.body().context("no body")?)?;
                let received = Announcement::from_bus(&event)?;
                self.received.lock().unwrap_or_else(PoisonError::into_inner).push(received);
                let delete = self.sqs.delete_message().queue_url(queue).set_receipt_handle(message.receipt_handle);
                delete.send().await?;
            }
        }
        Ok(self.received.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    pub(crate) async fn clear_received(&self) -> Result<()> {
        self.received().await?;
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }

    /// The rule's event at an hour.
    pub(crate) fn tick(&self, hour: &str) -> Result<Value> {
        self.platform.rule_event(clock(hour)? + TimeDelta::minutes(1))
    }
}

/// Makes a queue that receives all notifications from the bus, and returns its URL.
async fn listen(aws: &LocalAws, bus: &str) -> Result<String> {
    let call = async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await;
    let queue = call(&["sqs", "create-queue", "--queue-name", "notifications"]).await?;
    let queue = queue["QueueUrl"].as_str().context("a queue without a URL")?.to_owned();
    let arn = ["sqs", "get-queue-attributes", "--attribute-names", "QueueArn", "--queue-url", &queue];
    let arn = call(&arn).await?;
    let arn = arn["Attributes"]["QueueArn"].as_str().context("a queue without an ARN")?;
    let pattern = json!({ "source": ["audit-log-export"] }).to_string();
    call(&["events", "put-rule", "--event-bus-name", bus, "--name", "notifications", "--event-pattern", &pattern])
        .await?;
    let target = format!("Id=queue,Arn={arn}");
    call(&["events", "put-targets", "--event-bus-name", bus, "--rule", "notifications", "--targets", &target]).await?;
    Ok(queue)
}

/// The binary from the deployed zip.
async fn unpack(scratch: &Path) -> Result<PathBuf> {
    let zip = project::repository().join("target/lambda/exporter/bootstrap.zip");
    let mut python = tokio::process::Command::new(project::installed(".venv/bin/python")?);
    tools::run(python.args(["-m", "zipfile", "-e"]).arg(&zip).arg(scratch)).await?;
    let binary = scratch.join("bootstrap");
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))?;
    Ok(binary)
}
