//! The pages of the audit logs and the export status.

use super::{logs::counts, *};

impl World {
    /// Records any text as an event.
    pub(super) fn raw_event(&self, tenant: &str, minutes_ago: i64, text: &str) {
        let at = (now() - TimeDelta::minutes(minutes_ago)).format("%Y-%m-%dT%H:%M:%S%.3fZ");
        let stored = StoredEvent { recorded_at_id: format!("{at}#{minutes_ago}"), body: Body::Text(text.to_owned()) };
        self.fakes.put_event(&TenantId::parse(tenant).unwrap(), 0, stored);
    }
}

pub(super) fn rows(page: &Answer) -> usize {
    page.text.matches("<tr role=\"row\">").count().saturating_sub(1)
}

#[tokio::test]
async fn nothing_in_an_event_runs_or_breaks_the_page() {
    let world = World::with("acme").await;
    let attacks = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "'><svg/onload=alert(1)>",
        "javascript:alert(1)",
        "</pre></td></table><h1>gone</h1>",
        "{{7*7}}{% raw %}",
        "admin\u{202e}gpj.exe\u{200b}\u{0}",
    ];
    for (minutes_ago, attack) in (1..).zip(attacks) {
        let event = json!({
            "id": attack, "date": attack, "logType": attack, "action": attack,
            "user": { "id": attack, "name": attack, "email": attack }, "additionalInfo": { attack: attack },
        });
        world.raw_event("acme", minutes_ago, &event.to_string());
    }
    world.raw_event(
        "acme",
        20,
        &json!({ "action": "x".repeat(100_000), "additionalInfo": "y".repeat(100_000) }).to_string(),
    );
    world.raw_event("acme", 21, "no <b>JSON</b> at all");
    let browser = world.browser("acme", READ);
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(attacks.iter().map(|attack| ("action", attack)))
        .extend_pairs([("q", ""), ("period", attacks[1]), ("from", attacks[1])])
        .finish();
    let mut pages = vec![browser.get("/").await, browser.get(&format!("/?{query}")).await];
    assert!(rows(&pages[0]) >= 9 && rows(&pages[1]) == attacks.len(), "{} {}", rows(&pages[0]), rows(&pages[1]));
    assert!(pages.iter().all(|page| page.text.len() < 100_000), "long values are cut");
    assert!(pages[0].text.contains("gpj.exe") && pages[0].text.contains("admin⟨U+202E⟩"));
    let links = pages[0].text.split("href=\"./event?at=").skip(1).filter_map(|rest| rest.split('"').next());
    for link in links.map(str::to_owned).collect::<Vec<_>>() {
        pages.push(browser.get(&format!("/event?at={link}")).await);
        pages.push(browser.get_partial(&format!("/event?at={link}")).await);
    }
    assert_eq!(pages.len(), 20, "two lists, and each event twice");
    for page in pages {
        assert_eq!(page.status, 200, "{}", page.text);
        assert!(page.text.len() < 100_000);
        for harm in ["<script>", "<img", "<svg/", "<h1>gone", "<b>", "href=\"javascript", "src=\"javascript", ">49<"] {
            assert!(!page.text.contains(harm), "{harm}: {}", page.text);
        }
        for hidden in ['\u{202e}', '\u{200b}', '\u{0}'] {
            let values = page.text.replace(&format!("value=\"admin{}", attacks[6].trim_start_matches("admin")), "");
            assert!(!values.contains(hidden), "{hidden:?} {}", page.text);
        }
    }
}

