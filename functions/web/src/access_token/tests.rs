//! Which tokens are valid, and why the others are refused.

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

/// A verifier with more algorithms than the default ones, and with these keys.
fn verifier_with(issuer: &TestIssuer, keys: &[Value]) -> TokenVerifier {
    let mut config = issuer.config();
    config.keys = KeySource::Inline(json!({ "keys": keys }).to_string());
    config.algorithms.extend([Algorithm::RS512, Algorithm::PS256, Algorithm::ES384]);
    TokenVerifier::new(config).unwrap()
}

#[tokio::test]
async fn a_valid_token_names_the_caller_the_tenant_and_the_permissions() {
    let issuers =
        [TestIssuer::es256(noon()), TestIssuer::es384(noon()), TestIssuer::rs256(noon()), TestIssuer::ed25519(noon())];
    for issuer in issuers {
        let verifier = verifier_with(&issuer, &[issuer.jwk()]);
        let token = issuer.token_for("acme", &["events:write", "other:permission"]);
        let verified = verifier.verify(&token, noon()).await.unwrap();
        let (name, email) = (Some("Ada Lovelace".to_owned()), Some("ada@acme.example".to_owned()));
        assert_eq!(verified.tenant().as_str(), "acme");
        assert_eq!(*verified.actor(), Actor { id: "acme-user".to_owned(), name, email });
        assert_eq!(verified.permissions(), Permissions { write_events: true, ..Permissions::default() });
    }
}

#[tokio::test]
async fn a_forged_token_is_refused() {
    let (rsa, other) = (TestIssuer::rs256(noon()), TestIssuer::rs256(noon()));
    let ec = TestIssuer::es256(noon()).with_kid("ec");
    let only_512 = with(&with(&rsa.jwk(), "kid", json!("only-512")), "alg", json!("RS512"));
    let any = without(&with(&rsa.jwk(), "kid", json!("any")), "alg");
    let verifier = verifier_with(&rsa, &[rsa.jwk(), without(&ec.jwk(), "alg"), only_512, any]);
    let claims = rsa.claims("acme", &["audit-logs:admin"]);
    let header = |name: &str, value: Value| rsa.token_with(&with(&rsa.header(), name, value), &claims);
    let modulus = rsa.jwk()["n"].as_str().unwrap().to_owned();
    let good = rsa.token(&claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let evil = rsa.token(&with(&claims, "tenant_id", json!("globex")));
    for (token, error) in [
        (rsa.unsigned_token(&claims), TokenError::UntrustedAlgorithm),
        (rsa.hs256_token(rsa.public_key_pem().as_bytes(), &claims), TokenError::UntrustedAlgorithm),
        (rsa.hs256_token(rsa.jwk().to_string().as_bytes(), &claims), TokenError::UntrustedAlgorithm),
        (rsa.hs256_token(&BASE64_URL_SAFE_NO_PAD.decode(&modulus).unwrap(), &claims), TokenError::UntrustedAlgorithm),
        (header("alg", json!("NONE")), TokenError::UntrustedAlgorithm),
        (header("alg", json!("rs256")), TokenError::UntrustedAlgorithm),
        (header("alg", json!(["RS256"])), TokenError::UntrustedAlgorithm),
        // A possible one that is not in the settings.
        (header("alg", json!("PS512")), TokenError::UntrustedAlgorithm),
        (other.token(&claims), TokenError::InvalidSignature),
        // The right key signed with another algorithm.
        (rsa.token_with(&json!({ "alg": "PS256", "kid": "any" }), &claims), TokenError::InvalidSignature),
        (format!("{good}.x"), TokenError::InvalidSignature),
        // A key inside the token is ignored.
        (other.token_with(&with(&other.header(), "jwk", other.jwk()), &claims), TokenError::InvalidSignature),
        (format!("{signed}."), TokenError::InvalidSignature),
        (format!("{signed}.&&&"), TokenError::InvalidSignature),
        (format!("{}.{signature}", evil.rsplit_once('.').unwrap().0), TokenError::InvalidSignature),
        (header("kid", json!("unknown")), TokenError::UnknownKey),
        // The key's type, its curve, or its `alg` doesn't fit.
        (header("kid", json!("ec")), TokenError::UnsuitableKey),
        (header("alg", json!("ES256")), TokenError::UnsuitableKey),
        (ec.token_with(&with(&ec.header(), "alg", json!("ES384")), &claims), TokenError::UnsuitableKey),
        (header("kid", json!("only-512")), TokenError::UnsuitableKey),
        (header("alg", json!("PS256")), TokenError::UnsuitableKey),
        // Without a key id, two keys fit.
        (
            rsa.token_with(&without(&with(&rsa.header(), "alg", json!("RS512")), "kid"), &claims),
            TokenError::UnsuitableKey,
        ),
    ] {
        assert_eq!(verifier.verify(&token, noon()).await.err(), Some(error), "{token}");
    }
    assert!(verifier.verify(&good, noon()).await.is_ok());
    let unnamed = ec.token_with(&without(&ec.header(), "kid"), &claims);
    assert!(verifier.verify(&unnamed, noon()).await.is_ok(), "it is the only ec key");
}

#[tokio::test]
async fn anything_but_a_plain_signed_token_is_malformed() {
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
        let error = issuer.token_verifier().verify(&token, noon()).await.unwrap_err();
        assert!(matches!(error, TokenError::Malformed(_)), "{error:?}: {token}");
    }
}

