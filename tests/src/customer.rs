//! Connects a tenant with an AWS account: bucket, stack, role and saved settings.

use anyhow::{Context as _, Result, anyhow, ensure};
use audit_log_aws::{events::EventsTable, sdk::dynamodb, tenants::TenantsTable};
use audit_log_core::{
    event::User,
    new_event::{Stamp, time_ordered_id},
    ports::{Conditional, Settings as _},
    records::TenantRecords,
    schedule::Schedule,
    settings::Draft,
    system_events::{AdminChange, Client},
    tenant::{self, TenantId},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use url::{Url, form_urlencoded};

use crate::{Bucket, CustomerStack, LocalAws, PLATFORM_ACCOUNT, Platform, REGION, is_data, quick_create};

#[derive(Debug)]
pub struct Customer {
    pub tenant: String,
    pub stack: CustomerStack,
    pub bucket: Bucket,
    /// As saved.
    pub settings: Draft,
}

/// Connects a tenant without the API: makes a bucket and the quick-create stack, and writes the records as if an admin had
/// saved the settings at `start`. For tests of days in the past.
pub async fn onboard(
    aws: &LocalAws,
    platform: &Platform<'_>,
    tenant: &str,
    account: &str,
    choices: Draft,
    start: DateTime<Utc>,
) -> Result<Customer> {
    let bucket_name = format!("{tenant}-audit-logs");
    let bucket = Bucket::create(aws, account, &bucket_name, REGION).await?;
    let external_id = format!("external-id-of-{tenant}");
    let stack = create_stack(aws, account, tenant, &bucket_name, &external_id, &choices).await?;
    let settings = Draft {
        external_id: Some(external_id),
        role_arn: Some(stack.outputs.role_arn.clone()),
        bucket: Some(bucket_name),
        region: Some(REGION.to_owned()),
        frequency_hours: choices.frequency_hours.clone().or(Some("1".to_owned())),
        ..choices
    };
    let mut customer = Customer { tenant: tenant.to_owned(), stack, bucket, settings };
    customer.save(aws, platform, start).await?;
    Ok(customer)
}

/// Connects a tenant as its admin does, on the API and in AWS: read the connector, create the stack of its quick-create
/// link, connect the role, verify, save. Exports begin at `history_from`.
pub async fn connect(
    aws: &LocalAws,
    platform: &Platform<'_>,
    tenant: &str,
    account: &str,
    choices: Draft,
    history_from: DateTime<Utc>,
) -> Result<Customer> {
    let api = platform.api();
    let bucket_name = format!("{tenant}-audit-logs");
    let bucket = Bucket::create(aws, account, &bucket_name, REGION).await?;
    let connector = api.admin(tenant, "GET", "/v1/connector", None).await?.ok()?;
    let link = connector["quickCreateUrl"].as_str().context("no quick-create link")?;
    let prefix = choices.prefix.clone().unwrap_or_default();
    // What the admin adds to the link's values. With a fixed role name, a recreated stack has the same role ARN.
    let role_name = format!("{tenant}-audit-log-export");
    let filled_in = [("BucketName", bucket_name.as_str()), ("BucketPrefix", &prefix), ("RoleName", &role_name)];
    let stack = follow_link(aws, account, link, &filled_in).await?;

    let role = json!({ "roleArn": stack.outputs.role_arn });
    api.admin(tenant, "PUT", "/v1/connector", Some(&role)).await?.ok()?;
    let mut draft = json!({
        "bucket": bucket_name, "region": REGION, "prefix": prefix,
        "frequencyHours": choices.frequency_hours.as_deref().unwrap_or("1").parse::<u8>()?,
        "format": choices.format, "compression": choices.compression, "schema": choices.schema,
    });
    let found = api.admin(tenant, "POST", "/v1/export-settings/verify", Some(&draft)).await?.ok()?;
    ensure!(found["passed"] == true, "the verification found something: {found:#}");
    draft["historyFrom"] = history_from.to_rfc3339().into();
    api.admin(tenant, "PUT", "/v1/export-settings", Some(&draft)).await?.ok()?;

    let settings = Draft {
        external_id: Some(stack.outputs.external_id.clone()),
        role_arn: Some(stack.outputs.role_arn.clone()),
        bucket: Some(bucket_name),
        region: Some(REGION.to_owned()),
        ..choices
    };
    Ok(Customer { tenant: tenant.to_owned(), stack, bucket, settings })
}

/// Creates the stack of a quick-create link, under the link's name, with more parameters.
pub async fn follow_link(
    aws: &LocalAws,
    account: &str,
    link: &str,
    filled_in: &[(&str, &str)],
) -> Result<CustomerStack> {
    let link = Url::parse(link)?;
    let (_, query) = link.fragment().and_then(|fragment| fragment.split_once('?')).context("a link without values")?;
    let values: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    let name = values.iter().find(|(name, _)| name == "stackName").context("a link without a stack's name")?;
    let linked = values.iter().filter_map(|(name, value)| Some((name.strip_prefix("param_")?, value.as_ref())));
    let parameters: Vec<_> = linked.chain(filled_in.iter().copied()).collect();
    quick_create(aws, account, &name.1, &parameters).await
}

async fn create_stack(
    aws: &LocalAws,
    account: &str,
    tenant: &str,
    bucket: &str,
    external_id: &str,
    choices: &Draft,
) -> Result<CustomerStack> {
    let parameters = [
        ("BucketName", bucket),
        ("BucketPrefix", choices.prefix.as_deref().unwrap_or_default()),
        ("TenantId", tenant),
        ("ExternalId", external_id),
        ("ProviderAccountId", PLATFORM_ACCOUNT),
        // With a fixed role name, a recreated stack has the same role ARN.
        ("RoleName", &format!("{tenant}-audit-log-export")),
        ("KmsKeyArn", choices.kms_key_arn.as_deref().unwrap_or_default()),
    ];
    quick_create(aws, account, "audit-log-export", &parameters).await
}

impl Customer {
    /// Saves the settings as of a time.
    pub async fn save(&mut self, aws: &LocalAws, platform: &Platform<'_>, saved_at: DateTime<Utc>) -> Result<()> {
        let tenant = TenantId::parse(&self.tenant)?;
        let account = tenant::AccountId::parse(PLATFORM_ACCOUNT)?;
        let platform_identity = tenant::Platform { account, partition: tenant::Partition::Aws };
        let config = self.settings.check(&tenant, &platform_identity).map_err(|errors| anyhow!("{errors:?}"))?;
        let table = tenants_table(aws, platform);
        let TenantRecords { watermark, .. } = table.records(&tenant).await?;
        let schedule = match &watermark {
            None => Schedule::first_save(saved_at),
            Some(watermark) => watermark.schedule().map_err(|errors| anyhow!("{errors:?}"))?.later_save(saved_at),
        };
        // The audit event is recorded now, and so in no window of a test.
        let stamp = Stamp { at: Utc::now(), retention: None };
        let change = AdminChange {
            by: User::system(),
            client: Client::default(),
            stamp,
            id: time_ordered_id(stamp.at, &rand::random()),
        };
        let announcement = change.settings_changed(&tenant, &Draft::default(), &self.settings, None);
        let saved = table.save(&config, watermark.as_ref(), schedule, false, &announcement).await?;
        ensure!(saved == Conditional::Written, "the settings were saved in between");
        self.settings.version = Some((config.version + 1).to_string());
        Ok(())
    }

    /// Recreates the deleted stack. The role has the same ARN.
    pub async fn recreate_stack(&mut self, aws: &LocalAws) -> Result<()> {
        let CustomerStack { account, outputs, .. } = self.stack.clone();
        let external_id = outputs.external_id;
        let again =
            create_stack(aws, &account, &self.tenant, &outputs.bucket_name, &external_id, &self.settings).await?;
        ensure!(again.outputs.role_arn == outputs.role_arn, "another ARN: {}", again.outputs.role_arn);
        self.stack = again;
        Ok(())
    }

    /// The folder of all of the tenant's objects, with a slash at its end.
    #[must_use]
    pub fn folder(&self) -> String {
        let prefix = self.settings.prefix.as_deref().unwrap_or_default();
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{prefix}{slash}audit-logs/tenant={}/", self.tenant)
    }

    /// Keys and texts of all files with events in the bucket.
    pub async fn exports(&self) -> Result<Vec<(String, String)>> {
        let mut exports = Vec::new();
        for object in self.bucket.objects().await?.into_iter().filter(|object| is_data(&object.key)) {
            let text = String::from_utf8(self.bucket.get(&object.key).await?.bytes);
            exports.push((object.key, text.context("an object isn't text")?));
        }
        Ok(exports)
    }
}

/// The production adapter for the tenants table.
fn tenants_table(aws: &LocalAws, platform: &Platform<'_>) -> TenantsTable {
    let client = dynamodb::Client::new(&aws.sdk_config(PLATFORM_ACCOUNT));
    let outputs = platform.outputs();
    let events = EventsTable::new(client.clone(), &outputs.events_table_name);
    TenantsTable::new(client, &outputs.tenants_table_name, events, TimeDelta::minutes(1))
}
