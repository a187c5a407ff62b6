//! What people do on the deployed pages, in a browser: with scripts and without, as admins, readers and strangers.
//! Every step also fails on an error on the console, a forbidden or unknown source, and a serious barrier.

#![allow(
    clippy::disallowed_methods,
    reason = "the pages show what is recorded now, so these tests have to know when that is"
)]

use anyhow::{Context as _, Result};
use audit_log_tests::events::{Spread, generate};
use audit_log_tests::{
    Browser, Bucket, Fixture, PLATFORM_ACCOUNT, REGION, on_the_platform, quick_create, quick_create_parameters, tools,
};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

const ADMIN: &str = "audit-logs:admin";
const READ: &str = "audit-logs:read";
const WRITE: &str = "events:write";

/// Somebody of a tenant with a browser, and the AWS account of theirs.
struct Person<'a> {
    fixture: &'a Fixture,
    browser: Browser,
    tenant: &'static str,
    account: &'static str,
    hour: DateTime<Utc>,
}

impl<'a> Person<'a> {
    async fn sits_down(
        fixture: &'a Fixture,
        tenant: &'static str,
        account: &'static str,
        scripts: bool,
    ) -> Result<Self> {
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        let mut browser = Browser::start(fixture.aws)?;
        browser.arrives(tenant, fixture.platform.api().base(), scripts).await?;
        Ok(Self { fixture, browser, tenant, account, hour })
    }

    async fn does(&mut self, step: &str, with: Value) -> Result<Value> {
        self.browser.does(self.tenant, step, with).await
    }

    async fn signs_in(&mut self) -> Result<()> {
        let token = self.fixture.platform.api().token(self.tenant, &[ADMIN]);
        self.does("signsIn", json!({ "token": token })).await?;
        Ok(())
    }

    /// The bucket, and the role as the quick-create link makes it.
    async fn creates_the_stack(&self, link: &str) -> Result<(Bucket, String)> {
        let (aws, name) = (self.fixture.aws, format!("{}-audit-logs", self.tenant));
        let bucket = Bucket::create(aws, self.account, &name, REGION).await?;
        let mut parameters = quick_create_parameters(link)?;
        parameters.push(("BucketName".to_owned(), name));
        parameters.push(("BucketPrefix".to_owned(), "security".to_owned()));
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let stack = quick_create(aws, self.account, "audit-log-export", &parameters).await?;
        Ok((bucket, stack.outputs.role_arn))
    }

    /// From the menu to the first export, whatever can be typed wrong on the way.
    async fn sets_the_export_up(&mut self) -> Result<()> {
        self.does("goes", json!({ "to": "connector" })).await?;
        let seen = self.does("looksAtTheConnector", json!({})).await?;
        let (bucket, role) = self.creates_the_stack(seen["quickCreateUrl"].as_str().context("no link")?).await?;
        let wrong = json!({ "roleArn": "audit-log-export", "because": "a role's ARN looks like" });
        self.does("isRefused", wrong).await?;
        self.does("connects", json!({ "roleArn": role })).await?;

        self.does("goes", json!({ "to": "settings" })).await?;
        let name = format!("{}-audit-logs", self.tenant);
        let history = (self.hour - TimeDelta::days(1)).format("%Y-%m-%d").to_string();
        let fields = json!({
            "bucket": "nobodys-bucket", "region": REGION, "prefix": "security", "frequencyHours": "6",
            "format": "ndjson", "historyFrom": history,
        });
        self.does("fillsIn", fields).await?;
        self.does("verifiesInVain", json!({ "because": "nobodys-bucket" })).await?;
        self.does("fillsIn", json!({ "bucket": name })).await?;
        self.does("verifies", json!({})).await?;
        self.does("seesThePreview", json!({ "key": format!("security/audit-logs/tenant={}/", self.tenant) })).await?;
        let wrong = json!({ "field": "frequencyHours", "value": "25", "because": "24" });
        self.does("savesInVain", wrong).await?;
        self.does("fillsIn", json!({ "frequencyHours": "6" })).await?;
        let token = self.fixture.platform.api().token(self.tenant, &[ADMIN]);
        self.does("losesTheSession", json!({ "token": token, "saved": name })).await?;
        self.does("saves", json!({ "bucket": name })).await?;

        let tick = self.fixture.platform.tick(self.hour + TimeDelta::minutes(1)).await?;
        assert_eq!((&tick["exported"], &tick["failed"]), (&json!(1), &json!(0)), "{tick}");
        let objects = bucket.objects().await?;
        let keys: Vec<_> = objects.iter().map(|it| &it.key).filter(|key| key.ends_with(".ndjson")).collect();
        assert!(!keys.is_empty(), "{objects:?}");
        self.does("goes", json!({ "to": "status" })).await?;
        self.does("seesTheExports", json!({ "keys": keys })).await?;
        Ok(())
    }

