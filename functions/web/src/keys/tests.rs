//! Which keys are usable, and when they are downloaded.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, extract::State, routing::get};
use chrono::TimeDelta;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    access_token::{KeySource, TokenConfig, TokenVerifier},
    issuer::TestIssuer,
};

fn noon() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> DateTime<Utc> {
    noon() + TimeDelta::seconds(seconds)
}

#[test]
fn an_unusable_key_is_skipped_and_disables_no_other() {
    let (ed, ec, rsa) = (TestIssuer::ed25519(noon()), TestIssuer::es256(noon()), TestIssuer::rs256(noon()));
    let changed = |issuer: &TestIssuer, name: &str, value: Value| {
        let mut jwk = issuer.jwk();
        jwk[name] = value;
        jwk
    };
    let modulus = |bits: usize| {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= bits.div_ceil(8) * 8 - bits;
        // Leading zeros don't count.
        json!(BASE64_URL_SAFE_NO_PAD.encode([&[0; 256], &bytes[..]].concat()))
    };
    let usable =
        |jwk: &Value| KeySet::parse(json!({ "keys": [jwk, ed.jwk()] }).to_string().as_bytes()).unwrap().0.len();
    // The same point, cut one byte later.
    let coordinate = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(ec.jwk()[name].as_str().unwrap()).unwrap();
    let point = [coordinate("x"), coordinate("y")].concat();
    let mut shifted = changed(&ec, "x", json!(BASE64_URL_SAFE_NO_PAD.encode(&point[..33])));
    shifted["y"] = json!(BASE64_URL_SAFE_NO_PAD.encode(&point[33..]));
    for bad in [
        json!(7),
        json!({}),
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "RS256" }),
        changed(&ec, "d", json!("AQAB")),
        changed(&ec, "use", json!("enc")),
        changed(&ec, "use", json!(["sig"])),
        changed(&ec, "key_ops", json!(["encrypt"])),
        changed(&ec, "key_ops", json!("verify")),
        changed(&ec, "alg", json!("HS256")),
        changed(&ec, "alg", json!("ECDH-ES")),
        changed(&ec, "crv", json!("P-384")),
        changed(&ec, "kty", json!({ "EC": null })),
        changed(&ec, "crv", json!({ "P-256": null })),
        changed(&ec, "alg", json!({ "ES256": null })),
        changed(&ec, "crv", json!("secp256k1")),
        changed(&ec, "x", json!("AQAB")),
        changed(&ec, "y", json!(null)),
        changed(&ec, "y", json!("")),
        shifted,
        changed(&ec, "crv", json!("Ed25519")),
        changed(&ec, "crv", json!("P-521")),
        changed(&ec, "kty", json!("OKP")),
        changed(&ec, "kid", json!(7)),
        changed(&ed, "x", json!("AQAB")),
        changed(&ed, "crv", json!("X25519")),
        changed(&ed, "crv", json!("P-256")),
        changed(&rsa, "n", modulus(2047)),
        changed(&rsa, "n", modulus(1024)),
        changed(&rsa, "n", json!("")),
        changed(&rsa, "e", json!("not base64!")),
    ] {
        assert_eq!(usable(&bad), 1, "{bad}");
    }
    for good in [ec.jwk(), rsa.jwk(), changed(&rsa, "n", modulus(2048)), changed(&ec, "key_ops", json!(["verify"]))] {
        assert_eq!(usable(&good), 2, "{good}");
    }
}