#[tokio::test]
async fn the_address_has_the_filters_and_the_csv_has_the_same_events() {
    let world = World::new();
    for minutes_ago in 1..=70 {
        world.event("acme", minutes_ago, if minutes_ago % 7 == 0 { "Logout" } else { "Login" });
    }
    let browser = world.browser("acme", READ);
    let page = browser.get("/?period=24h").await;
    assert_eq!(rows(&page), 30, "{}", page.text);
    let counts = counts(&browser, &page).await;
    assert!(counts.text.contains("<strong>70</strong> events"), "{}", counts.text);
    assert!(counts.text.contains("<bdi>Login</bdi><span class=\"n\">60</span>"), "{}", counts.text);
    let query = "?period=24h&q=of+acme&action=Logout&user=ada%40acme.example&notAction=Scan";
    let page = browser.get(&format!("/{query}&counts=yes")).await;
    assert!(page.text.contains("<strong>10</strong> events") && rows(&page) == 10, "{}", page.text);
    assert!(page.text.contains("value=\"Logout\" checked") && page.field("q") == "of acme");
    assert!(page.text.contains("<input type=\"hidden\" name=\"notAction\" value=\"Scan\">"), "{}", page.text);
    assert!(page.text.contains("value=\"24h\" checked") && page.text.contains("Clear filters"));
    let links =
        page.text.split("href=\"./audit-logs.csv").skip(1).map(|link| unescaped(link.split('"').next().unwrap()));
    let [link, for_excel] = links.collect::<Vec<_>>().try_into().unwrap();
    let file = browser.get(&format!("/audit-logs.csv{link}")).await;
    assert_eq!((file.header("content-type"), file.text.lines().count()), ("text/csv; charset=utf-8", 11));
    let name = "attachment; filename=\"audit-logs-acme-2026-11-20-2026-11-21.csv\"";
    assert_eq!(file.header("content-disposition"), name);
    let for_excel = browser.get(&format!("/audit-logs.csv{for_excel}")).await;
    assert_eq!(for_excel.text, format!("\u{feff}{}", file.text));
    assert_eq!(for_excel.header("content-disposition"), file.header("content-disposition"));
    let day = browser.get("/audit-logs.csv?period=custom&from=2026-11-20T00:00&to=2026-11-21T00:00").await;
    let name = "attachment; filename=\"audit-logs-acme-2026-11-20-2026-11-20.csv\"";
    assert_eq!(day.header("content-disposition"), name, "the end is excluded");
    let last_hour = browser.get("/?period=1h&counts=yes").await;
    assert!(last_hour.text.contains("<strong>60</strong> events"), "{}", last_hour.text);
    let custom = browser.get("/?period=custom&from=2026-11-21T09:53&to=2026-11-21T10:00&counts=yes").await;
    assert!(custom.text.contains("<strong>7</strong> events") && custom.field("from") == "2026-11-21T09:53");
}

#[tokio::test]
async fn older_events_come_page_by_page_with_and_without_a_script() {
    let world = World::new();
    (1..=70).for_each(|minutes_ago| world.event("acme", minutes_ago, &format!("Activity {minutes_ago}.")));
    let browser = world.browser("acme", READ);
    for is_partial in [false, true] {
        let (mut path, mut seen) = ("/".to_owned(), Vec::new());
        loop {
            let page = if is_partial { browser.get_partial(&path).await } else { browser.get(&path).await };
            seen.push(rows(&page));
            let more =
                page.text.split("<p class=\"more\" id=\"more\"><a class=\"button\" id=\"load-more\" href=\"./").nth(1);
            let Some(more) = more.and_then(|rest| rest.split('"').next()).filter(|it| it.contains("pageToken")) else {
                break;
            };
            path = format!("/{}", unescaped(more));
        }
        assert_eq!(seen, [30, 30, 10], "{is_partial}");
    }
}

#[tokio::test]
async fn the_rows_come_first_and_each_search_reads_the_events_once() {
    let world = World::new();
    (1..=70).for_each(|minutes_ago| world.event("acme", minutes_ago, "Login"));
    let browser = world.browser("acme", READ);
    let page = browser.get("/").await;
    assert!(!page.text.contains("<strong>70</strong>") && rows(&page) == 30, "{}", page.text);
    let counts = counts(&browser, &page).await;
    assert!(counts.text.contains("<strong>70</strong> events") && rows(&counts) == 0, "{}", counts.text);
    assert!(!counts.text.contains("counts=yes"), "links of a page with scripts: {}", counts.text);
    assert_eq!(world.fakes.calls(Op::PageBack), 2);
    let whole = browser.get("/?counts=yes").await;
    assert!(whole.text.contains("<strong>70</strong> events") && rows(&whole) > 10, "{}", whole.text);
    assert!(!whole.text.contains("hx-trigger=\"load"), "the counts are there");
    assert_eq!(world.fakes.calls(Op::PageBack), 3);
    let more = page.text.split("id=\"load-more\" href=\"./").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let older = browser.get(&format!("/{}", unescaped(more))).await;
    assert_eq!((rows(&older), world.fakes.calls(Op::PageBack)), (30, 4), "{}", older.text);
    assert!(!older.text.contains("<strong>70</strong>") && older.text.contains("Go back to the newest events"));
}

