//! A sign-in leads to the page that was asked for, and nowhere else.

use super::*;
use crate::pages::return_path;

const SAME_ORIGIN: [(&str, &str); 1] = [("sec-fetch-site", "same-origin")];

fn stranger(world: &World) -> Browser<'_> {
    Browser { world, token: None }
}

#[test]
fn a_sign_in_can_lead_to_every_page_and_to_no_file() {
    let pages: BTreeSet<String> = return_path::PAGES.iter().map(|path| format!("/{path}")).collect();
    let expected = paths("get").into_iter().filter(|path| !FILES.contains(path)).map(str::to_owned);
    assert_eq!(pages, expected.collect(), "add new pages to return_path::PAGES");
}

#[tokio::test]
async fn a_sign_in_leads_to_the_page_that_was_asked_for() {
    let world = World::with("acme").await;
    world.succeed();
    let token = world.token("acme", READ);
    for (path, location) in [
        ("status", "./status?signedIn=yes"),
        ("/settings", "./settings?signedIn=yes"),
        ("?period=24h&q=a%20b", "./?period=24h&q=a+b&signedIn=yes"),
        ("", "./?signedIn=yes"),
        ("//evil.example/status", "./?signedIn=yes"),
        ("https://evil.example/status", "./?signedIn=yes"),
        ("../elsewhere", "./?signedIn=yes"),
        ("audit-logs.csv", "./?signedIn=yes"),
        ("status\r\nset-cookie: x=y", "./?signedIn=yes"),
    ] {
        let fields = [("token", token.as_str()), ("path", path)];
        let by_form = stranger(&world).post("/session", &SAME_ORIGIN, &fields).await;
        assert_eq!((by_form.status.as_u16(), by_form.location()), (303, location), "{path}");
        let by_json = stranger(&world).request("POST", "/session").header("content-type", "application/json");
        let body = json!({ "token": token, "path": path }).to_string();
        assert_eq!(world.raw(by_json.body(body.into()).unwrap()).await.location(), location, "{path}");
        let page = world.browser("acme", ADMIN).get(location.strip_prefix('.').unwrap()).await;
        assert!(page.text.contains("You are now signed in for the tenant acme"), "{path} names the tenant");
    }
}

#[tokio::test]
async fn another_sites_form_and_a_confirmation_keep_the_path() {
    let world = World::with("acme").await;
    let token = world.token("acme", READ);
    let platform = [("sec-fetch-site", "cross-site"), ("origin", "https://platform.example")];
    let fields = [("token", token.as_str()), ("path", "/status?pageToken=x")];
    let again = stranger(&world).post("/session", &platform, &fields).await;
    assert_eq!(again.field("path"), "status?pageToken=x", "{}", again.text);
    let other = world.browser("globex", ADMIN).post("/session", &SAME_ORIGIN, &fields).await;
    assert_eq!((other.status.as_u16(), other.field("path")), (409, "status?pageToken=x".to_owned()), "{}", other.text);
    assert!(other.text.contains("href=\"./status?pageToken=x\">Stay signed in"), "{}", other.text);
    let hostile = [("token", token.as_str()), ("path", "https://evil.example/")];
    for answer in [
        stranger(&world).post("/session", &platform, &hostile).await,
        world.browser("globex", ADMIN).post("/session", &SAME_ORIGIN, &hostile).await,
    ] {
        assert!(!answer.text.contains("evil.example"), "{}", answer.text);
    }
}

#[tokio::test]
async fn the_sign_in_page_leads_to_the_platforms_with_the_path() {
    let sign_in = Some("https://app.example.com/open-audit-logs?lang=en".parse().unwrap());
    let world = World::with_embedding(Embedding { sign_in, ..Embedding::default() });
    let start = "https://app.example.com/open-audit-logs?lang=en&amp;path=";
    for (path, kept) in [
        ("/status?pageToken=x&y=%C3%BC", "status%3FpageToken%3Dx%26y%3D%25C3%25BC"),
        ("/connector/external-id", "connector%2Fexternal-id"),
        ("/", ""),
        ("/?signedOut=yes", ""),
        ("/audit-logs.csv", ""),
    ] {
        let page = stranger(&world).get(path).await;
        assert_eq!(page.status, 401, "{path}");
        let text = page.text.replace("&#38;", "&amp;");
        assert!(text.contains(&format!("href=\"{start}{kept}\">Sign in</a>")), "{path}: {text}");
    }
    let without = World::new();
    assert!(!stranger(&without).get("/status").await.text.contains(">Sign in</a>"));
}

#[tokio::test]
async fn a_session_that_has_ended_has_a_link_to_sign_in_in_another_tab() {
    let sign_in = Some("https://app.example.com/open".parse().unwrap());
    let world = World::with_embedding(Embedding { sign_in, ..Embedding::default() });
    let part = stranger(&world).get_partial("/settings").await;
    let form = stranger(&world).post("/settings", &SAME_ORIGIN, &[("bucket", "acme"), ("csrf", "x")]).await;
    for (what, answer) in [("part", part), ("form", form)] {
        assert_eq!(answer.status, 401, "{what}");
        let link = "<a href=\"https://app.example.com/open?path=settings\" target=\"_blank\" rel=\"noopener\">Sign in<";
        assert!(answer.text.contains(link), "{what}: {}", answer.text);
    }
    let without = World::new();
    let part = stranger(&without).get_partial("/settings").await;
    assert!(part.status == 401 && !part.text.contains("<a "), "{}", part.text);
}
