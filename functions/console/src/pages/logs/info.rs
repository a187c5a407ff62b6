//! Additional info in one line: platforms put into it whatever they like.

use serde_json::{Map, Value};

/// `ip 203.0.113.7 · mfa true · scan.id 17`. What changed is shown as this system tells it in its own events, from one
/// value to another: `bucket acme → acme-audit`. What isn't JSON stays as it is.
pub(super) fn in_one_line(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::Object(members)) => {
            let mut parts = Vec::new();
            collect("", &members, &mut parts);
            parts.join(" · ")
        }
        Ok(other) => value(&other),
        Err(_) => json.to_owned(),
    }
}

fn collect(path: &str, members: &Map<String, Value>, parts: &mut Vec<String>) {
    for (name, member) in members {
        let name = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match member {
            Value::Null => {}
            Value::Object(change) if is_change(change) => parts.push(format!("{name} {}", value(member))),
            Value::Object(members) => collect(&name, members, parts),
            member => parts.push(format!("{name} {}", value(member))),
        }
    }
}

fn is_change(members: &Map<String, Value>) -> bool {
    members.len() == 2 && members.contains_key("from") && members.contains_key("to")
}

/// A value without a name of its own; of an object in a list, only its members' values.
fn value(of: &Value) -> String {
    let joined = |values: Vec<String>, by: &str| {
        values.into_iter().filter(|value| !value.is_empty()).collect::<Vec<_>>().join(by)
    };
    match of {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => joined(items.iter().map(value).collect(), ", "),
        Value::Object(change) if is_change(change) => {
            let side = |name: &str| change.get(name).map(value).filter(|text| !text.is_empty());
            let or_nothing = |side: Option<String>| side.unwrap_or_else(|| "–".to_owned());
            format!("{} → {}", or_nothing(side("from")), or_nothing(side("to")))
        }
        Value::Object(members) => joined(members.values().map(value).collect(), " "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inside_of_what_is_read_without_braces() {
        for (json, line) in [
            (
                r#"{"ip":"203.0.113.7","mfa":true,"note":null,"scan":{"id":17}}"#,
                "ip 203.0.113.7 · mfa true · scan.id 17",
            ),
            (
                r#"{"changes":{"bucket":{"from":null,"to":"acme"},"prefix":{"from":"a","to":""}},"exportsFrom":"today"}"#,
                "changes.bucket – → acme · changes.prefix a → – · exportsFrom today",
            ),
            (
                r#"{"steps":[{"step":"region","status":"passed","code":null},{"step":"put_object","status":"failed"}]}"#,
                "steps region passed, put_object failed",
            ),
            (r#"{"tags":["a",["b",2]]}"#, "tags a, b, 2"),
            ("{}", ""),
            (r#""as it is""#, "as it is"),
            ("no JSON", "no JSON"),
            ("", ""),
        ] {
            assert_eq!(in_one_line(json), line);
        }
    }
}
