//! The pages inside the platform's product: under a base path, with its name, logo and color, and in its frames.

use audit_log_web::invocation;
use axum::{body::to_bytes, extract::Request as AxumRequest, response::Response, routing::any};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use lambda_http::{Context, LambdaEvent};
use url::Url;

use super::{
    crawl::{ORIGIN, busy, crawl, references},
    forms::filled,
    *,
};
use crate::embedding::Color;

const BASE: &str = "/product/audit-logs";

/// A proxy that removes the base path, and API Gateway, which leaves it to the function.
const GATEWAYS: [fn(Router) -> Router; 2] = [
    |router| Router::new().nest_service(BASE, router),
    |router| Router::new().fallback(any(move |request: AxumRequest| through_lambda(router.clone(), request))),
];

/// As API Gateway does with the API mapping [`BASE`].
async fn through_lambda(router: Router, request: AxumRequest) -> Response {
    let (parts, body) = request.into_parts();
    let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    let path = parts.uri.path();
    let proxy = path.strip_prefix(BASE).unwrap().trim_start_matches('/');
    let headers = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), json!(value.to_str().unwrap())));
    let event = json!({
        "version": "2.0", "rawPath": path, "rawQueryString": parts.uri.query().unwrap_or_default(),
        "routeKey": format!("{} {}", parts.method, if proxy.is_empty() { "/" } else { "/{proxy+}" }),
        "pathParameters": { "proxy": proxy }, "headers": headers.collect::<serde_json::Map<_, _>>(),
        "requestContext": {
            "domainName": HOST, "stage": "$default", "timeEpoch": 0,
            "http": { "method": parts.method.as_str(), "path": path },
        },
        "body": body, "isBase64Encoded": false,
    });
    let event = LambdaEvent::new(serde_json::from_value(event).unwrap(), Context::default());
    let answer = serde_json::to_value(invocation::answer(router, event).await.unwrap()).unwrap();
    let mut response = Response::builder().status(u16::try_from(answer["statusCode"].as_u64().unwrap()).unwrap());
    for (name, value) in answer["headers"].as_object().unwrap() {
        response = response.header(name, value.as_str().unwrap());
    }
    for cookie in answer["cookies"].as_array().unwrap() {
        response = response.header("set-cookie", cookie.as_str().unwrap());
    }
    let body = answer["body"].as_str().unwrap_or_default();
    let is_encoded = answer["isBase64Encoded"] == true;
    let body = if is_encoded { STANDARD.decode(body).unwrap() } else { body.as_bytes().to_vec() };
    response.body(HttpBody::from(body)).unwrap()
}

fn behind(gateway: fn(Router) -> Router, world: World) -> World {
    World { router: gateway(world.router), ..world }
}

fn embedding() -> Embedding {
    Embedding {
        product_name: "Größe & <Co>".to_owned(),
        logo: Some(Url::parse("https://cdn.example.com/logo.svg?v=1&w=2").unwrap()),
        accent: Color::parse("#ffd400"),
        frame_ancestors: vec!["https://app.example.com".to_owned(), "https://admin.example.com:8443".to_owned()],
        sign_in: None,
    }
}

#[tokio::test]
async fn all_pages_and_what_they_load_work_below_a_base_path() {
    for gateway in GATEWAYS {
        let world = behind(gateway, busy("acme").await);
        let browser = world.browser("acme", ADMIN);
        let seen = crawl(&browser, &format!("{BASE}/")).await;
        for (page, _) in PAGES.iter().filter(|(page, _)| !page.contains('?')) {
            assert!(seen.contains(&format!("{ORIGIN}{BASE}{page}")), "{page} is linked from nowhere: {seen:?}");
        }
        for kind in [".css", ".js", ".svg", "event?at="] {
            assert!(seen.iter().any(|address| address.contains(kind)), "{kind}");
        }
        let missing = browser.request("GET", &format!("{BASE}/no/such/page")).header("accept", "text/html");
        let missing = world.raw(missing.body(HttpBody::empty()).unwrap()).await;
        assert!(
            missing.status == 404 && missing.text.contains("<a class=\"button\" href=\"../../\">"),
            "{}",
            missing.text
        );
    }
}

