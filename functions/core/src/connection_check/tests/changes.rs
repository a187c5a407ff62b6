//! What is announced after a check, also if a run crashes or the settings change.

use futures::FutureExt as _;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_change_is_announced_once_and_an_unchanged_connection_is_not() {
    let world = World::with_tenants(&["acme"]);
    let mut announced = Vec::new();
    let days: [&[PlannedFinding]; 14] = [
        &[],
        &[NOT_ENFORCED],
        &[NOT_ENFORCED],
        &[WRONG_REGION],
        &[WRONG_REGION, EXCESS_RIGHTS],
        &[EXCESS_RIGHTS],
        &[EXCESS_RIGHTS],
        &[],
        &[EXCESS_RIGHTS],
        &[ROLE_REFUSED],
        &[ROLE_REFUSED],
        &[],
        &[],
        &[NOT_ENFORCED],
    ];
    for (day, findings) in (1..).zip(days) {
        world.accounts.set_findings("acme", findings);
        let counts = world.run(due_hour_of("acme", &format!("{day:02}"))).await;
        assert_eq!((counts.checked, counts.unchecked), (1, 0));
        let failing = findings.iter().any(|(_, status, _)| *status == StepStatus::Failed);
        assert_eq!(counts.failing, u64::from(failing));
        let notifications = world.take_notifications("acme");
        assert_eq!(counts.drifted + counts.restored, notifications.len() as u64);
        announced.push(notifications.first().copied().unwrap_or_default());
        let codes: Vec<String> = findings.iter().map(|(.., code)| code.to_string()).collect();
        let stored: Vec<String> = world.stored_check("acme").unwrap().findings.into_iter().map(|it| it.code).collect();
        assert_eq!(stored, codes);
    }
    let expected =
        ["", DRIFTED, "", DRIFTED, DRIFTED, RESTORED, "", RESTORED, DRIFTED, DRIFTED, "", RESTORED, "", DRIFTED];
    assert_eq!(announced, expected);
}

#[tokio::test]
async fn a_first_check_announces_failures_but_no_warnings() {
    for (findings, expected) in [(NOT_ENFORCED, vec![DRIFTED]), (EXCESS_RIGHTS, vec![])] {
        let world = World::with_tenants(&["acme"]);
        world.accounts.set_findings("acme", &[findings]);
        assert_eq!(world.day("21").await.checked, 1);
        assert_eq!(world.take_notifications("acme"), expected);
        assert_eq!(world.stored_check("acme").unwrap().findings.len(), 1);
    }
}

/// No request tells whether the customer has acted on it.
#[tokio::test]
async fn the_warning_about_ownership_is_no_finding() {
    let world = World::with_tenants(&["acme"]);
    let ownership = (StepName::PutObject, StepStatus::Warning, Code::ObjectOwnership);
    let days: [&[PlannedFinding]; 4] = [&[], &[ownership], &[ownership, EXCESS_RIGHTS], &[ownership]];
    for ((day, findings), stored) in (20..).zip(days).zip([0, 0, 1, 0]) {
        world.accounts.set_findings("acme", findings);
        world.run(due_hour_of("acme", &day.to_string())).await;
        assert_eq!(world.stored_check("acme").unwrap().findings.len(), stored, "{day}");
    }
    assert_eq!(world.take_notifications("acme"), [DRIFTED, RESTORED], "of the excess rights alone");
}

#[tokio::test]
async fn a_notification_has_the_findings_and_their_hints() {
    let world = World::with_tenants(&["acme"]);
    world.accounts.set_findings("acme", &[NOT_ENFORCED]);
    let hour = due_hour_of("acme", "21");
    world.run(hour).await;
    let notification = world.fakes.state().tenants["acme"].outbox.entries[0].detail();
    assert_eq!(notification["checkedAt"], timestamp::seconds(hour + TimeDelta::minutes(31)));
    let finding = &notification["findings"][0];
    assert_eq!((&finding["step"], &finding["status"]), (&json!("external_id_enforced"), &json!("failed")));
    assert_eq!(finding["code"], "external_id_not_enforced");
    assert!(finding["hint"].as_str().unwrap().contains("sts:ExternalId"), "{finding}");
    assert!(!notification.to_string().contains("3f6c1d2e-external"));
}

