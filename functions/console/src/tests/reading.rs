//! Receipts, status and audit logs.

use audit_log_core::{
    failure::{Code, Failure},
    fakes::{Fault, Op},
    late_arrivals::TrailingCounts,
    records::{ConnectionCheck, Finding, Location, Receipt, StoredObject},
    schedule::Window,
};

use super::*;

/// Adds a receipt for each of the last hours.
pub(super) fn export(world: &World, tenant: &str, hours: u32) {
    let mut state = world.fakes.state();
    state.tenants.get_mut(tenant).unwrap().last_success_at = Some("2026-11-21T10:01:00Z".parse().unwrap());
    let receipts = &mut state.tenants.get_mut(tenant).unwrap().receipts;
    for hour in 0..hours {
        let to = "2026-11-21T10:00:00Z".parse::<DateTime<Utc>>().unwrap() - TimeDelta::hours(hour.into());
        let window = Window { from: to - TimeDelta::hours(1), to };
        let object = |file: usize| StoredObject {
            key: format!("audit-logs/tenant={tenant}/{window}_{file:04}.json"),
            bytes: 100,
            events: 3,
            sha256: "a".repeat(64),
            late: None,
            last_event: None,
        };
        let folder = format!("security/audit-logs/tenant={tenant}/");
        let location = Location { bucket: format!("{tenant}-audit-logs"), folder };
        let receipt = Receipt {
            objects: (1..=60).map(object).collect(),
            malformed: 1,
            exported_at: to + TimeDelta::minutes(1),
            duration: TimeDelta::milliseconds(250),
            ..Receipt::empty(window, location, TrailingCounts::new(window))
        };
        receipts.insert(to, receipt);
    }
}

#[tokio::test]
async fn receipts_come_newest_first_and_page_by_page() {
    let world = World::with("acme").await;
    export(&world, "acme", 5);
    let (mut windows, mut path) = (Vec::new(), "/v1/exports?pageSize=2".to_owned());
    loop {
        let page = world.get("acme", &path).await.json();
        let exports = page["exports"].as_array().unwrap();
        windows.extend(exports.iter().map(|export| export["windowTo"].as_str().unwrap().to_owned()));
        let Some(token) = page["nextPageToken"].as_str() else { break };
        path = format!("/v1/exports?pageSize=2&pageToken={token}");
    }
    let expected: Vec<String> = (6..=10).rev().map(|hour| format!("2026-11-21T{hour:02}:00:00Z")).collect();
    assert_eq!(windows, expected);
    let first = &world.get("acme", "/v1/exports").await.json()["exports"][0];
    assert_eq!((&first["objectCount"], &first["events"], &first["bytes"]), (&json!(60), &json!(180), &json!(6000)));
    assert_eq!(first["objects"].as_array().unwrap().len(), 50, "only the first objects are listed");
}

#[tokio::test]
async fn the_status_has_the_backlog_and_who_must_act() {
    let world = World::with("acme").await;
    {
        let mut state = world.fakes.state();
        let tenant = state.tenants.get_mut("acme").unwrap();
        let watermark = tenant.watermark.as_mut().unwrap();
        watermark.exported_until = Some("2026-11-21T03:00:00Z".to_owned());
        watermark.next_due = Some("2026-11-21T04:00:00Z".to_owned());
        let failed = Failure::new(Code::AccessDenied, "S3 refused the write.");
        tenant.last_error = Some((failed, "2026-11-21T10:01:05Z".parse().unwrap()));
        tenant.consecutive_failures = 7;
        tenant.failing_since = Some("2026-11-21T04:01:05Z".parse().unwrap());
    }
    let status = world.get("acme", "/v1/status").await.json();
    assert_eq!((&status["backlogHours"], &status["consecutiveFailures"]), (&json!(7), &json!(7)));
    assert_eq!(
        (&status["nextRunAt"], &status["exportedUntil"]),
        (&json!("2026-11-21T11:01:00Z"), &json!("2026-11-21T03:00:00Z"))
    );
    assert_eq!(status["failingSince"], "2026-11-21T04:01:05Z");
    let error = &status["lastError"];
    assert_eq!(
        (&error["code"], &error["party"], &error["at"]),
        (&json!("access_denied"), &json!("customer"), &json!("2026-11-21T10:01:05Z"))
    );
    assert_eq!(error["hint"], Code::AccessDenied.hint());
    let failed = Failure::new(Code::PlatformDenied, "DynamoDB answered AccessDeniedException.");
    world.fakes.state().tenants.get_mut("acme").unwrap().last_error = Some((failed, now()));
    let error = &world.get("acme", "/v1/status").await.json()["lastError"];
    assert_eq!((&error["code"], &error["party"]), (&json!("platform_denied"), &json!("platform")));
    assert!(error["hint"].is_null() && !error["message"].to_string().contains("DynamoDB"), "{error}");
    {
        let mut state = world.fakes.state();
        let tenant = state.tenants.get_mut("acme").unwrap();
        tenant.last_error = Some((Failure::new(Code::AccessDenied, "S3 refused the write."), now()));
        tenant.failing_since = Some("2026-11-18T04:01:05Z".parse().unwrap());
        tenant.backoff_reset_at = None;
    }
    let status = world.get("acme", "/v1/status").await.json();
    assert_eq!(status["nextRunAt"], "2026-11-21T16:01:00Z", "after a day, exports are retried less often");
    let none = world.get("globex", "/v1/status").await.json();
    assert_eq!((&none["state"], &none["backlogHours"]), (&json!("not_connected"), &json!(0)));
}