#[tokio::test]
async fn forms_redirects_and_parts_stay_below_a_base_path() {
    for gateway in GATEWAYS {
        let world = behind(gateway, World::with("acme").await);
        let at = |path: &str| format!("{BASE}{path}");
        let leads_to = |from: &str, answer: &Answer| {
            assert_eq!(answer.status, 303, "{from}: {}", answer.text);
            let url = Url::parse(&format!("{ORIGIN}{BASE}{from}")).unwrap().join(answer.location()).unwrap();
            url.as_str().strip_prefix(&format!("{ORIGIN}{BASE}")).unwrap_or_else(|| panic!("{url}")).to_owned()
        };
        let (token, same_origin) = (world.token("acme", ADMIN), [("sec-fetch-site", "same-origin")]);
        let stranger = Browser { world: &world, token: None };
        let signed_in = stranger.post(&at("/session"), &same_origin, &[("token", &token), ("path", "status")]).await;
        assert_eq!(leads_to("/session", &signed_in), "/status?signedIn=yes");
        assert!(signed_in.header("set-cookie").contains("; Path=/;"), "__Host- needs it");

        let browser = world.browser("acme", ADMIN);
        let page = browser.get(&at("/settings")).await;
        let (version, csrf) = (page.field("version"), page.field("csrf"));
        let saved = [filled(&version, &[("prefix", "other")]), vec![("csrf", csrf.as_str())]].concat();
        let answer = browser.post(&at("/settings"), &same_origin, &saved).await;
        assert!(leads_to("/settings", &answer).starts_with("/settings?"), "{}", answer.location());
        for page in ["/connector/disconnect", "/connector/external-id"] {
            let answer = browser.send(&at(page), &at(page), &[]).await;
            assert!(leads_to(page, &answer).starts_with("/connector"), "{page}: {}", answer.location());
        }
        let over = browser.send(&at("/"), &at("/session/end"), &[]).await;
        assert_eq!(leads_to("/session/end", &over), "/?signedOut=yes");

        // Forms of an ended session are sent again to where they were.
        let ended = stranger.post(&at("/connector/disconnect"), &same_origin, &[]).await;
        let again = references(&ended, &at("/connector/disconnect"));
        assert!(again.contains(&format!("{ORIGIN}{BASE}/connector/disconnect")), "{again:?}");

        for (shown_at, root) in [("/settings", "./"), ("/settings/verify", "../")] {
            let headers = [same_origin[0], ("hx-request", "true"), ("page-root", root)];
            let wrong = [filled(&version, &[("bucket", "")]), vec![("csrf", csrf.as_str())]].concat();
            let part = browser.post(&at("/settings/verify"), &headers, &wrong).await;
            let targets = references(&part, &at(shown_at));
            assert!(targets.contains(&format!("{ORIGIN}{BASE}/settings/verify")), "{shown_at}: {targets:?}");
            assert!(targets.iter().all(|it| it.starts_with(&format!("{ORIGIN}{BASE}/"))), "{shown_at}: {targets:?}");
        }
    }
}

#[tokio::test]
async fn a_part_takes_only_a_root_that_a_page_may_have() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let csrf = browser.get("/settings").await.field("csrf");
    for root in ["https://evil.example/", "//evil.example/", "/", "..", "../x/", "\"><script>", ""] {
        let headers = [("sec-fetch-site", "same-origin"), ("hx-request", "true"), ("page-root", root)];
        let fields = [filled("1", &[("bucket", "")]), vec![("csrf", csrf.as_str())]].concat();
        let part = browser.post("/settings/verify", &headers, &fields).await;
        assert!(part.text.contains("\"../settings"), "{root}: {}", part.text);
        assert!(!part.text.contains("evil.example") && !part.text.contains("<script"), "{root}");
    }
}

