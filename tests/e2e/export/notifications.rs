//! Audit events and notifications of a customer's failure and recovery.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use audit_log_core::settings::Draft;
use audit_log_tests::server::{Server, body, reply};
use audit_log_tests::{
    Fixture, Listener, PLATFORM_ACCOUNT, Platform, Table, delete_stack, onboard, run_on_platform, tools, wait_until,
};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{clock, minute_one};

/// Ids and actions of the system events about a tenant's exports, in order.
async fn audit_events(platform: &Platform<'_>, tenant: &str) -> Result<Vec<(String, String)>> {
    let mut recorded = Vec::new();
    for item in platform.items(Table::Events, &format!("{tenant}#0")).await? {
        let text = item.get("event").and_then(|event| event.as_s().ok()).context("an event without text")?;
        let event: Value = serde_json::from_str(text)?;
        let member = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        if event["logType"] == "Audit Log Export" {
            recorded.push((member("id"), member("action")));
        }
    }
    Ok(recorded)
}

#[test]
fn a_failure_and_its_recovery_are_audit_events_and_notifications() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let listener = Listener::new(aws, &platform.outputs().notification_bus_name, "shut").await?;
        let mut shut = onboard(aws, platform, "shut", "200000000031", Draft::default(), clock("10:00")?).await?;
        delete_stack(aws, &shut.stack.account, &shut.stack.name).await?;
        for hour in ["11:00", "12:00"] {
            assert_eq!(platform.tick(minute_one(hour)?).await?["failed"], 1);
        }
        shut.recreate_stack(aws).await?;
        assert_eq!(platform.tick(minute_one("13:00")?).await?["exported"], 1);

        let mut received = listener.receive(3).await?;
        received.sort_by_key(|event| event["detail"]["sequence"].as_u64());
        let types: Vec<&str> = received.iter().filter_map(|event| event["detail-type"].as_str()).collect();
        let expected = ["Audit Log Export Settings Changed", "Audit Log Export Failed", "Audit Log Export Recovered"];
        assert_eq!(types, expected, "one of each, in order");
        let sequence: Vec<_> = received.iter().map(|event| event["detail"]["sequence"].as_u64()).collect();
        assert_eq!(sequence, [Some(1), Some(2), Some(3)]);
        let (failed, recovered) = (&received[1]["detail"], &received[2]["detail"]);
        assert_eq!(
            (&failed["version"], &failed["code"], &failed["party"], &failed["exportedUntil"]),
            (&json!("1"), &json!("assume_role_denied"), &json!("customer"), &json!("2026-11-20T10:00:00Z"))
        );
        assert!(failed["hint"].as_str().is_some_and(|hint| hint.contains("quick-create")), "{failed}");
        assert_eq!(recovered["failingSince"], failed["failingSince"]);
        assert_eq!(recovered["windowFrom"], "2026-11-20T10:00:00Z");
        assert!(!format!("{received:?}").contains("external-id-of-shut"), "{received:?}");
        let ids = received.iter().map(|event| event["detail"]["id"].as_str().unwrap_or_default().to_owned());
        let actions = ["Export Settings Changed", "Export Failed", "Export Recovered"].map(str::to_owned);
        assert_eq!(audit_events(platform, "shut").await?, ids.zip(actions).collect::<Vec<_>>(), "under the same ids");
        let outbox = platform.record("shut", "outbox").await?;
        assert_eq!(outbox.get("pending_shard"), None, "nothing is left to publish: {outbox:?}");
        Ok(())
    })
}

/// A request that a webhook got: its path, its header `X-Sent-By` and its body.
type Post = (String, String, Value);

/// A webhook on this machine.
struct Webhook {
    server: Server,
    posts: Arc<Mutex<Vec<Post>>>,
}

impl Webhook {
    async fn start() -> Result<Self> {
        let posts = Arc::<Mutex<Vec<Post>>>::default();
        let shared = Arc::clone(&posts);
        let server = Server::start(move |request: hyper::Request<_>| {
            let posts = Arc::clone(&shared);
            async move {
                let header = request.headers().get("x-sent-by").and_then(|value| value.to_str().ok());
                let (path, header) = (request.uri().path().to_owned(), header.unwrap_or_default().to_owned());
                let post = (path, header, serde_json::from_slice(&body(request).await)?);
                posts.lock().unwrap_or_else(PoisonError::into_inner).push(post);
                Ok(reply(StatusCode::OK, "text/plain", "ok"))
            }
        })
        .await?;
        Ok(Self { server, posts })
    }

