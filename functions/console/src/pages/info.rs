//! The additional info of an event: in one line, and as a list.

use askama::Template;
use serde_json::{Map, Value};

use super::text::{shown, weight};

/// What a member tells, by its name. In this order, members are shown in one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Outcome,
    Reason,
    Target,
    Address,
    Other,
    /// Ids that only programs compare.
    Technical,
    UserAgent,
}

/// Names in lower case, without separators. Platforms choose the names, so these are those that are common.
const ROLES: [(Role, &[&str]); 6] = [
    (
        Role::Outcome,
        &["outcome", "result", "status", "success", "succeeded", "passed", "allowed", "decision", "errorcode"],
    ),
    (Role::Reason, &["reason", "cause", "error", "errormessage", "message", "failurereason"]),
    (
        Role::Target,
        &[
            "target",
            "targetid",
            "targetname",
            "resource",
            "resourceid",
            "resourcename",
            "object",
            "objectid",
            "rolearn",
        ],
    ),
    (Role::Address, &["ip", "ipaddress", "sourceip", "sourceipaddress", "clientip", "remoteip", "remoteaddress"]),
    (Role::Technical, &["tokenid", "sessionid", "requestid", "traceid", "correlationid"]),
    (Role::UserAgent, &["useragent", "browser", "client"]),
];

impl Role {
    pub(super) fn of(name: &str) -> Self {
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        ROLES.iter().find(|(_, names)| names.contains(&name.as_str())).map_or(Self::Other, |(role, _)| *role)
    }
}

/// `ip 203.0.113.7 · mfa true · scan.id 17`, with what tells most first. A change, an object of `from` and `to` as system
/// events have it, becomes `bucket acme → acme-audit`. What isn't JSON stays as it is.
pub(super) fn one_line(json: &str) -> String {
    match serde_json::from_str(json) {
        Ok(Value::Object(members)) => {
            let mut parts = Vec::new();
            collect("", &members, &mut parts);
            parts.sort_by_key(|(role, _)| *role);
            parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(" · ")
        }
        Ok(other) => value(&other),
        Err(_) => json.to_owned(),
    }
}

fn collect(path: &str, members: &Map<String, Value>, parts: &mut Vec<(Role, String)>) {
    for (name, member) in members {
        let role = Role::of(name);
        let name = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        match member {
            Value::Null => {}
            Value::Object(change) if is_change(change) => parts.push((role, format!("{name} {}", value(member)))),
            Value::Object(members) => collect(&name, members, parts),
            member => parts.push((role, format!("{name} {}", value(member)))),
        }
    }
}

fn is_change(members: &Map<String, Value>) -> bool {
    members.len() == 2 && members.contains_key("from") && members.contains_key("to")
}

