//! The issuer's public keys, by RFC 7517 and RFC 7518: which of them a token can have been signed with.
//!
//! A key that can't be used (of another kind, too short, for encryption, or one that its owner should have kept secret)
//! is passed over and logged, so that it doesn't spoil the others.

mod download;
#[cfg(test)]
mod tests;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use reqwest::Url;
use serde_json::Value;

use crate::{
    authority::{Refusal, parse_algorithm},
    strict,
};
use download::Download;

/// In bits; by RFC 7518, section 3.3.
const MIN_RSA_BITS: usize = 2048;

/// Where keys come from.
#[derive(Debug)]
pub(crate) enum Keys {
    /// They never change.
    Fixed(KeySet),
    /// They are looked up, and change.
    Downloaded(Box<Download>),
}

impl Keys {
    /// Keys from a URL.
    ///
    /// # Errors
    /// If there is no TLS to fetch them with.
    pub(crate) fn downloaded(url: Url) -> Result<Self, reqwest::Error> {
        Ok(Self::Downloaded(Box::new(Download::new(url)?)))
    }

    /// The one key that a token can have been signed with.
    ///
    /// # Errors
    /// If there is none, more than one, or no telling.
    pub(crate) async fn find(&self, wanted: Wanted<'_>, now: DateTime<Utc>) -> Result<DecodingKey, Refusal> {
        match self {
            Self::Fixed(set) => set.find(wanted),
            Self::Downloaded(download) => download.find(wanted, now).await,
        }
    }

    /// The same, after looking for newer keys, where they can change.
    ///
    /// # Errors
    /// As [`Keys::find`].
    pub(crate) async fn find_anew(&self, wanted: Wanted<'_>, now: DateTime<Utc>) -> Result<DecodingKey, Refusal> {
        match self {
            Self::Fixed(set) => set.find(wanted),
            Self::Downloaded(download) => download.find_anew(wanted, now).await,
        }
    }
}

/// What a token says of its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The header `kid`.
    pub id: Option<&'a str>,
    /// The header `alg`, one of those that are trusted.
    pub algorithm: Algorithm,
}

/// Keys that belong together; never empty.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<Key>);

/// Why a text is not a set of keys.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum NotAKeySet {
    #[error("it is not a JSON Web Key Set")]
    Shape,
    #[error("it has no key that can be used")]
    NoUsableKey,
}

impl KeySet {
    /// # Errors
    /// If the text is not a JSON Web Key Set, or has no key that can be used.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, NotAKeySet> {
        let set = strict::object(text).map_err(|_| NotAKeySet::Shape)?;
        let entries = set.get("keys").and_then(Value::as_array).ok_or(NotAKeySet::Shape)?;
        let usable = |entry| match Key::parse(entry) {
            Ok(key) => Some(key),
            Err(reason) => {
                tracing::warn!(kid = entry["kid"].as_str(), reason, "a key of the token issuer's is passed over");
                None
            }
        };
        let keys: Vec<Key> = entries.iter().filter_map(usable).collect();
        if keys.is_empty() { Err(NotAKeySet::NoUsableKey) } else { Ok(Self(keys)) }
    }

    /// The one key of that id, or without one the only key, that suits the algorithm.
    pub(crate) fn find(&self, wanted: Wanted<'_>) -> Result<DecodingKey, Refusal> {
        let named = |key: &&Key| wanted.id.is_none() || wanted.id == key.id.as_deref();
        let mut named = self.0.iter().filter(named).peekable();
        if named.peek().is_none() {
            return Err(Refusal::UnknownKey);
        }
        let mut suitable = named.filter(|key| key.suits(wanted.algorithm));
        match (suitable.next(), suitable.next()) {
            (Some(key), None) => Ok(key.public.clone()),
            _ => Err(Refusal::UnsuitableKey),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    kind: Kind,
    /// The only algorithm that its owner uses it with, where they say so.
    only: Option<Algorithm>,
    public: DecodingKey,
}

impl Key {
    /// One entry of a set, or why it can't be used.
    fn parse(entry: &Value) -> Result<Self, &'static str> {
        let text = |name: &str| match &entry[name] {
            Value::Null => Ok(None),
            value => value.as_str().map(Some).ok_or("a member is not a text"),
        };
        if !entry["d"].is_null() {
            return Err("it is a private key, which its owner must replace");
        }
        if text("use")?.is_some_and(|it| it != "sig") {
            return Err("it is not for signatures");
        }
        let operations = &entry["key_ops"];
        if !operations.is_null() && !operations.as_array().is_some_and(|them| them.contains(&"verify".into())) {
            return Err("it is not for verifying");
        }
        let only = match text("alg")? {
            Some(name) => Some(parse_algorithm(name).ok_or("it is for an algorithm that is never trusted")?),
            None => None,
        };
        let bytes = |name: &str| {
            let decoded = text(name)?.and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok());
            decoded.ok_or("a part of it is missing or not base64")
        };
        let sized = |name: &str, length: usize| match bytes(name)? {
            bytes if bytes.len() == length => Ok(bytes),
            _ => Err("a part of it has not the curve's length"),
        };
        let (kind, public) = match (text("kty")?, text("crv")?) {
            (Some("RSA"), _) => (Kind::Rsa, rsa(&bytes("n")?, &bytes("e")?)?),
            (Some("EC"), Some("P-256")) => (Kind::P256, point(&sized("x", 32)?, &sized("y", 32)?)),
            (Some("EC"), Some("P-384")) => (Kind::P384, point(&sized("x", 48)?, &sized("y", 48)?)),
            (Some("OKP"), Some("Ed25519")) => (Kind::Ed25519, DecodingKey::from_ed_der(&sized("x", 32)?)),
            _ => return Err("it is of a kind that is not known here"),
        };
        Ok(Self { id: text("kid")?.map(ToOwned::to_owned), kind, only, public })
    }

    fn suits(&self, algorithm: Algorithm) -> bool {
        let fits = match self.kind {
            Kind::Rsa => algorithm.family() == AlgorithmFamily::Rsa,
            Kind::P256 => algorithm == Algorithm::ES256,
            Kind::P384 => algorithm == Algorithm::ES384,
            Kind::Ed25519 => algorithm == Algorithm::EdDSA,
        };
        fits && self.only.is_none_or(|only| only == algorithm)
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<DecodingKey, &'static str> {
    let first = modulus.iter().position(|byte| *byte != 0).unwrap_or(modulus.len());
    let zeros = modulus.get(first).map_or(0, |byte| byte.leading_zeros() as usize);
    if (modulus.len() - first) * 8 - zeros < MIN_RSA_BITS {
        return Err("it is an RSA key of less than 2048 bits");
    }
    Ok(DecodingKey::from_rsa_raw_components(modulus, exponent))
}

/// By SEC 1, section 2.3.3: an uncompressed point.
fn point(x: &[u8], y: &[u8]) -> DecodingKey {
    DecodingKey::from_ec_der(&[&[4], x, y].concat())
}
