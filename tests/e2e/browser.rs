//! The deployed pages in a browser, with scripts and without, as admins, readers and visitors. Each step also fails on an
//! error on the console, a request to another origin, and a serious accessibility violation.

#![allow(clippy::disallowed_methods, reason = "the pages show events as of now")]

use anyhow::{Context as _, Result};
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Spread, generate};
use audit_log_tests::{
    Browser, Bucket, Fixture, PLATFORM_ACCOUNT, REGION, connect, delete_stack, follow_link, run_on_platform, tools,
};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

const ADMIN: &str = "audit-logs:admin";
const READ: &str = "audit-logs:read";
const WRITE: &str = "events:write";

/// A tenant's user with a browser and an AWS account.
struct Visitor<'a> {
    fixture: &'a Fixture,
    browser: Browser,
    tenant: &'static str,
    account: &'static str,
    hour: DateTime<Utc>,
}

impl<'a> Visitor<'a> {
    async fn new(fixture: &'a Fixture, tenant: &'static str, account: &'static str, scripts: bool) -> Result<Self> {
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        let mut browser = Browser::start(fixture.aws)?;
        browser.add_visitor(tenant, fixture.platform.api().base(), scripts).await?;
        Ok(Self { fixture, browser, tenant, account, hour })
    }

    async fn run_step(&mut self, step: &str, with: Value) -> Result<Value> {
        self.browser.run_step(self.tenant, step, with).await
    }

    async fn sign_in(&mut self) -> Result<()> {
        let token = self.fixture.platform.api().token(self.tenant, &[ADMIN]);
        self.run_step("signsIn", json!({ "token": token })).await?;
        Ok(())
    }

    /// Creates the bucket, and the stack of the quick-create link. Returns the bucket and the role's ARN.
    async fn create_stack(&self, link: &str) -> Result<(Bucket, String)> {
        let (aws, name) = (self.fixture.aws, format!("{}-audit-logs", self.tenant));
        let bucket = Bucket::create(aws, self.account, &name, REGION).await?;
        let filled_in = [("BucketName", name.as_str()), ("BucketPrefix", "security")];
        let stack = follow_link(aws, self.account, link, &filled_in).await?;
        Ok((bucket, stack.outputs.role_arn))
    }

    /// Sets the export up until the first export, with mistakes on each form.
    async fn set_up_export(&mut self) -> Result<()> {
        self.run_step("goes", json!({ "to": "connector" })).await?;
        let seen = self.run_step("looksAtTheConnector", json!({})).await?;
        let (bucket, role) = self.create_stack(seen["quickCreateUrl"].as_str().context("no link")?).await?;
        let wrong = json!({ "roleArn": "audit-log-export", "because": "a role's ARN looks like" });
        self.run_step("isRefused", wrong).await?;
        self.run_step("connects", json!({ "roleArn": role })).await?;

        self.run_step("goes", json!({ "to": "settings" })).await?;
        let name = format!("{}-audit-logs", self.tenant);
        let history = (self.hour - TimeDelta::days(1)).format("%Y-%m-%d").to_string();
        let fields = json!({
            "bucket": "nobodys-bucket", "region": REGION, "prefix": "security", "frequencyHours": "6",
            "format": "ndjson", "historyFrom": history,
        });
        self.run_step("fillsIn", fields).await?;
        self.run_step("verifiesInVain", json!({ "because": "nobodys-bucket" })).await?;
        self.run_step("fillsIn", json!({ "bucket": name })).await?;
        self.run_step("verifies", json!({})).await?;
        self.run_step("seesThePreview", json!({ "key": format!("security/audit-logs/tenant={}/", self.tenant) }))
            .await?;
        let wrong = json!({ "field": "frequencyHours", "value": "25", "because": "24" });
        self.run_step("savesInVain", wrong).await?;
        self.run_step("fillsIn", json!({ "frequencyHours": "6" })).await?;
        let token = self.fixture.platform.api().token(self.tenant, &[ADMIN]);
        self.run_step("losesTheSession", json!({ "token": token, "saved": name })).await?;
        self.run_step("saves", json!({ "bucket": name })).await?;
        let missing = json!({ "bucket": "nobodys-bucket", "because": "nobodys-bucket" });
        self.run_step("savesWhatFails", missing).await?;
        let another = format!("{}-elsewhere", self.tenant);
        self.run_step("readsWhereEventsGo", json!({ "bucket": name, "another": another })).await?;
        self.run_step("looksUpObstacles", json!({})).await?;

        let tick = self.fixture.platform.tick(self.hour + TimeDelta::minutes(1)).await?;
        assert_eq!((&tick["exported"], &tick["failed"]), (&json!(1), &json!(0)), "{tick}");
        let objects = bucket.objects().await?;
        let keys: Vec<_> = objects.iter().map(|it| &it.key).filter(|key| key.ends_with(".ndjson")).collect();
        assert!(!keys.is_empty(), "{objects:?}");
        self.run_step("goes", json!({ "to": "status" })).await?;
        self.run_step("seesTheExports", json!({ "keys": keys })).await?;
        let status = self.fixture.platform.api().send(&token, "GET", "/v1/status", &[], None).await?.ok()?;
        let folder = format!("s3://{name}/security/audit-logs/tenant={}/", self.tenant);
        self.run_step("seesHowToVerify", json!({ "folder": folder, "head": status["manifestHead"] })).await?;
        Ok(())
    }

