//! Deploys the platform, connects four tenants and records a day of events.

use anyhow::{Context as _, Result};
use audit_log_tests::events::{Event, Spread, generate};
use audit_log_tests::{
    Customer, LocalAws, PLATFORM_ACCOUNT, Platform, connect, deploy_platform_with_sam, publish_template,
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::try_join_all;

use crate::screen::{Screen, count};
use crate::tenants::{TENANTS, TenantSpec};

pub(crate) struct Demo<'a> {
    pub(crate) platform: Platform<'a>,
    pub(crate) tenants: Vec<Tenant>,
    /// The start of the day.
    pub(crate) day: DateTime<Utc>,
}

/// A connected tenant and its recorded events.
pub(crate) struct Tenant {
    pub(crate) spec: &'static TenantSpec,
    pub(crate) customer: Customer,
    pub(crate) events: Vec<Event>,
}

impl Demo<'_> {
    pub(crate) fn at(&self, hours: i64, minutes: i64) -> DateTime<Utc> {
        self.day + TimeDelta::minutes(60 * hours + minutes)
    }

    /// As in keys.
    pub(crate) fn date(&self) -> String {
        self.day.format("%Y-%m-%d").to_string()
    }

    pub(crate) fn tenant(&self, id: &str) -> Result<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.spec.tenant == id).with_context(|| format!("no tenant {id}"))
    }
}

pub(crate) async fn prepare<'a>(screen: &Screen, aws: &'a LocalAws, day: DateTime<Utc>) -> Result<Demo<'a>> {
    let deploy = async {
        let template = publish_template(aws).await?;
        let platform = deploy_platform_with_sam(aws, &[("CustomerTemplateUrl", &template)]).await?;
        // A tick of the real hour would export the rest of the day at once.
        platform.pause_rules().await?;
        Ok(platform)
    };
    let platform = screen
        .step("deploying the platform", deploy, |_| {
            format!(
                "published the customers' template, and deployed infra/template.yaml with `sam deploy` into the platform's \
                 account {PLATFORM_ACCOUNT}"
            )
        })
        .await?;

    let connect_all = try_join_all(TENANTS.iter().map(async |spec| {
        let customer =
            connect(aws, &platform, spec.tenant, spec.account, spec.choices(), day + spec.export_start).await;
        let customer = customer.with_context(|| format!("connecting {}", spec.tenant))?;
        let mut events = generate(spec.tenant, spec.events, Spread::OfficeDay(day.date_naive()));
        events.retain(|event| event.recorded_at >= day + spec.export_start);
        anyhow::Ok(Tenant { spec, customer, events })
    }));
    let tenants = screen
        .step("connecting four customers' buckets", connect_all, |tenants| {
            format!(
                "connected {} customers through the API: external ID, quick-create stack, role, verification, settings with \
                 history from yesterday",
                tenants.len()
            )
        })
        .await?;

    let record = try_join_all(tenants.iter().map(|tenant| platform.put_events(tenant.spec.tenant, &tenant.events)));
    let total = tenants.iter().map(|tenant| tenant.events.len() as u64).sum();
    screen
        .step("recording a day of events", record, |_| {
            format!("recorded {} events of {} (UTC) in the events table", count(total), day.format("%A, %Y-%m-%d"))
        })
        .await?;

    screen.blank()?;
    let row = |Tenant { spec, customer, .. }: &Tenant| {
        [
            spec.tenant.to_owned(),
            spec.account.to_owned(),
            format!("s3://{}/{}", customer.stack.outputs.bucket_name, spec.prefix),
            spec.extension(),
            spec.schedule(),
            spec.about.to_owned(),
        ]
    };
    let header = ["tenant", "account", "bucket", "format", "export", "what it shows"];
    screen.table(header, tenants.iter().map(row).collect(), &[])?;
    Ok(Demo { platform, tenants, day })
}
