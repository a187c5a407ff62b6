//! The mapping as data: `functions/schema/ocsf.json`.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{VERSION, class::Class, native::Members, quoted};
use crate::{member_names, tenant::Invalid};

/// Every action of a log type that has no entry of its own.
const ANY: &str = "*";

/// Which class an action is of, and what to find where.
#[derive(Debug)]
pub struct Mapping {
    /// The members of `metadata` that all events have, as an object.
    pub(super) origin: String,
    /// JSON.
    pub(super) product_name: String,
    pub(super) addresses: Vec<Path>,
    log_types: HashMap<String, HashMap<String, Entry>>,
    /// An action without an entry.
    other: Entry,
    /// An event without an action.
    pub(super) unknown: Entry,
}

/// How the events of an action are written.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) class: Class,
    /// JSON; none for `Other`, where the action itself is the name.
    activity_name: Option<String>,
    /// The first members, which are the same in all events.
    pub(super) head: String,
    /// The same of an event that lacks what the class requires.
    pub(super) base_head: String,
    pub(super) object: Object,
    /// Whether the account is the actor's if the event names none.
    pub(super) is_own: bool,
    /// JSON.
    pub(super) object_type: String,
    pub(super) scan_type: u8,
}

/// What an action is done to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Object {
    r#type: Option<String>,
    pub(super) uid: Vec<Path>,
    pub(super) name: Vec<Path>,
    pub(super) email: Vec<Path>,
}