    /// Walks through the guided setup, from the landing to the first file, with a mistake at each step.
    async fn is_guided(&mut self) -> Result<()> {
        let name = format!("{}-audit-logs", self.tenant);
        self.run_step("landsInTheSetup", json!({})).await?;
        let history = (self.hour - TimeDelta::hours(30)).format("%Y-%m-%d").to_string();
        let fields = json!({
            "bucket": name, "region": REGION, "prefix": "security", "format": "ndjson", "historyFrom": history,
        });
        self.run_step("choosesTheDestination", json!({ "fields": fields, "create": true })).await?;
        let folder = format!("security/audit-logs/tenant={}/", self.tenant);
        let values = json!([name, REGION, folder, PLATFORM_ACCOUNT, "CreateBucket"]);
        let seen = self.run_step("readsTheSteps", json!({ "values": values })).await?;
        let link = seen["quickCreateUrl"].as_str().context("no link")?;
        let wrong = json!({ "roleArn": "audit-log-export", "because": "a role's ARN looks like" });
        self.run_step("isRefusedInTheSetup", wrong).await?;

        // Nothing is to be filled in: the stack makes the bucket, too.
        let (aws, account) = (self.fixture.aws, self.account);
        let role = follow_link(aws, account, link, &[]).await?.outputs.role_arn;
        let bucket = Bucket::new(aws, account, &name);
        let activated = json!({ "roleArn": role, "key": folder });
        self.run_step("activates", activated).await?;
        let tick = self.fixture.platform.tick(self.hour + TimeDelta::minutes(1)).await?;
        assert_eq!((&tick["exported"], &tick["failed"]), (&json!(1), &json!(0)), "{tick}");
        let objects = bucket.objects().await?;
        assert!(objects.iter().any(|it| it.key.starts_with(&folder) && it.key.ends_with(".ndjson")), "{objects:?}");
        self.run_step("hasLeftTheSetup", json!({})).await?;
        Ok(())
    }

