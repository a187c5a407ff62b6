//! Forms of this session, of an earlier one, of another tenant, and of another site.

use super::{forms::filled, *};

#[tokio::test]
async fn only_forms_of_the_callers_session_are_accepted() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let csrf = browser.get("/connector").await.field("csrf");
    assert_eq!(csrf.len(), 128);
    let another = world.browser("globex", ADMIN).get("/connector").await.field("csrf");
    let state = || {
        let state = world.fakes.state();
        (state.tenants.clone(), state.slots.clone())
    };
    let before = state();
    let same_origin = ("sec-fetch-site", "same-origin");
    let own_origin = ("origin", "https://console.example");
    let forms = paths("post").into_iter().filter(|path| *path != "/session");
    for path in forms.clone() {
        // Signing out needs no token if the browser states that a page of this origin sends it.
        let from_here = if path == "/session/end" { own_origin } else { same_origin };
        for (what, headers, csrf) in [
            ("no token", vec![from_here], ""),
            ("a wrong token", vec![from_here], "0123456789abcdef"),
            ("another session's token", vec![from_here], another.as_str()),
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
    assert_eq!(state(), before, "something was changed, or a verification slot taken");
    for path in forms {
        for headers in [vec![same_origin], vec![own_origin], vec![]] {
            let answer = browser.post(path, &headers, &[("csrf", &csrf)]).await;
            assert_ne!(answer.status, 403, "{path} {headers:?}");
        }
    }
}

#[tokio::test]
async fn a_form_of_an_earlier_session_is_resubmitted_with_one_click_and_loses_nothing() {
    let world = World::with("acme").await;
    let version = world.browser("acme", ADMIN).get("/settings").await.field("version");
    let earlier = world.browser("acme", READ).get("/").await.field("csrf");
    let browser = world.browser("acme", ADMIN);
    let fields = [filled(&version, &[("bucket", "typed-\"bucket\"")]), vec![("csrf", earlier.as_str())]].concat();
    let same_origin = ("sec-fetch-site", "same-origin");
    let page = browser.post("/settings", &[same_origin], &fields).await;
    assert_eq!((page.status.as_u16(), page.title()), (403, "Resubmit your changes?"));
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
    assert!(page.text.contains("apply to the tenant acme"), "{}", page.text);
    let unsure = browser.post("/settings", &[], &fields).await;
    assert!(unsure.status == 403 && !unsure.text.contains("typed-"), "{}", unsure.text);
}

#[tokio::test]
async fn a_form_of_another_tenants_page_names_both_tenants() {
    let world = World::with("acme").await;
    world.onboard("globex").await;
    let page = world.browser("globex", ADMIN).get("/connector").await;
    let (csrf, tenant) = (page.field("csrf"), page.field("tenant"));
    assert_eq!(tenant, "globex");
    let browser = world.browser("acme", ADMIN);
    let same_origin = ("sec-fetch-site", "same-origin");
    let fields = [("csrf", csrf.as_str()), ("tenant", tenant.as_str()), ("roleArn", ROLE)];
    let page = browser.post("/connector", &[same_origin], &fields).await;
    assert_eq!((page.status.as_u16(), page.field("tenant").as_str()), (403, "acme"));
    for words in ["signed in for another tenant", "for the tenant globex", "signed in for the tenant acme"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
}

#[tokio::test]
async fn input_survives_the_end_of_its_session() {
    let world = World::with("acme").await;
    let page = world.browser("acme", ADMIN).get("/settings").await;
    let (version, csrf) = (page.field("version"), page.field("csrf"));
    let token = [("csrf", csrf.as_str()), ("tenant", "acme")];
    let fields = [filled(&version, &[("prefix", "typed-\"prefix\"")]), token.to_vec()].concat();
    let same_origin = ("sec-fetch-site", "same-origin");
    let nobody = Browser { world: &world, token: None };
    let resubmit = async |browser: &Browser<'_>, page: &Answer| {
        let again: Vec<_> = fields.iter().map(|(name, _)| (*name, page.field(name))).collect();
        let again: Vec<_> = again.iter().map(|(name, value)| (*name, value.as_str())).collect();
        browser.post("/settings", &[same_origin], &again).await
    };
    let page = nobody.post("/settings", &[same_origin], &fields).await;
    assert_eq!((page.status.as_u16(), page.title()), (401, "Sign in to resubmit your changes"));
    assert!(page.text.contains("In another tab") && page.text.contains("action=\"./settings\""), "{}", page.text);
    assert!(!page.text.contains(&csrf), "the token is repeated");
    // Before signing in, the same page comes again. Afterwards, the user is asked to confirm.
    let page = resubmit(&nobody, &page).await;
    assert_eq!((page.status.as_u16(), page.field("prefix").as_str()), (401, "typed-\"prefix\""));
    let mut claims = world.issuer.claims("acme", &[ADMIN]);
    claims["iat"] = (now().timestamp() - 1).into();
    let browser = Browser { world: &world, token: Some(world.issuer.token(&claims)) };
    let page = resubmit(&browser, &page).await;
    assert_eq!((page.status.as_u16(), page.title()), (403, "Resubmit your changes?"));
    let page = resubmit(&browser, &page).await;
    assert_eq!((page.status.as_u16(), page.field("prefix").as_str()), (422, "typed-\"prefix\""), "it was read");

    for unsure in [vec![], vec![("sec-fetch-site", "cross-site")], vec![("origin", "https://console.example")]] {
        let page = nobody.post("/settings", &unsure, &fields).await;
        assert!(page.status == 401 && !page.text.contains("typed-"), "{}", page.text);
    }
    let part = nobody.post("/settings/verify", &[same_origin, ("hx-request", "true")], &fields).await;
    assert!(
        part.status == 401 && part.text.contains("continue here") && !part.text.contains("reload"),
        "{}",
        part.text
    );
}
