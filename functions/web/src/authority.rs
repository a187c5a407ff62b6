//! From an access token (RFC 7519) to who is asking, or why not.
//!
//! The order matters: nothing that a token says of itself is believed before its signature is the issuer's, but for
//! the two things that say how to check it. Of these the algorithm has to be pinned by the settings *and* fit the key,
//! and the key is one of the issuer's. Keys that a token brings along are never looked at.

mod claims;
mod config;
mod refusal;
#[cfg(test)]
mod tests;

use audit_log_core::deployment::ConfigError;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::crypto;
use serde_json::{Map, Value};

pub(crate) use self::config::parse_algorithm;
pub use self::{
    claims::{Actor, Permissions, Verified},
    config::{Algorithm, AuthorityConfig, KeySource},
    refusal::Refusal,
};
use crate::{
    keys::{KeySet, Keys, Wanted},
    strict,
};

/// In bytes; whoever needs more puts too much into tokens.
const MAX_TOKEN_BYTES: usize = 8 << 10;

/// Decides whose tokens count.
#[derive(Debug)]
pub struct Authority {
    config: AuthorityConfig,
    keys: Keys,
}

impl Authority {
    /// From settings. Keys that have to be downloaded are so with the first token.
    ///
    /// # Errors
    /// If keys are given that are not a JSON Web Key Set with one usable key at least, or there is no TLS.
    pub fn new(config: AuthorityConfig) -> Result<Self, ConfigError> {
        let keys = match &config.keys {
            KeySource::Inline(text) => KeySet::parse(text.as_bytes())
                .map(Keys::Fixed)
                .map_err(|error| ConfigError::new("TOKEN_JWKS", format!("can't be used: {error}")))?,
            KeySource::Url(url) => Keys::downloaded(url.clone())
                .map_err(|error| ConfigError::new("TOKEN_JWKS_URL", format!("can't be used: {error}")))?,
        };
        Ok(Self { config, keys })
    }

    /// Reads a token, which is to be good at `now`.
    ///
    /// # Errors
    /// If it does not count, or that can't be found out.
    pub async fn authenticate(&self, token: &str, now: DateTime<Utc>) -> Result<Verified, Refusal> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refusal::Malformed("it is too long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Malformed("it has no signature"))?;
        let (header, claims) = signed.split_once('.').ok_or(Refusal::Malformed("it has no claims"))?;
        let header = part(header)?;
        if header.contains_key("crit") {
            return Err(Refusal::Malformed("it demands an extension"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(parse_algorithm);
        let algorithm = algorithm.filter(|it| self.config.algorithms.contains(it)).ok_or(Refusal::Algorithm)?;
        let id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.as_str()),
            Some(_) => return Err(Refusal::Malformed("kid is not a text")),
        };
        let wanted = Wanted { id, algorithm };
        // A signature that is not even base64 is an error here, and no less wrong.
        let signed_with = |key| crypto::verify(signature, signed.as_bytes(), &key, algorithm).unwrap_or(false);
        let mut good = signed_with(self.keys.find(wanted, now).await?);
        if !good && id.is_none() {
            // An issuer that doesn't name its keys may have changed the only one.
            good = signed_with(self.keys.find_anew(wanted, now).await?);
        }
        if !good {
            return Err(Refusal::Signature);
        }
        claims::read(part(claims)?, &self.config, now)
    }
}

/// One of the two JSON objects of a token.
fn part(encoded: &str) -> Result<Map<String, Value>, Refusal> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Refusal::Malformed("it is not base64"))?;
    strict::object(&bytes).map_err(|_| Refusal::Malformed("it is not a JSON object that says each thing once"))
}