/// Stores the result of a daily check of a version of the settings.
pub(super) fn checked(world: &World, tenant: &str, version: u64, found: &[(bool, Code, &str)]) {
    let finding = |(is_failure, code, message): &(bool, Code, &str)| Finding {
        step: "external_id_enforced".to_owned(),
        is_failure: *is_failure,
        code: code.to_string(),
        message: (*message).to_owned(),
    };
    let (due_hour, at) = ("2026-11-21T08:00:00Z".parse().unwrap(), "2026-11-21T08:31:04Z".parse().unwrap());
    let checked = ConnectionCheck { due_hour, at, version, findings: found.iter().map(finding).collect() };
    world.fakes.state().tenants.get_mut(tenant).unwrap().connection_check = Some(checked);
}

#[tokio::test]
async fn the_status_has_the_daily_check_of_the_saved_settings_only() {
    let world = World::with("acme").await;
    let check = async || world.get("acme", "/v1/status").await.json()["connectionCheck"].take();
    assert!(check().await.is_null(), "there was none yet");
    let version =
        world.fakes.state().tenants["acme"].config.as_ref().unwrap().version.as_ref().unwrap().parse().unwrap();
    checked(&world, "acme", version, &[]);
    assert_eq!(check().await, json!({ "checkedAt": "2026-11-21T08:31:04Z", "passed": true, "findings": [] }));
    checked(&world, "acme", version, &[(false, Code::ExcessRights, "It may read.")]);
    assert_eq!(check().await["passed"], true, "a warning");
    checked(&world, "acme", version, &[(true, Code::ExternalIdNotEnforced, "Anybody may have it.")]);
    let found = check().await;
    let expected = json!([{
        "step": "external_id_enforced", "status": "failed", "code": "external_id_not_enforced",
        "message": "Anybody may have it.", "hint": Code::ExternalIdNotEnforced.hint(),
    }]);
    assert_eq!((&found["passed"], &found["findings"]), (&json!(false), &expected));
    checked(&world, "acme", version - 1, &[(true, Code::ExternalIdNotEnforced, "Anybody may have it.")]);
    assert!(check().await.is_null(), "other settings were saved since");
    checked(&world, "acme", version, &[]);
    world.fakes.state().tenants.get_mut("acme").unwrap().watermark.as_mut().unwrap().due_shard = None;
    assert!(check().await.is_null(), "the tenant was disconnected since");
}

