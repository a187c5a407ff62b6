//! What the exporter returns and stores: a report for each tick, a receipt for each window, and the watermark.

use anyhow::{Context as _, Result};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_tests::{Item, Platform, Table};
use chrono::{DateTime, Utc};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct TickReport {
    pub(crate) due: u64,
    pub(crate) exported: u64,
    pub(crate) failed: u64,
    pub(crate) deferred: u64,
    pub(crate) events: u64,
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
    pub(crate) failures: Vec<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    pub(crate) tenant_id: String,
    pub(crate) code: String,
    pub(crate) party: String,
    pub(crate) message: String,
}

/// The receipt of a window. Windows of the demo are small enough for one object.
pub(crate) struct Receipt {
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
    pub(crate) key: String,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

impl Receipt {
    /// The object's name without its folder.
    pub(crate) fn file(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    fn from_item(item: &Item) -> Result<Self> {
        let object = item.get("objects").and_then(|objects| objects.as_l().ok()?.first()?.as_m().ok());
        Ok(Self {
            from: text(item, "window_from")?.parse()?,
            to: text(item, "window_to")?.parse()?,
            key: text(object.context("a receipt without an object")?, "key")?.to_owned(),
            events: number(item, "events")?,
            bytes: number(item, "bytes")?,
        })
    }
}

pub(crate) struct Watermark {
    pub(crate) exported_until: DateTime<Utc>,
    pub(crate) failures: u64,
    pub(crate) code: Option<String>,
}

/// Loads a tenant's watermark and its receipts, in order.
pub(crate) async fn load(platform: &Platform<'_>, tenant: &str) -> Result<(Watermark, Vec<Receipt>)> {
    let items = platform.items(Table::Tenants, tenant).await?;
    let receipts = items.iter().filter(|item| text(item, "record").is_ok_and(|record| record.starts_with("export#")));
    let receipts = receipts.map(Receipt::from_item).collect::<Result<_>>()?;
    let watermark = items.iter().find(|item| text(item, "record").is_ok_and(|record| record == "watermark"));
    let watermark = watermark.with_context(|| format!("{tenant} has no watermark"))?;
    let watermark = Watermark {
        exported_until: text(watermark, "exported_until")?.parse()?,
        failures: number(watermark, "consecutive_failures").unwrap_or_default(),
        code: text(watermark, "last_error_code").ok().map(str::to_owned),
    };
    Ok((watermark, receipts))
}

fn text<'a>(item: &'a Item, name: &str) -> Result<&'a str> {
    match item.get(name) {
        Some(AttributeValue::S(text) | AttributeValue::N(text)) => Ok(text),
        _ => anyhow::bail!("a record without {name}"),
    }
}

fn number(item: &Item, name: &str) -> Result<u64> {
    Ok(text(item, name)?.parse()?)
}
