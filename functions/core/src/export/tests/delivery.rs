//! Which events get into which objects.

use super::*;
use crate::fakes::{Fault, Op};

#[test]
fn an_event_at_a_windows_start_is_in_it_and_one_at_its_end_is_in_the_next() {
    let world = World::with_acme();
    for (recorded_at, name) in [
        ("2026-11-21T10:00:00.000Z", "first"),
        ("2026-11-21T10:59:59.999Z", "last"),
        ("2026-11-21T11:00:00.000Z", "next"),
    ] {
        world.event("acme", recorded_at, name);
    }
    let report = world.tick("11:00").unwrap();
    assert_eq!((counts(&report), report.events, report.objects), ((1, 0, 0), 2, 1));
    world.tick("12:00").unwrap();
    assert_eq!(world.names("acme"), [vec!["first", "last"], vec!["next"]]);
}

#[test]
fn an_empty_window_is_one_object_with_one_heartbeat() {
    let world = World::with_acme();
    let report = world.tick("11:00").unwrap();
    assert_eq!((report.events, report.objects), (0, 1));
    let (name, text) = world.objects("acme").remove(0);
    assert_eq!(name, "20261121T100000Z_20261121T110000Z_0001.json");
    assert_eq!(
        text,
        format!(
            "[\n{}\n]\n",
            crate::event::heartbeat(
                &id("acme"),
                Schedule::first_save(clock("10:00")).due_window(clock("11:00")).unwrap()
            )
        )
    );
}

#[test]
fn pages_and_shards_are_merged_in_the_order_of_recording() {
    let mut world = World::with_acme();
    world.fakes.page_size = 2;
    world.save(
        "acme",
        &Draft { event_shards: Some("3".to_owned()), bucket: Some("acme-bucket".to_owned()), ..draft() },
        clock("10:00"),
    );
    for n in 0..20 {
        world.event_in_shard("acme", n % 3, &format!("2026-11-21T10:{n:02}:00.000Z"), &format!("{n:02}"));
    }
    world.tick("11:00").unwrap();
    let expected: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    assert_eq!(world.names("acme"), [expected]);
}

#[test]
fn after_an_outage_a_tenant_gets_the_files_that_it_would_have_got() {
    let (hourly, late) = (World::with_acme(), World::with_acme());
    for hour in 10..20 {
        for world in [&hourly, &late] {
            world.event("acme", &format!("2026-11-21T{hour}:30:00.000Z"), &hour.to_string());
        }
        hourly.tick(&format!("{}:00", hour + 1)).unwrap();
    }
    let report = late.tick("20:00").unwrap();
    assert_eq!((counts(&report), report.objects), ((1, 0, 0), 10));
    assert_eq!(late.objects("acme"), hourly.objects("acme"));
    assert_eq!(late.schedule("acme"), hourly.schedule("acme"));
}

#[test]
fn a_tenant_that_is_not_due_is_not_exported() {
    let world = World::with_acme();
    world.connect("sixhourly", "6", "09:30");
    assert_eq!(world.tick("10:00").unwrap().due, 1, "sixhourly's first export is at the next full hour");
    assert_eq!(world.tick("15:00").unwrap().due, 1, "acme alone");
    assert_eq!(world.objects("sixhourly").len(), 1);
    assert_eq!(world.tick("16:00").unwrap().due, 2);
    assert_eq!(world.objects("sixhourly")[1].0, "20261121T100000Z_20261121T160000Z_0001.json");
}

#[test]
fn a_window_is_split_where_its_bytes_would_pass_the_limit() {
    let mut world = World::with_acme();
    world.options.max_object_bytes = 30;
    for n in 0..5 {
        world.event("acme", &format!("2026-11-21T10:0{n}:00.000Z"), &n.to_string());
    }
    let long = "x".repeat(100);
    world.event("acme", "2026-11-21T10:06:00.000Z", &long);
    let report = world.tick("11:00").unwrap();
    assert_eq!(report.objects, 4);
    assert_eq!(world.names("acme"), [vec!["0", "1"], vec!["2", "3"], vec!["4"], vec![long.as_str()]]);
    let sizes: Vec<usize> = world.objects("acme").iter().map(|(_, text)| text.len()).collect();
    assert!(sizes[..3].iter().all(|size| *size <= 30), "{sizes:?}");
}