#[tokio::test]
async fn the_pages_have_the_searches_of_their_tenant_and_say_when_to_try_again() {
    let world = World::with_searches(3);
    world.onboard("acme").await;
    super::super::reading::export(&world, "acme", 3);
    for tenant in ["acme", "globex"] {
        world.event(tenant, 5, "Login");
    }
    let browser = world.browser("acme", READ);
    let page = browser.get("/").await;
    let event = page.text.split("href=\"./event?at=").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let event = format!("/event?at={event}");
    for path in ["/audit-logs.csv", &event] {
        assert_eq!(browser.get(path).await.status, 200, "{path}");
    }
    for path in ["/", "/audit-logs.csv", &event] {
        for refused in [browser.get(path).await, browser.get_partial(path).await] {
            assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "47"), "{path}");
            assert!(refused.text.contains("Only 3 searches of the audit logs a minute"), "{}", refused.text);
        }
    }
    let status = browser.get("/status").await;
    assert_eq!(status.status, 200, "{}", status.text);
    assert!(status.text.contains("<svg class=\"chart wide\""), "{}", status.text);
    assert_eq!(world.browser("globex", READ).get("/").await.status, 200);
    assert_eq!(world.get("acme", "/v1/audit-logs").await.status, 429, "the API and the pages share the limit");
}

#[tokio::test]
async fn an_empty_page_says_why_and_a_wrong_query_stays_in_the_form() {
    let world = World::new();
    let browser = world.browser("acme", READ);
    assert!(browser.get("/").await.text.contains("No events in this period"));
    world.event("acme", 5, "Login");
    assert!(browser.get("/?q=nowhere").await.text.contains("No events match"));
    for query in ["period=custom&from=yesterday", "pageToken=x!", "period=custom&from=2026-11-21&to=2026-11-20"] {
        let page = browser.get(&format!("/?q=kept&{query}")).await;
        assert_eq!((page.status.as_u16(), page.field("q").as_str()), (400, "kept"), "{query}");
        assert!(page.text.contains("class=\"alert bad\"") && page.text.contains("aria-label=\"Results\""), "{query}");
    }
    let page = browser.get("/?period=custom&from=2026-11-21T00:00&to=soon").await;
    assert!(page.text.contains("The end date must be a date like") && !page.text.contains("to: "), "{}", page.text);
    assert!(page.text.contains("data-wrong=\"to\""), "{}", page.text);
    let input = |name: &str| page.text.split(&format!("id=\"{name}\"")).nth(1).unwrap().split('>').next().unwrap();
    assert!(input("to").contains("aria-invalid=\"true\" aria-describedby=\"why\""), "{}", input("to"));
    assert!(!input("from").contains("aria-invalid"), "{}", input("from"));
    let undated = browser.get("/?period=custom").await;
    assert!(undated.text.contains("showing the last 7 days"), "{}", undated.text);
    for path in
        ["/event?at=x!", "/event?at=", "/audit-logs.csv?pageToken=x!", "/audit-logs.csv?period=custom&from=soon"]
    {
        let refused = browser.get(path).await;
        assert_eq!(refused.status, 400, "{path}");
        let words = ["This address is not valid", "Open the event", "Go back", "The start date must be"];
        assert!(words.iter().any(|words| refused.text.contains(words)), "{path}: {}", refused.text);
        for api in ["pageToken", "from:", "parameter"] {
            assert!(!refused.text.contains(api), "{path}: {api} is a word of the API: {}", refused.text);
        }
    }
    assert_eq!(browser.get("/event?at=MjAyNi0xMS0yMVQwOTowMDowMC4wMDBaIzE").await.status, 404);
}

