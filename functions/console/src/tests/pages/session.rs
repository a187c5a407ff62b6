//! Signing in and out, and permissions.

use super::{crawl::busy, *};

/// Deletes the cookie.
const GONE: &str = "__Host-audit-log-session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax";

fn stranger(world: &World) -> Browser<'_> {
    Browser { world, token: None }
}

#[tokio::test]
async fn a_valid_token_becomes_a_protected_cookie_that_expires_with_it() {
    let world = World::with("acme").await;
    let token = world.token("acme", READ);
    let json = || {
        let request = Request::builder().method("POST").uri("/session").header("host", HOST);
        let request = request.header("content-type", "application/json");
        request.body(json!({ "token": token }).to_string().into()).unwrap()
    };
    let same_site = [("sec-fetch-site", "same-site"), ("origin", "https://app.console.example")];
    let by_form = stranger(&world).post("/session", &same_site, &[("token", &token)]).await;
    for answer in [by_form, world.raw(json()).await] {
        assert_eq!((answer.status.as_u16(), answer.location()), (303, "./?signedIn=yes"), "{}", answer.text);
        let cookie = format!("__Host-audit-log-session={token}; Path=/; Max-Age=3599; HttpOnly; Secure; SameSite=Lax");
        assert_eq!(answer.header("set-cookie"), cookie);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let page = world.browser("acme", READ).get("/").await;
    assert_eq!((page.status.as_u16(), page.title()), (200, "Audit logs"), "{}", page.text);
    assert!(page.text.contains("ada@acme.example") && !page.text.contains("now signed in"));
    let page = world.browser("acme", READ).get("/?signedIn=yes").await;
    assert!(page.text.contains("You are now signed in for the tenant acme"), "{}", page.text);
    assert_eq!(page.text.matches("signedIn").count(), 0, "a link repeats it");
}

#[tokio::test]
async fn the_cookie_works_without_tls_on_the_same_machine_only() {
    let world = World::with("acme").await;
    let token = world.token("acme", READ);
    let sign_in = |host: &str| {
        let request = Request::builder().method("POST").uri("/session").header("host", host);
        world.raw(request.body(format!("token={token}").into()).unwrap())
    };
    let look = |host: &str, cookie: String| {
        let request = Request::builder().uri("/").header("host", host).header("cookie", cookie);
        world.raw(request.body(HttpBody::empty()).unwrap())
    };
    for local in ["127.0.0.1:8080", "localhost:4566", "localhost", "[::1]:80"] {
        let answer = sign_in(local).await;
        assert_eq!(
            answer.header("set-cookie"),
            format!("audit-log-session={token}; Path=/; Max-Age=3599; HttpOnly; SameSite=Lax")
        );
        assert_eq!(look(local, format!("audit-log-session={token}")).await.status, 200);
    }
    for elsewhere in [HOST, "127.0.0.1.evil.example", "localhost.evil.example", ""] {
        assert!(sign_in(elsewhere).await.header("set-cookie").contains("; Secure;"), "{elsewhere}");
        assert_eq!(look(elsewhere, format!("audit-log-session={token}")).await.status, 401, "{elsewhere}");
    }
}

#[tokio::test]
async fn without_a_valid_token_only_the_sign_in_page_is_shown() {
    let world = World::with("acme").await;
    let mut claims = world.issuer.claims("acme", &[ADMIN]);
    claims["exp"] = (now().timestamp() - 31).into();
    let expired = world.issuer.token(&claims);
    // The API still accepts it, since clocks differ. Browsers would not keep the cookie.
    claims["exp"] = now().timestamp().into();
    let expiring = world.issuer.token(&claims);
    let forged = TestIssuer::es256(now()).token_for("acme", &[ADMIN]);
    for token in [None, Some(String::new()), Some("nonsense".to_owned()), Some(expired.clone()), Some(forged.clone())] {
        let browser = Browser { world: &world, token: token.clone() };
        for path in paths("get").into_iter().filter(|path| !path.starts_with("/assets") && !OPEN.contains(path)) {
            let page = browser.get(path).await;
            assert_eq!((page.status.as_u16(), page.title()), (401, "Sign in"), "{path} {token:?}");
            assert!(!page.text.contains("acme") && !page.text.contains("<nav"), "{path}");
        }
        for path in OPEN {
            let page = browser.get(path).await;
            assert_eq!(page.status, 200, "{path}: auditors need no account");
            assert!(!page.text.contains("class=\"who\"") && !page.text.contains("<nav"), "{path}");
        }
        for path in paths("post").into_iter().filter(|path| *path != "/session") {
            assert_eq!(browser.post(path, &[], &[]).await.status, 401, "{path} {token:?}");
        }
    }
    for (token, words) in [
        (expired, "has expired"),
        (expiring, "has expired"),
        (forged, "is not valid"),
        ("x".repeat(3_801), "more than 3800"),
    ] {
        let refused = stranger(&world).post("/session", &[], &[("token", &token)]).await;
        assert!(refused.status.is_client_error() && refused.header("set-cookie").is_empty(), "{}", refused.status);
        assert!(refused.text.contains(words), "{}", refused.text);
    }
    assert_eq!(stranger(&world).post("/session", &[], &[("other", "x")]).await.status, 400);
}

#[tokio::test]
async fn signing_out_deletes_the_cookie() {
    let world = World::with("acme").await;
    for permission in [READ, ADMIN] {
        let browser = world.browser("acme", permission);
        let answer = browser.send("/", "/session/end", &[]).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (303, "../?signedOut=yes"));
        assert_eq!(answer.header("set-cookie"), GONE);
    }
    assert_eq!(world.recorded("acme", "Signed Out").len(), 2);
    let broken = Failure::new(Code::Unavailable, "DynamoDB does not answer.");
    world.fakes.once(Op::Record, None, Fault::Fail(broken));
    let answer = world.browser("acme", READ).send("/", "/session/end", &[]).await;
    assert_eq!(answer.header("set-cookie"), GONE, "a session ends in any case");
    let page = stranger(&world).get("/?signedOut=yes").await;
    assert!(page.status == 401 && page.text.contains("<h1>You have signed out</h1>"), "{}", page.text);
}