    /// A page and a half of events, the latest of which is unlike the others.
    async fn has_events(&self) -> Result<Value> {
        let (from, to) = (self.hour - TimeDelta::hours(20), self.hour - TimeDelta::hours(2));
        let platform = &self.fixture.platform;
        platform.put_events(self.tenant, &generate(self.tenant, 90, Spread::Window { from, to })).await?;
        let event = json!({
            "id": "needle", "logType": "Authentication", "action": "Login",
            "user": { "id": "usr_99", "name": "Grace Hopper", "email": "grace@example.com" },
            "additionalInfo": { "word": "haystack", "<script>alert(1)</script>": "&amp;" },
        });
        let (api, body) = (platform.api(), json!({ "events": [event] }));
        api.send(&api.token(self.tenant, &[WRITE]), "POST", "/v1/events", &[], Some(&body)).await?.ok()?;
        Ok(event)
    }

    async fn reads_the_logs(&mut self, event: &Value) -> Result<()> {
        self.does("goes", json!({ "to": "logs" })).await?;
        self.does("findsByEachFilter", json!({ "event": event })).await?;
        self.does("asksForWrongDates", json!({})).await?;
        self.does("opensAnEvent", json!({ "event": event })).await?;
        self.does("loadsMore", json!({})).await?;
        self.does("downloads", json!({ "event": event })).await?;
        Ok(())
    }

    async fn leaves(mut self) -> Result<()> {
        self.does("goes", json!({ "to": "connector" })).await?;
        self.does("disconnects", json!({})).await?;
        self.does("signsOut", json!({})).await?;
        self.browser.close().await
    }
}

#[test]
fn an_admin_sets_the_export_up_and_reads_the_logs() -> Result<()> {
    on_the_platform(async |fixture| {
        let mut admin = Person::sits_down(fixture, "walker", "200000000081", true).await?;
        let event = admin.has_events().await?;
        admin.does("isAStranger", json!({})).await?;
        admin.signs_in().await?;
        admin.sets_the_export_up().await?;
        admin.reads_the_logs(&event).await?;
        admin.does("choosesByTheKeyboard", json!({})).await?;
        admin.does("goes", json!({ "to": "settings" })).await?;
        admin.does("verifiesThroughAnOutage", json!({})).await?;
        admin.does("stopsASave", json!({})).await?;
        let weights = admin.does("weighsThePages", json!({})).await?;
        println!("the pages weigh, in bytes: {weights}");
        admin.leaves().await
    })
}

#[test]
fn without_scripts_everything_is_links_and_forms_that_do_the_same() -> Result<()> {
    on_the_platform(async |fixture| {
        let mut admin = Person::sits_down(fixture, "plain", "200000000082", false).await?;
        let event = admin.has_events().await?;
        admin.does("isAStranger", json!({})).await?;
        admin.signs_in().await?;
        admin.sets_the_export_up().await?;
        admin.reads_the_logs(&event).await?;
        admin.leaves().await
    })
}

#[test]
fn a_role_that_anybody_can_use_is_refused_with_the_reason() -> Result<()> {
    on_the_platform(async |fixture| {
        let mut admin = Person::sits_down(fixture, "open", "200000000083", true).await?;
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "AWS": format!("arn:aws:iam::{PLATFORM_ACCOUNT}:root") },
        }] });
        let create = ["iam", "create-role", "--role-name", "open", "--assume-role-policy-document", &trust.to_string()];
        let role = tools::aws_cli(fixture.aws, admin.account, &create).await?;
        admin.signs_in().await?;
        admin.does("goes", json!({ "to": "connector" })).await?;
        let refused = json!({ "roleArn": role["Role"]["Arn"], "because": "confused deputy" });
        admin.does("isRefused", refused).await?;
        admin.browser.close().await
    })
}

#[test]
fn who_may_only_read_sees_neither_connector_nor_settings() -> Result<()> {
    on_the_platform(async |fixture| {
        let mut reader = Person::sits_down(fixture, "reader", "200000000084", true).await?;
        let token = fixture.platform.api().token("reader", &[READ]);
        reader.does("signsIn", json!({ "token": token, "already": true })).await?;
        reader.does("isAReader", json!({})).await?;
        reader.does("signsOut", json!({})).await?;
        reader.browser.close().await
    })
}

#[test]
fn whatever_is_wrong_with_a_page_is_noticed() -> Result<()> {
    on_the_platform(async |fixture| {
        let mut browser = Browser::start(fixture.aws)?;
        browser.arrives("watcher", fixture.platform.api().base(), true).await?;
        browser.does("watcher", "noticesWhatIsWrong", json!({})).await?;
        browser.close().await
    })
}
