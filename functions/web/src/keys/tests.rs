//! Which keys are used, and when they are downloaded.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State, routing::get};
use chrono::TimeDelta;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::*;
use crate::{
    authority::{Authority, AuthorityConfig, KeySource},
    issuer::TestIssuer,
};

fn noon() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> DateTime<Utc> {
    noon() + TimeDelta::seconds(seconds)
}

#[test]
fn a_key_that_cant_be_used_is_passed_over_and_spoils_no_other() {
    let (ed, ec, rsa) = (TestIssuer::ed25519(noon()), TestIssuer::es256(noon()), TestIssuer::rs256(noon()));
    let changed = |issuer: &TestIssuer, name: &str, value: Value| {
        let mut jwk = issuer.jwk();
        jwk[name] = value;
        jwk
    };
    let modulus = |bits: usize| {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= bits.div_ceil(8) * 8 - bits;
        // Leading zeros make no key longer.
        json!(BASE64_URL_SAFE_NO_PAD.encode([&[0; 256], &bytes[..]].concat()))
    };
    let parsed =
        |jwk: &Value| KeySet::parse(json!({ "keys": [jwk, ed.jwk()] }).to_string().as_bytes()).unwrap().0.len();
    for bad in [
        json!(7),
        json!({}),
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        changed(&ec, "d", json!("AQAB")),
        changed(&ec, "use", json!("enc")),
        changed(&ec, "use", json!(["sig"])),
        changed(&ec, "key_ops", json!(["encrypt"])),
        changed(&ec, "key_ops", json!("verify")),
        changed(&ec, "alg", json!("HS256")),
        changed(&ec, "alg", json!("ECDH-ES")),
        changed(&ec, "crv", json!("P-384")),
        changed(&ec, "crv", json!("secp256k1")),
        changed(&ec, "x", json!("AQAB")),
        changed(&ec, "y", json!(null)),
        changed(&ed, "x", json!("AQAB")),
        changed(&ed, "crv", json!("X25519")),
        changed(&rsa, "n", modulus(2047)),
        changed(&rsa, "n", modulus(1024)),
        changed(&rsa, "n", json!("")),
        changed(&rsa, "e", json!("not base64!")),
    ] {
        assert_eq!(parsed(&bad), 1, "{bad}");
    }
    for good in [ec.jwk(), rsa.jwk(), changed(&rsa, "n", modulus(2048)), changed(&ec, "key_ops", json!(["verify"]))] {
        assert_eq!(parsed(&good), 2, "{good}");
    }
}