    /// Records events for a page and a half. The latest is unlike the others and is returned.
    async fn record_events(&self) -> Result<Value> {
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

    async fn read_logs(&mut self, event: &Value) -> Result<()> {
        self.run_step("goes", json!({ "to": "logs" })).await?;
        self.run_step("findsByEachFilter", json!({ "event": event })).await?;
        self.run_step("filtersByClicks", json!({ "event": event })).await?;
        self.run_step("keepsPopUpsOnTheScreen", json!({})).await?;
        self.run_step("asksForWrongDates", json!({})).await?;
        self.run_step("opensAnEvent", json!({ "event": event })).await?;
        self.run_step("loadsMore", json!({})).await?;
        self.run_step("downloads", json!({ "event": event })).await?;
        Ok(())
    }

    async fn disconnect(mut self) -> Result<()> {
        self.run_step("goes", json!({ "to": "connector" })).await?;
        self.run_step("disconnects", json!({})).await?;
        self.run_step("signsOut", json!({})).await?;
        self.browser.close().await
    }
}

/// Exports fail because the role is gone. The admin makes it again, verifies, retries, and delivers a window again.
fn repairs_and_delivers_again(tenant: &'static str, account: &'static str, scripts: bool) -> Result<()> {
    run_on_platform(async |fixture| {
        let mut admin = Visitor::new(fixture, tenant, account, scripts).await?;
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let (hour, start) = (admin.hour, admin.hour - TimeDelta::hours(4));
        let choices = Draft { prefix: Some("security".to_owned()), ..Draft::default() };
        let customer = connect(aws, platform, tenant, account, choices, start).await?;
        admin.sign_in().await?;
        admin.run_step("seesTheBadge", json!({ "badge": "notVerified" })).await?;
        let tick = platform.tick(hour - TimeDelta::hours(1)).await?;
        assert_eq!(tick["failed"], json!(0), "{tick}");
        let connector = platform.api().admin(tenant, "GET", "/v1/connector", None).await?.ok()?;
        let link = connector["quickCreateUrl"].as_str().context("no link")?.to_owned();
        delete_stack(aws, account, &customer.stack.name).await?;
        let tick = platform.tick(hour + TimeDelta::minutes(1)).await?;
        assert_eq!(tick["failed"], json!(1), "{tick}");

        admin.run_step("goes", json!({ "to": "status" })).await?;
        admin.run_step("seesTheFailure", json!({ "code": "assume_role_denied" })).await?;
        let (bucket, role) = (format!("{tenant}-audit-logs"), format!("{tenant}-audit-log-export"));
        let filled_in = [("BucketName", bucket.as_str()), ("BucketPrefix", "security"), ("RoleName", &role)];
        follow_link(aws, account, &link, &filled_in).await?;
        admin.run_step("goes", json!({ "to": "settings" })).await?;
        admin.run_step("verifies", json!({})).await?;
        admin.run_step("goes", json!({ "to": "status" })).await?;
        admin.run_step("retriesNow", json!({})).await?;
        admin.run_step("deliversAgain", json!({})).await?;
        admin.browser.close().await
    })
}

#[test]
fn an_admin_repairs_a_failing_export_and_delivers_a_window_again() -> Result<()> {
    repairs_and_delivers_again("mender", "200000000086", true)
}

#[test]
fn a_failing_export_is_repaired_without_scripts() -> Result<()> {
    repairs_and_delivers_again("plainmender", "200000000087", false)
}

#[test]
fn an_admin_sets_the_export_up_and_reads_the_logs() -> Result<()> {
    run_on_platform(async |fixture| {
        let mut admin = Visitor::new(fixture, "walker", "200000000081", true).await?;
        let event = admin.record_events().await?;
        admin.run_step("isAStranger", json!({})).await?;
        admin.sign_in().await?;
        admin.set_up_export().await?;
        admin.read_logs(&event).await?;
        admin.run_step("choosesByTheKeyboard", json!({})).await?;
        admin.run_step("searchesAFilter", json!({ "event": event })).await?;
        let pages = admin.run_step("listsEveryPage", json!({})).await?;
        for page in pages.as_array().context("no list")? {
            admin.run_step("inspectsThePage", page.clone()).await?;
        }
        let token = fixture.platform.api().token("walker", &[ADMIN]);
        admin.run_step("returnsToThePage", json!({ "token": token, "to": "status" })).await?;
        admin.run_step("goes", json!({ "to": "settings" })).await?;
        admin.run_step("verifiesThroughAnOutage", json!({})).await?;
        admin.run_step("stopsASave", json!({})).await?;
        let weights = admin.run_step("weighsThePages", json!({})).await?;
        println!("sizes of the pages in bytes: {weights}");
        admin.disconnect().await
    })
}

#[test]
fn without_scripts_links_and_forms_do_the_same() -> Result<()> {
    run_on_platform(async |fixture| {
        let mut admin = Visitor::new(fixture, "plain", "200000000082", false).await?;
        let event = admin.record_events().await?;
        admin.run_step("isAStranger", json!({})).await?;
        admin.sign_in().await?;
        admin.set_up_export().await?;
        admin.read_logs(&event).await?;
        admin.disconnect().await
    })
}

#[test]
fn an_admin_is_guided_from_the_sign_in_to_the_first_file() -> Result<()> {
    run_on_platform(async |fixture| {
        for (tenant, account, scripts) in [("guided", "200000000085", true), ("guided-plain", "200000000086", false)] {
            let mut admin = Visitor::new(fixture, tenant, account, scripts).await?;
            admin.sign_in().await?;
            admin.is_guided().await?;
            admin.run_step("signsOut", json!({})).await?;
            admin.browser.close().await?;
        }
        Ok(())
    })
}

#[test]
fn a_role_that_demands_no_external_id_is_refused_with_the_reason() -> Result<()> {
    run_on_platform(async |fixture| {
        let mut admin = Visitor::new(fixture, "open", "200000000083", true).await?;
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "AWS": format!("arn:aws:iam::{PLATFORM_ACCOUNT}:root") },
        }] });
        let create = ["iam", "create-role", "--role-name", "open", "--assume-role-policy-document", &trust.to_string()];
        let role = tools::aws_cli(fixture.aws, admin.account, &create).await?;
        admin.sign_in().await?;
        admin.run_step("goes", json!({ "to": "connector" })).await?;
        let refused = json!({ "roleArn": role["Role"]["Arn"], "because": "confused deputy" });
        admin.run_step("isRefused", refused).await?;
        admin.browser.close().await
    })
}

#[test]
fn a_reader_sees_neither_connector_nor_settings() -> Result<()> {
    run_on_platform(async |fixture| {
        let mut reader = Visitor::new(fixture, "reader", "200000000084", true).await?;
        let token = fixture.platform.api().token("reader", &[READ]);
        reader.run_step("signsIn", json!({ "token": token, "already": true })).await?;
        reader.run_step("isAReader", json!({})).await?;
        let another = fixture.platform.api().token("another", &[ADMIN]);
        reader.run_step("declinesAnotherSession", json!({ "token": another })).await?;
        reader.run_step("signsOut", json!({})).await?;
        reader.browser.close().await
    })
}

#[test]
fn faults_of_a_page_fail_a_step() -> Result<()> {
    run_on_platform(async |fixture| {
        let mut browser = Browser::start(fixture.aws)?;
        browser.add_visitor("watcher", fixture.platform.api().base(), true).await?;
        browser.run_step("watcher", "noticesWhatIsWrong", json!({})).await?;
        browser.close().await
    })
}
