//! Tests of storing a notification with its change while others are stored, and of removing it.

use std::{collections::BTreeMap, time::Duration};

use audit_log_core::{
    notification::{Kind, Notification},
    outbox::{MAX_ENTRIES, to_text},
};
use serde_json::json;

use super::*;

/// A save has two items, followed by the entry of the outbox, the event and the marker of its id.
const OUTBOX: usize = 2;
const EVENT: usize = 3;

fn entry(id: &str, kind: Kind, sequence: u64) -> Notification {
    let Some(notification) = announcement().notification else { panic!("none") };
    Notification { kind, id: id.to_owned(), sequence, ..notification }
}

/// A response to GetItem with an outbox.
fn stored(sequence: u64, entries: &[Notification]) -> Reply {
    let entries: BTreeMap<_, _> = entries.iter().map(|it| (it.id.clone(), json!({ "S": to_text(it) }))).collect();
    let item =
        json!({ "entries": { "M": entries }, "sequence": { "N": sequence.to_string() }, "dropped": { "N": "4" } });
    Reply::ok(json!({ "Item": item }).to_string())
}

fn none_stored() -> Reply {
    Reply::ok("{}")
}

/// The update of the outbox in a save, with this outbox stored.
async fn outbox_update(stored: Reply) -> Value {
    let aws = Aws::new().on("GetItem", [stored]).on("TransactWriteItems", [Reply::ok("{}")]);
    assert_eq!(save(&aws).await, Ok(Conditional::Written));
    assert_eq!(aws.operations(), ["GetItem", "TransactWriteItems"]);
    let body: Value = serde_json::from_str(&aws.sent("GetItem")[0].body).unwrap();
    assert_eq!((&body["ConsistentRead"], &body["Key"]["record"]["S"]), (&true.into(), &"outbox".into()));
    let update = transactions(&aws)[0][OUTBOX]["Update"].clone();
    assert_eq!(update["Key"], json!({ "tenant_id": { "S": "acme" }, "record": { "S": "outbox" } }));
    update
}

fn text_of(sequence: u64) -> String {
    to_text(&entry("01K", Kind::Disconnected, sequence))
}

#[tokio::test(start_paused = true)]
async fn the_first_notification_makes_the_map_and_the_next_is_added_to_it() {
    let first = outbox_update(none_stored()).await;
    assert_eq!(first["UpdateExpression"], "SET entries = :entry, #sequence = :next, pending_shard = :shard");
    assert_eq!(first["ConditionExpression"], "attribute_not_exists(#sequence)");
    assert_eq!(
        first["ExpressionAttributeValues"],
        json!({ ":entry": { "M": { "01K": { "S": text_of(1) } } }, ":next": { "N": "1" }, ":shard": { "S": "8" } })
    );
    // All earlier entries are published.
    let next = outbox_update(stored(7, &[])).await;
    assert_eq!(next["UpdateExpression"], "SET entries.#id = :entry, #sequence = :next, pending_shard = :shard");
    assert_eq!(next["ConditionExpression"], "#sequence = :read");
    assert_eq!(next["ExpressionAttributeNames"], json!({ "#id": "01K", "#sequence": "sequence" }));
    let values = json!({
        ":entry": { "S": text_of(8) }, ":next": { "N": "8" }, ":shard": { "S": "8" }, ":read": { "N": "7" },
    });
    assert_eq!(next["ExpressionAttributeValues"], values);
}