#[tokio::test]
async fn the_status_shows_cause_fix_who_must_act_and_the_chart() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", READ);
    assert!(browser.get("/status").await.text.contains("No exports yet"));
    super::super::reading::export(&world, "acme", 30);
    for (code, party, cause) in [
        (Code::AccessDenied, "Action needed", "It was &#60;refused&#62;."),
        (Code::Throttled, "Platform issue", "The platform could not export."),
    ] {
        {
            let mut state = world.fakes.state();
            let tenant = state.tenants.get_mut("acme").unwrap();
            tenant.last_error = Some((Failure::new(code, "It was <refused>."), now()));
            tenant.consecutive_failures = 7;
            tenant.failing_since = Some(now() - chrono::TimeDelta::hours(6));
        }
        let page = browser.get("/status").await;
        for words in [party, cause, "7 times in a row since ", code.as_str(), "Failing", "<svg class=\"chart wide\""] {
            assert!(page.text.contains(words), "{words}: {}", page.text);
        }
        let fix = page.text.contains(&code.hint().replace('\'', "&#39;"));
        assert_eq!(fix, code == Code::AccessDenied, "a hint for the platform is shown: {}", page.text);
    }
    let page = browser.get("/status").await;
    assert!(page.text.contains("21 Nov: 1,800 events in 10 exports"), "{}", page.text);
    assert!(page.text.contains("and 58 more in that folder"));
    let copied =
        "aws s3 cp &#39;s3://acme-audit-logs/audit-logs/tenant=acme/20261121T090000Z_20261121T100000Z_0001.json&#39; .";
    assert!(page.text.contains(copied), "{}", page.text);
    assert!(page.text.contains(&format!("title=\"{}\"", "a".repeat(64))));
    let more = page
        .text
        .split("id=\"more\"><a class=\"button\" id=\"load-more\" href=\"./status")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let earlier = browser.get(&format!("/status{more}")).await;
    assert_eq!(earlier.text.matches("scope=\"row\" rowspan").count(), 5, "{}", earlier.text);
}

#[tokio::test]
async fn the_status_shows_the_last_connection_check_and_its_findings() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", READ);
    let version =
        world.fakes.state().tenants["acme"].config.as_ref().unwrap().version.as_ref().unwrap().parse().unwrap();
    let unchecked = browser.get("/status").await.text;
    assert!(!unchecked.contains("last checked"), "{unchecked}");
    super::super::reading::checked(&world, "acme", version, &[]);
    let well = browser.get("/status").await.text;
    assert!(well.contains("Connection last checked") && well.contains(", no problems found"), "{well}");
    for (is_failure, code, title) in [
        (true, Code::ExternalIdNotEnforced, "The daily connection check failed"),
        (false, Code::ExcessRights, "The daily connection check has a warning"),
    ] {
        super::super::reading::checked(&world, "acme", version, &[(is_failure, code, "It answers to <anybody>.")]);
        let page = browser.get("/status").await.text;
        let hint = code.hint().replace('\'', "&#39;");
        for words in [title, "It answers to &#60;anybody&#62;.", code.as_str(), &hint] {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert!(!page.contains(", no problems found"), "{page}");
    }
}

#[tokio::test]
async fn the_status_says_that_events_of_a_disconnected_tenant_are_in_no_bucket() {
    let world = World::with("acme").await;
    let stop = |until: &str| {
        let mut state = world.fakes.state();
        let watermark = state.tenants.get_mut("acme").unwrap().watermark.as_mut().unwrap();
        (watermark.exported_until, watermark.due_shard) = (Some(until.to_owned()), None);
    };
    let (reader, admin) = (world.browser("acme", READ), world.browser("acme", ADMIN));
    assert!(!admin.get("/status").await.text.contains("in no bucket"));
    stop("2026-11-01T10:00:00Z");
    world.event("acme", 75 * 24 * 60, "Login");
    world.event("acme", 20, "Login");
    let page = admin.get("/status").await.text;
    for words in
        ["Exports are stopped", "1 Nov 2026, 10:00", "None is deleted before", "30 Jan 2027, 10:00", "Connect a role"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(reader.get("/status").await.text.contains("Ask an administrator to connect a role"));
    stop("2026-09-01T10:00:00Z");
    let page = admin.get("/status").await.text;
    assert!(page.contains("Undelivered events will be deleted soon"), "{page}");
}