#[tokio::test]
async fn the_status_of_a_disconnected_tenant_has_its_undelivered_events() {
    let world = World::with("acme").await;
    let undelivered = async || world.get("acme", "/v1/status").await.json()["undelivered"].take();
    world.event("acme", 20 * 24 * 60, "Login");
    assert!(undelivered().await.is_null(), "exports are scheduled");
    let stop = |until: &str| {
        let mut state = world.fakes.state();
        let watermark = state.tenants.get_mut("acme").unwrap().watermark.as_mut().unwrap();
        (watermark.exported_until, watermark.due_shard) = (Some(until.to_owned()), None);
    };
    stop("2026-10-01T10:00:00Z");
    let expected = |near_retention: bool| json!({ "since": "2026-10-01T10:00:00Z", "keptUntil": "2026-12-30T10:00:00Z", "nearRetention": near_retention });
    assert_eq!(undelivered().await, expected(false));
    stop("2026-09-01T10:00:00Z");
    world.event("acme", 75 * 24 * 60, "Login");
    assert_eq!(undelivered().await["nearRetention"], true);
    world.fakes.once(Op::PageBack, None, Fault::Fail(Failure::new(Code::Unavailable, "no answer")));
    let unread = world.get("acme", "/v1/status").await.json();
    assert_eq!((&unread["state"], &unread["undelivered"]), (&json!("disconnected"), &json!(null)));
    stop("2026-11-21T10:03:13Z");
    assert!(undelivered().await.is_null(), "all is delivered, the change included");
}

