//! The issuer's public keys (RFC 7517, RFC 7518), and which of them a token's signature is verified with.
//!
//! A key that can't be used is skipped and logged, so that it doesn't disable the others: one of another type, one that
//! is too short, one for encryption, and one that is not public.

mod download;
#[cfg(test)]
mod tests;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use reqwest::Url;
use serde::Deserialize as _;
use serde_json::Value;

use crate::{strict, token_error::TokenError};
use download::DownloadedKeys;

/// By RFC 7518, section 3.3.
const MIN_RSA_BITS: usize = 2048;

#[derive(Debug)]
pub(crate) enum Keys {
    Fixed(KeySet),
    Downloaded(Box<DownloadedKeys>),
}

impl Keys {
    /// # Errors
    /// If TLS is not available.
    pub(crate) fn downloaded(url: Url) -> Result<Self, reqwest::Error> {
        Ok(Self::Downloaded(Box::new(DownloadedKeys::new(url)?)))
    }

    /// Returns the one key that fits.
    ///
    /// # Errors
    /// If none fits, if several do, or if no current keys are available.
    pub(crate) async fn find(&self, query: KeyQuery<'_>, now: DateTime<Utc>) -> Result<DecodingKey, TokenError> {
        match self {
            Self::Fixed(set) => set.find(query),
            Self::Downloaded(keys) => keys.find(query, now).await,
        }
    }

    /// Returns the one key that fits, after a download if keys are downloaded.
    ///
    /// # Errors
    /// As [`Keys::find`].
    pub(crate) async fn refresh_and_find(
        &self,
        query: KeyQuery<'_>,
        now: DateTime<Utc>,
    ) -> Result<DecodingKey, TokenError> {
        match self {
            Self::Fixed(set) => set.find(query),
            Self::Downloaded(keys) => keys.refresh_and_find(query, now).await,
        }
    }
}

/// What a token's header says of its key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyQuery<'a> {
    /// The header `kid`.
    pub id: Option<&'a str>,
    /// The header `alg`, one of the trusted ones.
    pub algorithm: Algorithm,
}

/// Never empty.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<Key>);

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum KeySetError {
    #[error("not a JSON Web Key Set")]
    Malformed,
    #[error("no usable key")]
    NoUsableKey,
}

impl KeySet {
    /// # Errors
    /// If the text is not a JSON Web Key Set, or has no usable key.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let set = strict::parse_object(text).map_err(|_| KeySetError::Malformed)?;
        let entries = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
        let usable = |entry| match Key::parse(entry) {
            Ok(key) => Some(key),
            Err(reason) => {
                tracing::warn!(kid = entry["kid"].as_str(), reason, "key of the token issuer skipped");
                None
            }
        };
        let keys: Vec<Key> = entries.iter().filter_map(usable).collect();
        if keys.is_empty() { Err(KeySetError::NoUsableKey) } else { Ok(Self(keys)) }
    }

    /// Returns the one key that has the id and fits the algorithm. Without an id, all keys are candidates.
    pub(crate) fn find(&self, query: KeyQuery<'_>) -> Result<DecodingKey, TokenError> {
        let has_id = |key: &&Key| query.id.is_none() || query.id == key.id.as_deref();
        let mut candidates = self.0.iter().filter(has_id).peekable();
        if candidates.peek().is_none() {
            return Err(TokenError::UnknownKey);
        }
        let mut suitable = candidates.filter(|key| key.algorithms.contains(&query.algorithm));
        match (suitable.next(), suitable.next()) {
            (Some(key), None) => Ok(key.public.clone()),
            _ => Err(TokenError::UnsuitableKey),
        }
    }
}

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// The algorithms that its type allows; the only one that its owner uses it with, if the key names it.
    algorithms: Vec<Algorithm>,
    public: DecodingKey,
}

impl Key {
    /// Reads one entry of a set, or says why it can't be used.
    fn parse(entry: &Value) -> Result<Self, &'static str> {
        if !entry["d"].is_null() {
            return Err("private key; its owner must replace it");
        }
        // The library also takes an object for a name, as serde does for an enum.
        if ["kty", "crv", "alg"].iter().any(|name| !entry[name].is_null() && !entry[name].is_string()) {
            return Err("a member has the wrong type");
        }
        let key = Jwk::deserialize(entry).map_err(|_| "a member has the wrong type")?;
        if key.common.public_key_use.as_ref().is_some_and(|it| *it != PublicKeyUse::Signature) {
            return Err("not for signatures");
        }
        if key.common.key_operations.as_ref().is_some_and(|them| !them.contains(&KeyOperations::Verify)) {
            return Err("not for verification");
        }
        // The library doesn't check that a coordinate has its curve's length: 32 bytes are 43 characters, 48 are 64.
        let mut algorithms = match &key.algorithm {
            AlgorithmParameters::RSA(rsa) if modulus_bits(&rsa.n) < MIN_RSA_BITS => {
                return Err("RSA key of less than 2048 bits");
            }
            AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms().to_vec(),
            AlgorithmParameters::EllipticCurve(ec) => match (&ec.curve, ec.x.len(), ec.y.len()) {
                (EllipticCurve::P256, 43, 43) => vec![Algorithm::ES256],
                (EllipticCurve::P384, 64, 64) => vec![Algorithm::ES384],
                _ => return Err("unknown curve, or a coordinate of the wrong length"),
            },
            AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 && okp.x.len() == 43 => {
                vec![Algorithm::EdDSA]
            }
            _ => return Err("unknown or symmetric type of key, or a part is missing"),
        };
        if let Some(only) = key.common.key_algorithm {
            // A key for another algorithm of its type is usable, and fits no token of the others.
            let only = Algorithm::try_from(only).ok().filter(|it| it.family() != AlgorithmFamily::Hmac);
            let only = only.ok_or("for an algorithm that is never trusted")?;
            algorithms.retain(|algorithm| *algorithm == only);
        }
        let public = DecodingKey::from_jwk(&key).map_err(|_| "a part is not base64")?;
        Ok(Self { id: key.common.key_id, algorithms, public })
    }
}

/// The length of a modulus without its leading zeros; 0 if it is not base64.
fn modulus_bits(encoded: &str) -> usize {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).unwrap_or_default();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros).map_or(0, |first| (bytes.len() - zeros) * 8 - first.leading_zeros() as usize)
}
