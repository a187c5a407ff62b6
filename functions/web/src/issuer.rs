//! A test issuer of valid and forged tokens. It makes its own key.
#![allow(clippy::expect_used, reason = "only tests and the demo use it")]

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    hmac,
    rand::SystemRandom,
    rsa::{KeySize, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::access_token::{KeySource, TokenConfig, TokenVerifier};

const LIFETIME_SECONDS: i64 = 3600;

#[derive(Debug)]
pub struct TestIssuer {
    /// The claim `iss`.
    pub issuer: String,
    /// The claim `aud`.
    pub audience: String,
    pub kid: String,
    /// The time at which it issues tokens.
    pub now: DateTime<Utc>,
    key: KeyPair,
}

#[derive(Debug)]
enum KeyPair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl TestIssuer {
    /// Signs with ES256.
    pub fn es256(now: DateTime<Utc>) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        Self::with(KeyPair::P256(key.expect("a P-256 key")), now)
    }

    /// Signs with ES384.
    pub fn es384(now: DateTime<Utc>) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING);
        Self::with(KeyPair::P384(key.expect("a P-384 key")), now)
    }

    /// Signs with RS256. Making the key takes some tenths of a second.
    pub fn rs256(now: DateTime<Utc>) -> Self {
        Self::with(KeyPair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("an RSA key")), now)
    }

    /// Signs with EdDSA.
    pub fn ed25519(now: DateTime<Utc>) -> Self {
        Self::with(KeyPair::Ed25519(Ed25519KeyPair::generate().expect("an Ed25519 key")), now)
    }

    fn with(key: KeyPair, now: DateTime<Utc>) -> Self {
        let (issuer, audience) = ("https://issuer.test/".to_owned(), "audit-log-export".to_owned());
        Self { issuer, audience, kid: "test-key".to_owned(), now, key }
    }

    #[must_use]
    pub fn with_kid(self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), ..self }
    }

    /// The public key as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let point = |curve: &str, key: &EcdsaKeyPair| {
            let (x, y) = key.public_key().as_ref()[1..].split_at(key.public_key().as_ref().len() / 2);
            json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
        };
        let mut jwk = match &self.key {
            KeyPair::P256(key) => point("P-256", key),
            KeyPair::P384(key) => point("P-384", key),
            KeyPair::Rsa(key) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = key.public_key().into();
                json!({ "kty": "RSA", "n": encode(&n), "e": encode(&e) })
            }
            KeyPair::Ed25519(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref()) }),
        };
        jwk["kid"] = self.kid.clone().into();
        jwk["alg"] = self.algorithm().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The key set as an issuer publishes it.
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    /// The settings of a system that trusts this issuer.
    pub fn config(&self) -> TokenConfig {
        TokenConfig::new(&self.issuer, &self.audience, KeySource::Inline(self.jwks()))
    }

    /// [`TestIssuer::config`] as environment variables.
    pub fn settings(&self) -> [(&'static str, String); 3] {
        [("TOKEN_ISSUER", self.issuer.clone()), ("TOKEN_AUDIENCE", self.audience.clone()), ("TOKEN_JWKS", self.jwks())]
    }

    pub fn token_verifier(&self) -> TokenVerifier {
        TokenVerifier::new(self.config()).expect("its own keys are usable")
    }

    /// The claims of a valid token. A tenant always has the same user.
    pub fn claims(&self, tenant: &str, permissions: &[&str]) -> Value {
        let now = self.now.timestamp();
        json!({
            "iss": self.issuer, "aud": self.audience, "iat": now, "exp": now + LIFETIME_SECONDS, "tenant_id": tenant,
            "permissions": permissions, "sub": format!("{tenant}-user"), "name": "Ada Lovelace",
            "email": format!("ada@{tenant}.example"),
        })
    }

    /// The header of a valid token.
    pub fn header(&self) -> Value {
        json!({ "typ": "JWT", "alg": self.algorithm(), "kid": self.kid })
    }

    pub fn token_for(&self, tenant: &str, permissions: &[&str]) -> String {
        self.token(&self.claims(tenant, permissions))
    }

    /// A token with these claims and a valid header.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    /// A token with this header, signed with the issuer's key.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.token_of(&header.to_string(), &claims.to_string())
    }

    /// A token of two texts that need not be JSON, signed with the issuer's key.
    pub fn token_of(&self, header: &str, claims: &str) -> String {
        token(header, claims, |signed| self.sign(signed))
    }

    /// A forged token with the algorithm `none` and no signature.
    pub fn unsigned_token(&self, claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "none", "kid": self.kid });
        token(&header.to_string(), &claims.to_string(), |_| Vec::new())
    }

    /// A forged token, signed with something public as if it were a shared secret.
    pub fn hs256_token(&self, secret: &[u8], claims: &Value) -> String {
        let header = json!({ "typ": "JWT", "alg": "HS256", "kid": self.kid });
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        token(&header.to_string(), &claims.to_string(), |signed| hmac::sign(&key, signed).as_ref().to_vec())
    }

    pub fn public_key_pem(&self) -> String {
        let der: Result<PublicKeyX509Der<'_>, _> = match &self.key {
            KeyPair::P256(key) | KeyPair::P384(key) => key.public_key().as_der(),
            KeyPair::Rsa(key) => key.public_key().as_der(),
            KeyPair::Ed25519(key) => key.public_key().as_der(),
        };
        let text = BASE64_STANDARD.encode(der.expect("a public key").as_ref());
        let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    fn algorithm(&self) -> &'static str {
        match &self.key {
            KeyPair::P256(_) => "ES256",
            KeyPair::P384(_) => "ES384",
            KeyPair::Rsa(_) => "RS256",
            KeyPair::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            KeyPair::P256(key) | KeyPair::P384(key) => {
                key.sign(&random, signed).expect("a signature").as_ref().to_vec()
            }
            KeyPair::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed, &mut signature).expect("a signature");
                signature
            }
            KeyPair::Ed25519(key) => key.sign(signed).as_ref().to_vec(),
        }
    }
}

fn token(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}