#[tokio::test]
async fn a_token_is_valid_in_its_time_give_or_take_half_a_minute() {
    let issuer = TestIssuer::ed25519(noon());
    let (claims, at) = (issuer.claims("acme", &[]), noon().timestamp());
    for (claims, error) in [
        (with(&claims, "exp", json!(at - 29)), None),
        (with(&claims, "exp", json!(at - 30)), Some(TokenError::Expired)),
        (with(&claims, "exp", json!(-1)), Some(TokenError::Expired)),
        (with(&claims, "nbf", json!(at + 30)), None),
        (with(&claims, "nbf", json!(at + 31)), Some(TokenError::NotYetValid)),
        (with(&claims, "iat", json!(at as f64 + 30.5)), Some(TokenError::NotYetValid)),
        (without(&claims, "iat"), None),
        (without(&claims, "exp"), Some(TokenError::Malformed("exp is missing"))),
        (with(&claims, "exp", json!(null)), Some(TokenError::Malformed("exp is missing"))),
        (with(&claims, "exp", json!((at + 60).to_string())), Some(TokenError::Malformed("a time is not a number"))),
        (with(&claims, "nbf", json!("soon")), Some(TokenError::Malformed("a time is not a number"))),
    ] {
        let result = issuer.token_verifier().verify(&issuer.token(&claims), noon()).await;
        assert_eq!(result.err(), error, "{claims}");
    }
    let later = noon() + TimeDelta::hours(2);
    let result = issuer.token_verifier().verify(&issuer.token(&claims), later).await;
    assert_eq!(result, Err(TokenError::Expired));
}

#[tokio::test]
async fn a_token_is_valid_for_a_day_at_most_unless_the_platform_allows_more() {
    let issuer = TestIssuer::ed25519(noon());
    let (claims, day) = (issuer.claims("acme", &[]), noon().timestamp() + 24 * 3600);
    for (exp, hours, error) in [
        (json!(day + 30), 24, None),
        (json!(day + 31), 24, Some(TokenError::TooLongLived)),
        (json!(1e300), 24, Some(TokenError::TooLongLived)),
        (json!(day + 31), 25, None),
        (json!(day), 1, Some(TokenError::TooLongLived)),
    ] {
        let verifier = TokenVerifier::new(TokenConfig { max_lifetime: TimeDelta::hours(hours), ..issuer.config() });
        let token = issuer.token(&with(&claims, "exp", exp.clone()));
        assert_eq!(verifier.unwrap().verify(&token, noon()).await.err(), error, "{exp} {hours}");
    }
}

#[tokio::test]
async fn a_token_of_another_type_is_no_access_token() {
    let issuer = TestIssuer::ed25519(noon());
    let claims = issuer.claims("acme", &[]);
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/JWT"] {
        let token = issuer.token_with(&with(&issuer.header(), "typ", json!(typ)), &claims);
        assert!(issuer.token_verifier().verify(&token, noon()).await.is_ok(), "{typ}");
    }
    let untyped = issuer.token_with(&without(&issuer.header(), "typ"), &claims);
    assert!(issuer.token_verifier().verify(&untyped, noon()).await.is_ok());
    for typ in [
        json!("logout+jwt"),
        json!("secevent+jwt"),
        json!("dpop+jwt"),
        json!("application/logout+jwt"),
        json!("text/jwt"),
        json!(" jwt"),
        json!(""),
        json!(["JWT"]),
        json!(null),
    ] {
        let token = issuer.token_with(&with(&issuer.header(), "typ", typ.clone()), &claims);
        let refused = issuer.token_verifier().verify(&token, noon()).await;
        assert_eq!(refused, Err(TokenError::WrongType), "{typ}");
    }
}

#[tokio::test]
async fn a_token_id_is_kept_as_it_is() {
    let issuer = TestIssuer::ed25519(noon());
    let claims = issuer.claims("acme", &[]);
    let malformed = Err(TokenError::Malformed("jti is not a string, or too long"));
    for (jti, expected) in [
        (json!("t-1"), Ok(Some("t-1".to_owned()))),
        (json!("x".repeat(255)), Ok(Some("x".repeat(255)))),
        (json!(""), Ok(None)),
        (json!(null), Ok(None)),
        (json!("x".repeat(256)), malformed.clone()),
        (json!(7), malformed),
    ] {
        let verified = issuer.token_verifier().verify(&issuer.token(&with(&claims, "jti", jti.clone())), noon()).await;
        assert_eq!(verified.map(|token| token.id().map(str::to_owned)), expected, "{jti}");
    }
}