#[tokio::test]
async fn a_change_by_the_admin_during_a_check_is_no_finding() {
    type AdminChange = fn(&mut FakeTenant);
    let disconnect: AdminChange = |tenant| tenant.watermark.as_mut().unwrap().due_shard = None;
    let save: AdminChange = |tenant| tenant.config.as_mut().unwrap().version = Some("1".to_owned());
    // Settings that are saved before they are read are the ones that are verified.
    for (op, change, expected) in [
        (Some(Op::Load), disconnect, 0),
        (Some(Op::Load), save, 1),
        (None, disconnect, 0),
        (None, save, 0),
        (Some(Op::SaveCheck), disconnect, 0),
        (Some(Op::SaveCheck), save, 0),
    ] {
        let world = World::with_tenants(&["acme"]);
        world.accounts.set_findings("acme", &[NOT_ENFORCED]);
        let fakes = world.fakes.clone();
        let during_verification: Box<dyn FnOnce() + Send> =
            Box::new(move || change(fakes.state().tenants.get_mut("acme").unwrap()));
        match op {
            Some(op) => world.fakes.once(op, Some("acme"), Fault::After(during_verification)),
            None => *world.accounts.during_verification.lock().unwrap() = Some(during_verification),
        }
        let counts = world.run(due_hour_of("acme", "21")).await;
        assert_eq!((counts.checked, counts.drifted, counts.unchecked), (expected, expected, 0), "{op:?}");
        assert_eq!(world.fakes.actions("acme").len() as u64, expected, "{op:?}");
        assert_eq!(world.take_notifications("acme").len() as u64, expected, "{op:?}");
    }
}

#[tokio::test]
async fn if_a_run_crashes_before_it_stores_its_check_a_later_run_does() {
    let world = World::with_tenants(&["acme"]);
    world.accounts.set_findings("acme", &[NOT_ENFORCED]);
    let hour = due_hour_of("acme", "21");
    world.fakes.once(Op::SaveCheck, None, Fault::Crash);
    assert!(world.run(hour).now_or_never().is_none(), "it crashed");
    for later in 0..3 {
        world.run(hour + TimeDelta::hours(later)).await;
    }
    world.run(due_hour_of("acme", "22")).await;
    assert_eq!(world.fakes.actions("acme"), ["Connection Drifted"]);
    assert_eq!(world.take_notifications("acme"), [DRIFTED]);
}

#[tokio::test]
async fn a_fault_of_new_settings_is_announced_even_if_the_old_ones_had_it() {
    for (findings, expected) in [(&[WRONG_REGION][..], DRIFTED), (&[], RESTORED)] {
        let world = World::with_tenants(&["acme"]);
        world.accounts.set_findings("acme", &[WRONG_REGION]);
        world.run(due_hour_of("acme", "20")).await;
        world.take_notifications("acme");
        world.fakes.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap().version = Some("1".to_owned());
        world.accounts.set_findings("acme", findings);
        world.run(due_hour_of("acme", "21")).await;
        assert_eq!(world.take_notifications("acme"), [expected]);
        world.run(due_hour_of("acme", "22")).await;
        assert_eq!(world.take_notifications("acme"), [""; 0]);
    }
}

#[tokio::test]
async fn a_partial_repair_is_not_announced() {
    let world = World::with_tenants(&["acme"]);
    let days: [(&[PlannedFinding], &[&str]); 5] = [
        (&[WRONG_REGION, EXCESS_RIGHTS], &[DRIFTED]),
        (&[WRONG_REGION], &[]),
        (&[WRONG_REGION, EXCESS_RIGHTS], &[DRIFTED]),
        (&[WRONG_REGION], &[]),
        (&[], &[RESTORED]),
    ];
    for (day, (findings, expected)) in (20..).zip(days) {
        world.accounts.set_findings("acme", findings);
        world.run(due_hour_of("acme", &day.to_string())).await;
        assert_eq!(world.take_notifications("acme"), expected, "{day}");
    }
    let check = |code: &str, is_failure| {
        let (step, code, message) = ("put_object".to_owned(), code.to_owned(), String::new());
        let findings = vec![Finding { step, is_failure, code, message }];
        ConnectionCheck { due_hour: at("21T10:00"), at: at("21T10:31"), version: 0, findings }
    };
    let worse = check("some_code", true).change_since(Some(&check("some_code", false)));
    assert_eq!(worse, Some(ConnectionChange::Drifted), "the warning has become a failure");
}
