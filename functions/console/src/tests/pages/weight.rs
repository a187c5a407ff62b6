//! The size of pages, whatever a tenant's events contain.

use super::{
    crawl::{ORIGIN, busy, references},
    *,
};

/// Of a page with all that it loads.
const MAX_PAGE_BYTES: usize = 150_000;

/// The bytes of the files that each page loads.
async fn files(browser: &Browser<'_>) -> usize {
    let mut files = 0;
    for file in references(&browser.get("/").await, "/").iter().filter(|it| it.contains("/assets/")) {
        let answer = browser.get(file.strip_prefix(ORIGIN).unwrap()).await;
        assert_eq!(answer.status, 200, "{file}");
        files += answer.text.len();
    }
    assert!(files > 50_000, "files are missing");
    files
}

#[tokio::test]
async fn every_page_with_all_that_it_loads_is_below_150_kb() {
    let world = busy("acme").await;
    let browser = world.browser("acme", ADMIN);
    let files = files(&browser).await;
    for (path, _) in PAGES {
        let page = browser.get(path).await.text.len();
        assert!(page + files < MAX_PAGE_BYTES, "{path}: {page} + {files}");
    }
}

#[tokio::test]
async fn no_event_makes_a_page_too_large_or_hides_another_event() {
    let hostile = ["<", "\"", "語", "🦀", "\u{202e}"];
    for (what, text) in hostile.into_iter().map(|it| (it, it.repeat(310))) {
        let world = World::with("acme").await;
        // Without an export, an admin would land in the setup.
        super::super::reading::export(&world, "acme", 1);
        for at in 1..=40_i64 {
            let recorded_at = (now() - TimeDelta::minutes(at)).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
            let value = format!("{at:02}{text}");
            let long = if at == 1 { 20_000 } else { 300 };
            let event = json!({
                "id": value, "date": recorded_at, "logType": value, "action": value,
                "user": { "id": value, "name": value, "email": value },
                "additionalInfo": { "a": [what.repeat(long), "[],".repeat(long)], "b": vec![text.as_str(); long / 100] },
            });
            // A key of the greatest length.
            let recorded_at_id = format!("{recorded_at}#{at}{}", "i".repeat(990));
            let stored = StoredEvent { recorded_at_id, body: Body::Text(event.to_string()) };
            world.fakes.put_event(&TenantId::parse("acme").unwrap(), 0, stored);
        }
        let browser = world.browser("acme", ADMIN);
        let files = files(&browser).await;
        let (mut path, mut seen) = ("/".to_owned(), 0);
        loop {
            let page = browser.get(&path).await;
            assert_eq!(page.status, 200, "{path}");
            assert!(page.text.len() + files < MAX_PAGE_BYTES, "{what}: {} + {files}", page.text.len());
            let events: Vec<_> = page.text.split("href=\"./event?at=").skip(1).collect();
            assert!(!events.is_empty(), "{what}: a page without events");
            seen += events.len();
            let event = browser.get(&format!("/event?at={}", events[0].split('"').next().unwrap())).await;
            assert_eq!(event.status, 200, "{path}");
            assert!(event.text.len() + files < MAX_PAGE_BYTES, "{what}: {} + {files}", event.text.len());
            let more = page.text.split("id=\"load-more\" href=\".").nth(1);
            let Some(more) = more.and_then(|rest| rest.split('"').next()) else { break };
            path = unescaped(more);
        }
        assert_eq!(seen, 40, "{what}");
    }
}
