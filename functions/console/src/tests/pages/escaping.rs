//! Whatever anybody has typed, sent or been named comes back as text, wherever a page says it.

use std::{collections::BTreeSet, fs};

use super::{forms::filled, *};

const ATTACK: &str = "\"'><script>alert(1)</script>&amp;{{7*7}}";

/// That the page says it, and only as text.
fn assert_said_as_text(page: &Answer, what: &str) {
    assert!(!page.text.contains("<script>") && !page.text.contains("'><"), "{what}: {}", page.text);
    assert!(page.text.contains("&#60;script&#62;alert(1)&#60;/script&#62;&#38;amp;"), "{what}: {}", page.text);
}

#[tokio::test]
async fn what_is_searched_for_and_filtered_by_is_said_as_text() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", READ);
    for name in ["q", "action", "user", "logType", "from", "to"] {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, ATTACK).finish();
        for path in [format!("/?{query}"), format!("/?period=custom&{query}")] {
            assert_said_as_text(&browser.look(&path).await, &path);
            assert!(!browser.look_partly(&path).await.text.contains("<script>"), "{path}");
        }
    }
}

#[tokio::test]
async fn whoever_is_signed_in_is_named_as_text() {
    let world = World::with("acme").await;
    for claims in [["sub", "name", "email"].as_slice(), &["sub", "name"], &["sub"]] {
        let mut token = world.issuer.claims("acme", &[ADMIN]);
        for claim in ["name", "email"] {
            token.as_object_mut().unwrap().remove(claim);
        }
        for claim in claims {
            token[*claim] = ATTACK.into();
        }
        let browser = Browser { world: &world, token: Some(world.issuer.token(&token)) };
        for path in ["/", "/?signedIn=yes", "/settings"] {
            assert_said_as_text(&browser.look(path).await, path);
        }
    }
}

#[tokio::test]
async fn what_was_typed_is_said_as_text_at_its_field_and_in_what_is_wrong_with_it() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.look("/settings").await.field("version");
    for name in ["bucket", "region", "prefix", "frequencyHours", "kmsKeyArn", "bucketOwner", "historyFrom"] {
        let form = filled(&version, &[(name, ATTACK), ("history", "date")]);
        for path in ["/settings", "/settings/verify"] {
            let page = browser.send("/settings", path, &form).await;
            // When history begins is nothing to verify.
            let good = name == "historyFrom" && path == "/settings/verify";
            assert_eq!(page.status.as_u16(), if good { 200 } else { 422 }, "{name}");
            assert!(!page.text.contains("<script>"), "{name}: {}", page.text);
        }
        assert!(!browser.send("/settings", "/settings/preview", &form).await.text.contains("<script>"), "{name}");
    }
    // Some of what is wrong says again what was typed.
    let page = browser.send("/settings", "/settings", &filled(&version, &[("region", ATTACK)])).await;
    let error = page.text.split("id=\"region-error\"").nth(1).unwrap().split("</p>").next().unwrap();
    assert!(error.contains("&#60;script&#62;"), "{error}");
    assert_said_as_text(&browser.send("/connector", "/connector", &[("roleArn", ATTACK)]).await, "role");
}

#[tokio::test]
async fn what_somebody_else_has_stored_is_said_as_text() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    world.fakes.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap().prefix = Some(ATTACK.to_owned());
    let page = browser.send("/settings", "/settings", &filled("\"0\"", &[])).await;
    assert_eq!(page.status, 412);
    assert_said_as_text(&page, "the conflict");
    assert_said_as_text(&browser.look("/settings").await, "the form");
}

#[tokio::test]
async fn a_form_that_is_to_be_sent_again_is_said_as_text() {
    let world = World::with("acme").await;
    let same_origin = ("sec-fetch-site", "same-origin");
    for token in [None, Some(world.token("acme", ADMIN))] {
        let browser = Browser { world: &world, token };
        for field in ["prefix", "tenant", ATTACK] {
            let page = browser.post("/settings", &[same_origin], &[("csrf", ATTACK), (field, ATTACK)]).await;
            assert!(matches!(page.status.as_u16(), 401 | 403), "{}", page.text);
            assert_said_as_text(&page, field);
        }
    }
}

/// What is put into a page as it is: parts that are templates themselves, and attributes that stand in a template.
const AS_IT_IS: [(&str, &str); 7] = [
    ("ahead", "a template"),
    ("alert", "a template"),
    ("chart", "a template"),
    ("form", "a template"),
    ("report", "a template"),
    ("welcome", "a template"),
    ("more", "the macro `text` is only given attributes"),
];

#[test]
fn only_parts_of_a_page_that_are_templates_are_put_into_it_as_they_are() {
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
                assert!(AS_IT_IS.iter().any(|(it, _)| *it == value), "{expression} in {}", file.display());
                found.insert(value.to_owned());
            }
        }
    }
    assert_eq!(found.len(), AS_IT_IS.len(), "{found:?}");
    // What the one macro is given are texts of the template, in which no value can be named.
    let form = fs::read_to_string(format!("{templates}/settings-form.html")).unwrap();
    let calls = form.split("call m::text(").skip(1).filter_map(|rest| rest.split("{% endcall").next());
    assert!(calls.clone().count() > 5 && calls.clone().all(|call| call.trim_end().ends_with("\") %}")));
}
