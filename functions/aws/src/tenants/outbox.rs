//! Writes the audit event and the notification of a change in the transaction of that change, and removes published ones.

use std::collections::HashMap;

use audit_log_core::{
    failure::Failure,
    notification::Notification,
    outbox::{Addition, Announcement, Outbox, to_text},
    ports::Conditional,
    tenant::{DueShard, TenantId},
};
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};

use super::{MAX_ATTEMPTS, TenantsTable, TransactionResult, pause, still_busy, transact, with_timeout, write};
use crate::{
    attributes::{self, Item, key, n, s},
    errors::AwsError,
};

const RECORD: &str = "outbox";

impl TenantsTable {
    /// Writes all items and the announcement, or nothing. With an announcement it times out, since the audit event has to be
    /// stored before its window is read.
    pub(super) async fn transact_and_announce(
        &self,
        items: Vec<TransactWriteItem>,
        announcement: Option<&Announcement>,
        doing: &str,
    ) -> Result<Conditional, Failure> {
        match announcement {
            None => transact(&self.client, &items, doing).await.map(Conditional::from),
            Some(announcement) => {
                with_timeout(self.write_timeout, doing, self.announce(&items, announcement, doing)).await
            }
        }
    }

    async fn announce(
        &self,
        change: &[TransactWriteItem],
        Announcement { event, notification, final_deliveries }: &Announcement,
        doing: &str,
    ) -> Result<Conditional, Failure> {
        let leaving = final_deliveries.iter().map(|after| self.put_final_deliveries(&event.tenant, after));
        let change: Vec<_> = change.iter().cloned().chain(leaving).collect();
        let mut event = self.events.puts(event).to_vec();
        let mut attempt = 1;
        loop {
            let mut items = change.clone();
            if let Some(notification) = notification {
                items.push(self.outbox_update(notification, doing).await?);
            }
            let event_index = items.len();
            items.extend_from_slice(&event);
            let failed = match transact(&self.client, &items, doing).await? {
                TransactionResult::Written => return Ok(Conditional::Written),
                TransactionResult::ConditionFailed(failed) => failed,
            };
            let mut indexes = failed.iter().map(|(index, _)| *index);
            if indexes.clone().any(|index| index < change.len()) {
                return Ok(Conditional::ConditionFailed);
            }
            // The event's id is known, so the event was recorded before. Write the rest without it.
            if indexes.clone().any(|index| index >= event_index) {
                event.clear();
            }
            // Another transaction has changed the outbox meanwhile.
            if indexes.any(|index| index < event_index) {
                if attempt >= MAX_ATTEMPTS {
                    return Err(still_busy(doing));
                }
                pause(attempt).await;
                attempt += 1;
            }
        }
    }

    /// The update that adds a notification to its tenant's outbox, on the condition that no other is added first.
    async fn outbox_update(&self, notification: &Notification, doing: &str) -> Result<TransactWriteItem, Failure> {
        let tenant = &notification.tenant;
        let stored = self.outbox_item(tenant, doing).await?;
        let mut outbox = attributes::outbox(tenant, &stored);
        let addition = outbox.addition(notification);
        outbox.add(addition.clone());
        let Addition { entry, dropped } = addition;
        let text = s(to_text(&entry));
        let mut names = HashMap::from([("#sequence".to_owned(), "sequence".to_owned())]);
        let mut values = HashMap::from([
            (":next".to_owned(), n(outbox.sequence)),
            (":shard".to_owned(), s(DueShard::from_tenant(tenant).to_string())),
        ]);
        let (set, entry) = if attributes::entries(&stored).is_some() {
            names.insert("#id".to_owned(), entry.id);
            ("entries.#id", text)
        } else {
            ("entries", AttributeValue::M(Item::from([(entry.id, text)])))
        };
        values.insert(":entry".to_owned(), entry);
        let mut update = format!("SET {set} = :entry, #sequence = :next, pending_shard = :shard");
        if let Some(dropped) = dropped {
            tracing::error!(tenant = %tenant, id = dropped, "the outbox is full, and its oldest notification is dropped");
            update.push_str(", dropped = :dropped REMOVE entries.#dropped");
            values.insert(":dropped".to_owned(), n(outbox.dropped));
            names.insert("#dropped".to_owned(), dropped);
        }
        let condition = match stored.get("sequence") {
            None => "attribute_not_exists(#sequence)",
            Some(sequence) => {
                values.insert(":read".to_owned(), sequence.clone());
                "#sequence = :read"
            }
        };
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, RECORD)))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values));
        // `build` can't fail: the update has all required fields. Without one, DynamoDB would refuse the whole transaction.
        Ok(TransactWriteItem::builder().set_update(update.build().ok()).build())
    }

    /// Reads the record `outbox` consistently; it is empty if there is none.
    pub(super) async fn outbox_item(&self, tenant: &TenantId, doing: &str) -> Result<Item, Failure> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(tenant, RECORD)));
        let output = get.consistent_read(true).send().await;
        let output = output.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure(doing))?;
        Ok(output.item.unwrap_or_default())
    }

    /// Removes entries of an outbox. Without entries, the outbox leaves the index `pending`.
    pub(super) async fn remove_entries(
        &self,
        tenant: &TenantId,
        as_read: &Outbox,
        ids: &[String],
    ) -> Result<(), Failure> {
        const DOING: &str = "published notifications were removed from the outbox";
        let names = || ids.iter().enumerate().map(|(at, id)| (format!("#id{at}"), id.clone()));
        let paths: Vec<String> = names().map(|(name, _)| format!("entries.{name}")).collect();
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, RECORD)))
            .set_expression_attribute_names(Some(names().collect()));
        let mut left = as_read.clone();
        left.remove(ids);
        if left.is_empty() {
            let all =
                paths.iter().map(String::as_str).chain(["pending_shard", "dropped"]).collect::<Vec<_>>().join(", ");
            let last = update
                .clone()
                .update_expression(format!("REMOVE {all}"))
                .condition_expression("#sequence = :read")
                .expression_attribute_names("#sequence", "sequence")
                .expression_attribute_values(":read", n(as_read.sequence));
            if write(DOING, || last.clone().send()).await? == Conditional::Written {
                return Ok(());
            }
        }
        if paths.is_empty() {
            return Ok(());
        }
        // Entries are left, or were added meanwhile. Without the map there is nothing to remove.
        let some = update
            .update_expression(format!("REMOVE {}", paths.join(", ")))
            .condition_expression("attribute_type(entries, :map)")
            .expression_attribute_values(":map", s("M"));
        write(DOING, || some.clone().send()).await.map(|_| ())
    }
}
