//! The page of the audit logs, its filters and counts, and the page of an event.

use super::{logs_and_status::rows, *};

/// What the page's script asks for after the rows.
pub(super) async fn counts(browser: &Browser<'_>, page: &Answer) -> Answer {
    let query =
        page.text.split("id=\"timeline\" class=\"waiting\" hx-get=\"./").nth(1).unwrap().split('"').next().unwrap();
    let query = unescaped(query);
    assert!(query.contains("counts=yes"), "{query}");
    browser.get_partial(&format!("/{query}")).await
}

#[tokio::test]
async fn a_value_of_a_row_is_filtered_by_or_excluded_and_a_chip_removes_it() {
    let world = World::new();
    for minutes_ago in 1..=20 {
        world.event("acme", minutes_ago, if minutes_ago % 4 == 0 { "Logout" } else { "Login" });
    }
    let browser = world.browser("acme", READ);
    let page = browser.get("/?period=24h&q=acme").await;
    for control in [
        "<button class=\"pick\" form=\"narrow\" name=\"action\" value=\"Logout\">",
        "<button class=\"not\" form=\"narrow\" name=\"notAction\" value=\"Logout\" aria-label=\"Exclude Logout\">",
        "<button class=\"pick\" form=\"narrow\" name=\"user\" value=\"ada@acme.example\">",
        "<button class=\"not\" form=\"narrow\" name=\"notLogType\" value=\"Authentication\" aria-label=\"Exclude Authentication\">",
    ] {
        assert!(page.text.contains(control), "{control}: {}", page.text);
    }
    // The controls send their value along with the query.
    let form = page.text.split("<form id=\"narrow\"").nth(1).unwrap().split("</form>").next().unwrap();
    for field in ["name=\"period\" value=\"24h\"", "name=\"q\" value=\"acme\""] {
        assert!(form.contains(field), "{field}: {form}");
    }
    let page = browser.get("/?period=24h&q=acme&notAction=Login&user=ada%40acme.example&counts=yes").await;
    assert!(page.text.contains("<strong>5</strong> events") && rows(&page) == 5, "{}", page.text);
    assert!(
        page.text.contains("Action is not: <bdi>Login</bdi>")
            && page.text.contains("User: <bdi>ada@acme.example</bdi>")
    );
    assert!(page.text.contains("class=\"hint\">Excluded</span>"), "{}", page.text);
    assert!(!page.text.contains("name=\"user\" value=\"ada@acme.example\"><bdi>"), "the filter has it: {}", page.text);
    let chips =
        page.text.split("<a class=\"chip\" href=\"./").skip(1).map(|rest| unescaped(rest.split('"').next().unwrap()));
    let mut totals = Vec::new();
    for chip in chips {
        let page = browser.get(&format!("/{chip}")).await;
        totals.push(page.text.split("<strong>").nth(1).unwrap().split('<').next().unwrap().to_owned());
    }
    assert_eq!(totals, ["5", "20"], "without the user, without the exclusion");
}

#[tokio::test]
async fn a_bar_of_the_histogram_narrows_the_period_to_its_events() {
    let world = World::new();
    for minutes_ago in [3, 5, 70, 71, 400] {
        world.event("acme", minutes_ago, "Login");
    }
    let browser = world.browser("acme", READ);
    let page = browser.get("/?period=24h&action=Login&counts=yes").await;
    let bars: Vec<_> =
        page.text.split("<ol class=\"bars\"").nth(1).unwrap().split("<li><a href=\"./").skip(1).collect();
    assert_eq!(bars.len(), 25, "{}", page.text);
    let mut counted = Vec::new();
    for bar in &bars {
        let [link, _, label] = bar.splitn(4, '"').take(3).collect::<Vec<_>>().try_into().unwrap();
        let count: u64 = label.rsplit(": ").next().unwrap().split(' ').next().unwrap().parse().unwrap();
        if count > 0 {
            let narrowed = browser.get(&format!("/{}", unescaped(link))).await;
            let total = format!("<strong>{count}</strong>");
            assert!(narrowed.text.contains(&total) && narrowed.text.contains("value=\"Login\" checked"), "{label}");
            assert_eq!(rows(&narrowed).to_string(), count.to_string(), "{label}");
            counted.push(label.to_owned());
        }
    }
    let expected = [
        "21 Nov, 03:00 to 04:00: 1 event",
        "21 Nov, 08:00 to 09:00: 2 events",
        "21 Nov, 09:00 to 10:00: 1 event",
        "21 Nov, 10:00 to 11:00: 1 event",
    ];
    assert_eq!(counted, expected);
    assert!(!browser.get("/?q=nowhere&counts=yes").await.text.contains("class=\"bars\""));
}

