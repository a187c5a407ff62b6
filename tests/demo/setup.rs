//! Both sides deployed from their templates, four tenants connected, and a day of events recorded.

use anyhow::{Context as _, Result};
use audit_log_tests::events::{Event, Spread, generate};
use audit_log_tests::{Customer, LocalAws, PLATFORM_ACCOUNT, Platform, connect, deploy_platform, publish_template};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;

use crate::cast::{PARTS, Part};
use crate::screen::{Screen, count};

/// Everything in place for the day.
pub(crate) struct Stage<'a> {
    pub(crate) platform: Platform<'a>,
    pub(crate) tenants: Vec<Tenant>,
    /// The day's first instant.
    pub(crate) day: DateTime<Utc>,
}

/// A connected tenant, and the events recorded for it.
pub(crate) struct Tenant {
    pub(crate) part: &'static Part,
    pub(crate) customer: Customer,
    pub(crate) events: Vec<Event>,
}

impl Stage<'_> {
    /// An instant of the day.
    pub(crate) fn at(&self, hours: i64, minutes: i64) -> DateTime<Utc> {
        self.day + TimeDelta::minutes(60 * hours + minutes)
    }

    /// The day as keys have it.
    pub(crate) fn date(&self) -> String {
        self.day.format("%Y-%m-%d").to_string()
    }

    /// One of the tenants.
    pub(crate) fn tenant(&self, id: &str) -> Result<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.part.tenant == id).with_context(|| format!("no tenant {id}"))
    }
}

/// Sets everything up.
pub(crate) async fn all<'a>(screen: &Screen, aws: &'a LocalAws, day: DateTime<Utc>) -> Result<Stage<'a>> {
    let deploy = async {
        let template = publish_template(aws).await?;
        let platform = deploy_platform(aws, &[("CustomerTemplateUrl", &template)]).await?;
        // While the demo plays a day in seconds, a tick of the real hour would deliver all that is left of it at once.
        platform.pause_rules().await?;
        Ok(platform)
    };
    let platform = screen
        .step("deploying the platform", deploy, |_| {
            format!(
                "the customers' template published, and `sam deploy` of infra/template.yaml into the platform's account \
                 {PLATFORM_ACCOUNT}"
            )
        })
        .await?;

    let join = try_join_all(PARTS.iter().map(async |part| {
        let customer = connect(aws, &platform, part.tenant, part.account, part.choices(), day + part.connected).await;
        let customer = customer.with_context(|| format!("connecting {}", part.tenant))?;
        let mut events = generate(part.tenant, part.events, Spread::OfficeDay(day.date_naive()));
        events.retain(|event| event.recorded_at >= day + part.connected);
        anyhow::Ok(Tenant { part, customer, events })
    }));
    let tenants = screen
        .step("four customers' admins connect their buckets", join, |tenants| {
            format!(
                "{} customers' admins went through the API: external ID, quick-create stack, CONNECT, VERIFY, SAVE with \
                 history from yesterday",
                tenants.len()
            )
        })
        .await?;

    let record = try_join_all(tenants.iter().map(|tenant| platform.put_events(tenant.part.tenant, &tenant.events)));
    let total = tenants.iter().map(|tenant| tenant.events.len() as u64).sum();
    screen
        .step("recording a day of events", record, |_| {
            format!("{} events by the table's contract, all of {} (UTC)", count(total), day.format("%A, %Y-%m-%d"))
        })
        .await?;

    screen.blank()?;
    let row = |Tenant { part, customer, .. }: &Tenant| {
        [
            part.tenant.to_owned(),
            part.account.to_owned(),
            format!("s3://{}/{}", customer.stack.outputs.bucket_name, part.prefix),
            part.extension(),
            part.schedule(),
            part.about.to_owned(),
        ]
    };
    let header = ["tenant", "account", "bucket", "format", "export", "its day"];
    screen.table(header, tenants.iter().map(row).collect(), &[])?;
    Ok(Stage { platform, tenants, day })
}
