//! The deployed pages in a browser, with scripts and without, as admins, readers and visitors. Each step also fails on an
//! error on the console, a request to another origin, and a serious accessibility violation.
//!
//! Two tenants' admins do the same at once, with scripts and without, since much of the time is waiting.

#![allow(clippy::disallowed_methods, reason = "the pages show events as of now")]

use std::sync::OnceLock;

use anyhow::{Context as _, Result, anyhow};
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Spread, generate};
use audit_log_tests::{
    Browser, Bucket, Fixture, PLATFORM_ACCOUNT, REGION, StoredObject, connect, delete_stack, follow_link,
    run_on_platform, tools,
};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::try_join;

const ADMIN: &str = "audit-logs:admin";
const READ: &str = "audit-logs:read";
const WRITE: &str = "events:write";

/// The browser of all tests. It ends with them.
fn browser(fixture: &Fixture) -> Result<&'static Browser> {
    static BROWSER: OnceLock<Result<Browser>> = OnceLock::new();
    let browser = BROWSER.get_or_init(|| Browser::start(fixture.aws));
    browser.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// A tenant's user with a page in the browser, and an AWS account.
struct Visitor<'a> {
    fixture: &'a Fixture,
    browser: &'static Browser,
    tenant: &'static str,
    account: &'static str,
    hour: DateTime<Utc>,
}

impl<'a> Visitor<'a> {
    async fn new(fixture: &'a Fixture, tenant: &'static str, account: &'static str, scripts: bool) -> Result<Self> {
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        let browser = browser(fixture)?;
        browser.add_visitor(tenant, fixture.platform.api().base(), scripts).await?;
        Ok(Self { fixture, browser, tenant, account, hour })
    }

    /// Two tenants' admins: one with scripts, and one without.
    async fn pair(fixture: &'a Fixture, [scripted, plain]: [(&'static str, &'static str); 2]) -> Result<(Self, Self)> {
        let scripted = Self::new(fixture, scripted.0, scripted.1, true).await?;
        let plain = Self::new(fixture, plain.0, plain.1, false).await?;
        let hour = scripted.hour;
        Ok((scripted, Self { hour, ..plain }))
    }

    async fn run_step(&self, step: &str, with: Value) -> Result<Value> {
        self.browser.run_step(self.tenant, step, with).await
    }

    async fn leave(self) -> Result<()> {
        self.browser.remove_visitor(self.tenant).await
    }

    fn bucket_name(&self) -> String {
        format!("{}-audit-logs", self.tenant)
    }

    async fn objects(&self) -> Result<Vec<StoredObject>> {
        Bucket::new(self.fixture.aws, self.account, &self.bucket_name()).objects().await
    }

    async fn sign_in(&self) -> Result<()> {
        let token = self.fixture.platform.api().token(self.tenant, &[ADMIN]);
        self.run_step("signsIn", json!({ "token": token })).await?;
        Ok(())
    }

    /// Creates the bucket, and the stack of the quick-create link. Returns the role's ARN.
    async fn create_stack(&self, link: &str) -> Result<String> {
        let (aws, name) = (self.fixture.aws, self.bucket_name());
        Bucket::create(aws, self.account, &name, REGION).await?;
        let filled_in = [("BucketName", name.as_str()), ("BucketPrefix", "security")];
        let stack = follow_link(aws, self.account, link, &filled_in).await?;
        Ok(stack.outputs.role_arn)
    }

    /// Sets the export up, with mistakes on each form.
    async fn set_up_export(&self) -> Result<()> {
        self.run_step("goes", json!({ "to": "connector" })).await?;
        let seen = self.run_step("looksAtTheConnector", json!({})).await?;
        let role = self.create_stack(seen["quickCreateUrl"].as_str().context("no link")?).await?;
        let wrong = json!({ "roleArn": "audit-log-export", "because": "a role's ARN looks like" });
        self.run_step("isRefused", wrong).await?;
        self.run_step("connects", json!({ "roleArn": role })).await?;

        self.run_step("goes", json!({ "to": "settings" })).await?;
        self.run_step("inspects", json!({})).await?;
        let name = self.bucket_name();
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
        Ok(())
    }