#[tokio::test(start_paused = true)]
async fn a_full_outbox_makes_room_in_the_same_write() {
    let full = |replaced: &str| -> Vec<Notification> {
        let id = |n: usize| if n == 0 { replaced.to_owned() } else { format!("n{n}") };
        (0..MAX_ENTRIES).map(|n| entry(&id(n), Kind::Failed, n as u64 + 1)).collect()
    };
    let update = outbox_update(stored(100, &full("oldest"))).await;
    assert_eq!(
        update["UpdateExpression"],
        "SET entries.#id = :entry, #sequence = :next, pending_shard = :shard, dropped = :dropped REMOVE entries.#dropped"
    );
    assert_eq!(update["ExpressionAttributeNames"]["#dropped"], "oldest");
    assert_eq!(update["ExpressionAttributeValues"][":dropped"], json!({ "N": "5" }));
    // DynamoDB would refuse an expression that sets and removes the same path.
    let same_id = outbox_update(stored(100, &full("01K"))).await;
    let expression = same_id["UpdateExpression"].as_str().unwrap();
    assert!(expression.contains("entries.#id = :entry") && !expression.contains("REMOVE"), "{expression}");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_outbox_delays_no_change() {
    let item = json!({ "entries": { "S": "no map" }, "sequence": { "S": "no number" } });
    let update = outbox_update(Reply::ok(json!({ "Item": item }).to_string())).await;
    assert_eq!(update["UpdateExpression"], "SET entries = :entry, #sequence = :next, pending_shard = :shard");
    assert_eq!(update["ExpressionAttributeValues"][":read"], json!({ "S": "no number" }));
}

#[tokio::test(start_paused = true)]
async fn a_notification_follows_one_that_was_added_meanwhile() {
    let lost_to_another = ["None", "None", "ConditionalCheckFailed", "None", "None"];
    let others = [entry("other", Kind::Failed, 1)];
    let aws = Aws::new()
        .on("GetItem", [none_stored(), stored(1, &others)])
        .on("TransactWriteItems", [cancelled(&lost_to_another), Reply::ok("{}")]);
    assert_eq!(save(&aws).await, Ok(Conditional::Written));
    let [first, second] = &transactions(&aws)[..] else { panic!("{:?}", aws.operations()) };
    let next = |items: &[Value]| items[OUTBOX]["Update"]["ExpressionAttributeValues"][":next"]["N"].clone();
    assert_eq!((next(first), next(second)), ("1".into(), "2".into()));
    assert_eq!((&first[..OUTBOX], &first[EVENT..]), (&second[..OUTBOX], &second[EVENT..]), "all else is the same");

    let forever = Aws::new().on("GetItem", [none_stored()]).on("TransactWriteItems", [cancelled(&lost_to_another)]);
    assert_eq!(save(&forever).await.map_err(|failure| failure.code), Err(Code::Throttled));
    assert_eq!(forever.sent("TransactWriteItems").len(), ADAPTER_ATTEMPTS);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_was_recorded_before_is_left_out_but_not_its_notification() {
    let recorded = ["None", "None", "None", "None", "ConditionalCheckFailed"];
    let both = ["None", "None", "ConditionalCheckFailed", "None", "ConditionalCheckFailed"];
    for reasons in [recorded, both] {
        let aws =
            Aws::new().on("GetItem", [none_stored()]).on("TransactWriteItems", [cancelled(&reasons), Reply::ok("{}")]);
        assert_eq!(save(&aws).await, Ok(Conditional::Written));
        let sent = transactions(&aws);
        assert_eq!((sent[0].len(), &sent[1][..]), (5, &sent[0][..EVENT]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_condition_fails_is_not_announced() {
    for reasons in [
        ["ConditionalCheckFailed", "None", "None", "None", "None"],
        ["ConditionalCheckFailed", "None", "None", "None", "ConditionalCheckFailed"],
        ["None", "ConditionalCheckFailed", "ConditionalCheckFailed", "None", "None"],
    ] {
        let aws = Aws::new().on("GetItem", [none_stored()]).on("TransactWriteItems", [cancelled(&reasons)]);
        assert_eq!(save(&aws).await, Ok(Conditional::ConditionFailed), "{reasons:?}");
        assert_eq!(aws.operations(), ["GetItem", "TransactWriteItems"], "{reasons:?}");
    }
}

/// Its event could get into a window that was read already.
#[tokio::test(start_paused = true)]
async fn a_change_whose_event_takes_too_long_times_out() {
    let conflict = cancelled(&["None", "None", "ConditionalCheckFailed", "None", "None"]);
    for aws in [
        Aws::new().on("GetItem", [none_stored()]).on("TransactWriteItems", [conflict, Reply::Silence]),
        Aws::new().on("GetItem", [Reply::Silence]),
    ] {
        let start_time = tokio::time::Instant::now();
        assert_eq!(save(&aws).await.map_err(|failure| failure.code), Err(Code::Unavailable));
        assert!(start_time.elapsed() <= Duration::from_secs(31), "{:?}", start_time.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_without_a_notification_leaves_the_outbox_alone() {
    let tenant = config(Draft::default()).tenant;
    let announcement = Announcement { notification: None, ..announcement() };
    let batch = "{\"Responses\":{\"tenants\":[]},\"UnprocessedKeys\":{}}";
    let aws = Aws::new().on("BatchGetItem", [Reply::ok(batch)]).on("TransactWriteItems", [Reply::ok("{}")]);
    assert_eq!(table(&aws).save_check(&tenant, None, &checked(), Some(&announcement)).await, Ok(Conditional::Written));
    assert_eq!(aws.operations(), ["BatchGetItem", "TransactWriteItems"]);
    assert_eq!(transactions(&aws)[0].len(), 5, "three items of the check, the event and its marker");
}

/// The expressions and conditions that a removal sends.
async fn removal(as_read: &Outbox, ids: &[&str], replies: [Reply; 2]) -> Vec<(String, String)> {
    let aws = Aws::new().on("UpdateItem", replies);
    let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    assert_eq!(table(&aws).remove_published(&config(Draft::default()).tenant, as_read, &ids).await, Ok(()));
    let expressions = |sent: &stub::Sent| {
        let body: Value = serde_json::from_str(&sent.body).unwrap();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(body["ExpressionAttributeNames"][format!("#id{at}")], *id);
        }
        (text("UpdateExpression"), text("ConditionExpression"))
    };
    aws.sent("UpdateItem").iter().map(expressions).collect()
}

#[tokio::test(start_paused = true)]
async fn an_outbox_leaves_the_index_with_its_last_entry_unless_another_was_added() {
    let entries = vec![entry("a", Kind::Failed, 6), entry("b", Kind::Recovered, 7)];
    let outbox = Outbox { sequence: 7, entries, ..Outbox::default() };
    let succeed = || [Reply::ok("{}"), Reply::ok("{}")];
    let condition_fails = || [Reply::dynamodb(400, "ConditionalCheckFailedException", ""), Reply::ok("{}")];
    let all = ("REMOVE entries.#id0, entries.#id1, pending_shard, dropped".to_owned(), "#sequence = :read".to_owned());
    let is_map = "attribute_type(entries, :map)".to_owned();
    let both = ("REMOVE entries.#id0, entries.#id1".to_owned(), is_map.clone());
    assert_eq!(removal(&outbox, &["a", "b"], succeed()).await, std::slice::from_ref(&all));
    assert_eq!(removal(&outbox, &["a", "b"], condition_fails()).await, [all, both.clone()]);
    assert_eq!(removal(&outbox, &["a"], succeed()).await, [("REMOVE entries.#id0".to_owned(), is_map)]);
    let damaged = Outbox { unreadable: vec!["c".to_owned()], ..outbox };
    assert_eq!(removal(&damaged, &["a", "b"], succeed()).await, [both], "an operator has to find the damage");
}
