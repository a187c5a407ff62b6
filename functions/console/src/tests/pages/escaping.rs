//! Typed, sent and stored texts are shown as text on every page.

use std::fs;

use super::{crawl::busy, forms::filled, *};

const ATTACK: &str = "\"'><script>alert(1)</script>&amp;{{7*7}}";

/// Checks that the page shows the attack, and only as text.
fn assert_shown_as_text(page: &Answer, what: &str) {
    assert!(!page.text.contains("<script>") && !page.text.contains("'><"), "{what}: {}", page.text);
    assert!(page.text.contains("&#60;script&#62;alert(1)&#60;/script&#62;&#38;amp;"), "{what}: {}", page.text);
}

#[tokio::test]
async fn search_and_filters_are_shown_as_text() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", READ);
    for name in ["q", "action", "user", "logType", "notAction", "notUser", "notLogType", "from", "to"] {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, ATTACK).finish();
        // Only a custom period has dates that were typed.
        let is_date = matches!(name, "from" | "to");
        let paths = [format!("/?{query}"), format!("/?period=custom&{query}"), format!("/?counts=yes&{query}")];
        for path in paths.into_iter().filter(|path| !is_date || path.contains("custom")) {
            assert_shown_as_text(&browser.get(&path).await, &path);
            assert!(!browser.get_partial(&path).await.text.contains("<script>"), "{path}");
        }
    }
}

#[tokio::test]
async fn the_signed_in_user_is_shown_as_text_on_every_page() {
    let world = busy("acme").await;
    for claims in [["sub", "name", "email"].as_slice(), &["sub", "name"], &["sub"]] {
        let mut token = world.issuer.claims("acme", &[ADMIN]);
        for claim in ["name", "email"] {
            token.as_object_mut().unwrap().remove(claim);
        }
        for claim in claims {
            token[*claim] = ATTACK.into();
        }
        let browser = Browser { world: &world, token: Some(world.issuer.token(&token)) };
        for path in PAGES.map(|(path, _)| path).into_iter().chain(["/?signedIn=yes"]) {
            assert_shown_as_text(&browser.get(path).await, path);
        }
    }
}

#[tokio::test]
async fn input_is_shown_as_text_in_its_field_and_its_error() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.get("/settings").await.field("version");
    // All other fields of the form are hidden, or a choice that is never repeated.
    let others = ["version", "format", "compression", "schema", "history"];
    let form = filled("", &[]);
    for name in form.iter().map(|(name, _)| *name).filter(|name| !others.contains(name)) {
        let form = filled(&version, &[(name, ATTACK), ("history", "date")]);
        for path in ["/settings", "/settings/verify"] {
            let page = browser.send("/settings", path, &form).await;
            // A verification ignores the start of the history.
            let good = name == "historyFrom" && path == "/settings/verify";
            assert_eq!(page.status.as_u16(), if good { 200 } else { 422 }, "{name}");
            assert!(!page.text.contains("<script>"), "{name}: {}", page.text);
        }
        assert!(!browser.send("/settings", "/settings/preview", &form).await.text.contains("<script>"), "{name}");
    }
    // Some errors quote the input.
    let page = browser.send("/settings", "/settings", &filled(&version, &[("region", ATTACK)])).await;
    let error = page.text.split("id=\"region-error\"").nth(1).unwrap().split("</p>").next().unwrap();
    assert!(error.contains("&#60;script&#62;"), "{error}");
    assert_shown_as_text(&browser.send("/connector", "/connector", &[("roleArn", ATTACK)]).await, "role");
}

#[tokio::test]
async fn stored_settings_are_shown_as_text() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    world.fakes.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap().prefix = Some(ATTACK.to_owned());
    let page = browser.send("/settings", "/settings", &filled("\"0\"", &[])).await;
    assert_eq!(page.status, 412);
    assert_shown_as_text(&page, "the conflict");
    assert_shown_as_text(&browser.get("/settings").await, "the form");
}

#[tokio::test]
async fn a_form_to_resubmit_is_shown_as_text() {
    let world = World::with("acme").await;
    let same_origin = ("sec-fetch-site", "same-origin");
    for token in [None, Some(world.token("acme", ADMIN))] {
        let browser = Browser { world: &world, token };
        for field in ["prefix", "tenant", ATTACK] {
            let page = browser.post("/settings", &[same_origin], &[("csrf", ATTACK), (field, ATTACK)]).await;
            assert!(matches!(page.status.as_u16(), 401 | 403), "{}", page.text);
            assert_shown_as_text(&page, field);
        }
    }
}

/// What is inserted without escaping: parts that are templates themselves, a document, and attributes that a template contains.
const UNESCAPED: [(&str, &str); 17] = [
    ("alert", "a template"),
    ("fields", "a template"),
    ("chart", "a template"),
    ("document", "a page of docs, in which HTML is shown as text"),
    ("event", "a template"),
    ("form", "a template"),
    ("members", "a template"),
    ("nested", "a template"),
    ("report", "a template"),
    ("welcome", "a template"),
    ("preview", "a template"),
    ("notice", "a template"),
    ("incidents", "a template"),
    ("receipts", "a template"),
    ("replay", "a template"),
    ("range", "a template"),
    ("more", "the macro `text` is only given attributes"),
];

#[test]
fn only_templates_are_inserted_without_escaping() {
    let templates = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    let mut found = BTreeSet::new();
    for file in fs::read_dir(templates).unwrap() {
        let file = file.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        for way in ["autoescape", "escape(", "|escape", "filter safe", "|e("] {
            assert!(!text.contains(way), "{way} in {}", file.display());
        }
        for expression in text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
            let compact: String = expression.chars().filter(|it| !it.is_whitespace()).collect();
            if let Some((value, _)) = compact.split_once("|safe") {
                assert!(UNESCAPED.iter().any(|(it, _)| *it == value), "{expression} in {}", file.display());
                found.insert(value.to_owned());
            }
        }
    }
    assert_eq!(found.len(), UNESCAPED.len(), "{found:?}");
    // The macro's arguments are texts of the template, which can't name a value.
    let form = fs::read_to_string(format!("{templates}/settings-fields.html")).unwrap();
    let calls = form.split("call m::text(").skip(1).filter_map(|rest| rest.split("{% endcall").next());
    assert!(calls.clone().count() > 5 && calls.clone().all(|call| call.trim_end().ends_with("\") %}")));
}