#[tokio::test]
async fn a_token_is_valid_for_this_issuer_this_audience_and_one_tenant() {
    const NO_TENANT: Option<TokenError> = Some(TokenError::NoTenant);
    let issuer = TestIssuer::ed25519(noon());
    let claims = issuer.claims("acme", &[]);
    let tenant = |value| with(&claims, "tenant_id", value);
    for (claims, error) in [
        (with(&claims, "iss", json!("https://issuer.test")), Some(TokenError::WrongIssuer)),
        (with(&claims, "iss", json!(["https://issuer.test/"])), Some(TokenError::WrongIssuer)),
        (without(&claims, "iss"), Some(TokenError::WrongIssuer)),
        (with(&claims, "aud", json!(["other", "audit-log-export"])), None),
        (with(&claims, "aud", json!(["audit-log-export", 7])), Some(TokenError::WrongAudience)),
        (with(&claims, "aud", json!("audit-log-export other")), Some(TokenError::WrongAudience)),
        (with(&claims, "aud", json!([])), Some(TokenError::WrongAudience)),
        (without(&claims, "aud"), Some(TokenError::WrongAudience)),
        (without(&claims, "tenant_id"), NO_TENANT),
        (tenant(json!(["acme"])), NO_TENANT),
        (tenant(json!(["acme", "globex"])), NO_TENANT),
        (tenant(json!({ "id": "acme" })), NO_TENANT),
        (tenant(json!(7)), NO_TENANT),
        (tenant(json!("")), NO_TENANT),
        (tenant(json!("acme#0")), NO_TENANT),
        (tenant(json!("../globex")), NO_TENANT),
        (tenant(json!("acme globex")), NO_TENANT),
        (tenant(json!("acme\u{0}")), NO_TENANT),
        (tenant(json!("аcme")), NO_TENANT),
        (without(&claims, "sub"), Some(TokenError::Malformed("sub is missing"))),
        (with(&claims, "sub", json!("")), Some(TokenError::Malformed("sub is missing"))),
        (with(&claims, "sub", json!("x".repeat(256))), Some(TokenError::Malformed("sub is too long"))),
        (with(&claims, "email", json!(["a"])), Some(TokenError::Malformed("sub, name or email is not a string"))),
    ] {
        let result = issuer.token_verifier().verify(&issuer.token(&claims), noon()).await;
        assert_eq!(result.err(), error, "{claims}");
    }
}

#[tokio::test]
async fn permissions_are_a_list_or_a_scope_and_only_admin_implies_another() {
    let issuer = TestIssuer::ed25519(noon());
    let claims = issuer.claims("acme", &[]);
    let granted = |read, admin, write_events| Ok(Permissions { read, admin, write_events });
    let malformed = Err(TokenError::Malformed("the permissions are not strings"));
    for (claim, expected) in [
        (json!([]), granted(false, false, false)),
        (json!(["audit-logs:read"]), granted(true, false, false)),
        (json!(["audit-logs:admin"]), granted(true, true, false)),
        (json!(["events:write"]), granted(false, false, true)),
        (json!("openid audit-logs:read  events:write"), granted(true, false, true)),
        (json!("audit-logs:reader,audit-logs:admin"), granted(false, false, false)),
        (json!({ "audit-logs:admin": true }), malformed),
        (json!(["audit-logs:admin", 1]), malformed),
        (json!(null), malformed),
    ] {
        let token = issuer.token(&with(&claims, "permissions", claim.clone()));
        let verified = issuer.token_verifier().verify(&token, noon()).await;
        assert_eq!(verified.map(|verified| verified.permissions()), expected, "{claim}");
    }
    let token = issuer.token(&without(&claims, "permissions"));
    let verified = issuer.token_verifier().verify(&token, noon()).await.unwrap();
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
        let config = TokenConfig { tenant_claim, permissions_claim, ..issuer.config() };
        let verified = TokenVerifier::new(config).unwrap().verify(&issuer.token(&claims), noon()).await.unwrap();
        assert_eq!((verified.tenant().as_str(), verified.permissions().read), ("acme", true));
    }
}

#[test]
fn settings_without_a_usable_key_are_refused_at_start() {
    let issuer = TestIssuer::ed25519(noon());
    for keys in ["", "[]", "{}", r#"{"keys": []}"#, r#"{"keys": [7]}"#] {
        let config = TokenConfig { keys: KeySource::Inline(keys.to_owned()), ..issuer.config() };
        assert!(TokenVerifier::new(config).unwrap_err().to_string().contains("TOKEN_JWKS "), "{keys}");
    }
}
