//! Takes a native event apart, without parsing its values.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A native event. All texts are JSON, as they stand in it.
#[derive(Debug, Default)]
pub(super) struct NativeEvent<'a> {
    /// A whole number is in quotes here, and under `unmapped` as it is.
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) date: Option<&'a str>,
    pub(super) log_type: Option<&'a str>,
    pub(super) action: Option<&'a str>,
    pub(super) user: OcsfUser<'a>,
    pub(super) info: Option<&'a str>,
    /// The members that no attribute holds as they are, with `additionalInfo`.
    pub(super) unmapped: Vec<(&'a str, &'a str)>,
}

impl<'a> NativeEvent<'a> {
    /// Returns none if the line is no JSON object.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        let Members(members) = serde_json::from_str(line).ok()?;
        let mut event = Self::default();
        for (name, value) in members {
            let place = match text(name).as_deref() {
                Some("id") => {
                    event.id = id(value);
                    if !is_text(value) {
                        event.unmapped.push((name, value));
                    }
                    continue;
                }
                Some("date") => &mut event.date,
                Some("logType") => &mut event.log_type,
                Some("action") => &mut event.action,
                Some("user") => {
                    let (user, is_whole) = OcsfUser::parse(value);
                    event.user = user;
                    if !is_whole {
                        event.unmapped.push((name, value));
                    }
                    continue;
                }
                other => {
                    if other == Some("additionalInfo") {
                        event.info = Some(value);
                    }
                    event.unmapped.push((name, value));
                    continue;
                }
            };
            if place.is_none() && is_text(value) {
                *place = Some(value);
            } else {
                event.unmapped.push((name, value));
            }
        }
        Some(event)
    }
}

/// OCSF's object `user`. Its texts are JSON.
#[derive(Debug, Default)]
pub(super) struct OcsfUser<'a> {
    uid: Option<Cow<'a, str>>,
    name: Option<&'a str>,
    email: Option<&'a str>,
}

impl<'a> OcsfUser<'a> {
    /// Leaves out an address that OCSF doesn't take for one.
    pub(super) fn new(uid: Option<Cow<'a, str>>, name: Option<&'a str>, email: Option<&'a str>) -> Self {
        Self { uid, name, email: email.filter(|email| text(email).is_some_and(|text| is_email(&text))) }
    }

    /// Returns the user as far as it is known, and whether that is all of it.
    fn parse(json: &'a str) -> (Self, bool) {
        let Ok(members) = serde_json::from_str::<Members<'a>>(json) else { return (Self::default(), false) };
        let [uid, name, email] = ["id", "name", "email"].map(|name| members.member(name));
        let text = |value: Option<&'a str>| value.filter(|value| is_text(value));
        let user = Self::new(uid.and_then(id), text(name), text(email));
        let unchanged = [text(uid), user.name, user.email].iter().flatten().count();
        let is_whole = unchanged == members.0.len() && (user.uid.is_some() || user.name.is_some());
        (user, is_whole)
    }

    /// Returns the object, which requires `uid` or `name` (<https://schema.ocsf.io/1.8.0/objects/user>). An address
    /// alone is the name, too.
    pub(super) fn to_json(&self) -> Option<String> {
        let name = self.name.or(self.email.filter(|_| self.uid.is_none()));
        if self.uid.is_none() && name.is_none() {
            return None;
        }
        let mut json = super::JsonObject::with_capacity(128);
        for (member, value) in [("uid", self.uid.as_deref()), ("name", name), ("email_addr", self.email)] {
            if let Some(value) = value {
                json.member(member, value);
            }
        }
        Some(json.finish())
    }
}

/// The type `email_t` of OCSF 1.8.0: `^[a-zA-Z0-9!#$%&'*+-/=?^_`{|}~.]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+$`, where `+-/` is a
/// range.
fn is_email(text: &str) -> bool {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+,-./=?^_`{|}~".contains(&byte);
    let Some((local, (domain, rest))) =
        text.split_once('@').and_then(|(local, host)| Some((local, host.split_once('.')?)))
    else {
        return false;
    };
    [local, domain, rest].iter().all(|part| !part.is_empty())
        && local.bytes().all(is_local)
        && domain.bytes().all(is_host)
        && rest.bytes().all(|byte| is_host(byte) || byte == b'.')
}

/// The members of a JSON object in their order: names and values as they are written.
#[derive(Debug, Default)]
pub(super) struct Members<'a>(pub(super) Vec<(&'a str, &'a str)>);

impl<'a> Members<'a> {
    /// The members of an object; none of any other JSON.
    pub(super) fn parse(json: &'a str) -> Self {
        serde_json::from_str(json).unwrap_or_default()
    }

    /// Returns the value at a path, from the outermost name inwards.
    pub(super) fn find(&self, path: &[String]) -> Option<&'a str> {
        let (first, rest) = path.split_first()?;
        let value = self.member(first)?;
        rest.iter().try_fold(value, |value, name| Members::parse(value).member(name))
    }

    fn member(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| is_named(other, name)).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push((name.get(), value.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

/// Whether a JSON string stands for a text. Escapes only make it longer, so that most others differ in their length.
fn is_named(json: &str, name: &str) -> bool {
    let [escaped, plain] = [json.len(), name.len() + 2];
    (escaped == plain || escaped > plain && json.contains('\\')) && text(json).as_deref() == Some(name)
}

fn is_text(json: &str) -> bool {
    json.starts_with('"')
}

/// Returns an id as a JSON string: a text as it is written, or a whole number in quotes.
pub(super) fn id(json: &str) -> Option<Cow<'_, str>> {
    let is_whole_number = || json.strip_prefix('-').unwrap_or(json).bytes().all(|byte| byte.is_ascii_digit());
    if is_text(json) { Some(Cow::Borrowed(json)) } else { is_whole_number().then(|| Cow::Owned(format!("\"{json}\""))) }
}

/// Returns the text that a JSON string stands for; none of any other JSON, and of half a character.
pub(super) fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}
