//! What holds for every page: headers, links, accessibility, timeouts, and whose data it shows.

use std::time::Duration;

use axum::routing::post;
use url::Url;

use super::*;
use crate::{ANSWER_TIMEOUT, pages::guarded};

pub(super) const ORIGIN: &str = "https://console.example";

/// The whole values of the headers that every answer of the pages has.
const FIXED: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("strict-transport-security", "max-age=31536000"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Whether a link may lead to another site: to AWS, or to what the document of the proof names.
fn may_leave(address: &str) -> bool {
    let document = include_str!("../../../../../docs/proof.md");
    address.starts_with("https://eu-west-1.console.aws.amazon.com/cloudformation/")
        || document.contains(&format!("]({address})"))
}

/// The absolute URLs of a page's links, form targets and files.
pub(super) fn references(page: &Answer, at: &str) -> BTreeSet<String> {
    let at = Url::parse(&format!("{ORIGIN}{at}")).unwrap();
    let mut found = BTreeSet::new();
    for attribute in ["href", "src", "action", "formaction", "hx-get", "hx-post"] {
        for part in page.text.split(&format!(" {attribute}=\"")).skip(1) {
            let value = unescaped(part.split('"').next().unwrap());
            if value.starts_with('#') || value.starts_with("data:") {
                continue;
            }
            assert!(!value.starts_with('/'), "{value} leaves the path under which a gateway serves the pages");
            found.insert(at.join(&value).unwrap().to_string());
        }
    }
    found
}

pub(super) async fn busy(tenant: &str) -> World {
    let world = World::with(tenant).await;
    for minutes_ago in 1..=90 {
        world.event(tenant, minutes_ago, if minutes_ago % 2 == 0 { "Login" } else { "Logout" });
    }
    super::super::reading::export(&world, tenant, 60);
    super::super::manifest_keys::sign(&world, tenant);
    world
}

/// Follows every link from the first page on, and returns the addresses. All but the known sites' are below the first one.
pub(super) async fn crawl(browser: &Browser<'_>, first: &str) -> BTreeSet<String> {
    let (mut seen, mut ahead) = (BTreeSet::new(), vec![format!("{ORIGIN}{first}")]);
    while let Some(address) = ahead.pop() {
        if !seen.insert(address.clone()) || seen.len() > 300 {
            continue;
        }
        let Some(path) = address.strip_prefix(ORIGIN).filter(|path| path.starts_with(first)) else {
            assert!(may_leave(&address), "{address}");
            continue;
        };
        // The clock stands still, and each export links to a preview.
        browser.world.fakes.state().slots.clear();
        let answer = browser.get(path).await;
        // A path that takes only forms exists if it allows POST.
        if answer.status == 405 {
            assert!(answer.header("allow").contains("POST"), "{path}");
            continue;
        }
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        if answer.header("content-type").starts_with("text/html") {
            ahead.extend(references(&answer, path));
        }
    }
    seen
}

#[tokio::test]
async fn every_link_works_and_only_known_sites_are_linked_outside() {
    let world = busy("acme").await;
    let seen = crawl(&world.browser("acme", ADMIN), "/").await;
    for path in [
        "/",
        "/status",
        "/connector",
        "/connector/template.yaml",
        "/connector/terraform.tf",
        "/settings",
        "/settings/verify",
        "/replay",
        "/obstacles",
        "/proof",
        "/session/end",
    ] {
        assert!(seen.contains(&format!("{ORIGIN}{path}")), "{path} is linked from nowhere: {seen:?}");
    }
    assert!(seen.iter().any(|address| address.contains("/event?at=")));
    assert!(seen.iter().any(|address| address.contains("/manifest-keys/")));
}

#[tokio::test]
async fn links_stay_below_a_gateways_prefix() {
    let world = busy("acme").await;
    let browser = world.browser("acme", ADMIN);
    for (path, _) in PAGES {
        let prefixed = format!("/_aws/execute-api/abc123/$default{path}");
        for reference in references(&browser.get(path).await, &prefixed) {
            let inside = reference.starts_with(&format!("{ORIGIN}/_aws/execute-api/abc123/$default/"));
            assert!(inside || may_leave(&reference), "{path}: {reference}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_the_security_headers_and_no_inline_code() {
    let world = busy("acme").await;
    let (admin, nobody) = (world.browser("acme", ADMIN), Browser { world: &world, token: None });
    let style = references(&admin.get("/").await, "/").into_iter().find(|it| it.ends_with(".css")).unwrap();
    let mut answers = vec![nobody.get("/").await, admin.get(style.strip_prefix(ORIGIN).unwrap()).await];
    for path in paths("get") {
        answers.push(admin.get(path).await);
    }
    for path in paths("post") {
        answers.push(admin.post(path, &[], &[]).await);
    }
    for answer in answers {
        for (name, value) in FIXED {
            assert_eq!(answer.header(name), value, "{name}");
        }
        let forever = answer.header("content-type").starts_with("text/css");
        let caching = if forever { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), caching);
        for inline in [" style=\"", " onclick", " onload", " onerror=", "<style", "javascript:"] {
            assert!(forever || !answer.text.contains(inline), "{inline}: {}", answer.text);
        }
        let scripts = answer.text.matches("<script").count();
        assert_eq!(scripts, answer.text.matches("<script src=\"").count(), "a page has an inline script");
    }
}

#[tokio::test]
async fn a_page_has_one_heading_and_landmarks_and_every_field_a_label() {
    let world = busy("acme").await;
    let browser = world.browser("acme", ADMIN);
    for (path, _) in PAGES {
        assert_accessible(&browser.get(path).await.text, path);
    }
}

/// Asserts that a page has one heading, its landmarks, and a label for every field.
pub(super) fn assert_accessible(page: &str, path: &str) {
    for once in [
        "<h1",
        "<main id=\"content\"",
        "<nav aria-label=",
        "class=\"skip\" href=\"#content\"",
        "<html lang=\"en\" dir=\"ltr\"",
    ] {
        assert_eq!(page.matches(once).count(), 1, "{path}: {once}");
    }
    assert_eq!(page.matches("<table").count(), page.matches("<caption").count(), "{path}");
    assert_eq!(
        page.matches("<th").count() - page.matches("<thead").count(),
        page.matches("scope=\"").count(),
        "{path}"
    );
    let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{path} has an id twice");
    for tag in page.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap()) {
        let id = tag.split(" id=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("-");
        let labelled = tag.contains("hidden") || tag.contains("radio") || tag.contains("checkbox");
        let labelled = labelled || tag.contains("aria-label=") || page.contains(&format!("for=\"{id}\""));
        assert!(labelled, "{path}: <input{tag}>");
    }
    for described in page.split("aria-describedby=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(described.split(' ').all(|id| ids.contains(&id)), "{path}: {described}");
    }
}

#[tokio::test]
async fn no_page_of_one_tenant_shows_or_changes_anything_of_another() {
    let world = World::new();
    for tenant in ["victim", "thief"] {
        world.onboard(tenant).await;
        for minutes_ago in 1..=40 {
            world.event(tenant, minutes_ago, &format!("{tenant} did it"));
        }
        super::super::reading::export(&world, tenant, 60);
    }
    let all_of_the_victims = || {
        let state = world.fakes.state();
        let events: Vec<_> = state.events.iter().filter(|((tenant, _), _)| tenant == "victim").collect();
        format!("{:?} {events:?}", state.tenants["victim"])
    };
    let victims = world.browser("victim", ADMIN);
    let mut addresses = references(&victims.get("/").await, "/");
    addresses.extend(references(&victims.get("/status").await, "/status"));
    addresses.retain(|address| address.contains("event?at=") || address.contains("pageToken="));
    assert!(addresses.len() > 20, "{addresses:?}");
    let mut asked: Vec<String> = addresses.iter().map(|it| it.strip_prefix(ORIGIN).unwrap().to_owned()).collect();
    for path in paths("get") {
        for query in
            ["", "?tenant=victim", "?tenantId=victim&tenant_id=victim", "?user=ada%40victim.example", "?q=victim"]
        {
            asked.push(format!("{path}{query}"));
        }
    }
    let proof = world.browser("victim", ADMIN).get("/connector").await.field("csrf");
    let before = all_of_the_victims();
    let (mut good, thief) = (0, world.browser("thief", ADMIN));
    for path in &asked {
        for answer in [thief.get(path).await, thief.get_partial(path).await] {
            // The form and the links repeat the query.
            let shown = answer.text.replace("ada@victim.example", "").replace("ada%40victim.example", "");
            let shown = shown.replace("q=victim", "").replace("value=\"victim\"", "");
            assert!(!shown.contains("victim"), "{path}: {shown}");
            good += u32::from(answer.status.is_success());
            world.forget_downloads();
        }
    }
    assert!(good > 30, "{good}");
    for path in paths("post").into_iter().filter(|path| *path != "/session") {
        let fields = [("roleArn", ROLE), ("tenant", "victim"), ("tenantId", "victim"), ("bucket", "thief-audit-logs")];
        let answer = thief.send("/connector", path, &fields).await;
        assert!(!answer.text.contains("victim"), "{path}");
        let stolen = [("csrf", proof.as_str()), ("roleArn", ROLE)];
        assert_eq!(thief.post(path, &[], &stolen).await.status, 403, "{path}");
    }
    assert_eq!(all_of_the_victims(), before);
}

#[tokio::test]
async fn an_unknown_address_shows_browsers_a_page_and_programs_a_problem() {
    let world = World::with("acme").await;
    for (method, path, status, root) in
        [("GET", "/no/such/page", 404, "../../"), ("GET", "/nothing", 404, "./"), ("GET", "/session", 405, "./")]
    {
        for token in [None, Some(world.token("acme", READ))] {
            let signed_in = token.is_some();
            let browser = Browser { world: &world, token };
            let request = browser.request(method, path).header("accept", "text/html,*/*;q=0.8");
            let page = world.raw(request.body(HttpBody::empty()).unwrap()).await;
            assert_eq!(page.status, status, "{path}: {}", page.text);
            assert!(page.text.contains(&format!("<a class=\"button\" href=\"{root}\">")), "{path}: {}", page.text);
            assert_eq!(page.text.contains("Sign out"), signed_in, "{path}");
            for (name, value) in FIXED {
                assert_eq!(page.header(name), value, "{name}");
            }
            assert_eq!(
                (page.header("content-type"), page.header("cache-control")),
                ("text/html; charset=utf-8", "no-store")
            );
        }
        let program = world.browser("acme", READ).get(path).await;
        assert_eq!((program.status.as_u16(), program.header("content-type")), (status, "application/problem+json"));
    }
    let api = world.browser("acme", READ).request("GET", "/v1/nothing").header("accept", "text/html");
    let api = world.raw(api.body(HttpBody::empty()).unwrap()).await;
    assert_eq!((api.status.as_u16(), api.header("content-type")), (404, "application/problem+json"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_page_is_answered_with_an_error_page() {
    let takes_a_minute = post(async || tokio::time::sleep(Duration::from_secs(60)).await);
    let router = guarded(Router::new().route("/settings/verify", takes_a_minute));
    for (is_partial, expected) in
        [(false, "<a class=\"button\" href=\"../\">Try again</a>"), (true, "<div class=\"alert bad\"")]
    {
        let request = Request::builder().method("POST").uri("/settings/verify");
        let request = if is_partial { request.header("hx-request", "true") } else { request };
        let began = tokio::time::Instant::now();
        let answer = router.clone().oneshot(request.body(HttpBody::empty()).unwrap()).await.unwrap();
        assert!(began.elapsed() < ANSWER_TIMEOUT, "the API's timeout was first");
        let (parts, body) = answer.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let answer = Answer { status: parts.status, headers: parts.headers, text };
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "5"));
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(answer.header("hx-retarget"), if is_partial { "#notice" } else { "" });
        assert!(answer.text.contains(expected), "{}", answer.text);
    }
}