/// A value without its name. An object in a list becomes its members' values.
pub(super) fn value(of: &Value) -> String {
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

/// How much of a value, and how many members of all levels a list shows, and the bytes that it may add to the page.
const MAX_VALUE_CHARS: usize = 500;
const MAX_MEMBERS: usize = 120;
const MAX_LIST_BYTES: usize = 8_000;

/// About how many bytes a member adds beside its name and value.
const MARKUP_BYTES: usize = 60;

/// Deeper values are shown in one line.
const MAX_DEPTH: usize = 5;

/// Names and values, with those of an inner object below its name.
#[derive(Default, Template)]
#[template(path = "members.html")]
pub(super) struct Members(Vec<Member>);

struct Member {
    name: String,
    text: String,
    nested: Option<Members>,
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What may still be listed.
struct Budget {
    members: usize,
    bytes: usize,
}

impl Budget {
    /// False if nothing more fits.
    fn takes(&mut self, member: &Member) -> bool {
        let bytes = MARKUP_BYTES + weight(&member.name) + weight(&member.text);
        match (self.members.checked_sub(1), self.bytes.checked_sub(bytes)) {
            (Some(members), Some(bytes)) => {
                (self.members, self.bytes) = (members, bytes);
                true
            }
            _ => {
                (self.members, self.bytes) = (0, 0);
                false
            }
        }
    }
}

/// Returns the members as a list, and whether the list has them all.
pub(super) fn list<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>) -> (Members, bool) {
    let mut budget = Budget { members: MAX_MEMBERS, bytes: MAX_LIST_BYTES };
    let list = take(&mut members.map(|(name, member)| (name.clone(), member)), 1, &mut budget);
    (list, budget.members > 0)
}

fn take(members: &mut dyn Iterator<Item = (String, &Value)>, depth: usize, budget: &mut Budget) -> Members {
    let mut taken = Vec::new();
    for (name, of) in members {
        let has_parts = match of {
            Value::Object(parts) => !parts.is_empty() && !is_change(parts),
            Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
            _ => false,
        };
        let is_nested = has_parts && depth < MAX_DEPTH;
        let text = if is_nested { String::new() } else { shown(&value(of), MAX_VALUE_CHARS) };
        let text = if text.is_empty() && !is_nested { "–".to_owned() } else { text };
        let mut member = Member { name: shown(&name, 80), text, nested: None };
        if !budget.takes(&member) {
            break;
        }
        if is_nested {
            member.nested = Some(match of {
                Value::Object(parts) => {
                    let mut named = parts.iter().map(|(name, part)| (name.clone(), part));
                    take(&mut named, depth + 1, budget)
                }
                Value::Array(items) => {
                    let mut numbered = items.iter().zip(1_usize..).map(|(item, number)| (number.to_string(), item));
                    take(&mut numbered, depth + 1, budget)
                }
                _ => Members::default(),
            });
        }
        taken.push(member);
    }
    Members(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_info_is_one_line_without_braces() {
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
            assert_eq!(one_line(json), line);
        }
    }

    #[test]
    fn what_tells_most_comes_first_and_the_user_agent_last() {
        let json = r#"{"userAgent":"Mozilla/5.0","token_id":"t","mfa":true,"source-ip":"203.0.113.7","target":"db",
            "auth":{"reason":"wrong password"},"Outcome":"failed"}"#;
        let expected = "Outcome failed · auth.reason wrong password · target db · source-ip 203.0.113.7 · mfa true · \
            token_id t · userAgent Mozilla/5.0";
        assert_eq!(one_line(json), expected);
    }

    #[test]
    fn a_list_keeps_the_order_nests_and_is_bounded() {
        let info: Value = serde_json::from_str(
            r#"{"b":1,"a":{"x":[1,2],"y":{"from":"1","to":null}},"steps":[{"step":"region"}],"none":null,"empty":{}}"#,
        )
        .unwrap();
        let (members, is_whole) = list(info.as_object().unwrap().iter());
        let html = members.render().unwrap().replace("<bdi>", "").replace("</bdi>", "");
        assert!(is_whole);
        let expected = "<dl class=\"members\"><div><dt>b</dt><dd>1</dd></div>\
            <div><dt>a</dt><dd><dl class=\"members\"><div><dt>x</dt><dd>1, 2</dd></div><div><dt>y</dt><dd>1 → –</dd></div></dl></dd></div>\
            <div><dt>steps</dt><dd><dl class=\"members\"><div><dt>1</dt><dd><dl class=\"members\"><div><dt>step</dt><dd>region</dd></div></dl></dd></div></dl></dd></div>\
            <div><dt>none</dt><dd>–</dd></div><div><dt>empty</dt><dd>–</dd></div></dl>";
        assert_eq!(html, expected);
        let hostile = Value::Array(vec![Value::String("<".repeat(400)); 300]);
        let nested = (0..40).fold(hostile, |inner, _| serde_json::json!({ "a": inner, "b": "語".repeat(900) }));
        for value in [nested, serde_json::json!({ "a": vec![serde_json::json!({ "x": "<" }); 500] })] {
            let (members, _) = list(value.as_object().unwrap().iter());
            let html = members.render().unwrap();
            assert!(html.len() < MAX_LIST_BYTES + 8_000, "{}", html.len());
        }
    }
}
