//! Which tokens count, and why the others don't.

use chrono::TimeDelta;
use serde_json::json;

use super::*;
use crate::issuer::TestIssuer;

fn noon() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name).unwrap();
    claims
}

/// An authority that trusts each algorithm that it can, and these keys.
fn trusting(issuer: &TestIssuer, keys: &[Value]) -> Authority {
    let mut config = issuer.config();
    config.keys = KeySource::Inline(json!({ "keys": keys }).to_string());
    config.algorithms.extend([Algorithm::RS512, Algorithm::PS256, Algorithm::ES384]);
    Authority::new(config).unwrap()
}

#[tokio::test]
async fn a_good_token_says_who_asks_for_which_tenant_and_what_they_may() {
    let issuers =
        [TestIssuer::es256(noon()), TestIssuer::es384(noon()), TestIssuer::rs256(noon()), TestIssuer::ed25519(noon())];
    for issuer in issuers {
        let authority = trusting(&issuer, &[issuer.jwk()]);
        let token = issuer.token_for("acme", &["events:write", "someone:elses"]);
        let verified = authority.authenticate(&token, noon()).await.unwrap();
        let (name, email) = (Some("Ada Lovelace".to_owned()), Some("ada@acme.example".to_owned()));
        assert_eq!(verified.tenant().as_str(), "acme");
        assert_eq!(*verified.actor(), Actor { id: "acme-user".to_owned(), name, email });
        assert_eq!(verified.permissions(), Permissions { write_events: true, ..Permissions::default() });
    }
}

