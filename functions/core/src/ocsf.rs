//! Writes events in OCSF 1.8.0, the Open Cybersecurity Schema Framework, from the lines of a native export.
//!
//! The mapping is data (`functions/schema/ocsf.json`): which class an action is of, and which members of `additionalInfo` name
//! what it was done to. Nothing is lost: each member of the native event stands in one attribute exactly as it was, or under
//! `unmapped`. Values are copied as text and not parsed, so that numbers keep their digits and texts their escapes.
//! docs/ocsf.md says what is where.

mod class;
mod mapping;
mod native;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
pub(crate) mod tests;

use std::{fmt::Write as _, net::IpAddr};

use chrono::DateTime;

use crate::tenant::TenantId;

use class::Class;
use mapping::Entry;
use native::{Members, NativeEvent, OcsfUser, id, text};

pub use mapping::Mapping;

/// The version of the schema that events are written in.
pub const VERSION: &str = "1.8.0";

/// Of `ip_t` in OCSF's dictionary of types.
const MAX_ADDRESS_CHARS: usize = 40;

impl Mapping {
    /// Returns the OCSF event of one line of a native export, on one line too.
    ///
    /// An event that lacks what its class requires is a Base Event, and so is an action without an entry. An event whose date is no
    /// instant has the time at which it was recorded.
    pub fn event(&self, tenant: &TenantId, line: &str, recorded_at: Option<&str>) -> String {
        let parsed = NativeEvent::parse(line);
        // The export writes nothing else.
        let is_object = parsed.is_some();
        let event = parsed.unwrap_or_default();
        let entry = self.entry(event.log_type.and_then(text).as_deref(), event.action.and_then(text).as_deref());
        let actor = event.user.to_json();
        let details = self.details(entry, &event, actor.as_deref());
        let (class, head) = match details {
            Some(_) => (entry.class, &entry.head),
            None => (Class::BaseEvent, &entry.base_head),
        };

        let mut json = JsonObject::with_capacity(line.len() + head.len() + 512);
        json.text.push_str(head);
        match (event.action, entry.activity_name(class)) {
            (_, Some(activity)) => json.member("activity_name", activity),
            (Some(action), None) => json.member("activity_name", action),
            (None, None) => {}
        }
        let date = event.date.and_then(text);
        let time = date.as_deref().and_then(epoch_millis).or_else(|| recorded_at.and_then(epoch_millis));
        json.number("time", time.unwrap_or_default());
        if let Some(action) = event.action {
            json.member("message", action);
        }
        json.open("metadata");
        json.append(&self.origin);
        json.member("tenant_uid", &quoted(tenant.as_str()));
        for (name, value) in [
            ("uid", event.id.as_deref()),
            ("log_name", event.log_type),
            ("event_code", event.action),
            ("original_time", event.date),
        ] {
            if let Some(value) = value {
                json.member(name, value);
            }
        }
        if actor.is_some() && !class.has_actor() {
            json.member("profiles", r#"["host"]"#);
        }
        json.close();
        if let Some(actor) = &actor {
            json.open("actor");
            json.member("user", actor);
            json.close();
        }
        json.append(details.as_deref().unwrap_or_default());
        if !event.unmapped.is_empty() {
            json.open("unmapped");
            for (name, value) in &event.unmapped {
                json.quoted_member(name, value);
            }
            json.close();
        }
        if !is_object {
            json.member("raw_data", &quoted(line));
        }
        json.finish()
    }

    /// Returns the members that the class has beyond those of a Base Event, or none if a required one is missing.
    fn details(&self, entry: &Entry, event: &NativeEvent<'_>, actor: Option<&str>) -> Option<String> {
        let mut json = JsonObject::with_capacity(256);
        if entry.class == Class::BaseEvent {
            return Some(json.finish());
        }
        let info = event.info.map(Members::parse).unwrap_or_default();
        let mut paths = self.addresses.iter().filter(|_| entry.class.has_source());
        let address = paths.find_map(|path| info.find(path).filter(|value| is_address(value)));
        let uid = entry.object.uid.iter().find_map(|path| info.find(path).and_then(id));
        let [name, email] = [&entry.object.name, &entry.object.email]
            .map(|paths| paths.iter().find_map(|path| info.find(path).filter(|value| value.starts_with('"'))));
        match entry.class {
            Class::BaseEvent => {}
            Class::Authentication => {
                json.member("user", actor?);
                json.open("service");
                json.member("name", &self.product_name);
                json.close();
            }
            Class::AccountChange if entry.is_own && !entry.object.is_named_in(&info) => json.member("user", actor?),
            Class::AccountChange => json.member("user", &OcsfUser::new(uid, name, email).to_json()?),
            Class::EntityManagement => {
                json.open("entity");
                json.member("type", &entry.object_type);
                // "Other": https://schema.ocsf.io/1.8.0/objects/managed_entity
                json.number("type_id", 99);
                json.identity(uid.as_deref(), name, &entry.object_type);
                json.close();
            }
            Class::ScanActivity => {
                json.open("scan");
                json.number("type_id", entry.scan_type.into());
                json.identity(uid.as_deref(), name, &entry.object_type);
                json.close();
            }
            Class::ApplicationLifecycle => {
                json.open("app");
                json.member("name", &entry.object_type);
                json.close();
            }
            Class::ApiActivity => {
                // Both are required, and written for every class that has them.
                actor.and(address)?;
                json.open("api");
                json.member("operation", event.action?);
                json.close();
            }
        }
        if let Some(address) = address {
            json.open("src_endpoint");
            json.member("ip", address);
            json.close();
        }
        Some(json.finish())
    }
}

/// Milliseconds since 1970, of a date as the recorder stamps it or another one of RFC 3339.
fn epoch_millis(date: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(date).ok()?.timestamp_millis())
}

fn is_address(json: &str) -> bool {
    text(json).is_some_and(|text| text.len() <= MAX_ADDRESS_CHARS && text.parse::<IpAddr>().is_ok())
}

/// Writes a text as JSON.
fn quoted(text: &str) -> String {
    // Serializing a text into memory can't fail.
    serde_json::to_string(text).unwrap_or_default()
}

/// A JSON object that is being written. Values are JSON.
struct JsonObject {
    text: String,
}

impl JsonObject {
    fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self { text }
    }

    fn finish(mut self) -> String {
        self.close();
        self.text
    }

    fn open(&mut self, name: &str) {
        self.member(name, "{");
    }

    fn close(&mut self) {
        self.text.push('}');
    }

    fn member(&mut self, name: &str, value: &str) {
        self.separate();
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
        self.text.push_str(value);
    }

    fn quoted_member(&mut self, name: &str, value: &str) {
        self.separate();
        self.text.push_str(name);
        self.text.push(':');
        self.text.push_str(value);
    }

    fn number(&mut self, name: &str, value: i64) {
        self.member(name, "");
        let _ = write!(self.text, "{value}");
    }

    /// `uid` and `name` as far as they are known, and another name if neither is.
    fn identity(&mut self, uid: Option<&str>, name: Option<&str>, other: &str) {
        if let Some(uid) = uid {
            self.member("uid", uid);
        }
        if let Some(name) = name.or(uid.is_none().then_some(other)) {
            self.member("name", name);
        }
    }

    /// Appends the members of another object.
    fn append(&mut self, object: &str) {
        let members = object.strip_prefix('{').and_then(|object| object.strip_suffix('}')).unwrap_or_default();
        if !members.is_empty() {
            self.separate();
            self.text.push_str(members);
        }
    }

    fn separate(&mut self) {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
    }
}