#[test]
fn a_malformed_event_is_exported_and_counted() {
    let world = World::with_acme();
    for (id_in_key, text) in [("7", "not json"), ("8", r#"{"id":"8","ID":"8"}"#), ("9", r#"{"id":"9"}"#)] {
        let recorded_at_id = format!("2026-11-21T10:30:00.000Z#{id_in_key}");
        world.fakes.put_event(&id("acme"), 0, StoredEvent { recorded_at_id, body: Body::Text(text.to_owned()) });
    }
    assert_eq!(world.tick("11:00").unwrap().events, 3);
    let object = &world.objects("acme")[0].1;
    assert!(object.contains("\"raw\":\"not json\""), "{object}");
    assert!(object.contains(r#""reason":"/ID occurs twice in the same object"#), "{object}");
    assert!(object.contains(r#""raw":"{\"id\":\"8\",\"ID\":\"8\"}""#), "{object}");
    assert!(object.contains("\n{\"id\":\"9\"}"), "{object}");
    assert_eq!(world.fakes.state().tenants["acme"].receipts[&clock("11:00")].malformed, 2);
}

#[test]
fn a_window_from_before_the_retention_is_never_reported_as_empty() {
    let mut world = World::with_acme();
    world.options.retention = Some(TimeDelta::minutes(90));
    let report = world.tick("12:00").unwrap();
    assert_eq!(counts(&report), (0, 1, 0));
    assert_eq!(report.failures[0].code, crate::failure::Code::RetentionExceeded);
    assert_eq!(world.exported_until("acme"), "2026-11-21T12:00:00Z", "exports go on");
    let objects = world.objects("acme");
    assert!(objects[0].1.contains("Audit Log Retention Exceeded"), "{objects:?}");
    assert!(!objects[0].1.contains("Audit Log Export Completed"));
    assert!(objects[1].1.contains("Audit Log Export Completed"));
    let acme = world.fakes.state().tenants["acme"].clone();
    assert!(acme.receipts[&clock("11:00")].gap && !acme.receipts[&clock("12:00")].gap);
    assert_eq!(acme.last_error, None, "the window after it was exported without a gap");
}

#[test]
fn every_tenants_first_window_is_exported_before_any_second_one() {
    let mut world = World::with_acme();
    world.connect("other", "1", "12:00");
    world.options.concurrency = 1;
    let fakes = world.fakes.clone();
    let after_two = move || fakes.calls(Op::Commit) >= 2;
    let now = || clock("13:00") + TimeDelta::minutes(2);
    let report = world.run(clock("13:00"), &now, &after_two).unwrap().unwrap();
    assert_eq!(counts(&report), (1, 0, 1));
    assert_eq!((world.objects("acme").len(), world.objects("other").len()), (1, 1));
}

#[test]
fn an_unsettled_window_is_deferred_and_not_failed() {
    let world = World::with_acme();
    let now = || clock("11:00") - TimeDelta::minutes(2);
    let report = world.run(clock("11:00"), &now, &|| false).unwrap().unwrap();
    assert_eq!((counts(&report), world.objects("acme").len()), ((0, 0, 1), 0));
}

#[tokio::test(start_paused = true)]
async fn a_window_that_settles_soon_is_waited_for() {
    let world = World::with_acme();
    let begin = tokio::time::Instant::now();
    let now = move || clock("11:00") + TimeDelta::from_std(begin.elapsed()).unwrap();
    let (platform, random) = (platform(), |bytes: &mut [u8]| world.fakes.random(bytes));
    let (tick, deadline) = (clock("11:00"), now() + RUN_TIME);
    let run = Run { tick, platform: &platform, now: &now, should_stop: &|| false, deadline, random: &random };
    let report = world.export().tick(run).await.unwrap();
    assert_eq!(counts(&report), (1, 0, 0));
    assert_eq!(begin.elapsed().as_secs(), 60);
}

#[test]
fn when_time_runs_out_in_a_window_its_upload_is_aborted() {
    let mut world = World::with_acme();
    world.fakes.page_size = 1;
    for n in 0..3 {
        world.event("acme", &format!("2026-11-21T10:0{n}:00.000Z"), &n.to_string());
    }
    let fakes = world.fakes.clone();
    let now = || clock("11:00") + TimeDelta::minutes(2);
    let stop = move || fakes.calls(Op::Open) >= 1;
    let report = world.run(clock("11:00"), &now, &stop).unwrap().unwrap();
    assert_eq!((counts(&report), world.objects("acme").len(), world.fakes.calls(Op::Abort)), ((0, 0, 1), 0, 1));
    assert_eq!(world.tick("11:00").unwrap().events, 3);
}

#[test]
fn a_run_exports_no_more_windows_of_a_tenant_than_its_maximum() {
    let mut world = World::with_acme();
    world.options.max_windows = 2;
    assert_eq!(counts(&world.tick("14:00").unwrap()), (0, 0, 1));
    assert_eq!(world.exported_until("acme"), "2026-11-21T12:00:00Z");
    assert_eq!(counts(&world.tick("14:00").unwrap()), (1, 0, 0));
}

#[test]
fn a_reconnected_tenant_goes_on_where_it_stopped() {
    let world = World::with_acme();
    world.event("acme", "2026-11-21T10:30:00.000Z", "while away");
    world.disconnect("acme");
    assert_eq!(world.tick("12:00").unwrap().due, 0);
    world.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), ..draft() }, clock("12:30"));
    world.tick("13:00").unwrap();
    assert_eq!(world.names("acme"), [vec!["while away"], vec!["-"], vec!["-"]]);
}

#[test]
fn a_tenants_role_is_assumed_once_for_all_of_its_windows() {
    let world = World::with_acme();
    world.connect("other", "1", "10:00");
    world.tick("13:00").unwrap();
    assert_eq!((world.fakes.calls(Op::Open), world.fakes.calls(Op::Finish)), (2, 6));
}

#[test]
fn an_object_that_cannot_be_written_is_aborted() {
    let world = World::with_acme();
    let failure = Failure::new(crate::failure::Code::AccessDenied, "no");
    world.fakes.once(Op::Write, None, Fault::Fail(failure));
    assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 1, 0));
    assert_eq!((world.fakes.calls(Op::Abort), world.objects("acme").len()), (1, 0));
}