    /// Reads the status after the first export.
    async fn see_the_exports(&self) -> Result<()> {
        let (name, objects) = (self.bucket_name(), self.objects().await?);
        let keys: Vec<_> = objects.iter().map(|it| &it.key).filter(|key| key.ends_with(".ndjson")).collect();
        assert!(!keys.is_empty(), "{objects:?}");
        self.run_step("goes", json!({ "to": "status" })).await?;
        self.run_step("seesTheExports", json!({ "keys": keys })).await?;
        let token = self.fixture.platform.api().token(self.tenant, &[ADMIN]);
        let status = self.fixture.platform.api().send(&token, "GET", "/v1/status", &[], None).await?.ok()?;
        let folder = format!("s3://{name}/security/audit-logs/tenant={}/", self.tenant);
        self.run_step("seesHowToVerify", json!({ "folder": folder, "head": status["manifestHead"] })).await?;
        Ok(())
    }

    /// Walks through the guided setup, with a mistake at each step.
    async fn is_guided(&self) -> Result<()> {
        let name = self.bucket_name();
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
        let activated = json!({ "roleArn": role, "key": folder });
        self.run_step("activates", activated).await?;
        Ok(())
    }

    /// After the first export, the bucket has a file, and the setup is no longer offered.
    async fn has_left_the_setup(self) -> Result<()> {
        let objects = self.objects().await?;
        let folder = format!("security/audit-logs/tenant={}/", self.tenant);
        assert!(objects.iter().any(|it| it.key.starts_with(&folder) && it.key.ends_with(".ndjson")), "{objects:?}");
        self.run_step("hasLeftTheSetup", json!({})).await?;
        self.run_step("signsOut", json!({})).await?;
        self.leave().await
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

    async fn read_logs(&self, event: &Value) -> Result<()> {
        self.run_step("goes", json!({ "to": "logs" })).await?;
        self.run_step("findsByEachFilter", json!({ "event": event })).await?;
        self.run_step("filtersByClicks", json!({ "event": event })).await?;
        self.run_step("keepsPopUpsOnTheScreen", json!({})).await?;
        self.run_step("asksForWrongDates", json!({})).await?;
        self.run_step("loadsMore", json!({})).await?;
        self.run_step("opensAnEvent", json!({ "event": event })).await?;
        self.run_step("downloads", json!({ "event": event })).await?;
        Ok(())
    }

    async fn disconnect(self) -> Result<()> {
        self.run_step("goes", json!({ "to": "connector" })).await?;
        self.run_step("disconnects", json!({})).await?;
        self.run_step("signsOut", json!({})).await?;
        self.leave().await
    }

    /// Connects a role and a bucket. Returns the name of the role's stack.
    async fn connect(&self) -> Result<String> {
        let (Fixture { aws, platform }, start) = (self.fixture, self.hour - TimeDelta::hours(4));
        let choices = Draft { prefix: Some("security".to_owned()), ..Draft::default() };
        let customer = connect(aws, platform, self.tenant, self.account, choices, start).await?;
        self.sign_in().await?;
        self.run_step("seesTheBadge", json!({ "badge": "notVerified" })).await?;
        Ok(customer.stack.name)
    }

    /// Deletes the role. Returns the link that makes it again.
    async fn lose_the_role(&self, stack: &str) -> Result<String> {
        let connector = self.fixture.platform.api().admin(self.tenant, "GET", "/v1/connector", None).await?.ok()?;
        delete_stack(self.fixture.aws, self.account, stack).await?;
        Ok(connector["quickCreateUrl"].as_str().context("no link")?.to_owned())
    }

    /// Makes the role again after exports have failed. Verifies, retries, and delivers a window again.
    async fn repair_and_deliver_again(self, link: &str) -> Result<()> {
        self.run_step("goes", json!({ "to": "status" })).await?;
        self.run_step("seesTheFailure", json!({ "code": "assume_role_denied" })).await?;
        let (bucket, role) = (self.bucket_name(), format!("{}-audit-log-export", self.tenant));
        let filled_in = [("BucketName", bucket.as_str()), ("BucketPrefix", "security"), ("RoleName", &role)];
        follow_link(self.fixture.aws, self.account, link, &filled_in).await?;
        self.run_step("goes", json!({ "to": "settings" })).await?;
        self.run_step("verifies", json!({})).await?;
        self.run_step("goes", json!({ "to": "status" })).await?;
        self.run_step("retriesNow", json!({})).await?;
        self.run_step("deliversAgain", json!({})).await?;
        self.leave().await
    }
}

/// Exports the events of a pair, with one tick after the hour.
async fn export_both(visitor: &Visitor<'_>) -> Result<()> {
    let tick = visitor.fixture.platform.tick(visitor.hour + TimeDelta::minutes(1)).await?;
    assert_eq!((&tick["exported"], &tick["failed"]), (&json!(2), &json!(0)), "{tick}");
    Ok(())
}

/// Exports fail because the role is gone. Each admin makes it again, verifies, retries, and delivers a window again.
#[test]
fn an_admin_repairs_a_failing_export_and_delivers_a_window_again() -> Result<()> {
    run_on_platform(async |fixture| {
        let tenants = [("mender", "200000000086"), ("plainmender", "200000000087")];
        let (admin, plain) = Visitor::pair(fixture, tenants).await?;
        let (platform, hour) = (&fixture.platform, admin.hour);
        let (stack, plain_stack) = try_join!(admin.connect(), plain.connect())?;
        let tick = platform.tick(hour - TimeDelta::hours(1)).await?;
        assert_eq!(tick["failed"], json!(0), "{tick}");
        let (link, plain_link) = try_join!(admin.lose_the_role(&stack), plain.lose_the_role(&plain_stack))?;
        let tick = platform.tick(hour + TimeDelta::minutes(1)).await?;
        assert_eq!(tick["failed"], json!(2), "{tick}");
        try_join!(admin.repair_and_deliver_again(&link), plain.repair_and_deliver_again(&plain_link))?;
        Ok(())
    })
}

#[test]
fn an_admin_sets_the_export_up_and_reads_the_logs() -> Result<()> {
    run_on_platform(async |fixture| {
        let tenants = [("walker", "200000000081"), ("plain", "200000000082")];
        let (admin, plain) = Visitor::pair(fixture, tenants).await?;
        let set_up = async |visitor: &Visitor<'_>| {
            let event = visitor.record_events().await?;
            visitor.run_step("isAStranger", json!({})).await?;
            visitor.sign_in().await?;
            visitor.set_up_export().await.map(|()| event)
        };
        let (event, plain_event) = try_join!(set_up(&admin), set_up(&plain))?;
        export_both(&admin).await?;
        let admin_goes_on = async {
            admin.see_the_exports().await?;
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
        };
        let plain_goes_on = async {
            plain.see_the_exports().await?;
            plain.read_logs(&plain_event).await?;
            plain.disconnect().await
        };
        try_join!(admin_goes_on, plain_goes_on)?;
        Ok(())
    })
}

