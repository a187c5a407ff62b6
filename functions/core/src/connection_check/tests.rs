//! A day of checks in memory: who has a turn, and what is kept.

mod changes;
mod damage;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::*;
use crate::{
    failure::Failure,
    fakes::{FakeTenant, Fakes, Fault, Op},
    ports::Verifier,
    records::{Finding, StoredWatermark},
    schedule::Schedule,
    settings::tests::draft,
    verification::{Step, StepName, StepStatus, VerificationRequest},
};

fn at(time: &str) -> DateTime<Utc> {
    format!("2026-11-{time}:00Z").parse().unwrap()
}

fn id(tenant: &str) -> TenantId {
    TenantId::parse(tenant).unwrap()
}

/// The hour of a tenant's turn on a day.
fn turn_of(tenant: &str, day: &str) -> DateTime<Utc> {
    let hours = (0..24).map(|hours| at(&format!("{day}T00:00")) + TimeDelta::hours(hours));
    hours.into_iter().find(|hour| due_hour(&id(tenant), *hour) == Some(*hour)).unwrap()
}

/// Something that a step finds.
type Wrong = (StepName, StepStatus, Code);

/// What is wrong with the tenants' connections.
#[derive(Default)]
struct Accounts {
    wrong: Mutex<BTreeMap<String, Vec<Wrong>>>,
    asked: Mutex<Vec<String>>,
    /// Something that happens while the next one is verified.
    meanwhile: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Accounts {
    fn breaks(&self, tenant: &str, wrong: &[Wrong]) {
        self.wrong.lock().unwrap().insert(tenant.to_owned(), wrong.to_vec());
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Verifier for Accounts {
    async fn verify(&self, request: &VerificationRequest) -> Result<Verification, Failure> {
        let role_alone = if request.draft.bucket.is_none() { " (the role)" } else { "" };
        self.asked.lock().unwrap().push(format!("{}{role_alone}", request.tenant_id));
        let meanwhile = self.meanwhile.lock().unwrap().take();
        meanwhile.into_iter().for_each(|happens| happens());
        let wrong = self.wrong.lock().unwrap().get(&request.tenant_id).cloned().unwrap_or_default();
        let step = |name| {
            let found = wrong.iter().find(|(step, ..)| *step == name);
            let (status, code) = found.map_or((StepStatus::Passed, None), |(_, status, code)| (*status, Some(*code)));
            Step { step: name, status, code, message: format!("{name} as planned."), hint: None, party: None }
        };
        Ok(Verification { steps: StepName::ALL.map(step).to_vec() })
    }
}

#[derive(Default)]
struct World {
    fakes: Fakes,
    accounts: Accounts,
}

impl World {
    fn of(tenants: &[&str]) -> Self {
        let world = Self::default();
        for tenant in tenants {
            let schedule = Schedule { exported_until: at("19T10:00"), next_due: at("20T10:00") };
            let watermark = Some(StoredWatermark::connected(&id(tenant), schedule));
            let stored = FakeTenant { config: Some(draft()), watermark, ..FakeTenant::default() };
            world.fakes.state().tenants.insert((*tenant).to_owned(), stored);
        }
        world
    }

    async fn run_until(
        &self,
        hour: DateTime<Utc>,
        should_stop: impl Fn() -> bool + Send + Sync,
    ) -> Result<CheckCounts, Failure> {
        self.run_with(&self.accounts, hour, should_stop).await
    }

    async fn run_with(
        &self,
        verifier: &impl Verifier,
        hour: DateTime<Utc>,
        should_stop: impl Fn() -> bool + Send + Sync,
    ) -> Result<CheckCounts, Failure> {
        let connected = crate::reconciliation::connected(&self.fakes).await?;
        let now = || hour + TimeDelta::minutes(31);
        let run = CheckContext { hour, now: &now, should_stop: &should_stop, retention: None };
        let checks = ConnectionChecks { store: &self.fakes, verifier };
        checks.run(&connected, run).await
    }

    async fn run(&self, hour: DateTime<Utc>) -> CheckCounts {
        self.run_until(hour, || false).await.unwrap()
    }

    /// All of a day's checks.
    async fn day(&self, day: &str) -> CheckCounts {
        let mut all = CheckCounts::default();
        for hour in 0..24 {
            let CheckCounts { checked, failing, drifted, restored, unchecked } =
                self.run(at(&format!("{day}T00:00")) + TimeDelta::hours(hour)).await;
            all.checked += checked;
            all.failing += failing;
            all.drifted += drifted;
            all.restored += restored;
            all.unchecked += unchecked;
        }
        all
    }

    fn kept(&self, tenant: &str) -> Option<ConnectionCheck> {
        self.fakes.state().tenants[tenant].verification.clone()
    }

    /// What was told since it was asked last, on the bus and in the tenant's own log; both tell the same.
    fn told(&self, tenant: &str) -> Vec<&'static str> {
        let outbox = std::mem::take(&mut self.fakes.state().tenants.get_mut(tenant).unwrap().outbox);
        let notifications = outbox.entries;
        let kinds: Vec<&str> = notifications.iter().map(|notification| notification.kind.detail_type()).collect();
        let all = self.fakes.actions(tenant);
        let actions: Vec<String> = kinds.iter().map(|kind| kind.replace("Audit Log ", "")).collect();
        assert!(all.ends_with(&actions), "{all:?} {actions:?}");
        assert!(notifications.iter().all(|notification| notification.tenant.as_str() == tenant), "{notifications:?}");
        notifications.iter().map(|notification| notification.kind.detail_type()).collect()
    }
}

const DRIFTED: &str = "Audit Log Connection Drifted";
const RESTORED: &str = "Audit Log Connection Restored";
const OPEN: Wrong = (StepName::ExternalIdEnforced, StepStatus::Failed, Code::ExternalIdNotEnforced);
const MOVED: Wrong = (StepName::Region, StepStatus::Failed, Code::WrongRegion);
const GONE: Wrong = (StepName::AssumeRole, StepStatus::Failed, Code::AssumeRoleDenied);
const WIDE: Wrong = (StepName::LeastPrivilege, StepStatus::Warning, Code::ExcessRights);
const BUSY: Wrong = (StepName::PutObject, StepStatus::Inconclusive, Code::Throttled);
const OURS: Wrong = (StepName::AssumeRole, StepStatus::Failed, Code::PlatformDenied);

#[test]
fn every_tenant_has_one_turn_a_day_and_every_hour_its_share() {
    let mut of_hour = [0; 24];
    for number in 0..2400 {
        let tenant = id(&format!("tenant-{number}"));
        let own: Vec<_> = (0..24)
            .filter(|hour| {
                let hour = at("21T00:00") + TimeDelta::hours(*hour);
                due_hour(&tenant, hour) == Some(hour)
            })
            .collect();
        assert_eq!(own.len(), 1, "{tenant}");
        of_hour[usize::try_from(own[0]).unwrap()] += 1;
        let own = at("21T00:00") + TimeDelta::hours(own[0]);
        let turns: Vec<_> = (-1..24).map(|later| due_hour(&tenant, own + TimeDelta::hours(later))).collect();
        assert_eq!(turns[..5], [None, Some(own), Some(own), Some(own), None], "across midnight as well");
        assert!(turns[5..].iter().all(Option::is_none));
    }
    assert!(of_hour.iter().all(|count| (60..140).contains(count)), "{of_hour:?}");
}

#[tokio::test]
async fn every_connection_is_checked_once_a_day_and_a_run_that_is_repeated_does_it_no_second_time() {
    let tenants: Vec<String> = (0..30).map(|number| format!("tenant-{number}")).collect();
    let tenants: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let world = World::of(&tenants);
    world.day("19").await;
    world.accounts.asked();
    for day in ["20", "21"] {
        let report = world.day(day).await;
        assert_eq!(report, CheckCounts { checked: 30, ..CheckCounts::default() });
        let mut asked = world.accounts.asked();
        asked.sort_unstable();
        let mut expected = tenants.clone();
        expected.sort_unstable();
        assert_eq!(asked, expected);
    }
    let hour = turn_of("tenant-3", "21");
    assert_eq!(world.run(hour).await.checked, 0);
    let kept = world.kept("tenant-3").unwrap();
    assert_eq!(kept, ConnectionCheck { turn: hour, at: hour + TimeDelta::minutes(31), version: 0, findings: vec![] });
    assert_eq!(world.told("tenant-3"), [""; 0], "all is as it was");
}

#[tokio::test]
async fn an_answer_that_is_none_changes_nothing_and_is_asked_for_again_for_two_hours() {
    for wrong in [&[BUSY][..], &[OURS], &[(StepName::AssumeRole, StepStatus::Inconclusive, Code::Unavailable)]] {
        let world = World::of(&["acme"]);
        world.accounts.breaks("acme", &[MOVED]);
        world.day("20").await;
        let (kept, _) = (world.kept("acme"), world.told("acme"));
        world.accounts.breaks("acme", wrong);
        let report = world.day("21").await;
        assert_eq!(report, CheckCounts { unchecked: 3, ..CheckCounts::default() });
        assert_eq!((world.kept("acme"), world.told("acme")), (kept, vec![]));
    }
    // That anybody may have the role is certain, whatever else is not.
    let world = World::of(&["acme"]);
    world.accounts.breaks("acme", &[(StepName::AssumeRole, StepStatus::Inconclusive, Code::Throttled), OPEN]);
    world.day("21").await;
    assert_eq!(world.told("acme"), [DRIFTED]);
}

#[tokio::test]
async fn whoever_a_run_has_no_time_for_is_the_first_of_the_next() {
    let tenants: Vec<String> = (0..200).map(|number| format!("tenant-{number}")).collect();
    let tenants: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let world = World::of(&tenants);
    let hour = at("21T10:00");
    let of_hour =
        |hour: DateTime<Utc>| tenants.iter().filter(|it| due_hour(&id(it), hour) == Some(hour)).count() as u64;
    // Whose turn was in the two hours before has had it.
    world.run(hour - TimeDelta::hours(2)).await;
    world.run(hour - TimeDelta::hours(1)).await;
    world.accounts.asked();
    let left = AtomicUsize::new(2);
    let time_is_up = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err();
    let report = world.run_until(hour, time_is_up).await.unwrap();
    assert_eq!((report.checked, report.unchecked), (2, of_hour(hour) - 2));
    let next = world.run(hour + TimeDelta::hours(1)).await;
    assert_eq!(next.checked, of_hour(hour) - 2 + of_hour(hour + TimeDelta::hours(1)));
    let asked = world.accounts.asked();
    let first: Vec<_> =
        asked[2..].iter().take(usize::try_from(report.unchecked).unwrap()).map(|it| due_hour(&id(it), hour)).collect();
    assert!(first.iter().all(|turn| *turn == Some(hour)), "{asked:?}");
}

#[tokio::test]
async fn an_exporter_that_is_refused_everywhere_blames_no_customer() {
    let tenants: Vec<String> = (0..12).map(|number| format!("tenant-{number}")).collect();
    let tenants: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let world = World::of(&tenants);
    world.day("19").await;
    tenants.iter().for_each(|tenant| world.accounts.breaks(tenant, &[GONE]));
    let report = world.day("20").await;
    assert_eq!((report.checked, report.drifted), (0, 0));
    assert!(report.unchecked > 24, "each is tried for as long as its turn lasts: {report:?}");
    assert!(world.fakes.state().tenants.values().all(|tenant| tenant.outbox.is_empty()));
    assert!(tenants.iter().all(|tenant| world.kept(tenant).unwrap().findings.is_empty()));
    // One that lets us in is proof enough, whenever its own turn is.
    tenants.iter().skip(1).for_each(|tenant| world.accounts.breaks(tenant, &[]));
    world.accounts.asked();
    let report = world.run(turn_of(tenants[0], "21")).await;
    assert_eq!((report.drifted, report.unchecked), (1, 0));
    assert_eq!(world.told(tenants[0]), [DRIFTED]);
}

#[tokio::test]
async fn of_one_or_two_tenants_both_may_have_lost_their_roles() {
    let world = World::of(&["acme", "globex"]);
    ["acme", "globex"].iter().for_each(|tenant| world.accounts.breaks(tenant, &[GONE]));
    let report = world.day("21").await;
    assert_eq!((report.drifted, report.unchecked), (2, 0));
}

#[tokio::test]
async fn a_store_that_fails_keeps_nobody_from_being_checked_an_hour_later() {
    let failure = || Failure::new(Code::Throttled, "Too many requests.");
    let world = World::of(&["acme"]);
    world.accounts.breaks("acme", &[OPEN]);
    let hour = turn_of("acme", "21");
    world.fakes.once(Op::LastChecks, None, Fault::Fail(failure()));
    assert_eq!(world.run_until(hour, || false).await.map_err(|it| it.code), Err(Code::Throttled));
    for op in [Op::Load, Op::KeepCheck] {
        world.fakes.once(op, None, Fault::Fail(failure()));
        let report = world.run(hour).await;
        assert_eq!((report.checked, report.unchecked), (0, 1), "{op:?}");
        assert_eq!((world.fakes.actions("acme"), world.kept("acme")), (vec![], None), "{op:?}");
    }
    assert_eq!(world.run(hour + TimeDelta::hours(2)).await.drifted, 1);
    assert_eq!(world.fakes.actions("acme"), ["Connection Drifted"]);
}
