//! Connection checks over the fakes: which tenants are checked when, and what is stored.

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

/// A tenant's due hour on a day.
fn due_hour_of(tenant: &str, day: &str) -> DateTime<Utc> {
    let hours = (0..24).map(|hours| at(&format!("{day}T00:00")) + TimeDelta::hours(hours));
    hours.into_iter().find(|hour| due_hour(&id(tenant), *hour) == Some(*hour)).unwrap()
}

type PlannedFinding = (StepName, StepStatus, Code);

/// The customers' accounts, with the findings that their verification has.
#[derive(Default)]
struct Accounts {
    findings: Mutex<BTreeMap<String, Vec<PlannedFinding>>>,
    requests: Mutex<Vec<String>>,
    /// Runs during the next verification.
    during_verification: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Accounts {
    fn set_findings(&self, tenant: &str, findings: &[PlannedFinding]) {
        self.findings.lock().unwrap().insert(tenant.to_owned(), findings.to_vec());
    }

    fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

impl Verifier for Accounts {
    async fn verify(&self, request: &VerificationRequest) -> Result<Verification, Failure> {
        let role_alone = if request.draft.bucket.is_none() { " (the role)" } else { "" };
        self.requests.lock().unwrap().push(format!("{}{role_alone}", request.tenant_id));
        let during_verification = self.during_verification.lock().unwrap().take();
        during_verification.into_iter().for_each(|action| action());
        let findings = self.findings.lock().unwrap().get(&request.tenant_id).cloned().unwrap_or_default();
        let step = |name| {
            let found = findings.iter().find(|(step, ..)| *step == name);
            let (status, code) = found.map_or((StepStatus::Passed, None), |(_, status, code)| (*status, Some(*code)));
            let (message, party) = (format!("{name} as planned."), code.map(Code::party));
            Step { step: name, status, code, message, hint: None, party }
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
    fn with_tenants(tenants: &[&str]) -> Self {
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

    /// Runs all hours of a day.
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

    fn stored_check(&self, tenant: &str) -> Option<ConnectionCheck> {
        self.fakes.state().tenants[tenant].connection_check.clone()
    }

    /// Takes the notifications out of the outbox and asserts that the audit log has the same.
    fn take_notifications(&self, tenant: &str) -> Vec<&'static str> {
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
const NOT_ENFORCED: PlannedFinding = (StepName::ExternalIdEnforced, StepStatus::Failed, Code::ExternalIdNotEnforced);
const WRONG_REGION: PlannedFinding = (StepName::Region, StepStatus::Failed, Code::WrongRegion);
const ROLE_REFUSED: PlannedFinding = (StepName::AssumeRole, StepStatus::Failed, Code::AssumeRoleDenied);
const EXCESS_RIGHTS: PlannedFinding = (StepName::LeastPrivilege, StepStatus::Warning, Code::ExcessRights);
const THROTTLED: PlannedFinding = (StepName::PutObject, StepStatus::Inconclusive, Code::Throttled);
const PLATFORM_DENIED: PlannedFinding = (StepName::AssumeRole, StepStatus::Failed, Code::PlatformDenied);

#[test]
fn every_tenant_is_due_once_a_day_and_the_hours_share_evenly() {
    let mut due_in = [0; 24];
    for number in 0..2400 {
        let tenant = id(&format!("tenant-{number}"));
        let due: Vec<_> = (0..24)
            .filter(|hour| {
                let hour = at("21T00:00") + TimeDelta::hours(*hour);
                due_hour(&tenant, hour) == Some(hour)
            })
            .collect();
        assert_eq!(due.len(), 1, "{tenant}");
        due_in[usize::try_from(due[0]).unwrap()] += 1;
        let due = at("21T00:00") + TimeDelta::hours(due[0]);
        let due_hours: Vec<_> = (-1..24).map(|later| due_hour(&tenant, due + TimeDelta::hours(later))).collect();
        assert_eq!(due_hours[..5], [None, Some(due), Some(due), Some(due), None], "across midnight as well");
        assert!(due_hours[5..].iter().all(Option::is_none));
    }
    assert!(due_in.iter().all(|count| (60..140).contains(count)), "{due_in:?}");
}

#[tokio::test]
async fn every_connection_is_checked_once_a_day_even_if_a_run_is_repeated() {
    let tenants: Vec<String> = (0..30).map(|number| format!("tenant-{number}")).collect();
    let tenants: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let world = World::with_tenants(&tenants);
    world.day("19").await;
    world.accounts.take_requests();
    for day in ["20", "21"] {
        let counts = world.day(day).await;
        assert_eq!(counts, CheckCounts { checked: 30, ..CheckCounts::default() });
        let mut requests = world.accounts.take_requests();
        requests.sort_unstable();
        let mut expected = tenants.clone();
        expected.sort_unstable();
        assert_eq!(requests, expected);
    }
    let hour = due_hour_of("tenant-3", "21");
    assert_eq!(world.run(hour).await.checked, 0);
    let stored = world.stored_check("tenant-3").unwrap();
    assert_eq!(
        stored,
        ConnectionCheck { due_hour: hour, at: hour + TimeDelta::minutes(31), version: 0, findings: vec![] }
    );
    assert_eq!(world.take_notifications("tenant-3"), [""; 0], "nothing has changed");
}

#[tokio::test]
async fn an_inconclusive_check_changes_nothing_and_is_repeated_for_two_hours() {
    for findings in
        [&[THROTTLED][..], &[PLATFORM_DENIED], &[(StepName::AssumeRole, StepStatus::Inconclusive, Code::Unavailable)]]
    {
        let world = World::with_tenants(&["acme"]);
        world.accounts.set_findings("acme", &[WRONG_REGION]);
        world.day("20").await;
        let (stored, _) = (world.stored_check("acme"), world.take_notifications("acme"));
        world.accounts.set_findings("acme", findings);
        let counts = world.day("21").await;
        assert_eq!(counts, CheckCounts { unchecked: 3, ..CheckCounts::default() });
        assert_eq!((world.stored_check("acme"), world.take_notifications("acme")), (stored, vec![]));
    }
    // A failed step counts although another one is inconclusive.
    let world = World::with_tenants(&["acme"]);
    world
        .accounts
        .set_findings("acme", &[(StepName::AssumeRole, StepStatus::Inconclusive, Code::Throttled), NOT_ENFORCED]);
    world.day("21").await;
    assert_eq!(world.take_notifications("acme"), [DRIFTED]);
}

#[tokio::test]
async fn tenants_that_a_run_has_no_time_for_come_first_in_the_next() {
    let tenants: Vec<String> = (0..200).map(|number| format!("tenant-{number}")).collect();
    let tenants: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let world = World::with_tenants(&tenants);
    let hour = at("21T10:00");
    let due_in = |hour: DateTime<Utc>| tenants.iter().filter(|it| due_hour(&id(it), hour) == Some(hour)).count() as u64;
    // Tenants that were due in the two hours before are checked already.
    world.run(hour - TimeDelta::hours(2)).await;
    world.run(hour - TimeDelta::hours(1)).await;
    world.accounts.take_requests();
    let left = AtomicUsize::new(2);
    let time_is_up = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err();
    let counts = world.run_until(hour, time_is_up).await.unwrap();
    assert_eq!((counts.checked, counts.unchecked), (2, due_in(hour) - 2));
    let next = world.run(hour + TimeDelta::hours(1)).await;
    assert_eq!(next.checked, due_in(hour) - 2 + due_in(hour + TimeDelta::hours(1)));
    let requests = world.accounts.take_requests();
    let first: Vec<_> = requests[2..]
        .iter()
        .take(usize::try_from(counts.unchecked).unwrap())
        .map(|it| due_hour(&id(it), hour))
        .collect();
    assert!(first.iter().all(|due| *due == Some(hour)), "{requests:?}");
}

#[tokio::test]
async fn if_every_role_refuses_the_exporter_no_customer_is_notified() {
    let tenants: Vec<String> = (0..12).map(|number| format!("tenant-{number}")).collect();
    let tenants: Vec<&str> = tenants.iter().map(String::as_str).collect();
    let world = World::with_tenants(&tenants);
    world.day("19").await;
    tenants.iter().for_each(|tenant| world.accounts.set_findings(tenant, &[ROLE_REFUSED]));
    let counts = world.day("20").await;
    assert_eq!((counts.checked, counts.drifted), (0, 0));
    assert!(counts.unchecked > 24, "each is tried in all three hours: {counts:?}");
    assert!(world.fakes.state().tenants.values().all(|tenant| tenant.outbox.is_empty()));
    assert!(tenants.iter().all(|tenant| world.stored_check(tenant).unwrap().findings.is_empty()));
    // One role that can be assumed is proof enough, whenever its tenant is due.
    tenants.iter().skip(1).for_each(|tenant| world.accounts.set_findings(tenant, &[]));
    world.accounts.take_requests();
    let counts = world.run(due_hour_of(tenants[0], "21")).await;
    assert_eq!((counts.drifted, counts.unchecked), (1, 0));
    assert_eq!(world.take_notifications(tenants[0]), [DRIFTED]);
}

#[tokio::test]
async fn in_a_fleet_of_two_both_may_have_deleted_their_roles() {
    let world = World::with_tenants(&["acme", "globex"]);
    ["acme", "globex"].iter().for_each(|tenant| world.accounts.set_findings(tenant, &[ROLE_REFUSED]));
    let counts = world.day("21").await;
    assert_eq!((counts.drifted, counts.unchecked), (2, 0));
}

#[tokio::test]
async fn after_a_failed_call_a_tenant_is_checked_in_the_next_hour() {
    let failure = || Failure::new(Code::Throttled, "Too many requests.");
    let world = World::with_tenants(&["acme"]);
    world.accounts.set_findings("acme", &[NOT_ENFORCED]);
    let hour = due_hour_of("acme", "21");
    world.fakes.once(Op::LastChecks, None, Fault::Fail(failure()));
    assert_eq!(world.run_until(hour, || false).await.map_err(|it| it.code), Err(Code::Throttled));
    for op in [Op::Load, Op::SaveCheck] {
        world.fakes.once(op, None, Fault::Fail(failure()));
        let counts = world.run(hour).await;
        assert_eq!((counts.checked, counts.unchecked), (0, 1), "{op:?}");
        assert_eq!((world.fakes.actions("acme"), world.stored_check("acme")), (vec![], None), "{op:?}");
    }
    assert_eq!(world.run(hour + TimeDelta::hours(2)).await.drifted, 1);
    assert_eq!(world.fakes.actions("acme"), ["Connection Drifted"]);
}
