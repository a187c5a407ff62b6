//! Records that are damaged: whose matter that is, and that no tenant goes unchecked by it for good.

use super::*;
use crate::{
    object::ObjectSpec,
    ports::{Access, Action, Probes, Reach},
    settings::{Connection, TenantConfig, tests::platform},
    tenant::ExternalId,
    verify::verify,
};

/// Verifies in earnest, over accounts in which all is as it should be.
struct Verified<'a>(&'a Fakes);

struct AsItShould;

impl Probes for AsItShould {
    type Reach = Self;

    async fn assume(&self, connection: &Connection, external_id: Option<&ExternalId>) -> Result<(), Failure> {
        let is_right = external_id == Some(&connection.external_id);
        is_right.then_some(()).ok_or_else(|| Failure::new(Code::AssumeRoleDenied, "STS refused the role."))
    }

    async fn deliver(&self, _: &TenantConfig, _: ObjectSpec, _: Vec<u8>) -> Result<(), Failure> {
        Ok(())
    }

    async fn reach(&self, _: &TenantConfig) -> Result<Self, Failure> {
        Ok(Self)
    }
}

impl Reach for AsItShould {
    async fn attempt(&self, _: Action, _: &str) -> Access {
        Access::Refused
    }
}

impl Verifier for Verified<'_> {
    async fn verify(&self, request: &VerificationRequest) -> Result<Verification, Failure> {
        let within = std::time::Duration::from_secs(5);
        let run = crate::verify::VerifyContext { platform: &platform(), now: at("21T10:00"), id: "request-1", within };
        Ok(verify(self.0, &AsItShould, request, run).await)
    }
}

impl World {
    /// Verifies in earnest on a day.
    async fn verified(&self, day: &str) -> CheckCounts {
        self.run_with(&Verified(&self.fakes), turn_of("acme", day), || false).await.unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut FakeTenant)) {
        change(self.fakes.state().tenants.get_mut("acme").unwrap());
    }
}

const UNCHECKED: CheckCounts = CheckCounts { checked: 0, failing: 0, drifted: 0, restored: 0, unchecked: 1 };

#[tokio::test]
async fn damage_to_a_field_of_the_platforms_own_is_told_to_no_customer() {
    type Damage = fn(&mut FakeTenant);
    let damages: [(&str, Damage); 5] = [
        ("event_shards", |it| it.config.as_mut().unwrap().event_shards = Some("0".to_owned())),
        ("external_id", |it| it.config.as_mut().unwrap().external_id = Some("x".to_owned())),
        ("version", |it| it.config.as_mut().unwrap().version = Some("one".to_owned())),
        ("role_arn", |it| it.config.as_mut().unwrap().role_arn = None),
        ("all of them", |it| it.config = None),
    ];
    for (field, damage) in damages {
        let world = World::of(&["acme"]);
        assert_eq!(world.verified("20").await, CheckCounts { checked: 1, ..CheckCounts::default() });
        let kept = world.kept("acme");
        world.change(damage);
        assert_eq!(world.verified("21").await, UNCHECKED, "{field}");
        assert_eq!((world.kept("acme"), world.told("acme")), (kept, vec![]), "{field}: the status is what it was");
    }
}

#[tokio::test]
async fn a_field_that_the_customer_can_save_again_is_a_finding() {
    let world = World::of(&["acme"]);
    world.verified("20").await;
    world.change(|it| it.config.as_mut().unwrap().region = Some("moon".to_owned()));
    assert_eq!(world.verified("21").await.drifted, 1);
    assert_eq!((world.told("acme"), world.kept("acme").unwrap().findings.len()), (vec![DRIFTED], 1));
}

#[tokio::test]
async fn a_connected_tenant_whose_bucket_is_gone_does_not_pass() {
    for bucket in [None, Some(String::new())] {
        let world = World::of(&["acme"]);
        world.accounts.breaks("acme", &[MOVED]);
        world.run(turn_of("acme", "20")).await;
        world.told("acme");
        world.change(|it| it.config.as_mut().unwrap().bucket = bucket);
        let report = world.verified("21").await;
        assert_eq!(report, CheckCounts { checked: 1, failing: 1, drifted: 1, ..CheckCounts::default() });
        assert_eq!(world.told("acme"), [DRIFTED]);
        let finding = world.kept("acme").unwrap().findings.remove(0);
        assert_eq!((finding.step.as_str(), finding.code.as_str()), ("put_object", "config_invalid"));
        assert!(finding.is_failure && finding.message.contains("bucket: is required"), "{finding:?}");
    }
}

#[tokio::test]
async fn a_check_that_can_not_be_read_or_is_of_the_future_is_replaced_by_the_next_one() {
    type Damage = fn(&mut FakeTenant);
    let damages: [Damage; 2] = [
        |it| it.unreadable_verification = true,
        |it| it.verification.as_mut().unwrap().turn = "9999-11-21T10:00:00Z".parse().unwrap(),
    ];
    for damage in damages {
        let world = World::of(&["acme"]);
        world.day("20").await;
        world.change(damage);
        assert_eq!(world.day("21").await, CheckCounts { checked: 1, ..CheckCounts::default() });
        assert_eq!(world.kept("acme").unwrap().turn, turn_of("acme", "21"));
        assert!(!world.fakes.state().tenants["acme"].unreadable_verification);
        world.accounts.breaks("acme", &[OPEN]);
        world.day("22").await;
        assert_eq!(world.told("acme"), [DRIFTED]);
    }
}

#[tokio::test]
async fn a_check_that_is_refused_although_nobody_was_faster_counts_as_unchecked() {
    let world = World::of(&["acme"]);
    world.day("19").await;
    world.accounts.breaks("acme", &[OPEN]);
    let fakes = world.fakes.clone();
    // Nobody's check, since it stands for a turn that is over.
    let older = ConnectionCheck { turn: at("18T10:00"), at: at("18T10:31"), version: 0, findings: vec![] };
    let meanwhile = move || fakes.state().tenants.get_mut("acme").unwrap().verification = Some(older);
    world.fakes.once(Op::KeepCheck, None, Fault::After(Box::new(meanwhile)));
    let hour = turn_of("acme", "20");
    assert_eq!(world.run(hour).await, UNCHECKED);
    assert_eq!(world.run(hour + TimeDelta::hours(1)).await.drifted, 1);
}

#[test]
fn in_the_first_hours_that_an_instant_can_hold_nobody_has_a_turn_before_them() {
    let first = crate::schedule::full_hour(DateTime::<Utc>::MIN_UTC + TimeDelta::hours(1));
    let tenants = (0..100).map(|number| id(&format!("tenant-{number}")));
    let turns: Vec<_> = tenants.filter_map(|tenant| due_hour(&tenant, first)).collect();
    assert!(!turns.is_empty() && turns.iter().all(|turn| *turn <= first), "{turns:?}");
}
