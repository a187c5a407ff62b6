//! The rules of the published schema, by hand: a validator of any schema takes long to compile and to start. The tests hold
//! each of these rules against such a validator.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{
    MARK,
    catalogue::{self, MAX_NAME_CHARS},
};
use crate::member_names::pointer;

/// Returns what is wrong where, in the order of the schema's members. Of the event itself, only the names of members are
/// repeated.
pub(super) fn reasons(event: &Value) -> Vec<String> {
    let mut reasons = Reasons(Vec::new());
    let Some(event) = reasons.object("", Some(event)) else { return reasons.0 };
    if let Some(id) = reasons.text("/id", event.get("id"))
        && !is_id(id)
    {
        reasons.add("/id", "has 1 to 128 letters, digits or any of _.:-, and does not begin with system:");
    }
    let log_type = reasons.name("/logType", event.get("logType"));
    if log_type.is_some_and(catalogue::is_reserved) {
        reasons.add("/logType", "is reserved for this system's own events; choose another one");
    }
    reasons.name("/action", event.get("action"));
    let user = reasons.required("/user", event.get("user"));
    if let Some(user) = reasons.object("/user", user) {
        let id = reasons.required("/user/id", user.get("id"));
        reasons.bounded("/user/id", id, 1..=256);
        reasons.bounded("/user/name", user.get("name"), 0..=256);
        reasons.bounded("/user/email", user.get("email"), 0..=320);
        reasons.unknown("/user", user, &["id", "name", "email"]);
    }
    if let Some(info) = reasons.object("/additionalInfo", event.get("additionalInfo"))
        && let Some(name) = info.keys().find(|name| name.eq_ignore_ascii_case(MARK))
    {
        reasons.add(&format!("/additionalInfo/{name}"), "is the recorder's own; give the member another name");
    }
    reasons.unknown("", event, &["id", "logType", "action", "user", "additionalInfo"]);
    reasons.0
}

struct Reasons(Vec<String>);

impl Reasons {
    fn add(&mut self, place: &str, rule: &str) {
        let place = if place.is_empty() { "the event" } else { place };
        self.0.push(format!("{place} {rule}"));
    }

    fn required<'a>(&mut self, place: &str, value: Option<&'a Value>) -> Option<&'a Value> {
        if value.is_none() {
            self.add(place, "is required");
        }
        value
    }

    fn object<'a>(&mut self, place: &str, value: Option<&'a Value>) -> Option<&'a Map<String, Value>> {
        let object = value?.as_object();
        if object.is_none() {
            self.add(place, "must be of type object");
        }
        object
    }

    fn text<'a>(&mut self, place: &str, value: Option<&'a Value>) -> Option<&'a str> {
        let text = value?.as_str();
        if text.is_none() {
            self.add(place, "must be of type string");
        }
        text
    }

    fn bounded<'a>(&mut self, place: &str, value: Option<&'a Value>, limits: RangeInclusive<usize>) -> Option<&'a str> {
        let text = self.text(place, value)?;
        let length = text.chars().count();
        if length < *limits.start() {
            self.add(place, "must not be empty");
        }
        if length > *limits.end() {
            self.add(place, &format!("has {} characters at most", limits.end()));
        }
        Some(text)
    }

    /// Checks a log type or an action.
    fn name<'a>(&mut self, place: &str, value: Option<&'a Value>) -> Option<&'a str> {
        let value = self.required(place, value);
        let name = self.bounded(place, value, 1..=MAX_NAME_CHARS)?;
        if name.contains(is_invisible) {
            self.add(place, "must not have control or invisible characters");
        }
        Some(name)
    }

    fn unknown(&mut self, place: &str, members: &Map<String, Value>, known: &[&str]) {
        if let Some(name) = members.keys().find(|name| !known.contains(&name.as_str())) {
            let rule = "is not known here; put additional data under /additionalInfo";
            self.add(&format!("{place}/{}", pointer(name)), rule);
        }
    }
}

fn is_id(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(is_allowed) && !text.starts_with("system:")
}

pub(super) fn is_invisible(character: char) -> bool {
    matches!(character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
