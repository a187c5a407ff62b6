//! The size of pages, whatever a tenant's events contain.

use super::{
    crawl::{ORIGIN, busy, references},
    *,
};

/// Of a page with all that it loads, as it is transferred.
const MAX_TRANSFERRED_BYTES: usize = 60_000;

/// Of a page alone, uncompressed.
const MAX_PAGE_BYTES: usize = 75_000;

impl Browser<'_> {
    /// The bytes that are transferred, compressed and not, of an answer with status 200.
    async fn weigh(&self, path: &str) -> (usize, usize) {
        let mut sizes = [0, 0];
        for (size, coding) in sizes.iter_mut().zip(["gzip, deflate, br, zstd", "identity"]) {
            let request = self.request("GET", path).header("accept-encoding", coding);
            let request = request.header("sec-fetch-site", "same-origin").body(HttpBody::empty()).unwrap();
            let (status, headers, bytes) = self.world.transferred(request).await;
            assert_eq!(status, 200, "{path}");
            assert_eq!(headers.contains_key("content-encoding"), coding != "identity", "{path}");
            assert_eq!(headers.get("vary").map(|value| value.to_str().unwrap()), Some("accept-encoding"), "{path}");
            *size = bytes.len();
        }
        (sizes[0], sizes[1])
    }

    /// The compressed bytes of the files that a page loads.
    async fn weigh_files(&self, page: &Answer, path: &str) -> usize {
        let mut bytes = 0;
        for file in references(page, path).iter().filter(|it| it.contains("/assets/")) {
            bytes += self.weigh(file.strip_prefix(ORIGIN).unwrap()).await.0;
        }
        assert!(bytes > 15_000, "files are missing");
        bytes
    }
}

#[tokio::test]
async fn every_page_with_all_that_it_loads_is_below_60_kb() {
    let accent = crate::embedding::Color::parse("#ffd400");
    let colored = World::with_embedding(Embedding { accent, ..Embedding::default() });
    colored.onboard("acme").await;
    colored.succeed();
    for world in [busy("acme").await, colored] {
        let browser = world.browser("acme", ADMIN);
        for (path, _) in
            PAGES.iter().filter(|(path, _)| world.recorded("acme", "Login").len() > 1 || !path.contains('?'))
        {
            let page = browser.get(path).await;
            let ((packed, plain), files) = (browser.weigh(path).await, browser.weigh_files(&page, path).await);
            println!("{path}: {packed} bytes ({plain} uncompressed) and {files} of its files");
            assert!(packed + files < MAX_TRANSFERRED_BYTES, "{path}: {packed} + {files}");
        }
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
        let (mut path, mut seen) = ("/".to_owned(), 0);
        loop {
            let page = browser.get(&path).await;
            assert_eq!(page.status, 200, "{path}");
            assert!(page.text.len() < MAX_PAGE_BYTES, "{what}: {}", page.text.len());
            let events: Vec<_> = page.text.split("href=\"./event?at=").skip(1).collect();
            assert!(!events.is_empty(), "{what}: a page without events");
            seen += events.len();
            let event = browser.get(&format!("/event?at={}", events[0].split('"').next().unwrap())).await;
            assert_eq!(event.status, 200, "{path}");
            assert!(event.text.len() < MAX_PAGE_BYTES, "{what}: {}", event.text.len());
            let more = page.text.split("id=\"load-more\" href=\".").nth(1);
            let Some(more) = more.and_then(|rest| rest.split('"').next()) else { break };
            path = unescaped(more);
        }
        assert_eq!(seen, 40, "{what}");
    }
}