#[tokio::test]
async fn a_page_tells_its_script_the_root() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    for (path, root) in [("/settings", "./"), ("/connector/external-id", "../")] {
        let page = browser.get(path).await.text;
        assert!(page.contains(&format!("<body hx-headers='{{\"Page-Root\":\"{root}\"}}'")), "{path}");
    }
}

#[tokio::test]
async fn every_page_has_the_platforms_name_logo_and_colors() {
    let world = World::with_embedding(embedding());
    world.onboard("acme").await;
    world.succeed();
    world.event("acme", 1, "Login");
    let (admin, stranger) = (world.browser("acme", ADMIN), Browser { world: &world, token: None });
    let mut pages = vec![stranger.get("/").await, stranger.get("/proof").await];
    for (path, _) in PAGES {
        pages.push(admin.get(path).await);
    }
    for page in &pages {
        assert!(page.text.contains(" – Größe &#38; &#60;Co&#62;</title>"), "{}", page.text);
        assert!(!page.text.contains(" – Audit log export</title>"), "{}", page.text);
        let logo = "<img class=\"logo\" src=\"https://cdn.example.com/logo.svg?v=1&#38;w=2\" alt=\"\">";
        assert!(page.text.contains(logo) || !page.text.contains("class=\"brand\""), "{}", page.text);
        let policy = page.header("content-security-policy");
        for part in [
            "img-src 'self' https://cdn.example.com;",
            "frame-ancestors https://app.example.com https://admin.example.com:8443",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        let loaded = references(page, "/a/b/c/d");
        for kind in ["/assets/colors-", "/assets/icon-"] {
            assert!(loaded.iter().any(|address| address.contains(kind)), "{kind}: {loaded:?}");
        }
    }
    let page = admin.get("/").await;
    for (kind, media_type, content) in
        [("colors-", "text/css", "--fill:#ffd400"), ("icon-", "image/svg+xml", "#ffd400")]
    {
        let address = references(&page, "/").into_iter().find(|it| it.contains(kind)).unwrap();
        let file = stranger.get(address.strip_prefix(ORIGIN).unwrap()).await;
        assert!(file.header("content-type").starts_with(media_type) && file.text.contains(content), "{}", file.text);
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable");
    }
    let plain = World::with("acme").await;
    plain.succeed();
    let page = plain.browser("acme", ADMIN).get("/").await.text;
    assert!(page.contains(" – Audit log export</title>") && !page.contains("assets/colors-"), "{page}");
}

#[tokio::test]
async fn the_csrf_token_of_a_session_differs_from_answer_to_answer_and_each_counts() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let (first, second) = (browser.get("/settings").await.field("csrf"), browser.get("/settings").await.field("csrf"));
    assert_eq!((first.len(), second.len()), (128, 128));
    assert!(first.as_bytes().chunks(16).zip(second.as_bytes().chunks(16)).any(|(a, b)| a != b), "{first} {second}");
    for csrf in [&first, &second] {
        let fields = [("csrf", csrf.as_str()), ("roleArn", "x")];
        let answer = browser.post("/connector", &[("sec-fetch-site", "same-origin")], &fields).await;
        assert_ne!(answer.status, 403, "{}", answer.text);
    }
    let other = world.browser("globex", ADMIN).get("/settings").await.field("csrf");
    for wrong in
        [other.as_str(), "", &first[..64], &format!("{first}00"), &"00".repeat(64), &"ü".repeat(64), &"+1".repeat(64)]
    {
        let fields = [("csrf", wrong), ("roleArn", "x")];
        let answer = browser.post("/connector", &[("sec-fetch-site", "same-origin")], &fields).await;
        assert_eq!(answer.status, 403, "{wrong}");
    }
}
