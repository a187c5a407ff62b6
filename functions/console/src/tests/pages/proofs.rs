//! Whose form it is: of this session, of an earlier one, of another tenant's, or of another site.

use super::{forms::filled, *};

#[tokio::test]
async fn no_form_is_taken_that_this_session_has_not_made() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let csrf = browser.look("/connector").await.field("csrf");
    assert_eq!(csrf.len(), 64);
    let another = world.browser("globex", ADMIN).look("/connector").await.field("csrf");
    let before = world.fakes.state().tenants.clone();
    let same_origin = ("sec-fetch-site", "same-origin");
    let own_origin = ("origin", "https://console.example");
    let forms = paths("post").into_iter().filter(|path| *path != "/session");
    for path in forms.clone() {
        // To sign out, it is enough to be one of these pages, and that the browser says.
        let says = if path == "/session/end" { own_origin } else { same_origin };
        for (what, headers, csrf) in [
            ("no proof", vec![says], ""),
            ("a wrong proof", vec![says], "0123456789abcdef"),
            ("another session's proof", vec![says], another.as_str()),
            ("another site", vec![("sec-fetch-site", "cross-site")], csrf.as_str()),
            ("a subdomain", vec![("sec-fetch-site", "same-site"), own_origin], csrf.as_str()),
            ("another site in an old browser", vec![("origin", "https://evil.example")], csrf.as_str()),
            ("no origin", vec![("origin", "null")], csrf.as_str()),
        ] {
            let refused = browser.post(path, &headers, &[("csrf", csrf), ("roleArn", ROLE)]).await;
            assert_eq!(refused.status, 403, "{path}: {what}");
            assert!(refused.header("set-cookie").is_empty(), "{path}: {what}");
        }
    }
    assert_eq!(world.fakes.state().tenants, before, "nothing was changed, and no turn taken");
    for path in forms {
        for headers in [vec![same_origin], vec![own_origin], vec![]] {
            let answer = browser.post(path, &headers, &[("csrf", &csrf)]).await;
            assert_ne!(answer.status, 403, "{path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn a_form_of_an_earlier_session_is_sent_again_with_one_click_and_loses_nothing() {
    let world = World::with("acme").await;
    let version = world.browser("acme", ADMIN).look("/settings").await.field("version");
    let earlier = world.browser("acme", READ).look("/").await.field("csrf");
    let browser = world.browser("acme", ADMIN);
    let fields = [filled(&version, &[("bucket", "typed-\"bucket\"")]), vec![("csrf", earlier.as_str())]].concat();
    let same_origin = ("sec-fetch-site", "same-origin");
    let page = browser.post("/settings", &[same_origin], &fields).await;
    assert_eq!((page.status.as_u16(), page.title()), (403, "Send it again?"));
    assert_eq!(page.field("bucket"), "typed-\"bucket\"");
    assert!(page.text.contains("action=\"./settings\"") && !page.text.contains(&earlier), "{}", page.text);
    let again: Vec<_> = fields.iter().map(|(name, _)| (*name, page.field(name))).collect();
    let again: Vec<_> = again.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = browser.post("/settings", &[same_origin], &again).await;
    assert_eq!(
        (answer.status.as_u16(), answer.field("bucket").as_str()),
        (422, "typed-\"bucket\""),
        "it was taken, and read"
    );
    assert!(page.text.contains("counts for the tenant acme"), "{}", page.text);
    let unsure = browser.post("/settings", &[], &fields).await;
    assert!(unsure.status == 403 && !unsure.text.contains("typed-"), "{}", unsure.text);
}

#[tokio::test]
async fn a_form_of_another_tenants_page_says_for_whom_it_was_and_for_whom_it_would_count_now() {
    let world = World::with("acme").await;
    world.onboard("globex").await;
    let page = world.browser("globex", ADMIN).look("/connector").await;
    let (csrf, tenant) = (page.field("csrf"), page.field("tenant"));
    assert_eq!(tenant, "globex");
    let browser = world.browser("acme", ADMIN);
    let same_origin = ("sec-fetch-site", "same-origin");
    let fields = [("csrf", csrf.as_str()), ("tenant", tenant.as_str()), ("roleArn", ROLE)];
    let page = browser.post("/connector", &[same_origin], &fields).await;
    assert_eq!((page.status.as_u16(), page.field("tenant").as_str()), (403, "acme"));
    for words in ["signed in for another tenant now", "of the tenant globex", "signed in for the tenant acme"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
}

#[tokio::test]
async fn what_was_typed_outlives_the_session_that_it_was_typed_in() {
    let world = World::with("acme").await;
    let page = world.browser("acme", ADMIN).look("/settings").await;
    let (version, csrf) = (page.field("version"), page.field("csrf"));
    let proof = [("csrf", csrf.as_str()), ("tenant", "acme")];
    let fields = [filled(&version, &[("prefix", "typed-\"prefix\"")]), proof.to_vec()].concat();
    let same_origin = ("sec-fetch-site", "same-origin");
    let nobody = Browser { world: &world, token: None };
    let sent_again = async |browser: &Browser<'_>, page: &Answer| {
        let again: Vec<_> = fields.iter().map(|(name, _)| (*name, page.field(name))).collect();
        let again: Vec<_> = again.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post("/settings", &[same_origin], &again).await
    };
    let page = nobody.post("/settings", &[same_origin], &fields).await;
    assert_eq!((page.status.as_u16(), page.title()), (401, "Sign in and send it again"));
    assert!(page.text.contains("in another tab") && page.text.contains("action=\"./settings\""), "{}", page.text);
    assert!(!page.text.contains(&csrf), "a proof is never said again");
    // Too early, it only says so again; then it goes on through the question whether it is still meant.
    let page = sent_again(&nobody, &page).await;
    assert_eq!((page.status.as_u16(), page.field("prefix").as_str()), (401, "typed-\"prefix\""));
    let mut claims = world.issuer.claims("acme", &[ADMIN]);
    claims["iat"] = (now().timestamp() - 1).into();
    let browser = Browser { world: &world, token: Some(world.issuer.token(&claims)) };
    let page = sent_again(&browser, &page).await;
    assert_eq!((page.status.as_u16(), page.title()), (403, "Send it again?"));
    let page = sent_again(&browser, &page).await;
    assert_eq!((page.status.as_u16(), page.field("prefix").as_str()), (422, "typed-\"prefix\""), "it was read");

    for unsure in [vec![], vec![("sec-fetch-site", "cross-site")], vec![("origin", "https://console.example")]] {
        let page = nobody.post("/settings", &unsure, &fields).await;
        assert!(page.status == 401 && !page.text.contains("typed-"), "{}", page.text);
    }
    let part = nobody.post("/settings/verify", &[same_origin, ("hx-request", "true")], &fields).await;
    assert!(part.status == 401 && part.text.contains("go on here") && !part.text.contains("reload"), "{}", part.text);
}
