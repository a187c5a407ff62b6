//! The state of the exports, and requests to export now.

use audit_log_core::{
    lease::{LEASE_MARGIN, Lease},
    records::FinalDeliveries,
};

use super::{reading::checked, *};
use crate::slots::MAX_RETRIES_PER_MINUTE;

impl World {
    async fn state(&self, tenant: &str) -> String {
        self.get(tenant, "/v1/status").await.json()["state"].as_str().unwrap().to_owned()
    }

    pub(super) async fn retry(&self, tenant: &str) -> Answer {
        self.admin(tenant, "POST", "/v1/exports/retry", None).await
    }

    /// Changes the records of acme.
    pub(super) fn change(&self, change: impl FnOnce(&mut audit_log_core::fakes::FakeTenant)) {
        change(self.fakes.state().tenants.get_mut("acme").unwrap());
    }

    /// Makes the exports of acme fail, last at that time.
    pub(super) fn fail(&self, at: &str) {
        let at = format!("2026-11-21T{at}Z").parse().unwrap();
        self.change(|tenant| {
            tenant.last_error = Some((Failure::new(Code::AccessDenied, "S3 refused the write."), at));
            tenant.consecutive_failures += 1;
            tenant.failing_since.get_or_insert(at);
        });
    }

    pub(super) fn succeed(&self) {
        self.change(|tenant| {
            tenant.last_success_at = Some(now());
            (tenant.last_error, tenant.consecutive_failures) = (None, 0);
            (tenant.failing_since, tenant.backoff_reset_at) = (None, None);
        });
    }
}

#[tokio::test]
async fn one_state_leads_from_the_first_look_to_the_disconnect() {
    let world = World::new();
    assert_eq!(world.state("acme").await, "not_connected");
    world.admin("acme", "GET", "/v1/connector", None).await;
    world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await;
    assert_eq!(world.state("acme").await, "not_connected", "a role alone exports nothing");
    world.save("acme", settings("acme")).await;
    assert_eq!(world.state("acme").await, "not_verified");
    checked(&world, "acme", 2, &[]);
    assert_eq!(world.state("acme").await, "waiting_for_first_export");
    world.fail("10:04:00");
    assert_eq!(world.state("acme").await, "failing");
    world.change(|tenant| tenant.backoff_reset_at = Some("2026-11-21T10:30:00Z".parse().unwrap()));
    assert_eq!(world.state("acme").await, "retrying");
    world.succeed();
    assert_eq!(world.state("acme").await, "healthy");
    world.change(|tenant| {
        let lost = Failure::new(Code::EventsUnreadable, "Events are lost.");
        tenant.last_error = Some((lost, now()));
    });
    let status = world.get("acme", "/v1/status").await.json();
    assert_eq!((&status["state"], &status["lastError"]), (&json!("healthy"), &Value::Null));
    assert_eq!((&status["loss"]["code"], &status["consecutiveFailures"]), (&json!("events_unreadable"), &json!(0)));
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    assert_eq!(world.state("acme").await, "disconnected");
    world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await;
    assert_eq!(world.state("acme").await, "healthy", "the same role and place as before");
}

#[tokio::test]
async fn verified_settings_stay_verified_only_while_they_lead_to_the_same_place() {
    let world = World::with("acme").await;
    world.succeed();
    let with = |name: &str, value: Value| {
        let mut settings = settings("acme");
        settings[name] = value;
        settings
    };
    for (settings, expected) in [
        (with("format", json!("ndjson")), "healthy"),
        (with("frequencyHours", json!(6)), "healthy"),
        (with("bucket", json!("another-bucket")), "not_verified"),
        (settings("acme"), "not_verified"),
    ] {
        assert_eq!(world.save("acme", settings.clone()).await.status, 200);
        assert_eq!(world.state("acme").await, expected, "{settings}");
    }
}

