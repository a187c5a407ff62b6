//! What is announced of a check, when, and what becomes of it if a run dies.

use futures::FutureExt as _;
use serde_json::json;

use super::*;

#[tokio::test]
async fn what_changes_is_told_once_and_what_stays_is_not() {
    let world = World::of(&["acme"]);
    let mut told = Vec::new();
    let days: [&[Wrong]; 14] = [
        &[],
        &[OPEN],
        &[OPEN],
        &[MOVED],
        &[MOVED, WIDE],
        &[WIDE],
        &[WIDE],
        &[],
        &[WIDE],
        &[GONE],
        &[GONE],
        &[],
        &[],
        &[OPEN],
    ];
    for (day, wrong) in (1..).zip(days) {
        world.accounts.breaks("acme", wrong);
        let report = world.run(turn_of("acme", &format!("{day:02}"))).await;
        assert_eq!((report.checked, report.unchecked), (1, 0));
        let failing = wrong.iter().any(|(_, status, _)| *status == StepStatus::Failed);
        assert_eq!(report.failing, u64::from(failing));
        let news = world.told("acme");
        assert_eq!(report.drifted + report.restored, news.len() as u64);
        told.push(news.first().copied().unwrap_or_default());
        let codes: Vec<String> = wrong.iter().map(|(.., code)| code.to_string()).collect();
        let kept: Vec<String> = world.kept("acme").unwrap().findings.into_iter().map(|it| it.code).collect();
        assert_eq!(kept, codes);
    }
    let expected =
        ["", DRIFTED, "", DRIFTED, DRIFTED, RESTORED, "", RESTORED, DRIFTED, DRIFTED, "", RESTORED, "", DRIFTED];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_first_check_tells_of_a_failure_but_of_no_warning() {
    for (wrong, expected) in [(OPEN, vec![DRIFTED]), (WIDE, vec![])] {
        let world = World::of(&["acme"]);
        world.accounts.breaks("acme", &[wrong]);
        assert_eq!(world.day("21").await.checked, 1);
        assert_eq!(world.told("acme"), expected);
        assert_eq!(world.kept("acme").unwrap().findings.len(), 1);
    }
}

#[tokio::test]
async fn the_news_say_what_was_found_and_what_to_do() {
    let world = World::of(&["acme"]);
    world.accounts.breaks("acme", &[OPEN]);
    let hour = turn_of("acme", "21");
    world.run(hour).await;
    let notification = world.fakes.state().tenants["acme"].outbox.entries[0].detail();
    let schema = serde_json::from_str(include_str!("../../../schema/notification.json")).unwrap();
    assert!(jsonschema::draft202012::new(&schema).unwrap().is_valid(&notification), "{notification}");
    assert_eq!(notification["checkedAt"], timestamp::seconds(hour + TimeDelta::minutes(31)));
    let finding = &notification["findings"][0];
    assert_eq!((&finding["step"], &finding["status"]), (&json!("external_id_enforced"), &json!("failed")));
    assert_eq!(finding["code"], "external_id_not_enforced");
    assert!(finding["hint"].as_str().unwrap().contains("sts:ExternalId"), "{finding}");
    assert!(!notification.to_string().contains("3f6c1d2e-external"));
}

#[tokio::test]
async fn what_an_admin_does_in_the_middle_of_a_check_is_no_finding() {
    type AdminChange = fn(&mut FakeTenant);
    let disconnect: AdminChange = |tenant| tenant.watermark.as_mut().unwrap().due_shard = None;
    let save: AdminChange = |tenant| tenant.config.as_mut().unwrap().version = Some("1".to_owned());
    // What is saved before the settings are read is what is verified.
    for (op, change, expected) in [
        (Some(Op::Load), disconnect, 0),
        (Some(Op::Load), save, 1),
        (None, disconnect, 0),
        (None, save, 0),
        (Some(Op::KeepCheck), disconnect, 0),
        (Some(Op::KeepCheck), save, 0),
    ] {
        let world = World::of(&["acme"]);
        world.accounts.breaks("acme", &[OPEN]);
        let fakes = world.fakes.clone();
        let meanwhile: Box<dyn FnOnce() + Send> =
            Box::new(move || change(fakes.state().tenants.get_mut("acme").unwrap()));
        match op {
            Some(op) => world.fakes.once(op, Some("acme"), Fault::After(meanwhile)),
            None => *world.accounts.meanwhile.lock().unwrap() = Some(meanwhile),
        }
        let report = world.run(turn_of("acme", "21")).await;
        assert_eq!((report.checked, report.drifted, report.unchecked), (expected, expected, 0), "{op:?}");
        assert_eq!(world.fakes.actions("acme").len() as u64, expected, "{op:?}");
        assert_eq!(world.told("acme").len() as u64, expected, "{op:?}");
    }
}

#[tokio::test]
async fn a_run_that_dies_before_its_finding_is_kept_is_made_up_for() {
    let world = World::of(&["acme"]);
    world.accounts.breaks("acme", &[OPEN]);
    let hour = turn_of("acme", "21");
    world.fakes.once(Op::KeepCheck, None, Fault::Crash);
    assert!(world.run(hour).now_or_never().is_none(), "it died");
    for later in 0..3 {
        world.run(hour + TimeDelta::hours(later)).await;
    }
    world.run(turn_of("acme", "22")).await;
    assert_eq!(world.fakes.actions("acme"), ["Connection Drifted"]);
    assert_eq!(world.told("acme"), [DRIFTED]);
}

#[tokio::test]
async fn other_settings_with_the_same_fault_are_news_and_without_it_all_is_well() {
    for (wrong, expected) in [(&[MOVED][..], DRIFTED), (&[], RESTORED)] {
        let world = World::of(&["acme"]);
        world.accounts.breaks("acme", &[MOVED]);
        world.run(turn_of("acme", "20")).await;
        world.told("acme");
        world.fakes.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap().version = Some("1".to_owned());
        world.accounts.breaks("acme", wrong);
        world.run(turn_of("acme", "21")).await;
        assert_eq!(world.told("acme"), [expected]);
        world.run(turn_of("acme", "22")).await;
        assert_eq!(world.told("acme"), [""; 0]);
    }
}

#[tokio::test]
async fn what_is_mended_in_part_is_no_news_until_all_of_it_is() {
    let world = World::of(&["acme"]);
    let days: [(&[Wrong], &[&str]); 5] = [
        (&[MOVED, WIDE], &[DRIFTED]),
        (&[MOVED], &[]),
        (&[MOVED, WIDE], &[DRIFTED]),
        (&[MOVED], &[]),
        (&[], &[RESTORED]),
    ];
    for (day, (wrong, expected)) in (20..).zip(days) {
        world.accounts.breaks("acme", wrong);
        world.run(turn_of("acme", &day.to_string())).await;
        assert_eq!(world.told("acme"), expected, "{day}");
    }
    let warned = |code: &str, is_failure| {
        let (step, code, message) = ("put_object".to_owned(), code.to_owned(), String::new());
        let findings = vec![Finding { step, is_failure, code, message }];
        ConnectionCheck { turn: at("21T10:00"), at: at("21T10:31"), version: 0, findings }
    };
    let worse = warned("some_code", true).change_since(Some(&warned("some_code", false)));
    assert_eq!(worse, Some(ConnectionChange::Drifted), "what was a warning is a failure");
}
