//! The published schema of notifications, against which this crate's tests check each notification that the fakes store.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::notification::{Notification, SOURCE};

static CLOSED: LazyLock<Validator> = LazyLock::new(|| {
    let mut schema: Value = serde_json::from_str(include_str!("../../../schema/notifications.json")).unwrap();
    close(&mut schema["$defs"]);
    jsonschema::draft202012::new(&schema).unwrap()
});

/// Refuses members that the schema doesn't name. As published it accepts them, since more may be added.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.contains_key("allOf") {
                members.insert("unevaluatedProperties".to_owned(), false.into());
            } else if members.get("type").is_some_and(|it| it == "object") && members.contains_key("properties") {
                members.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// What is wrong with a notification by the published schema, if members that it doesn't name are refused.
pub(crate) fn schema_errors(notification: &Notification) -> Vec<String> {
    let detail_type = notification.kind.detail_type();
    let event = json!({ "source": SOURCE, "detail-type": detail_type, "detail": notification.detail() });
    CLOSED.iter_errors(&event).map(|error| format!("{}: {error}", error.instance_path())).collect()
}