#[test]
fn an_admin_is_guided_from_the_sign_in_to_the_first_file() -> Result<()> {
    run_on_platform(async |fixture| {
        let tenants = [("guided", "200000000085"), ("guided-plain", "200000000089")];
        let (admin, plain) = Visitor::pair(fixture, tenants).await?;
        let set_up = async |visitor: &Visitor<'_>| {
            visitor.sign_in().await?;
            visitor.is_guided().await
        };
        try_join!(set_up(&admin), set_up(&plain))?;
        export_both(&admin).await?;
        try_join!(admin.has_left_the_setup(), plain.has_left_the_setup())?;
        Ok(())
    })
}

#[test]
fn a_role_that_demands_no_external_id_is_refused_with_the_reason() -> Result<()> {
    run_on_platform(async |fixture| {
        let admin = Visitor::new(fixture, "open", "200000000083", true).await?;
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
        admin.leave().await
    })
}

#[test]
fn a_reader_sees_neither_connector_nor_settings() -> Result<()> {
    run_on_platform(async |fixture| {
        let reader = Visitor::new(fixture, "reader", "200000000084", true).await?;
        let token = fixture.platform.api().token("reader", &[READ]);
        reader.run_step("signsIn", json!({ "token": token, "already": true })).await?;
        reader.run_step("isAReader", json!({})).await?;
        let another = fixture.platform.api().token("another", &[ADMIN]);
        reader.run_step("declinesAnotherSession", json!({ "token": another })).await?;
        reader.run_step("signsOut", json!({})).await?;
        reader.leave().await
    })
}

#[test]
fn faults_of_a_page_fail_a_step() -> Result<()> {
    run_on_platform(async |fixture| {
        let watcher = Visitor::new(fixture, "watcher", "200000000088", true).await?;
        watcher.run_step("noticesWhatIsWrong", json!({})).await?;
        watcher.leave().await
    })
}
