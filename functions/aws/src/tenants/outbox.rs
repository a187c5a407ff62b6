//! Changes that are announced: the tenant's audit event and its notification are written in the transaction that makes the
//! change.

use std::collections::HashMap;

use audit_log_core::{
    failure::Failure,
    notification::Notification,
    outbox::{Addition, Announcement, Outbox, to_text},
    ports::Conditional,
    tenant::{DueShard, TenantId},
};
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};

use super::{MAX_ATTEMPTS, TenantsTable, Transacted, pause, still_busy, transact, within, write};
use crate::{
    attributes::{self, Item, key, n, s},
    errors::AwsError,
};

const RECORD: &str = "outbox";

impl TenantsTable {
    /// Writes all or nothing, and with it what announces the change. If its audit event takes too long, all of it is given up.
    pub(super) async fn transact_and_announce(
        &self,
        items: Vec<TransactWriteItem>,
        announcement: Option<&Announcement>,
        doing: &str,
    ) -> Result<Conditional, Failure> {
        match announcement {
            None => transact(&self.client, &items, doing).await.map(Conditional::from),
            Some(announcement) => within(self.within, doing, self.announce(&items, announcement, doing)).await,
        }
    }

    async fn announce(
        &self,
        change: &[TransactWriteItem],
        Announcement { event, notification }: &Announcement,
        doing: &str,
    ) -> Result<Conditional, Failure> {
        let mut event = self.events.puts(event).to_vec();
        let mut tried = 1;
        loop {
            let mut items = change.to_vec();
            if let Some(notification) = notification {
                items.push(self.addition(notification, doing).await?);
            }
            let of_event = items.len();
            items.extend_from_slice(&event);
            let failed = match transact(&self.client, &items, doing).await? {
                Transacted::Written => return Ok(Conditional::Written),
                Transacted::Refused(failed) => failed,
            };
            let mut indexes = failed.iter().map(|(index, _)| *index);
            if indexes.clone().any(|index| index < change.len()) {
                return Ok(Conditional::ConditionFailed);
            }
            // An event whose id is known was recorded before: the rest is written without it.
            if indexes.clone().any(|index| index >= of_event) {
                event.clear();
            }
            // Another transaction has added to the outbox meanwhile.
            if indexes.any(|index| index < of_event) {
                if tried >= MAX_ATTEMPTS {
                    return Err(still_busy(doing));
                }
                pause(tried).await;
                tried += 1;
            }
        }
    }

    /// What adds a notification to its tenant's outbox as it is now, unless another one is added first.
    async fn addition(&self, notification: &Notification, doing: &str) -> Result<TransactWriteItem, Failure> {
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
            (":shard".to_owned(), s(DueShard::of(tenant).to_string())),
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
        // It has all that its builder asks for; should it not, DynamoDB refuses the whole transaction.
        Ok(TransactWriteItem::builder().set_update(update.build().ok()).build())
    }

    /// The record `outbox` of a tenant, read consistently; empty if there is none.
    pub(super) async fn outbox_item(&self, tenant: &TenantId, doing: &str) -> Result<Item, Failure> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(tenant, RECORD)));
        let answer = get.consistent_read(true).send().await;
        let answer = answer.map_err(|error| AwsError::of(&error).from_dynamodb(doing))?;
        Ok(answer.item.unwrap_or_default())
    }

    /// Removes entries of an outbox; with the last of them, it leaves the index `pending`.
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
        // Something is left, or was added meanwhile. Without the map there is nothing to remove.
        let some = update
            .update_expression(format!("REMOVE {}", paths.join(", ")))
            .condition_expression("attribute_type(entries, :map)")
            .expression_attribute_values(":map", s("M"));
        write(DOING, || some.clone().send()).await.map(|_| ())
    }
}
