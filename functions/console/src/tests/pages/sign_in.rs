//! Sign-ins that a browser's user did not ask for: login CSRF.

use super::*;

const ASKS: &str = "Sign in as another user?";

/// As the pages' script posts a link's token.
const SAME_ORIGIN: [(&str, &str); 1] = [("sec-fetch-site", "same-origin")];

fn stranger(world: &World) -> Browser<'_> {
    Browser { world, token: None }
}

/// A token of another user of the tenant, with a permission.
fn colleague(world: &World, tenant: &str) -> String {
    let mut claims = world.issuer.claims(tenant, &[ADMIN]);
    claims["sub"] = "eve".into();
    claims["email"] = format!("eve@{tenant}.example").into();
    world.issuer.token(&claims)
}

#[tokio::test]
async fn another_site_can_not_sign_a_browser_in() {
    let world = World::with("acme").await;
    let token = world.token("acme", ADMIN);
    for headers in [
        vec![("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        vec![("sec-fetch-site", "cross-site"), ("origin", "null")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "cross-site"), ("origin", "https://platform.example.evil.example")],
        vec![("sec-fetch-site", "cross-site"), ("origin", "http://platform.example")],
        // An old browser.
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
        vec![("origin", "https://app.console.example")],
    ] {
        for browser in [stranger(&world), world.browser("globex", ADMIN)] {
            let refused = browser.post("/session", &headers, &[("token", &token)]).await;
            assert_eq!((refused.status.as_u16(), refused.title()), (403, "Permission denied"), "{headers:?}");
            assert!(refused.header("set-cookie").is_empty() && !refused.text.contains(&token), "{headers:?}");
        }
    }
    assert!(world.recorded("acme", "Signed In").is_empty());
    for headers in [
        vec![("sec-fetch-site", "same-site"), ("origin", "https://app.console.example")],
        vec![("sec-fetch-site", "none")],
        vec![("origin", "https://console.example")],
        vec![],
    ] {
        let answer = stranger(&world).post("/session", &headers, &[("token", &token)]).await;
        assert_eq!(answer.status, 303, "{headers:?}");
    }
}

#[tokio::test]
async fn a_configured_sites_sign_in_is_sent_again_by_a_page_of_this_site() {
    let world = World::with("acme").await;
    let token = world.token("acme", READ);
    let platform = ("origin", "https://platform.example");
    for headers in [vec![("sec-fetch-site", "cross-site"), platform], vec![platform]] {
        let page = stranger(&world).post("/session", &headers, &[("token", &token)]).await;
        assert_eq!((page.status.as_u16(), page.title()), (200, "Signing in"), "{}", page.text);
        assert!(page.header("set-cookie").is_empty() && page.text.contains("data-submit"), "{}", page.text);
        assert!(page.text.contains("action=\"./session\"") && page.text.contains("acme"), "{}", page.text);
        let again = page.field("token");
        let answer = stranger(&world).post("/session", &SAME_ORIGIN, &[("token", &again)]).await;
        assert_eq!((answer.status.as_u16(), answer.location()), (303, "./?signedIn=yes"));
    }
    // Such a site may be made to post a token of somebody else. The browser adds the cookie only to the second form.
    let victim = world.browser("globex", ADMIN);
    let page = stranger(&world).post("/session", &[platform], &[("token", &token)]).await;
    let page = victim.post("/session", &SAME_ORIGIN, &[("token", &page.field("token"))]).await;
    assert_eq!((page.status.as_u16(), page.title()), (409, ASKS));
    // The browser says of that page, too, that it is of a configured site.
    let again = page.field("again");
    let endless = stranger(&world).post("/session", &[platform], &[("token", &token), ("again", &again)]).await;
    assert_eq!((endless.status.as_u16(), endless.title()), (403, "Permission denied"), "{}", endless.text);
    assert!(!endless.text.contains("data-submit") && endless.text.contains("SignInOrigins"), "{}", endless.text);
    let forged = stranger(&world).post("/session", &[platform], &[("token", "forged")]).await;
    assert_eq!(forged.status, 401, "only a valid token is sent again");
}

#[tokio::test]
async fn a_session_is_replaced_by_another_users_only_after_a_confirmation() {
    let world = World::with("acme").await;
    world.onboard("globex").await;
    let victim = world.browser("acme", ADMIN);
    for (token, tenant, name) in [
        (world.token("globex", ADMIN), "globex", "ada@globex.example"),
        (colleague(&world, "acme"), "acme", "eve@acme.example"),
    ] {
        let attackers = Browser { world: &world, token: Some(token.clone()) }.get("/connector").await.field("csrf");
        for csrf in ["", "0123456789abcdef", attackers.as_str()] {
            let page = victim.post("/session", &SAME_ORIGIN, &[("token", &token), ("csrf", csrf)]).await;
            assert_eq!((page.status.as_u16(), page.title()), (409, ASKS), "{csrf}");
            assert!(page.header("set-cookie").is_empty(), "{csrf}");
            for words in ["ada@acme.example", name, &format!("<bdi>{tenant}</bdi>"), "Stay signed in"] {
                assert!(page.text.contains(words), "{words}: {}", page.text);
            }
            assert!(!page.text.contains("data-submit"), "it is sent without a click");
        }
        assert!(world.recorded(tenant, "Signed In").is_empty());
        let by_json = victim.request("POST", "/session").header("content-type", "application/json");
        let by_json = world.raw(by_json.body(json!({ "token": token }).to_string().into()).unwrap()).await;
        assert_eq!((by_json.status.as_u16(), by_json.header("set-cookie")), (409, ""));

        let page = victim.post("/session", &SAME_ORIGIN, &[("token", &token)]).await;
        let confirmed = [("token", page.field("token")), ("csrf", page.field("csrf"))];
        let confirmed: Vec<_> = confirmed.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = victim.post("/session", &SAME_ORIGIN, &confirmed).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert!(answer.header("set-cookie").starts_with(&format!("__Host-audit-log-session={token};")));
        world.fakes.state().events.clear();
    }
}

#[tokio::test]
async fn the_same_user_and_one_whose_session_is_over_sign_in_unasked() {
    let world = World::with("acme").await;
    let mut claims = world.issuer.claims("acme", &[READ]);
    let reader = world.issuer.token(&claims);
    claims["exp"] = (now().timestamp() - 31).into();
    claims["sub"] = "eve".into();
    let over = Browser { world: &world, token: Some(world.issuer.token(&claims)) };
    let forged = TestIssuer::es256(now()).token_for("globex", &[ADMIN]);
    let forged = Browser { world: &world, token: Some(forged) };
    for browser in [world.browser("acme", ADMIN), over, forged, world.browser("globex", "events:write")] {
        let answer = browser.post("/session", &SAME_ORIGIN, &[("token", &reader)]).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
    }
}

#[tokio::test]
async fn each_sign_in_is_recorded_or_refused() {
    let world = World::with("acme").await;
    let mut claims = world.issuer.claims("acme", &[READ]);
    claims["jti"] = "t-1".into();
    let token = world.issuer.token(&claims);
    let headers = [SAME_ORIGIN[0], ("user-agent", "Firefox/140.0")];
    assert_eq!(stranger(&world).post("/session", &headers, &[("token", &token)]).await.status, 303);
    let events = world.recorded("acme", "Signed In");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["user"]["id"], "acme-user");
    let client = json!({ "userAgent": "Firefox/140.0", "tokenId": "t-1" });
    assert_eq!(events[0]["additionalInfo"], json!({ "sessionUntil": "2026-11-21T11:03:12Z", "client": client }));

    let broken = Failure::new(Code::Unavailable, "DynamoDB does not answer.");
    world.fakes.once(Op::Record, None, Fault::Fail(broken));
    let refused = stranger(&world).post("/session", &SAME_ORIGIN, &[("token", &token)]).await;
    assert_eq!((refused.status.as_u16(), refused.header("set-cookie")), (503, ""));
}

#[tokio::test]
async fn a_token_that_signs_in_and_out_without_an_end_writes_only_so_many_events() {
    let world = World::with("acme").await;
    world.onboard("globex").await;
    let (token, browser) = (world.token("acme", READ), world.browser("acme", READ));
    for n in 0..120 {
        let answer = match n % 2 {
            0 => stranger(&world).post("/session", &SAME_ORIGIN, &[("token", &token)]).await,
            _ => browser.post("/session/end", &SAME_ORIGIN, &[]).await,
        };
        assert_eq!(answer.status, 303, "{n}: {}", answer.text);
    }
    let refused = stranger(&world).post("/session", &SAME_ORIGIN, &[("token", &token)]).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "47"));
    assert!(refused.header("set-cookie").is_empty());
    let over = browser.post("/session/end", &SAME_ORIGIN, &[]).await;
    assert!(over.status == 303 && over.header("set-cookie").contains("Max-Age=0"), "a session ends in any case");
    let recorded = world.recorded("acme", "Signed In").len() + world.recorded("acme", "Signed Out").len();
    assert_eq!(recorded, 120);
    let other = world.token("globex", READ);
    assert_eq!(stranger(&world).post("/session", &SAME_ORIGIN, &[("token", &other)]).await.status, 303);
}