#[tokio::test]
async fn a_retry_resets_the_backoff_and_asks_the_exporter() {
    let world = World::with("acme").await;
    world.succeed();
    let requested = world.retry("acme").await;
    assert_eq!((requested.status.as_u16(), requested.json()), (202, json!({ "nextRunAt": "2026-11-21T11:01:00Z" })));
    assert_eq!(world.fakes.state().tenants["acme"].backoff_reset_at, None, "there is no backoff without failures");
    world.fail("10:02:00");
    world.change(|tenant| tenant.failing_since = Some("2026-11-18T10:01:00Z".parse().unwrap()));
    assert_eq!(world.get("acme", "/v1/status").await.json()["nextRunAt"], "2026-11-21T16:01:00Z");
    assert_eq!(world.retry("acme").await.json()["nextRunAt"], "2026-11-21T11:01:00Z");
    assert_eq!((world.state("acme").await, world.fakes.state().requested_exports.len()), ("retrying".to_owned(), 2));
}

#[tokio::test]
async fn a_retry_is_refused_without_settings_and_while_another_run_exports() {
    let world = World::new();
    assert_eq!(world.retry("acme").await.refusal(), (409, "connector_required".to_owned()));
    world.onboard("acme").await;
    world.fail("10:04:00");
    world.change(|tenant| tenant.lease = Some(Lease::new([7; 16], now() + LEASE_MARGIN)));
    let refused = world.retry("acme").await;
    assert_eq!(refused.refusal(), (409, "export_running".to_owned()));
    assert!(refused.json()["detail"].as_str().unwrap().contains("2026-11-21T10:33:12Z"), "{}", refused.text);
    assert_eq!(refused.header("retry-after"), "1801");
    assert_eq!((world.state("acme").await, world.fakes.calls(Op::ResetBackoff)), ("failing".to_owned(), 0));
    world.change(|tenant| tenant.lease = Some(Lease::new([7; 16], now() - TimeDelta::seconds(1))));
    assert_eq!(world.retry("acme").await.status, 202, "that run was cut off");
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    assert_eq!(world.retry("acme").await.refusal(), (409, "connector_required".to_owned()));
    assert_eq!(world.fakes.state().requested_exports, ["acme"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_fails_if_the_exporter_can_not_be_asked() {
    let world = World::with("acme").await;
    world.fakes.once(Op::RequestExport, None, Fault::Fail(Failure::new(Code::PlatformDenied, "no right")));
    assert_eq!(world.retry("acme").await.refusal(), (503, "unavailable".to_owned()));
    world.fakes.once(Op::RequestExport, None, Fault::Crash);
    let began = tokio::time::Instant::now();
    assert_eq!(world.retry("acme").await.refusal(), (503, "unavailable".to_owned()));
    assert_eq!(began.elapsed().as_secs(), 2, "no admin waits for longer");
}

#[tokio::test]
async fn a_tenant_may_ask_for_so_many_retries_a_minute() {
    let world = World::with("acme").await;
    for _ in 0..MAX_RETRIES_PER_MINUTE {
        assert_eq!(world.retry("acme").await.status, 202);
    }
    assert_eq!(world.retry("acme").await.refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(world.admin("acme", "POST", "/v1/export-settings/verify", None).await.status, 200, "its own limit");
}

#[tokio::test]
async fn the_status_lists_final_deliveries_and_says_since_when_signing_fails() {
    let world = World::with("acme").await;
    let mut moved = settings("acme");
    moved["bucket"] = json!("another-bucket");
    world.save("acme", moved).await;
    world.change(|tenant| {
        tenant.watermark.as_mut().unwrap().signing_failed_since = Some("2026-11-21T09:01:05Z".to_owned());
        let FinalDeliveries { places, .. } = &mut tenant.final_deliveries;
        places[0].refused_since = Some("2026-11-21T10:02:05Z".parse().unwrap());
    });
    let status = world.get("acme", "/v1/status").await.json();
    let expected = json!([{
        "bucket": "acme-audit-logs", "folder": "security/audit-logs/tenant=acme/", "since": "2026-11-21T10:03:12Z",
        "until": "2026-11-21T10:03:13Z", "refusedSince": "2026-11-21T10:02:05Z",
    }]);
    assert_eq!(
        (&status["finalDeliveries"], &status["signingFailedSince"]),
        (&expected, &json!("2026-11-21T09:01:05Z"))
    );
}
