//! Items of any shape, as DynamoDB writes them in JSON.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// An item's attributes by their names.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct RawItem(Members<Attribute>);

impl RawItem {
    pub(super) fn is_empty(&self) -> bool {
        self.0.0.is_empty()
    }

    /// The text of an attribute, or the digits of a number; `None` for any other type.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.of_type(name, "S").or_else(|| self.of_type(name, "N"))
    }

    /// The text of an attribute of type S.
    pub(super) fn string(&self, name: &str) -> Option<&str> {
        self.of_type(name, "S")
    }

    fn of_type(&self, name: &str, wanted: &str) -> Option<&str> {
        match self.0.0.get(name) {
            Some(Attribute { r#type, value: Any(value) }) if r#type == wanted => value.as_str(),
            _ => None,
        }
    }

    /// Sorted by name, so that the same item always gives the same bytes.
    pub(super) fn into_json(self) -> Value {
        let attribute = |Attribute { r#type, value: Any(value) }| Value::from_iter([(r#type, value)]);
        Value::from_iter(self.0.0.into_iter().map(|(name, value)| (name, attribute(value))))
    }
}

/// An attribute with its type's name. The type may be one that this version doesn't know.
#[derive(Debug)]
struct Attribute {
    r#type: String,
    value: Any,
}

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Members(mut types) = Members::deserialize(deserializer)?;
        match (types.pop_first(), types.is_empty()) {
            (Some((r#type, value)), true) => Ok(Self { r#type, value }),
            _ => Err(D::Error::custom("an attribute has one type")),
        }
    }
}

/// The members of an object without duplicate names.
#[derive(Debug)]
struct Members<T>(BTreeMap<String, T>);

impl<T> Members<T> {
    fn read<'de, A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error>
    where
        T: Deserialize<'de>,
    {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is duplicate"));
            }
        }
        Ok(Self(members))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Members::read(map)
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// Any JSON without duplicate names.
#[derive(Debug)]
struct Any(Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = Any;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Any, E> {
                Ok(Any(value.into()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Any, E> {
                Ok(Any(value.into()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Any, E> {
                Ok(Any(value.into()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Any, E> {
                Ok(Any(value.into()))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Any, E> {
                Ok(Any(value.into()))
            }

            fn visit_unit<E: Error>(self) -> Result<Any, E> {
                Ok(Any(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Any, A::Error> {
                let mut list = Vec::new();
                while let Some(Any(value)) = elements.next_element()? {
                    list.push(value);
                }
                Ok(Any(Value::Array(list)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Any, A::Error> {
                let Members(members) = Members::<Any>::read(map)?;
                Ok(Any(Value::from_iter(members.into_iter().map(|(name, Any(value))| (name, value)))))
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}