#[tokio::test]
async fn a_page_of_an_earlier_session_can_sign_out() {
    let world = World::with("acme").await;
    for browser in [world.browser("acme", READ), world.browser("acme", "events:write"), stranger(&world)] {
        let answer = browser.post("/session/end", &[("sec-fetch-site", "same-origin")], &[("csrf", "stale")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("set-cookie")), (303, GONE), "{}", answer.text);
    }
}

#[tokio::test]
async fn the_cookie_opens_no_path_of_the_api_and_the_header_no_page() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    for (method, path, _) in super::super::refusals::operations() {
        let answer = world.raw(browser.request(&method, &path).body(HttpBody::empty()).unwrap()).await;
        assert_eq!(answer.refusal(), (401, "missing_token".to_owned()), "{method} {path}");
    }
    let bearer = Request::builder().uri("/status").header("host", HOST);
    let bearer = bearer.header("authorization", format!("Bearer {}", world.token("acme", ADMIN)));
    assert_eq!(world.raw(bearer.body(HttpBody::empty()).unwrap()).await.status, 401, "the header opens a page");
}

#[tokio::test]
async fn permissions_decide_what_is_shown_and_what_is_refused() {
    let world = busy("acme").await;
    let (reader, admin) = (world.browser("acme", READ), world.browser("acme", ADMIN));
    for (path, read) in PAGES {
        let page = reader.get(path).await;
        assert_eq!(page.status.as_u16(), if read { 200 } else { 403 }, "{path}");
        assert!(!page.text.contains("href=\"./connector\"") && !page.text.contains("/connector\" aria"), "{path}");
        assert!(page.text.contains("Sign out"), "{path}");
        let page = admin.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text.contains("S3 Audit Log Exporter</a>"), "{path}");
    }
    let before = world.fakes.state().tenants.clone();
    for path in paths("post").into_iter().filter(|path| !path.starts_with("/session")) {
        let refused = reader.send("/", path, &[("roleArn", ROLE)]).await;
        assert_eq!(refused.status, 403, "{path}");
    }
    assert_eq!(world.fakes.state().tenants, before);
    let writer = world.browser("acme", "events:write");
    let refused = writer.get("/").await;
    assert_eq!((refused.status.as_u16(), refused.title()), (403, "Permission denied"));
    assert!(refused.text.contains("lacks the permission audit-logs:read") && !refused.text.contains("token lacks"));
    for (path, status, words) in [
        ("/status?pageToken=x", 400, "This address is not valid"),
        ("/event?at=x", 400, "This address is not valid"),
        ("/manifest-keys/x", 404, "Page not found"),
    ] {
        let page = admin.get(path).await;
        assert_eq!((page.status.as_u16(), page.title()), (status, words), "{path}");
        assert!(!page.text.contains("pageToken") && !page.text.contains("parameter"), "{path}: {}", page.text);
    }
}