/// An issuer's server: its answer, and the number of requests.
#[derive(Clone)]
struct Server {
    answer: Arc<Mutex<(StatusCode, String)>>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    /// Starts a server with an issuer's keys. Returns it with a verifier that downloads them.
    async fn start(issuer: &TestIssuer) -> (Self, TokenVerifier) {
        let server = Self { answer: Arc::default(), requests: Arc::default() };
        server.publish(issuer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let router = Router::new().route("/keys", get(Self::serve)).route("/elsewhere", get(Self::serve));
        tokio::spawn(axum::serve(listener, router.with_state(server.clone())).into_future());
        let keys = KeySource::Url(url.parse().unwrap());
        let verifier =
            TokenVerifier::new(TokenConfig { keys, max_lifetime: TimeDelta::days(8), ..issuer.config() }).unwrap();
        (server, verifier)
    }

    async fn serve(State(server): State<Self>) -> (StatusCode, HeaderMap, String) {
        server.requests.fetch_add(1, Ordering::SeqCst);
        // Long enough for concurrent requests to wait for it.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let (status, body) = server.answer.lock().unwrap().clone();
        (status, HeaderMap::from_iter([(http::header::LOCATION, "/elsewhere".parse().unwrap())]), body)
    }

    fn publish(&self, issuer: &TestIssuer) {
        self.set_answer(StatusCode::OK, &issuer.jwks());
    }

    fn set_answer(&self, status: StatusCode, body: &str) {
        *self.answer.lock().unwrap() = (status, body.to_owned());
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Valid for longer than a test's time.
fn token(issuer: &TestIssuer) -> String {
    let mut claims = issuer.claims("acme", &[]);
    claims["exp"] = json!(after(7 * 86_400).timestamp());
    issuer.token(&claims)
}

#[tokio::test]
async fn keys_are_downloaded_with_the_first_token_and_then_every_hour() {
    let issuer = TestIssuer::ed25519(noon());
    let (server, verifier) = Server::start(&issuer).await;
    assert_eq!(server.requests(), 0);
    for (seconds, requests) in [(0, 1), (1, 1), (3599, 1), (3600, 2), (3601, 2), (7200, 3)] {
        assert!(verifier.verify(&token(&issuer), after(seconds)).await.is_ok(), "{seconds}");
        assert_eq!(server.requests(), requests, "{seconds}");
    }
}

#[tokio::test]
async fn a_new_key_is_trusted_at_once_and_the_old_one_no_longer_after_one_download() {
    let (old, new) = (TestIssuer::ed25519(noon()), TestIssuer::ed25519(noon()).with_kid("new"));
    let (server, verifier) = Server::start(&old).await;
    assert!(verifier.verify(&token(&old), noon()).await.is_ok());
    server.publish(&new);
    assert!(verifier.verify(&token(&new), after(60)).await.is_ok());
    assert_eq!(verifier.verify(&token(&old), after(61)).await, Err(TokenError::UnknownKey));
    assert_eq!(server.requests(), 2);
}

/// The server drops a connection at its second request, as it may after the function was frozen.
#[tokio::test]
async fn a_download_uses_no_connection_of_an_earlier_one() {
    let (old, new) = (TestIssuer::ed25519(noon()), TestIssuer::ed25519(noon()).with_kid("new"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let keys = KeySource::Url(format!("http://{}/keys", listener.local_addr().unwrap()).parse().unwrap());
    let verifier = TokenVerifier::new(TokenConfig { keys, max_lifetime: TimeDelta::days(8), ..old.config() }).unwrap();
    let answers = [old.jwks(), new.jwks()];
    tokio::spawn(async move {
        for body in answers {
            let (mut connection, _) = listener.accept().await.unwrap();
            let request = &mut [0; 4096];
            assert!(connection.read(request).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            connection.write_all(answer.as_bytes()).await.unwrap();
            // Its end, or a second request, which gets no answer.
            drop(connection.read(request).await);
        }
    });
    assert!(verifier.verify(&token(&old), noon()).await.is_ok());
    assert!(verifier.verify(&token(&new), after(60)).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_does_not_name_its_only_key_may_replace_it_too() {
    let (old, new) = (TestIssuer::ed25519(noon()), TestIssuer::ed25519(noon()));
    let without_kid = |issuer: &TestIssuer| {
        let mut claims = issuer.claims("acme", &[]);
        claims["exp"] = json!(after(7 * 86_400).timestamp());
        issuer.token_with(&json!({ "alg": "EdDSA" }), &claims)
    };
    let (server, verifier) = Server::start(&old).await;
    assert!(verifier.verify(&without_kid(&old), noon()).await.is_ok());
    server.publish(&new);
    assert!(verifier.verify(&without_kid(&new), after(60)).await.is_ok());
    assert_eq!(verifier.verify(&without_kid(&old), after(61)).await, Err(TokenError::InvalidSignature));
    assert_eq!(server.requests(), 2, "as often as for an unknown key");
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_one_download_a_minute() {
    let issuer = TestIssuer::ed25519(noon());
    let (server, verifier) = Server::start(&issuer).await;
    assert!(verifier.verify(&token(&issuer), noon()).await.is_ok());
    let forged = TestIssuer::ed25519(noon());
    for seconds in 0..150 {
        let forged = token(&TestIssuer::ed25519(noon()).with_kid(&format!("kid-{seconds}")));
        assert_eq!(verifier.verify(&forged, after(seconds)).await, Err(TokenError::UnknownKey));
    }
    assert_eq!(server.requests(), 3, "at 12:00:00, 12:01:00 and 12:02:00");
    assert_eq!(verifier.verify(&token(&forged), after(150)).await, Err(TokenError::InvalidSignature));
}

#[tokio::test]
async fn concurrent_requests_share_a_download() {
    let issuer = Arc::new(TestIssuer::ed25519(noon()));
    let (server, verifier) = Server::start(&issuer).await;
    let verifier = Arc::new(verifier);
    let mut requests = tokio::task::JoinSet::new();
    for milliseconds in 0..20 {
        let (verifier, issuer) = (Arc::clone(&verifier), Arc::clone(&issuer));
        let now = noon() + TimeDelta::milliseconds(milliseconds);
        requests.spawn(async move { verifier.verify(&token(&issuer), now).await.is_ok() });
    }
    assert!(requests.join_all().await.into_iter().all(|is_valid| is_valid));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_failed_download_leaves_the_keys_valid_for_a_day() {
    let issuer = TestIssuer::ed25519(noon());
    let too_long = json!({ "keys": [issuer.jwk()], "padding": "x".repeat(256 << 10) }).to_string();
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, issuer.jwks()),
        (StatusCode::FOUND, issuer.jwks()),
        (StatusCode::OK, "<html>Please sign in</html>".to_owned()),
        (StatusCode::OK, json!({ "keys": [] }).to_string()),
        (StatusCode::OK, too_long),
    ] {
        let (server, verifier) = Server::start(&issuer).await;
        assert!(verifier.verify(&token(&issuer), noon()).await.is_ok());
        server.set_answer(status, &body);
        assert!(verifier.verify(&token(&issuer), after(3600)).await.is_ok(), "{status} {body}");
        assert!(verifier.verify(&token(&issuer), after(3601)).await.is_ok());
        assert_eq!(server.requests(), 2, "at most one download a minute");
        assert!(verifier.verify(&token(&issuer), after(86_399)).await.is_ok());
        assert_eq!(verifier.verify(&token(&issuer), after(86_400)).await, Err(TokenError::KeysUnavailable));
        server.publish(&issuer);
        assert!(verifier.verify(&token(&issuer), after(86_405)).await.is_ok());
    }
}

#[tokio::test]
async fn without_keys_every_token_is_refused_and_the_next_download_comes_soon() {
    let issuer = TestIssuer::ed25519(noon());
    let (server, verifier) = Server::start(&issuer).await;
    server.set_answer(StatusCode::NOT_FOUND, "");
    for (seconds, requests) in [(0, 1), (4, 1), (5, 2)] {
        assert_eq!(verifier.verify(&token(&issuer), after(seconds)).await, Err(TokenError::KeysUnavailable));
        assert_eq!(server.requests(), requests);
    }
    server.publish(&issuer);
    assert!(verifier.verify(&token(&issuer), after(10)).await.is_ok());
}