#[tokio::test]
async fn presets_are_links_that_find_failed_logins_and_the_systems_own_events() {
    let world = World::new();
    world.event("acme", 5, "Login Failed");
    world.event("acme", 6, "Login");
    for (minutes_ago, action) in [(7, "Connector Connected"), (8, "Export Settings Changed"), (9, "Export Failed")] {
        world.raw_event("acme", minutes_ago, &json!({ "logType": "Audit Log Export", "action": action }).to_string());
    }
    world.event("acme", 10, "Export Failed");
    let browser = world.browser("acme", READ);
    let page = browser.get("/").await;
    let presets = page.text.split("id=\"presets\"").nth(1).unwrap().split("</details>").next().unwrap();
    let links = presets.split("<a href=\"./").skip(1).map(|rest| unescaped(rest.split('"').next().unwrap()));
    let mut found = Vec::new();
    for link in links {
        let page = browser.get(&format!("/{link}")).await;
        assert!(page.text.contains("aria-current=\"true\">"), "{link}");
        found.push(rows(&page));
    }
    assert_eq!(found, [1, 1, 2, 0, 0]);
}

#[tokio::test]
async fn the_page_of_an_event_tells_who_what_when_from_where_and_the_outcome() {
    let world = World::new();
    let event = json!({
        "id": "e-1", "date": "2026-11-21T09:00:00.000Z", "logType": "Authentication", "action": "Login Failed",
        "user": { "id": "u-1", "name": "שרה", "email": "sara@acme.example" },
        "additionalInfo": {
            "userAgent": "Mozilla/5.0", "ip": "203.0.113.7", "reason": "wrong password", "outcome": "failed",
            "scan": { "id": 17, "by": "x\u{202e}y" },
        },
    });
    world.raw_event("acme", 63, &event.to_string());
    let browser = world.browser("acme", READ);
    let list = browser.get("/").await;
    let line = "outcome failed · reason wrong password · ip 203.0.113.7 · scan.id 17";
    assert!(list.text.contains(line) && list.text.contains("<bdi>שרה</bdi>"), "{}", list.text);
    let link = list.text.split("href=\"./event?at=").nth(1).unwrap().split('"').next().unwrap();
    for (page, is_part) in [
        (browser.get(&format!("/event?at={link}")).await, false),
        (browser.get_partial(&format!("/event?at={link}")).await, true),
    ] {
        for text in [
            "<dt>Who</dt><dd><bdi>שרה</bdi><bdi class=\"dim\">sara@acme.example</bdi>",
            "<dt>What</dt><dd><bdi>Login Failed</bdi><bdi class=\"dim\">Authentication</bdi></dd>",
            "<dt>Outcome</dt><dd><bdi>failed</bdi><bdi class=\"dim\">wrong password</bdi></dd>",
            "<dt>From where</dt><dd><bdi>203.0.113.7</bdi><bdi class=\"dim\">Mozilla/5.0</bdi></dd>",
            "<dt><bdi>scan</bdi></dt><dd><dl class=\"members\"><div><dt><bdi>id</bdi></dt><dd><bdi>17</bdi></dd></div>",
            "x⟨U+202E⟩y",
            "x\\u202ey",
            "Copy JSON",
            "<a href=\"./?period=30d&#38;user=sara%40acme.example\">More by this user</a>",
            "<a href=\"./?period=30d&#38;action=Login+Failed\">More of this action</a>",
        ] {
            assert!(page.text.contains(text), "{text}: {}", page.text);
        }
        assert_eq!(
            page.text.contains(&format!("<a href=\"./event?at={link}\">Permalink</a>")),
            is_part,
            "{}",
            page.text
        );
        assert!(!page.text.contains("<dt><bdi>reason</bdi>"), "it is told above: {}", page.text);
    }
}

#[tokio::test]
async fn a_csv_file_without_the_older_events_says_so_in_its_name() {
    let world = World::new();
    for minutes_ago in 1..=30 {
        world.event("acme", minutes_ago, &"x".repeat(300_000));
    }
    let browser = world.browser("acme", READ);
    for (query, suffix) in
        [("period=7d", "2026-11-14-2026-11-21-newest-part"), ("period=7d&q=nothing", "2026-11-14-2026-11-21")]
    {
        let file = browser.get(&format!("/audit-logs.csv?{query}")).await;
        let name = format!("attachment; filename=\"audit-logs-acme-{suffix}.csv\"");
        assert_eq!(file.header("content-disposition"), name);
    }
}

#[tokio::test]
async fn the_counts_at_once_do_not_make_a_page_too_large() {
    for text in ["<", "語", "\u{202e}"].map(|it| it.repeat(300)) {
        let world = World::new();
        for minutes_ago in 1..=40 {
            let value = format!("{minutes_ago:02}{text}");
            let user = json!({ "id": value, "name": value, "email": value });
            let event = json!({ "logType": value, "action": value, "user": user, "additionalInfo": { "a": value } });
            world.raw_event("acme", minutes_ago, &event.to_string());
        }
        let browser = world.browser("acme", READ);
        let values = (1..=40).map(|at| ("notAction", format!("{at:02}{text}")));
        let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(values.take(1)).finish();
        // A query of the user's own is repeated in forms and links.
        for (path, most) in [("/?counts=yes", 75_000), (&format!("/?counts=yes&{query}"), 100_000)] {
            let page = browser.get(path).await;
            assert!(page.text.contains("href=\"./event?at=") && page.text.contains("<strong>"), "{}", page.text);
            assert!(page.text.len() < most, "{path}: {}", page.text.len());
        }
    }
}
