//! The page of obstacles, and the links from failures to it.

use audit_log_core::failure::{Code, Party};

use super::{
    crawl::{ORIGIN, references},
    forms::filled,
    *,
};
use crate::pages::{document::rendered, obstacles::place};

const DOCUMENT: &str = include_str!("../../../../../docs/obstacles.md");

/// The values of an attribute.
fn values<'a>(html: &'a str, attribute: &str) -> BTreeSet<&'a str> {
    html.split(&format!(" {attribute}=\"")).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test]
async fn the_page_has_every_section_of_the_document_and_every_anchor_that_is_linked() {
    let world = World::with("acme").await;
    let page = world.browser("acme", READ).get("/obstacles").await;
    assert_eq!((page.status.as_u16(), page.title()), (200, "Obstacles"));
    let headings = DOCUMENT.lines().filter_map(|line| line.strip_prefix("## "));
    for heading in headings {
        let shown = heading.replace('\'', "&#39;");
        assert!(
            page.text.contains(&format!(">{heading}</h2>")) || page.text.contains(&format!(">{shown}</h2>")),
            "{heading}"
        );
    }
    let ids = values(&page.text, "id");
    let linked = DOCUMENT.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
    assert!(linked.clone().count() > 10);
    for fragment in linked {
        assert!(ids.contains(fragment), "{fragment}: {ids:?}");
        assert!(page.text.contains(&format!("<a href=\"#{fragment}\">")), "{fragment}");
    }
    let main = page.text.split("<main").nth(1).unwrap();
    for link in values(main, "href") {
        assert!(link.starts_with('#') || link.starts_with("https://"), "{link}");
    }
    assert!(main.matches("<pre tabindex=\"0\"><code>").count() > 10);
    assert_eq!(main.matches("<section").count(), main.matches("</section>").count());
}

#[test]
fn html_is_text_and_only_links_to_sections_and_to_https_are_links() {
    let markdown = "# It's `A`\n\n<script>alert(1)</script>\n\nx <b>y</b> ![z](https://z.example/z.png)\n\n## B & C\n\n\
        [one](#b--c) [two](https://two.example/) [three](http://three.example/) [four](javascript:alert(4)) \
        [five](../five.md) `<i>`\n\n| a | |\n|---|---|\n| [six](six.md#x) | &lt; |\n\n```sh\n<u>\n```\n";
    let html = rendered(markdown);
    for shown in [
        "&lt;script&gt;",
        "x &lt;b&gt;y&lt;/b&gt; z",
        "three four five <code>&lt;i&gt;</code>",
        "<td>six</td>",
        "&lt;u&gt;",
    ] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
    assert_eq!(values(&html, "href"), BTreeSet::from(["#b--c", "https://two.example/"]), "{html}");
    assert_eq!(values(&html, "id"), BTreeSet::from(["its-a", "b--c"]), "{html}");
    assert!(!html.contains("src=") && !html.contains("<script") && !html.contains("<b>"), "{html}");
    assert!(
        html.contains("<th scope=\"col\">a</th>") && html.contains("<caption class=\"unseen\">B &amp; C</caption>")
    );
}

#[tokio::test]
async fn each_failure_that_the_page_is_about_leads_to_its_place() {
    let html = rendered(DOCUMENT);
    let named = |code: &Code| DOCUMENT.contains(&format!("`{code}`"));
    for code in Code::ALL.iter().filter(|code| code.party() == Party::Customer) {
        assert!(place(code.as_str()).is_some() || !named(code), "{code} leads nowhere");
        let fragment = place(code.as_str()).unwrap_or_default();
        assert!(fragment.is_empty() || values(&html, "id").contains(&fragment[1..]), "{code}: {fragment}");
    }
    let world = World::with("acme").await;
    let at = |code, link: &str| {
        let failure = Failure::new(code, "It was refused.");
        world.fakes.state().tenants.get_mut("acme").unwrap().last_error = Some((failure, now()));
        (world.browser("acme", READ), format!("<a href=\"./obstacles{link}\">Obstacles</a>"))
    };
    for (code, link) in [(Code::AccessDenied, ""), (Code::KmsDenied, "#kms-keys")] {
        let (browser, link) = at(code, link);
        let page = browser.get("/status").await.text;
        assert!(page.contains(&link), "{link}: {page}");
    }
    let (browser, _) = at(Code::Throttled, "");
    assert!(!browser.get("/status").await.text.contains("./obstacles"));
}

#[tokio::test]
async fn parts_of_a_page_link_from_where_they_are_shown() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let failed = Step {
        step: StepName::PutObject,
        status: StepStatus::Failed,
        code: Some(Code::KmsDenied),
        message: "KMS refused the key.".to_owned(),
        hint: Some("Allow it.".to_owned()),
        party: None,
    };
    world.fakes.state().findings.insert(failed.step, failed);
    let page = browser.get("/settings").await;
    let (version, csrf) = (page.field("version"), page.field("csrf"));
    for (shown_at, root) in
        [("/prod/settings", "./"), ("/prod/settings/verify", "../"), ("/prod/a/b/settings", "../../")]
    {
        let headers = [("sec-fetch-site", "same-origin"), ("hx-request", "true"), ("page-root", root)];
        for (bucket, target) in [("acme-audit-logs", "/obstacles#kms-keys"), ("", "/settings/verify")] {
            let fields = [filled(&version, &[("bucket", bucket)]), vec![("csrf", csrf.as_str())]].concat();
            let part = browser.post("/settings/verify", &headers, &fields).await;
            let links = references(&part, shown_at);
            assert!(links.contains(&format!("{ORIGIN}/prod{target}")), "{shown_at}: {links:?}");
            assert!(links.iter().all(|link| link.starts_with(&format!("{ORIGIN}/prod/"))), "{shown_at}: {links:?}");
        }
    }
}