/// Names of members, from `additionalInfo` inwards. Written `client/ipAddress`.
#[derive(Debug, Clone)]
pub(super) struct Path(Vec<String>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Data {
    product: Product,
    addresses: Vec<Path>,
    log_types: BTreeMap<String, LogType>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    name: String,
    vendor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogType {
    #[serde(default)]
    object: Object,
    actions: BTreeMap<String, Action>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Action {
    class: Class,
    activity: String,
    #[serde(default)]
    severity: Severity,
    status: Option<Status>,
    scan_type: Option<ScanType>,
    object: Option<Object>,
    r#else: Option<Else>,
}

/// Whose account is changed if the event names none.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Else {
    Actor,
}

/// The ids of `severity_id`.
#[derive(Clone, Copy, Default, Deserialize)]
enum Severity {
    #[default]
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
    Critical = 5,
    Fatal = 6,
}

/// The ids of `status_id`.
#[derive(Clone, Copy, Deserialize)]
enum Status {
    Success = 1,
    Failure = 2,
}

/// The ids of `type_id` of <https://schema.ocsf.io/1.8.0/objects/scan>, as far as they fit a product's scans.
#[derive(Clone, Copy, Deserialize)]
enum ScanType {
    Manual = 1,
    Scheduled = 2,
}

impl Mapping {
    /// Parses the form of `functions/schema/ocsf.json`.
    ///
    /// # Errors
    /// If the text has another form, or a class doesn't have an activity.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let invalid = |reason: String| Invalid(format!("the OCSF mapping {reason}"));
        let data: Data = serde_json::from_str(text).map_err(|error| invalid(format!("can't be read: {error}")))?;
        if let Some(repeated) = member_names::find_repeated(text) {
            return Err(invalid(format!("is ambiguous: {repeated}")));
        }
        let Data { product, addresses, log_types: data } = data;
        if product.name.is_empty() {
            return Err(invalid("has a product without a name".to_owned()));
        }
        if data.contains_key(ANY) {
            return Err(invalid(format!("has the log type {ANY:?}: name each log type")));
        }
        let mut log_types = HashMap::new();
        for (log_type, LogType { object, actions }) in data {
            let mut entries = HashMap::new();
            for (name, action) in actions {
                let entry = Entry::new(action, &object, &product.name)
                    .map_err(|reason| invalid(format!("is wrong for {name:?} of {log_type:?}: {reason}")))?;
                entries.insert(name, entry);
            }
            log_types.insert(log_type, entries);
        }
        let name = quoted(&product.name);
        let vendor = product.vendor.as_deref().map(|vendor| format!(r#","vendor_name":{}"#, quoted(vendor)));
        Ok(Self {
            origin: format!(r#"{{"version":"{VERSION}","product":{{"name":{name}{}}}}}"#, vendor.unwrap_or_default()),
            product_name: name,
            addresses,
            log_types,
            other: Entry::base_event("Other"),
            unknown: Entry::base_event("Unknown"),
        })
    }

    /// Returns how an event of that log type and action is written.
    pub(super) fn entry(&self, log_type: Option<&str>, action: Option<&str>) -> &Entry {
        let Some(action) = action else { return &self.unknown };
        let actions = log_type.and_then(|log_type| self.log_types.get(log_type));
        actions.and_then(|actions| actions.get(action).or_else(|| actions.get(ANY))).unwrap_or(&self.other)
    }

    #[cfg(test)]
    pub(super) fn actions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.log_types
            .iter()
            .flat_map(|(log_type, actions)| actions.keys().map(move |action| (log_type.as_str(), action.as_str())))
    }
}

impl Entry {
    fn new(action: Action, default: &Object, product: &str) -> Result<Self, String> {
        let Action { class, activity, severity, status, scan_type, object, r#else } = action;
        let caption = class.caption();
        let Some(id) = class.activity(&activity) else {
            return Err(format!("the class {caption:?} has no activity {activity:?}"));
        };
        if scan_type.is_some() && class != Class::ScanActivity {
            return Err(format!("the class {caption:?} has no scanType"));
        }
        if r#else.is_some() && class != Class::AccountChange {
            return Err(format!("the class {caption:?} has no else"));
        }
        let object = object.unwrap_or_else(|| default.clone());
        if class == Class::AccountChange && r#else.is_none() && object.paths().next().is_none() {
            return Err(format!("the class {caption:?} needs an object with a place, or \"else\": \"actor\""));
        }
        let object_type = match (&object.r#type, class) {
            (Some(name), _) => name,
            (None, Class::EntityManagement | Class::ScanActivity) => {
                return Err(format!("the class {caption:?} needs an object with a type"));
            }
            (None, _) => product,
        };
        if object_type.is_empty() {
            return Err("the object's type is empty".to_owned());
        }
        Ok(Self {
            class,
            activity_name: (id != 99).then(|| quoted(&activity)),
            head: head(class, id, severity, status),
            base_head: head(Class::BaseEvent, 99, severity, status),
            object_type: quoted(object_type),
            object,
            is_own: r#else.is_some(),
            scan_type: scan_type.map_or(0, |scan_type| scan_type as u8),
        })
    }

    fn base_event(activity: &str) -> Self {
        let id = Class::BaseEvent.activity(activity).unwrap_or_default();
        let head = head(Class::BaseEvent, id, Severity::default(), None);
        Self {
            class: Class::BaseEvent,
            activity_name: (id == 0).then(|| quoted(activity)),
            base_head: head.clone(),
            head,
            object: Object::default(),
            is_own: false,
            object_type: String::new(),
            scan_type: 0,
        }
    }

    /// The activity's name as JSON, in an event of that class. Where OCSF has no name for it, it is the action's own.
    pub(super) fn activity_name(&self, class: Class) -> Option<&str> {
        self.activity_name.as_deref().filter(|_| class == self.class)
    }
}

/// The members that class and activity determine. `type_uid` is `class_uid * 100 + activity_id`, by
/// <https://schema.ocsf.io/1.8.0/classes/base_event>.
fn head(class: Class, activity: u32, severity: Severity, status: Option<Status>) -> String {
    let (uid, category, caption, severity) = (class.uid(), class.category_uid(), class.caption(), severity as u8);
    let type_uid = uid * 100 + activity;
    let status = status.map(|status| format!(r#","status_id":{}"#, status as u8)).unwrap_or_default();
    format!(
        r#""category_uid":{category},"class_uid":{uid},"class_name":"{caption}","type_uid":{type_uid},"severity_id":{severity}{status},"activity_id":{activity}"#
    )
}

impl Object {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.uid.iter().chain(&self.name).chain(&self.email)
    }

    /// Whether `additionalInfo` names it, by whatever value.
    pub(super) fn is_named_in(&self, info: &Members<'_>) -> bool {
        self.paths().any(|path| info.find(path).is_some_and(|value| value != "null"))
    }
}

impl std::ops::Deref for Path {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names: Vec<String> = String::deserialize(deserializer)?.split('/').map(str::to_owned).collect();
        if names.iter().any(String::is_empty) {
            return Err(D::Error::custom("a member's name is empty"));
        }
        Ok(Self(names))
    }
}