    /// Deploys a stack that posts to it, with the command of docs/notifications.md and additional parameters.
    async fn deploy(&self, fixture: &Fixture, stack: &str, parameters: &str) -> Result<()> {
        let page = include_str!("../../../docs/notifications.md");
        let (_, block) = page.split_once("<!-- command: deploy-webhook -->\n```sh\n").context("no command")?;
        let (command, _) = block.split_once("\n```\n").context("the command has no end")?;
        let command = command.replace("--stack-name audit-log-webhook", &format!("--stack-name {stack}"));
        let mut bash = tools::bash(fixture.aws, PLATFORM_ACCOUNT, &format!("{command} {parameters}"))?;
        let url = format!("https://{}/services/T0/B0/{stack}", self.server.address);
        bash.env("NOTIFICATION_BUS", &fixture.platform.outputs().notification_bus_name).env("WEBHOOK_URL", url);
        tools::run(&mut bash).await?;
        Ok(())
    }

    /// The requests of a stack, once there are `count`, in any order.
    async fn posts(&self, stack: &str, count: usize) -> Result<Vec<Post>> {
        wait_until("the webhook gets its requests", async || {
            let posts = self.posts.lock().unwrap_or_else(PoisonError::into_inner);
            let of_stack: Vec<_> = posts.iter().filter(|(path, ..)| path.ends_with(stack)).cloned().collect();
            Ok((of_stack.len() >= count).then_some(of_stack))
        })
        .await
    }
}

#[test]
fn the_webhooks_template_posts_the_chosen_notifications_as_texts_or_all_as_they_are() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let webhook = Webhook::start().await?;
        let removed = format!("https://{}/removed", webhook.server.address);
        webhook.deploy(fixture, "chat", &format!("'WebhookUrl={removed}'")).await?;
        // The AWS CLI names a change set after the second.
        tokio::time::sleep(Duration::from_secs(1)).await;
        webhook.deploy(fixture, "chat", "").await?;
        webhook.deploy(fixture, "tickets", r#""DetailTypes=" "Body=" "HeaderValue=secret""#).await?;
        let listener = Listener::new(aws, &platform.outputs().notification_bus_name, "closed").await?;
        let mut closed = onboard(aws, platform, "closed", "200000000032", Draft::default(), clock("10:00")?).await?;
        delete_stack(aws, &closed.stack.account, &closed.stack.name).await?;
        assert_eq!(platform.tick(minute_one("11:00")?).await?["failed"], 1);
        closed.recreate_stack(aws).await?;
        assert_eq!(platform.tick(minute_one("12:00")?).await?["exported"], 1);

        let mut published = listener.receive(3).await?;
        published.sort_by_key(|event| event["detail"]["sequence"].as_u64());
        let schema = serde_json::from_str(include_str!("../../../functions/schema/notifications.json"))?;
        // The published schema accepts members that it doesn't name. The core's tests refuse those.
        for event in &published {
            jsonschema::draft202012::validate(&schema, event).map_err(|error| error.to_owned())?;
        }
        let mut all = webhook.posts("tickets", 3).await?;
        all.sort_by_key(|(_, _, event)| event["detail"]["sequence"].as_u64());
        ensure!(all.iter().all(|(_, header, _)| header == "secret"), "{all:?}");
        let members = |event: &Value| [&event["detail-type"], &event["detail"]].map(Value::clone);
        let posted = all.iter().map(|(_, _, event)| members(event));
        assert_eq!(posted.collect::<Vec<_>>(), published.iter().map(members).collect::<Vec<_>>());

        let mut texts = webhook.posts("chat", 2).await?;
        texts.sort_by_key(|(_, _, body)| body.to_string());
        let post = |event: &Value, code: &str, party: &str| {
            let kind = event["detail-type"].as_str().unwrap_or_default();
            let [at, id] = ["at", "id"].map(|name| event["detail"][name].as_str().unwrap_or_default());
            let text = format!("{kind}: tenant closed, {at}. Code: {code}. Who must act: {party}. Id: {id}");
            ("/services/T0/B0/chat".to_owned(), "audit-log-export".to_owned(), json!({ "text": text }))
        };
        let expected = [post(&published[1], "assume_role_denied", "customer"), post(&published[2], "", "")];
        assert_eq!(texts, expected, "and not the change of settings");
        for stack in ["chat", "tickets"] {
            delete_stack(aws, PLATFORM_ACCOUNT, stack).await?;
        }
        Ok(())
    })
}