async fn ids(world: &World, path: &str) -> Vec<String> {
    let page = world.get("acme", path).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let events = page.json()["events"].as_array().unwrap().clone();
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn audit_logs_are_filtered_by_every_parameter_and_come_newest_first() {
    let world = World::new();
    for (minutes_ago, action) in [(1, "Login"), (2, "Logout"), (3, "Scan Now"), (600, "Login"), (20_000, "Login")] {
        world.event("acme", minutes_ago, action);
    }
    for (query, expected) in [
        ("", vec!["acme-1", "acme-2", "acme-3", "acme-600"]),
        ("?action=Login", vec!["acme-1", "acme-600"]),
        ("?action=Login&action=Scan%20Now", vec!["acme-1", "acme-3", "acme-600"]),
        (
            "?user=ada%40acme.example&logType=Authentication&q=of+ACME&from=2026-11-21",
            vec!["acme-1", "acme-2", "acme-3", "acme-600"],
        ),
        ("?user=bob%40acme.example", vec![]),
        ("?notAction=Login", vec!["acme-2", "acme-3"]),
        ("?notAction=Login&notAction=Scan%20Now", vec!["acme-2"]),
        ("?action=login", vec![]),
        ("?user=ADA%40acme.example&action=Logout", vec!["acme-2"]),
        ("?notUser=ada%40acme.example", vec![]),
        ("?notLogType=Scan&action=Logout", vec!["acme-2"]),
        ("?from=2026-11-01&to=2026-11-20", vec!["acme-20000"]),
        ("?from=2026-11-21T10:00:12.345Z", vec!["acme-1", "acme-2", "acme-3"]),
        ("?pageSize=1", vec!["acme-1"]),
    ] {
        assert_eq!(ids(&world, &format!("/v1/audit-logs{query}")).await, expected, "{query}");
    }
}

#[tokio::test]
async fn audit_logs_are_paged_by_a_token_that_names_no_tenant() {
    let world = World::new();
    for minutes_ago in 1..=5 {
        world.event("acme", minutes_ago, "Login");
    }
    let first = world.get("acme", "/v1/audit-logs?pageSize=3").await.json();
    let token = first["nextPageToken"].as_str().unwrap();
    assert_eq!(ids(&world, &format!("/v1/audit-logs?pageToken={token}")).await, ["acme-4", "acme-5"]);
    // The position contains the event's id. These tests name it after the tenant.
    let position = crate::page_token::decode(token).unwrap();
    assert_eq!(position, "2026-11-21T10:00:12.345Z#acme-3");
}

#[tokio::test]
async fn a_summary_counts_matches_and_the_values_of_each_filter() {
    let world = World::new();
    for (minutes_ago, action) in [(1, "Login"), (2, "Login"), (3, "Logout")] {
        world.event("acme", minutes_ago, action);
    }
    let summary = world.get("acme", "/v1/audit-logs/summary?action=Login").await.json();
    assert_eq!((&summary["total"], &summary["complete"], &summary["scanned"]), (&json!(2), &json!(true), &json!(3)));
    assert_eq!(summary["actions"], json!([{ "value": "Login", "count": 2 }, { "value": "Logout", "count": 1 }]));
    assert_eq!(summary["users"], json!([{ "value": "ada@acme.example", "count": 2 }]));
    assert_eq!(summary["logTypes"], json!([{ "value": "Authentication", "count": 2 }]));
    let bars = summary["histogram"].as_array().unwrap();
    let last = json!({ "from": "2026-11-21T06:00:00Z", "to": "2026-11-21T12:00:00Z", "count": 2 });
    assert_eq!((bars.len(), bars.last()), (29, Some(&last)), "a week in parts of six hours");
}

#[tokio::test]
async fn the_parts_of_a_csv_lead_on_by_link_until_all_events_are_in_one() {
    let world = World::new();
    for minutes_ago in 1..=30 {
        world.event("acme", minutes_ago, &format!("={minutes_ago}{}", "x".repeat(300_000)));
    }
    let (mut rows, mut path, mut parts) =
        (Vec::new(), "/v1/audit-logs.csv?q=acme&logType=Authentication".to_owned(), 0);
    loop {
        let part = world.get("acme", &path).await;
        assert_eq!((part.status.as_u16(), part.header("content-type")), (200, "text/csv; charset=utf-8"));
        assert!(part.text.len() <= 4 << 20, "{}", part.text.len());
        let mut table = csv::Reader::from_reader(part.text.as_bytes());
        for row in table.records() {
            let row = row.unwrap();
            assert!(row[4].starts_with("'="), "would run as a formula");
            rows.push(row[7].to_owned());
        }
        parts += 1;
        let link = part.header("link");
        if link.is_empty() {
            break;
        }
        assert!(link.contains("logType=Authentication") && link.ends_with(">; rel=\"next\""), "{link}");
        path = format!("/v1/audit-logs.csv{}", link.trim_start_matches('<').split('>').next().unwrap());
    }
    let expected: Vec<String> = (1..=30).map(|minutes_ago| format!("acme-{minutes_ago}")).collect();
    assert_eq!((rows, parts), (expected, 3));
}

#[tokio::test]
async fn a_csv_for_excel_begins_with_a_byte_order_mark_in_every_part() {
    let world = World::new();
    for minutes_ago in 1..=15 {
        world.event("acme", minutes_ago, &format!("Jürgen{}", "x".repeat(300_000)));
    }
    let (mut path, mut marked, mut parts) = ("/v1/audit-logs.csv".to_owned(), "/v1/audit-logs.csv?bom=1".to_owned(), 0);
    loop {
        let (part, excel) = (world.get("acme", &path).await, world.get("acme", &marked).await);
        let bytes = excel.text.as_bytes();
        assert!(bytes.starts_with(b"\xEF\xBB\xBFDate,") && part.text.starts_with("Date,"), "{:?}", &bytes[..20]);
        assert!(bytes[3..] == *part.text.as_bytes(), "the rows differ");
        assert!(bytes.len() <= 4 << 20, "{}", bytes.len());
        parts += 1;
        if part.header("link").is_empty() {
            break;
        }
        let next = |part: &Answer| {
            let query = part.header("link").trim_start_matches('<').split('>').next().unwrap().to_owned();
            format!("/v1/audit-logs.csv{query}")
        };
        (path, marked) = (next(&part), next(&excel));
    }
    assert_eq!(parts, 2);
}

#[tokio::test]
async fn a_wrong_parameter_is_named() {
    let world = World::with("acme").await;
    for (path, field) in [
        ("/v1/audit-logs?from=yesterday", "from"),
        ("/v1/audit-logs?from=2026-11-22&to=2026-11-21", "from"),
        ("/v1/audit-logs?from=2024-01-01", "from"),
        ("/v1/audit-logs?to=99999-01-01", "to"),
        ("/v1/audit-logs?pageSize=0", "pageSize"),
        ("/v1/audit-logs?pageSize=201", "pageSize"),
        ("/v1/audit-logs?pageSize=many", "pageSize"),
        ("/v1/audit-logs?pageToken=***", "pageToken"),
        ("/v1/audit-logs?tenant=globex", "tenant"),
        ("/v1/audit-logs/summary?pageSize=7", "pageSize"),
        ("/v1/audit-logs.csv?pageSize=7", "pageSize"),
        ("/v1/audit-logs.csv?bom=yes", "bom"),
        ("/v1/audit-logs?bom=1", "bom"),
        ("/v1/exports?pageSize=101", "pageSize"),
        ("/v1/exports?pageToken=bm9uc2Vuc2U", "pageToken"),
    ] {
        let refused = world.get("acme", path).await;
        assert_eq!((refused.refusal().0, refused.fields()), (400, vec![field.to_owned()]), "{path}: {}", refused.text);
    }
    let long = "x".repeat(321);
    assert_eq!(world.get("acme", &format!("/v1/audit-logs?q={long}")).await.fields(), ["q"]);
    let many = "action=x&".repeat(51);
    assert_eq!(world.get("acme", &format!("/v1/audit-logs?{many}")).await.fields(), ["action"]);
}

#[tokio::test]
async fn an_outage_is_not_shown_as_an_empty_page() {
    let world = World::new();
    world.fakes.always(Op::PageBack, None, Failure::new(Code::Unavailable, "no answer"));
    for path in ["/v1/audit-logs", "/v1/audit-logs/summary", "/v1/audit-logs.csv"] {
        assert_eq!(world.get("acme", path).await.refusal(), (503, "unavailable".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_tenant_that_floods_the_search_is_refused_and_takes_no_search_of_another() {
    let world = World::with_searches(4);
    for tenant in ["acme", "globex"] {
        world.event(tenant, 1, "Login");
    }
    let paths = ["/v1/audit-logs", "/v1/audit-logs/summary", "/v1/audit-logs.csv"];
    for path in paths.iter().chain(&paths[..1]) {
        assert_eq!(world.get("acme", path).await.status, 200, "{path}");
    }
    let reads = world.fakes.calls(Op::PageBack);
    for path in paths.iter().cycle().take(30) {
        let refused = world.get("acme", path).await;
        assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()), "{path}");
        assert_eq!(refused.header("retry-after"), "47", "{path}");
    }
    assert_eq!(world.fakes.calls(Op::PageBack), reads, "a refused search reads nothing");
    for path in paths {
        assert_eq!(world.get("globex", path).await.status, 200, "{path}");
    }
    assert_eq!(world.get("acme", "/v1/status").await.status, 200);
    assert_eq!(world.admin("acme", "GET", "/v1/connector", None).await.status, 200);
    let wrong = world.get("globex", "/v1/audit-logs?pageSize=0").await;
    assert_eq!(wrong.status, 400, "it takes no search");
    assert_eq!(world.get("globex", "/v1/audit-logs").await.status, 200);
    assert_eq!(world.get("globex", "/v1/audit-logs").await.status, 429);
}

#[tokio::test]
async fn a_search_ends_after_64_mib_of_events_and_its_page_token_leads_on() {
    let world = World::new();
    let large = "x".repeat(250_000);
    for minutes_ago in 1..=300 {
        world.event("acme", minutes_ago, &large);
    }
    world.event("acme", 301, "Login");
    // The store leaves the large events out.
    let found = world.get("acme", "/v1/audit-logs?action=Login").await.json();
    assert_eq!((&found["events"][0]["action"], &found["scanned"]), (&json!("Login"), &json!(301)));
    assert!(found["scannedBytes"].as_u64().unwrap() > 64 << 20 && found["nextPageToken"].is_null());

    let first = world.get("acme", "/v1/audit-logs?user=nobody").await.json();
    let (bytes, token) = (first["scannedBytes"].as_u64().unwrap(), first["nextPageToken"].as_str().unwrap());
    assert!((64 << 20..(64 + 16) << 20).contains(&bytes) && first["events"] == json!([]), "{bytes}");
    let rest = world.get("acme", &format!("/v1/audit-logs?user=nobody&pageToken={token}")).await.json();
    assert!(rest["events"] == json!([]) && rest["nextPageToken"].is_null(), "{rest}");

    let summary = world.get("acme", "/v1/audit-logs/summary").await.json();
    let counted = summary["scanned"].as_u64().unwrap();
    assert_eq!((&summary["complete"], &summary["total"]), (&json!(false), &json!(counted)));
    assert!((200..=300).contains(&counted) && summary["countedFrom"].is_string(), "{counted}");
}
