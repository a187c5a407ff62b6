//! Damaged records: which party they are reported to, and that later checks replace them.

use tokio::time::Instant;

use super::*;
use crate::{
    object::ObjectSpec,
    ports::{Access, Action, DeliveryFailure, Probes, Reach},
    settings::{Connection, TenantConfig, tests::platform},
    tenant::ExternalId,
    verify::verify,
};

/// Runs real verifications against accounts without findings.
struct RealVerifier<'a>(&'a Fakes);

struct SoundAccount;

impl Probes for SoundAccount {
    type Reach = Self;

    async fn assume(&self, connection: &Connection, external_id: Option<&ExternalId>) -> Result<(), Failure> {
        let is_right = external_id == Some(&connection.external_id);
        is_right.then_some(()).ok_or_else(|| Failure::new(Code::AssumeRoleDenied, "STS refused the role."))
    }

    async fn deliver(&self, _: &TenantConfig, _: ObjectSpec, _: Vec<u8>, _: Instant) -> Result<(), DeliveryFailure> {
        Ok(())
    }

    async fn reach(&self, _: &TenantConfig) -> Result<Self, Failure> {
        Ok(Self)
    }
}

impl Reach for SoundAccount {
    async fn attempt(&self, _: Action, _: &str) -> Access {
        Access::Refused
    }
}

impl Verifier for RealVerifier<'_> {
    async fn verify(&self, request: &VerificationRequest) -> Result<Verification, Failure> {
        let within = std::time::Duration::from_secs(5);
        let run = crate::verify::VerifyContext {
            platform: &platform(),
            now: &|| at("21T10:00"),
            retention: None,
            id: "request-1",
            within,
            retry_refused_role: std::time::Duration::ZERO,
        };
        Ok(verify(self.0, &SoundAccount, request, run).await)
    }
}

impl World {
    /// Runs the checks of a tenant's due hour with real verifications.
    async fn verified(&self, day: &str) -> CheckCounts {
        self.run_with(&RealVerifier(&self.fakes), due_hour_of("acme", day), || false).await.unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut FakeTenant)) {
        change(self.fakes.state().tenants.get_mut("acme").unwrap());
    }
}

const UNCHECKED: CheckCounts = CheckCounts { checked: 0, failing: 0, drifted: 0, restored: 0, unchecked: 1 };

#[tokio::test]
async fn a_damaged_field_of_the_platform_is_reported_to_no_customer() {
    type Damage = fn(&mut FakeTenant);
    let damages: [(&str, Damage); 6] = [
        ("event_shards", |it| it.config.as_mut().unwrap().event_shards = Some("0".to_owned())),
        ("pending_external_id", |it| it.config.as_mut().unwrap().pending_external_id = Some("x".to_owned())),
        ("external_id", |it| it.config.as_mut().unwrap().external_id = Some("x".to_owned())),
        ("version", |it| it.config.as_mut().unwrap().version = Some("one".to_owned())),
        ("role_arn", |it| it.config.as_mut().unwrap().role_arn = None),
        ("all of them", |it| it.config = None),
    ];
    for (field, damage) in damages {
        let world = World::with_tenants(&["acme"]);
        assert_eq!(world.verified("20").await, CheckCounts { checked: 1, ..CheckCounts::default() });
        let stored = world.stored_check("acme");
        world.change(damage);
        assert_eq!(world.verified("21").await, UNCHECKED, "{field}");
        assert_eq!(
            (world.stored_check("acme"), world.take_notifications("acme")),
            (stored, vec![]),
            "{field}: the last check stays"
        );
    }
}

#[tokio::test]
async fn a_damaged_field_that_the_customer_can_save_is_a_finding() {
    let world = World::with_tenants(&["acme"]);
    world.verified("20").await;
    world.change(|it| it.config.as_mut().unwrap().region = Some("moon".to_owned()));
    assert_eq!(world.verified("21").await.drifted, 1);
    assert_eq!(
        (world.take_notifications("acme"), world.stored_check("acme").unwrap().findings.len()),
        (vec![DRIFTED], 1)
    );
}

#[tokio::test]
async fn a_connected_tenant_without_a_stored_bucket_fails() {
    for bucket in [None, Some(String::new())] {
        let world = World::with_tenants(&["acme"]);
        world.accounts.set_findings("acme", &[WRONG_REGION]);
        world.run(due_hour_of("acme", "20")).await;
        world.take_notifications("acme");
        world.change(|it| it.config.as_mut().unwrap().bucket = bucket);
        let counts = world.verified("21").await;
        assert_eq!(counts, CheckCounts { checked: 1, failing: 1, drifted: 1, ..CheckCounts::default() });
        assert_eq!(world.take_notifications("acme"), [DRIFTED]);
        let finding = world.stored_check("acme").unwrap().findings.remove(0);
        assert_eq!((finding.step.as_str(), finding.code.as_str()), ("put_object", "config_invalid"));
        assert!(finding.is_failure && finding.message.contains("bucket: is required"), "{finding:?}");
    }
}

#[tokio::test]
async fn a_stored_check_that_is_unreadable_or_in_the_future_is_replaced() {
    type Damage = fn(&mut FakeTenant);
    let damages: [Damage; 2] = [
        |it| it.unreadable_connection_check = true,
        |it| it.connection_check.as_mut().unwrap().due_hour = "9999-11-21T10:00:00Z".parse().unwrap(),
    ];
    for damage in damages {
        let world = World::with_tenants(&["acme"]);
        world.day("20").await;
        world.change(damage);
        assert_eq!(world.day("21").await, CheckCounts { checked: 1, ..CheckCounts::default() });
        assert_eq!(world.stored_check("acme").unwrap().due_hour, due_hour_of("acme", "21"));
        assert!(!world.fakes.state().tenants["acme"].unreadable_connection_check);
        world.accounts.set_findings("acme", &[NOT_ENFORCED]);
        world.day("22").await;
        assert_eq!(world.take_notifications("acme"), [DRIFTED]);
    }
}

#[tokio::test]
async fn a_check_that_is_refused_without_a_newer_record_counts_as_unchecked() {
    let world = World::with_tenants(&["acme"]);
    world.day("19").await;
    world.accounts.set_findings("acme", &[NOT_ENFORCED]);
    let fakes = world.fakes.clone();
    // An older check, so that no other run has checked this due hour.
    let older = ConnectionCheck { due_hour: at("18T10:00"), at: at("18T10:31"), version: 0, findings: vec![] };
    let during_verification = move || fakes.state().tenants.get_mut("acme").unwrap().connection_check = Some(older);
    world.fakes.once(Op::SaveCheck, None, Fault::After(Box::new(during_verification)));
    let hour = due_hour_of("acme", "20");
    assert_eq!(world.run(hour).await, UNCHECKED);
    assert_eq!(world.run(hour + TimeDelta::hours(1)).await.drifted, 1);
}

#[test]
fn in_the_first_representable_hours_no_due_hour_is_earlier() {
    let first = crate::schedule::full_hour(DateTime::<Utc>::MIN_UTC + TimeDelta::hours(1));
    let tenants = (0..100).map(|number| id(&format!("tenant-{number}")));
    let due_hours: Vec<_> = tenants.filter_map(|tenant| due_hour(&tenant, first)).collect();
    assert!(!due_hours.is_empty() && due_hours.iter().all(|due_hour| *due_hour <= first), "{due_hours:?}");
}
