//! Verifies access tokens (RFC 7519): who is calling, for which tenant, with which permissions.
//!
//! The order matters. Until the signature is verified, only the headers `alg` and `kid` are used, to find the key. The
//! settings must allow the algorithm, and the key must be one of the issuer's and fit the algorithm. Keys that a token
//! brings along are ignored.

mod claims;
mod config;
#[cfg(test)]
mod tests;

use audit_log_core::deployment::ConfigError;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::crypto;
use serde_json::{Map, Value};

use self::config::parse_algorithm;
pub use self::{
    claims::{Actor, Permissions, VerifiedToken},
    config::{Algorithm, KeySource, TokenConfig},
};
use crate::{
    keys::{KeyQuery, KeySet, Keys},
    strict,
    token_error::TokenError,
};

const MAX_TOKEN_BYTES: usize = 8 << 10;

/// Verifies tokens with the issuer's keys.
#[derive(Debug)]
pub struct TokenVerifier {
    config: TokenConfig,
    keys: Keys,
}

impl TokenVerifier {
    /// Keys with a URL are downloaded when the first token comes.
    ///
    /// # Errors
    /// If inline keys are not a JSON Web Key Set with at least one usable key, or if TLS is not available.
    pub fn new(config: TokenConfig) -> Result<Self, ConfigError> {
        let keys = match &config.keys {
            KeySource::Inline(text) => KeySet::parse(text.as_bytes())
                .map(Keys::Fixed)
                .map_err(|error| ConfigError::new("TOKEN_JWKS", format!("can't be used: {error}")))?,
            KeySource::Url(url) => Keys::downloaded(url.clone())
                .map_err(|error| ConfigError::new("TOKEN_JWKS_URL", format!("can't be used: {error}")))?,
        };
        Ok(Self { config, keys })
    }

    /// Verifies a token, which must be valid at `now`.
    ///
    /// # Errors
    /// If the token is not valid, or if no current keys are available.
    pub async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<VerifiedToken, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed("too long"));
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed("no signature"))?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed("no claims"))?;
        let header = decode_part(header)?;
        if header.contains_key("crit") {
            return Err(TokenError::Malformed("an extension is required"));
        }
        if header.get("typ").is_some_and(|it| !is_access_token(it)) {
            return Err(TokenError::WrongType);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(parse_algorithm);
        let algorithm =
            algorithm.filter(|it| self.config.algorithms.contains(it)).ok_or(TokenError::UntrustedAlgorithm)?;
        let id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.as_str()),
            Some(_) => return Err(TokenError::Malformed("kid is not a string")),
        };
        let query = KeyQuery { id, algorithm };
        // A signature that is not base64 is an error here, and counts as a wrong one.
        let is_signed_with = |key| crypto::verify(signature, signed.as_bytes(), &key, algorithm).unwrap_or(false);
        let mut is_valid = is_signed_with(self.keys.find(query, now).await?);
        if !is_valid && id.is_none() {
            // An issuer that doesn't name its keys may have replaced the only one.
            is_valid = is_signed_with(self.keys.refresh_and_find(query, now).await?);
        }
        if !is_valid {
            return Err(TokenError::InvalidSignature);
        }
        claims::validate(decode_part(claims)?, &self.config, now)
    }
}

/// Whether a header `typ` is that of an access token, by RFC 7519, section 5.1, and RFC 9068, section 2.1. Issuers sign other
/// kinds with the same keys, for example logout tokens (`logout+jwt`). Media types have no case, by RFC 2045, section 5.1.
fn is_access_token(typ: &Value) -> bool {
    let name = typ.as_str().unwrap_or_default().to_ascii_lowercase();
    matches!(name.strip_prefix("application/").unwrap_or(&name), "jwt" | "at+jwt")
}

/// Decodes one of a token's two JSON objects.
fn decode_part(encoded: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Malformed("not base64"))?;
    strict::parse_object(&bytes).map_err(|_| TokenError::Malformed("not a JSON object without duplicate members"))
}