#[test]
fn the_tenant_that_is_due_longest_is_exported_first() {
    let mut world = World::new();
    for (tenant, saved_at) in [("a", "12:00"), ("b", "10:00"), ("c", "11:00")] {
        world.connect(tenant, "1", saved_at);
    }
    world.options.concurrency = 1;
    let fakes = world.fakes.clone();
    let now = || clock("13:00") + TimeDelta::minutes(2);
    let after_one = move || fakes.calls(Op::Commit) >= 1;
    world.run(clock("13:00"), &now, &after_one).unwrap().unwrap();
    assert_eq!(["a", "b", "c"].map(|tenant| world.objects(tenant).len()), [0, 1, 0]);
}

#[test]
fn exported_windows_count_even_if_more_are_deferred() {
    let mut world = World::new();
    for tenant in ["a", "b", "c"] {
        world.connect(tenant, "1", "10:00");
        world.event(tenant, "2026-11-21T10:30:00.000Z", "first");
    }
    world.options.max_windows = 1;
    let report = world.tick("13:00").unwrap();
    assert_eq!((counts(&report), report.events, report.objects), ((0, 0, 3), 3, 3));
    assert!(!report.nothing_delivered(), "catching up is no failure to deliver");
}

#[test]
fn a_tenant_that_chose_ocsf_gets_every_line_in_it() {
    let world = World::with_acme();
    let save = |schema: &str, at: &str| {
        let (bucket, schema) = (Some("acme-bucket".to_owned()), Some(schema.to_owned()));
        world.save("acme", &Draft { bucket, schema, ..draft() }, clock(at));
    };
    world.event("acme", "2026-11-21T10:30:00.000Z", "native");
    world.tick("11:00").unwrap();
    save("ocsf", "11:10");
    world.event("acme", "2026-11-21T10:50:00.000Z", "late");
    world.event("acme", "2026-11-21T11:30:00.000Z", "mapped");
    for (recorded_at_id, text) in [
        ("2026-11-21T11:40:00.000Z#bad", "no JSON"),
        ("2026-11-21T11:50:00.000Z#in", r#"{"logType":"Authentication","action":"Login","user":{"id":"usr_01"}}"#),
    ] {
        let (recorded_at_id, body) = (recorded_at_id.to_owned(), Body::Text(text.to_owned()));
        world.fakes.put_event(&id("acme"), 0, StoredEvent { recorded_at_id, body });
    }
    world.tick("12:00").unwrap();
    world.tick("13:00").unwrap();
    let lines: Vec<Vec<serde_json::Value>> =
        world.objects("acme").iter().map(|(_, text)| serde_json::from_str(text).unwrap()).collect();
    let [native, late, window, heartbeat] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!(native[0]["n"], "native");
    let names: Vec<_> = late.iter().chain(window).map(|event| event["unmapped"]["n"].as_str()).collect();
    assert_eq!(names, [Some("late"), Some("mapped"), None, None]);
    assert_eq!(window[1]["metadata"]["event_code"], "Malformed Audit Event");
    assert_eq!(
        window[2]["time"],
        clock("11:50").timestamp_millis(),
        "an event without a date has the time of its recording"
    );
    assert_eq!(heartbeat[0]["metadata"]["event_code"], "Audit Log Export Completed");
    let classes: Vec<_> = late.iter().chain(window).chain(heartbeat).map(|event| event["class_uid"].as_u64()).collect();
    assert_eq!(classes, [0, 0, 0, 3002, 6002].map(Some));
    let receipts = world.fakes.state().tenants["acme"].receipts.clone();
    let schemas: Vec<_> = receipts.values().map(|receipt| receipt.schema.as_str()).collect();
    assert_eq!(schemas, ["native", "ocsf", "ocsf"]);
}