#[tokio::test]
async fn a_forged_token_does_not_count() {
    let (rsa, other) = (TestIssuer::rs256(noon()), TestIssuer::rs256(noon()));
    let elliptic = TestIssuer::es256(noon()).with_kid("elliptic");
    let only_512 = with(&with(&rsa.jwk(), "kid", json!("only-512")), "alg", json!("RS512"));
    let any = without(&with(&rsa.jwk(), "kid", json!("any")), "alg");
    let authority = trusting(&rsa, &[rsa.jwk(), without(&elliptic.jwk(), "alg"), only_512, any]);
    let claims = rsa.claims("acme", &["audit-logs:admin"]);
    let header = |name: &str, value: Value| rsa.token_with(&with(&rsa.header(), name, value), &claims);
    let modulus = rsa.jwk()["n"].as_str().unwrap().to_owned();
    let good = rsa.token(&claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let evil = rsa.token(&with(&claims, "tenant_id", json!("globex")));
    for (token, refusal) in [
        (rsa.unsigned_token(&claims), Refusal::Algorithm),
        (rsa.hs256_token(rsa.public_key_pem().as_bytes(), &claims), Refusal::Algorithm),
        (rsa.hs256_token(rsa.jwk().to_string().as_bytes(), &claims), Refusal::Algorithm),
        (rsa.hs256_token(&BASE64_URL_SAFE_NO_PAD.decode(&modulus).unwrap(), &claims), Refusal::Algorithm),
        (header("alg", json!("NONE")), Refusal::Algorithm),
        (header("alg", json!("rs256")), Refusal::Algorithm),
        (header("alg", json!(["RS256"])), Refusal::Algorithm),
        // One that is possible, but was not pinned.
        (header("alg", json!("PS512")), Refusal::Algorithm),
        (other.token(&claims), Refusal::Signature),
        // A signature of the right key that was made by another algorithm.
        (rsa.token_with(&json!({ "alg": "PS256", "kid": "any" }), &claims), Refusal::Signature),
        (format!("{good}.x"), Refusal::Signature),
        // A key that comes along is not looked at.
        (other.token_with(&with(&other.header(), "jwk", other.jwk()), &claims), Refusal::Signature),
        (format!("{signed}."), Refusal::Signature),
        (format!("{signed}.&&&"), Refusal::Signature),
        (format!("{}.{signature}", evil.rsplit_once('.').unwrap().0), Refusal::Signature),
        (header("kid", json!("unheard-of")), Refusal::UnknownKey),
        // The key's kind, its curve, or what its owner says of it, is another.
        (header("kid", json!("elliptic")), Refusal::UnsuitableKey),
        (header("alg", json!("ES256")), Refusal::UnsuitableKey),
        (elliptic.token_with(&with(&elliptic.header(), "alg", json!("ES384")), &claims), Refusal::UnsuitableKey),
        (header("kid", json!("only-512")), Refusal::UnsuitableKey),
        (header("alg", json!("PS256")), Refusal::UnsuitableKey),
        // Without a key id, of two keys that could be meant.
        (rsa.token_with(&without(&with(&rsa.header(), "alg", json!("RS512")), "kid"), &claims), Refusal::UnsuitableKey),
    ] {
        assert_eq!(authority.authenticate(&token, noon()).await.err(), Some(refusal), "{token}");
    }
    assert!(authority.authenticate(&good, noon()).await.is_ok());
    let unnamed = elliptic.token_with(&without(&elliptic.header(), "kid"), &claims);
    assert!(authority.authenticate(&unnamed, noon()).await.is_ok(), "it is the only elliptic key");
}

#[tokio::test]
async fn what_is_not_a_plain_signed_token_is_malformed() {
    let issuer = TestIssuer::ed25519(noon());
    let claims = issuer.claims("acme", &[]);
    let (header, body) = (issuer.header().to_string(), claims.to_string());
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    for token in [
        String::new(),
        "..".to_owned(),
        "a.b".to_owned(),
        "one.two.three.four".to_owned(),
        format!(" {}", issuer.token(&claims)),
        issuer.token(&claims).replacen('.', "=.", 1),
        issuer.token_of("[]", &body),
        issuer.token_of(&header, "[]"),
        issuer.token_of(&header, "not JSON"),
        issuer.token_of(&twice(&header, r#""alg":"EdDSA""#), &body),
        issuer.token_of(&header, &twice(&body, r#""tenant_id":"globex""#)),
        issuer.token_with(&with(&issuer.header(), "kid", json!(1)), &claims),
        issuer.token_with(&with(&issuer.header(), "crit", json!(["b64"])), &claims),
        issuer.token(&with(&claims, "padding", json!("x".repeat(MAX_TOKEN_BYTES)))),
    ] {
        let refusal = issuer.authority().authenticate(&token, noon()).await.unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed(_)), "{refusal:?}: {token}");
    }
}

#[tokio::test]
async fn a_token_counts_in_its_time_give_or_take_half_a_minute() {
    let issuer = TestIssuer::ed25519(noon());
    let (claims, at) = (issuer.claims("acme", &[]), noon().timestamp());
    for (claims, refusal) in [
        (with(&claims, "exp", json!(at - 29)), None),
        (with(&claims, "exp", json!(at - 30)), Some(Refusal::Expired)),
        (with(&claims, "exp", json!(-1)), Some(Refusal::Expired)),
        (with(&claims, "nbf", json!(at + 30)), None),
        (with(&claims, "nbf", json!(at + 31)), Some(Refusal::FromTheFuture)),
        (with(&claims, "iat", json!(at as f64 + 30.5)), Some(Refusal::FromTheFuture)),
        (without(&claims, "iat"), None),
        (without(&claims, "exp"), Some(Refusal::Malformed("exp is missing"))),
        (with(&claims, "exp", json!(null)), Some(Refusal::Malformed("exp is missing"))),
        (with(&claims, "exp", json!((at + 60).to_string())), Some(Refusal::Malformed("a time is not a number"))),
        (with(&claims, "nbf", json!("soon")), Some(Refusal::Malformed("a time is not a number"))),
    ] {
        let result = issuer.authority().authenticate(&issuer.token(&claims), noon()).await;
        assert_eq!(result.err(), refusal, "{claims}");
    }
    let later = noon() + TimeDelta::hours(2);
    let result = issuer.authority().authenticate(&issuer.token(&claims), later).await;
    assert_eq!(result, Err(Refusal::Expired));
}

#[tokio::test]
async fn a_token_counts_for_this_issuer_this_audience_and_one_tenant() {
    const TENANT_REFUSED: Option<Refusal> = Some(Refusal::NoTenant);
    let issuer = TestIssuer::ed25519(noon());
    let claims = issuer.claims("acme", &[]);
    let tenant = |value| with(&claims, "tenant_id", value);
    for (claims, refusal) in [
        (with(&claims, "iss", json!("https://issuer.test")), Some(Refusal::WrongIssuer)),
        (with(&claims, "iss", json!(["https://issuer.test/"])), Some(Refusal::WrongIssuer)),
        (without(&claims, "iss"), Some(Refusal::WrongIssuer)),
        (with(&claims, "aud", json!(["other", "audit-log-export"])), None),
        (with(&claims, "aud", json!(["audit-log-export", 7])), Some(Refusal::WrongAudience)),
        (with(&claims, "aud", json!("audit-log-export other")), Some(Refusal::WrongAudience)),
        (with(&claims, "aud", json!([])), Some(Refusal::WrongAudience)),
        (without(&claims, "aud"), Some(Refusal::WrongAudience)),
        (without(&claims, "tenant_id"), TENANT_REFUSED),
        (tenant(json!(["acme"])), TENANT_REFUSED),
        (tenant(json!(["acme", "globex"])), TENANT_REFUSED),
        (tenant(json!({ "id": "acme" })), TENANT_REFUSED),
        (tenant(json!(7)), TENANT_REFUSED),
        (tenant(json!("")), TENANT_REFUSED),
        (tenant(json!("acme#0")), TENANT_REFUSED),
        (tenant(json!("../globex")), TENANT_REFUSED),
        (tenant(json!("acme globex")), TENANT_REFUSED),
        (tenant(json!("acme\u{0}")), TENANT_REFUSED),
        (tenant(json!("аcme")), TENANT_REFUSED),
        (without(&claims, "sub"), Some(Refusal::Malformed("sub is missing"))),
        (with(&claims, "sub", json!("")), Some(Refusal::Malformed("sub is missing"))),
        (with(&claims, "sub", json!("x".repeat(256))), Some(Refusal::Malformed("sub is too long"))),
        (with(&claims, "email", json!(["a"])), Some(Refusal::Malformed("sub, name or email is not a text"))),
    ] {
        let result = issuer.authority().authenticate(&issuer.token(&claims), noon()).await;
        assert_eq!(result.err(), refusal, "{claims}");
    }
}

#[tokio::test]
async fn permissions_come_as_a_list_or_as_a_scope_and_only_admin_implies_another() {
    let issuer = TestIssuer::ed25519(noon());
    let claims = issuer.claims("acme", &[]);
    let granted = |read, admin, write_events| Ok(Permissions { read, admin, write_events });
    let refused = Err(Refusal::Malformed("the permissions are not texts"));
    for (claim, expected) in [
        (json!([]), granted(false, false, false)),
        (json!(["audit-logs:read"]), granted(true, false, false)),
        (json!(["audit-logs:admin"]), granted(true, true, false)),
        (json!(["events:write"]), granted(false, false, true)),
        (json!("openid audit-logs:read  events:write"), granted(true, false, true)),
        (json!("audit-logs:reader,audit-logs:admin"), granted(false, false, false)),
        (json!({ "audit-logs:admin": true }), refused),
        (json!(["audit-logs:admin", 1]), refused),
        (json!(null), refused),
    ] {
        let token = issuer.token(&with(&claims, "permissions", claim.clone()));
        let verified = issuer.authority().authenticate(&token, noon()).await;
        assert_eq!(verified.map(|verified| verified.permissions()), expected, "{claim}");
    }
    let token = issuer.token(&without(&claims, "permissions"));
    let verified = issuer.authority().authenticate(&token, noon()).await.unwrap();
    assert_eq!(verified.permissions(), Permissions::default());
}

#[tokio::test]
async fn a_claim_is_found_by_its_whole_name_or_by_a_pointer() {
    let issuer = TestIssuer::ed25519(noon());
    let mut claims = without(&issuer.claims("globex", &[]), "tenant_id");
    claims["https://acme.example/tenant"] = json!("acme");
    claims["org"] = json!({ "acme.tenant": "acme", "roles": ["audit-logs:read"] });
    for tenant_claim in ["https://acme.example/tenant", "/org/acme.tenant"] {
        let (tenant_claim, permissions_claim) = (tenant_claim.to_owned(), "/org/roles".to_owned());
        let config = AuthorityConfig { tenant_claim, permissions_claim, ..issuer.config() };
        let verified = Authority::new(config).unwrap().authenticate(&issuer.token(&claims), noon()).await.unwrap();
        assert_eq!((verified.tenant().as_str(), verified.permissions().read), ("acme", true));
    }
}

#[test]
fn settings_without_a_usable_key_are_refused_at_start() {
    let issuer = TestIssuer::ed25519(noon());
    for keys in ["", "[]", "{}", r#"{"keys": []}"#, r#"{"keys": [7]}"#] {
        let config = AuthorityConfig { keys: KeySource::Inline(keys.to_owned()), ..issuer.config() };
        assert!(Authority::new(config).unwrap_err().to_string().contains("TOKEN_JWKS "), "{keys}");
    }
}