/// What an issuer's server answers, and how often it was asked.
#[derive(Clone)]
struct Server {
    answer: Arc<Mutex<(StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Server {
    /// Serves an issuer's keys, and an authority that downloads them.
    async fn of(issuer: &TestIssuer) -> (Self, Authority) {
        let server = Self { answer: Arc::default(), asked: Arc::default() };
        server.publishes(issuer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let router = Router::new().route("/keys", get(Self::serve)).route("/elsewhere", get(Self::serve));
        tokio::spawn(axum::serve(listener, router.with_state(server.clone())).into_future());
        let keys = KeySource::Url(url.parse().unwrap());
        let authority = Authority::new(AuthorityConfig { keys, ..issuer.config() }).unwrap();
        (server, authority)
    }

    async fn serve(State(server): State<Self>) -> (StatusCode, HeaderMap, String) {
        server.asked.fetch_add(1, Ordering::SeqCst);
        // Long enough for all that wait to be waiting.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let (status, body) = server.answer.lock().unwrap().clone();
        (status, HeaderMap::from_iter([(http::header::LOCATION, "/elsewhere".parse().unwrap())]), body)
    }

    fn publishes(&self, issuer: &TestIssuer) {
        self.answers(StatusCode::OK, &issuer.jwks());
    }

    fn answers(&self, status: StatusCode, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Tokens that are good for as long as a test plays.
fn token(issuer: &TestIssuer) -> String {
    let mut claims = issuer.claims("acme", &[]);
    claims["exp"] = json!(after(7 * 86_400).timestamp());
    issuer.token(&claims)
}

#[tokio::test]
async fn keys_are_downloaded_with_the_first_token_and_then_every_hour() {
    let issuer = TestIssuer::ed25519(noon());
    let (server, authority) = Server::of(&issuer).await;
    assert_eq!(server.asked(), 0);
    for (seconds, asked) in [(0, 1), (1, 1), (3599, 1), (3600, 2), (3601, 2), (7200, 3)] {
        assert!(authority.authenticate(&token(&issuer), after(seconds)).await.is_ok(), "{seconds}");
        assert_eq!(server.asked(), asked, "{seconds}");
    }
}

#[tokio::test]
async fn a_new_key_counts_at_once_and_the_old_one_no_more_all_for_one_download() {
    let (old, new) = (TestIssuer::ed25519(noon()), TestIssuer::ed25519(noon()).with_kid("new"));
    let (server, authority) = Server::of(&old).await;
    assert!(authority.authenticate(&token(&old), noon()).await.is_ok());
    server.publishes(&new);
    assert!(authority.authenticate(&token(&new), after(60)).await.is_ok());
    assert_eq!(authority.authenticate(&token(&old), after(61)).await, Err(Refusal::UnknownKey));
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn an_issuer_that_does_not_name_its_only_key_may_change_it_too() {
    let (old, new) = (TestIssuer::ed25519(noon()), TestIssuer::ed25519(noon()));
    let nameless = |issuer: &TestIssuer| {
        let mut claims = issuer.claims("acme", &[]);
        claims["exp"] = json!(after(7 * 86_400).timestamp());
        issuer.token_with(&json!({ "alg": "EdDSA" }), &claims)
    };
    let (server, authority) = Server::of(&old).await;
    assert!(authority.authenticate(&nameless(&old), noon()).await.is_ok());
    server.publishes(&new);
    assert!(authority.authenticate(&nameless(&new), after(60)).await.is_ok());
    assert_eq!(authority.authenticate(&nameless(&old), after(61)).await, Err(Refusal::Signature));
    assert_eq!(server.asked(), 2, "and no more often than for an unknown one");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_is_answered_with_one_download_a_minute() {
    let issuer = TestIssuer::ed25519(noon());
    let (server, authority) = Server::of(&issuer).await;
    assert!(authority.authenticate(&token(&issuer), noon()).await.is_ok());
    let forged = TestIssuer::ed25519(noon());
    for seconds in 0..150 {
        let forged = token(&TestIssuer::ed25519(noon()).with_kid(&format!("kid-{seconds}")));
        assert_eq!(authority.authenticate(&forged, after(seconds)).await, Err(Refusal::UnknownKey));
    }
    assert_eq!(server.asked(), 3, "at 12:00:00, 12:01:00 and 12:02:00");
    assert_eq!(authority.authenticate(&token(&forged), after(150)).await, Err(Refusal::Signature));
}

#[tokio::test]
async fn requests_that_come_together_share_a_download() {
    let issuer = Arc::new(TestIssuer::ed25519(noon()));
    let (server, authority) = Server::of(&issuer).await;
    let authority = Arc::new(authority);
    let mut requests = tokio::task::JoinSet::new();
    for milliseconds in 0..20 {
        let (authority, issuer) = (Arc::clone(&authority), Arc::clone(&issuer));
        let now = noon() + TimeDelta::milliseconds(milliseconds);
        requests.spawn(async move { authority.authenticate(&token(&issuer), now).await.is_ok() });
    }
    assert!(requests.join_all().await.into_iter().all(|good| good));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_replaces_no_keys_for_a_day() {
    let issuer = TestIssuer::ed25519(noon());
    let too_long = json!({ "keys": [issuer.jwk()], "padding": "x".repeat(256 << 10) }).to_string();
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, issuer.jwks()),
        (StatusCode::FOUND, issuer.jwks()),
        (StatusCode::OK, "<html>Please sign in</html>".to_owned()),
        (StatusCode::OK, json!({ "keys": [] }).to_string()),
        (StatusCode::OK, too_long),
    ] {
        let (server, authority) = Server::of(&issuer).await;
        assert!(authority.authenticate(&token(&issuer), noon()).await.is_ok());
        server.answers(status, &body);
        assert!(authority.authenticate(&token(&issuer), after(3600)).await.is_ok(), "{status} {body}");
        assert!(authority.authenticate(&token(&issuer), after(3601)).await.is_ok());
        assert_eq!(server.asked(), 2, "a server in trouble is left alone for a minute");
        assert!(authority.authenticate(&token(&issuer), after(86_399)).await.is_ok());
        assert_eq!(authority.authenticate(&token(&issuer), after(86_400)).await, Err(Refusal::KeysUnavailable));
        server.publishes(&issuer);
        assert!(authority.authenticate(&token(&issuer), after(86_405)).await.is_ok());
    }
}

#[tokio::test]
async fn without_any_keys_nobody_is_let_in_and_the_next_try_comes_soon() {
    let issuer = TestIssuer::ed25519(noon());
    let (server, authority) = Server::of(&issuer).await;
    server.answers(StatusCode::NOT_FOUND, "");
    for (seconds, asked) in [(0, 1), (4, 1), (5, 2)] {
        assert_eq!(authority.authenticate(&token(&issuer), after(seconds)).await, Err(Refusal::KeysUnavailable));
        assert_eq!(server.asked(), asked);
    }
    server.publishes(&issuer);
    assert!(authority.authenticate(&token(&issuer), after(10)).await.is_ok());
}
