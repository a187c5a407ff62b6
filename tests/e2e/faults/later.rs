//! What a later tick finds: what an earlier one has left, and a dead run's mark.

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::records::Doubt;
use audit_log_core::schedule::Window;
use audit_log_tests::Item;
use chrono::TimeDelta;
use serde_json::Value;

use crate::scenario::{FILES, Scenario};
use crate::start::attribute;
use crate::world::{World, clock};

impl World {
    /// The tenants table after an undisturbed tick, as if one of the last events of [`FILES`] had come after it was read, and
    /// as if another run had died when it was about to store that window again.
    pub(crate) async fn after_a_tick(&self) -> Result<Vec<Item>> {
        self.restore(Scenario::Inline).await?;
        let outcome = self.run(Scenario::Inline, 0, None).await?;
        ensure!(!outcome.failed, "the first tick failed: {:?}", outcome.answers);
        let mut items = self.records().await?;
        let is_it =
            |item: &&mut Item| attribute(item, "tenant_id") == FILES && attribute(item, "record") == "watermark";
        let watermark = items.iter_mut().find(is_it).context("no watermark")?;
        let mut tail: Value = serde_json::from_str(attribute(watermark, "tail"))?;
        let counts = tail["counts"].as_array_mut().context("no counts")?;
        let count = counts.iter_mut().find(|count| **count != 0).context("an hour without an end")?;
        *count = (count.as_u64().unwrap_or_default() - 1).into();
        watermark.insert("tail".to_owned(), AttributeValue::S(tail.to_string()));
        let window = Window { from: clock("10:00")?, to: clock("11:00")? };
        let mark = Doubt::new(window, clock("11:02")?).to_string();
        watermark.insert("doubts".to_owned(), AttributeValue::Ss(vec![mark]));
        Ok(items)
    }

    /// Makes the marks that a run has left an hour older, as the next tick finds them: before, whoever has left them may be
    /// alive.
    pub(crate) async fn an_hour_later(&self) -> Result<()> {
        for mut item in self.records().await? {
            let Some(AttributeValue::Ss(marks)) = item.get_mut("doubts") else { continue };
            for mark in marks {
                let Doubt { window, since } = Doubt::parse(mark).with_context(|| format!("{mark} is no mark"))?;
                *mark = Doubt::new(window, since - TimeDelta::hours(1)).to_string();
            }
            self.put_record(item).await?;
        }
        Ok(())
    }
}
