//! Chooses calls and faults, and says what a fault leaves.

use std::collections::{BTreeSet, HashMap, HashSet};

use audit_log_core::tenant::{DueShard, TenantId};
use audit_log_tests::fault_proxy::{Call, CallName, Fault, Service};

use crate::run::Outcome;
use crate::scenario::Scenario;

pub(crate) type Case = (Call, Fault);

/// All faults but kills.
pub(crate) const FAULTS: [Fault; 10] = [
    Fault::Reset,
    Fault::LoseAnswer,
    Fault::InternalError,
    Fault::Throttle,
    Fault::Deny,
    Fault::Delay,
    Fault::Truncate,
    Fault::LoseAnswerAndDenyRetry,
    Fault::Conflict,
    Fault::LateError,
];

/// How many cases are run, by the environment variable `FAULTS`.
#[derive(PartialEq, Eq)]
enum Extent {
    /// Each kind of call is killed once before it and once after it, and fails once. Takes minutes.
    Sample,
    /// Each call is killed, and each kind of call fails in each way. Takes a quarter of an hour.
    Most,
    /// Every fault at every call.
    All,
}

#[allow(clippy::disallowed_methods, reason = "the environment says how much to test")]
fn extent() -> Extent {
    match std::env::var("FAULTS").as_deref() {
        Ok("all") => Extent::All,
        Ok("most") => Extent::Most,
        _ => Extent::Sample,
    }
}

fn is_exhaustive() -> bool {
    extent() == Extent::All
}

/// The kinds of calls that a test has chosen in all scenarios, with their faults.
#[derive(Default)]
pub(crate) struct Chosen(Vec<(String, Fault)>);

impl Chosen {
    /// Of a sample of kills, one of each kind of call and kill; otherwise all.
    pub(crate) fn kills(&mut self, mut cases: Vec<Case>) -> Vec<Case> {
        cases.retain(|(call, fault)| {
            let kind = (call.name.operation.clone(), *fault);
            let is_new = !self.0.contains(&kind);
            if is_new {
                self.0.push(kind);
            }
            is_new || extent() != Extent::Sample
        });
        cases
    }

    /// Of a sample of faults, the one of each kind of call that was chosen least; otherwise all.
    pub(crate) fn faults(&mut self, cases: Vec<Case>) -> Vec<Case> {
        if extent() != Extent::Sample {
            return cases;
        }
        let mut sample = Vec::new();
        for same in cases.chunk_by(|(one, _), (other, _)| one.name.operation == other.name.operation) {
            let operation = &same[0].0.name.operation;
            let uses = |(_, fault): &&Case| self.0.iter().filter(|(_, chosen)| chosen == fault).count();
            if let Some(case) = same.iter().min_by_key(uses)
                && self.0.iter().all(|(chosen, _)| chosen != operation)
            {
                self.0.push((operation.clone(), case.1));
                sample.push(case.clone());
            }
        }
        sample
    }
}

/// The operation by AWS's name.
pub(crate) fn operation(name: &CallName) -> &str {
    name.operation.split_once(' ').map_or(name.operation.as_str(), |(operation, _)| operation)
}

/// Kills before each call, and after each call that writes. In scenarios that repeat calls of the inline one, one call of each
/// operation is enough.
pub(crate) fn kills(scenario: Scenario, undisturbed: &Outcome) -> Vec<Case> {
    let mut chosen: Vec<&Call> = Vec::new();
    for call in sorted(undisturbed) {
        let is_first = chosen.iter().all(|it| it.name.operation != call.name.operation);
        let is_other = match scenario {
            Scenario::Parts => is_first || call.name.operation != "Query due",
            Scenario::FannedOut | Scenario::Idle => is_first,
            _ => false,
        };
        if is_exhaustive() || is_other || scenario.tests(&call.name) {
            chosen.push(call);
        }
    }
    chosen
        .into_iter()
        .flat_map(|call| {
            let after = writes(&call.name).then_some(Fault::KillAfter);
            [Some(Fault::KillBefore), after].into_iter().flatten().map(|fault| (call.clone(), fault))
        })
        .collect()
}

/// Each kind of fault at some call of each operation, and some kind at each call. What another scenario tests is left out,
/// except for platform failures of a batch.
pub(crate) fn faults(scenario: Scenario, undisturbed: &Outcome) -> Vec<Case> {
    let calls = sorted(undisturbed);
    let each = |calls: &[&Call], faults: &[Fault]| -> Vec<Case> {
        calls.iter().flat_map(|call| faults.iter().map(|fault| ((*call).clone(), *fault))).collect()
    };
    let mut cases = Vec::new();
    let is_tested = |call: &&Call| is_exhaustive() || scenario.tests(&call.name);
    let tested: Vec<&Call> = calls.iter().copied().filter(is_tested).collect();
    for same in tested.chunk_by(|one, other| one.name.operation == other.name.operation) {
        let kinds = kinds(&same[0].name);
        if is_exhaustive() || scenario == Scenario::FannedOut {
            cases.extend(each(same, &kinds));
        } else {
            let most = kinds.len().max(same.len());
            let pairs = same.iter().cycle().zip(kinds.iter().cycle()).take(most);
            cases.extend(pairs.map(|(call, fault)| ((*call).clone(), *fault)));
        }
    }
    // Only shards of the index that list a tenant matter.
    let is_listed = |call: &Call| scenario.tenants().iter().any(|tenant| due_shard(tenant) == call.name.subject);
    let listed = tested.into_iter().filter(|call| call.name.operation == "Query due" && is_listed(call));
    cases.extend(each(&listed.collect::<Vec<_>>(), &[Fault::Deny]));
    if scenario == Scenario::FannedOut {
        let mut platforms = calls;
        platforms.retain(|call| matches!(call.name.service, Service::DynamoDb | Service::Kms));
        platforms.dedup_by_key(|call| call.name.operation.clone());
        cases.extend(each(&platforms, &[Fault::Deny]));
    }
    cases
}

/// The tenant's shard of the index `due`.
fn due_shard(tenant: &str) -> String {
    TenantId::parse(tenant).map(|tenant| DueShard::from_tenant(&tenant).to_string()).unwrap_or_default()
}

/// In an order that doesn't depend on concurrency.
fn sorted(undisturbed: &Outcome) -> Vec<&Call> {
    let mut calls: Vec<_> = undisturbed.calls.iter().collect();
    calls.sort_by_key(|call| (&call.name.operation, *call));
    calls
}

pub(crate) fn writes(name: &CallName) -> bool {
    // A signature that nobody has got changes nothing.
    !matches!(operation(name), "Query" | "Scan" | "BatchGetItem" | "GetItem" | "AssumeRole" | "GetPublicKey" | "Sign")
}

/// The faults that are possible at a call.
fn kinds(name: &CallName) -> Vec<Fault> {
    let operation = operation(name);
    let is_possible = |fault: &Fault| match fault {
        // These answers have no body.
        Fault::Truncate => !matches!(operation, "PutObject" | "UploadPart"),
        Fault::LoseAnswerAndDenyRetry => writes(name),
        Fault::Conflict => {
            name.service == Service::DynamoDb && matches!(operation, "TransactWriteItems" | "UpdateItem")
        }
        Fault::LateError => operation == "CompleteMultipartUpload",
        _ => true,
    };
    FAULTS.into_iter().filter(is_possible).collect()
}

/// The tenant of a call to S3, `DynamoDB`'s tables or the bus; blank for others.
pub(crate) fn tenant(name: &CallName) -> &str {
    let subject = name.subject.as_str();
    let tenant = match (name.service, operation(name)) {
        (Service::S3, _) => subject.split_once("-audit-logs/"),
        (Service::DynamoDb, "BatchGetItem") | (Service::Kms, _) => None,
        _ => subject.split_once([' ', '#']),
    };
    tenant.map_or("", |(tenant, _)| tenant)
}

/// The tenants that are leased after a run with a fault.
pub(crate) fn leased(scenario: Scenario, undisturbed: &Outcome, outcome: &Outcome, case: &Case) -> BTreeSet<String> {
    let (call, fault) = case;
    if fault.kills() {
        return held_leases(undisturbed, &outcome.calls, case);
    }
    let lost = *fault == Fault::LoseAnswerAndDenyRetry;
    let is_left = match call.name.operation.as_str() {
        "UpdateItem REMOVE lease" => *fault == Fault::Deny,
        // S3 may still store the object, unless every attempt got a clear answer. A commit settles that, too.
        // A replay notes it in its own record, so that the tenant's exports go on.
        "PutObject" | "PutObject of a manifest" | "CompleteMultipartUpload" if scenario != Scenario::Replay => {
            let is_in_doubt = ![Fault::Delay, Fault::Deny].contains(fault);
            is_in_doubt && (lost || scenario.never_commits(tenant(&call.name)))
        }
        _ => false,
    };
    is_left.then(|| tenant(&call.name).to_owned()).into_iter().collect()
}

/// The tenants whose lease a killed run held.
fn held_leases(undisturbed: &Outcome, made: &[Call], (killed_at, fault): &Case) -> BTreeSet<String> {
    let acquires = |call: &Call| call.name.operation == "UpdateItem SET lease";
    // The last write under a lease ends it, by itself or within a transaction.
    let writes =
        |call: &Call| operation(&call.name) == "TransactWriteItems" || call.name.operation == "UpdateItem REMOVE lease";
    let mut last: HashMap<&str, Option<&Call>> = HashMap::new();
    let mut ends = HashSet::new();
    for call in &undisturbed.calls {
        if acquires(call) {
            ends.extend(last.insert(tenant(&call.name), None).flatten());
        } else if writes(call) {
            last.insert(tenant(&call.name), Some(call));
        }
    }
    ends.extend(last.into_values().flatten());
    let mut held = BTreeSet::new();
    for call in made.iter().filter(|call| *fault == Fault::KillAfter || *call != killed_at) {
        if acquires(call) {
            held.insert(tenant(&call.name).to_owned());
        } else if ends.contains(call) {
            held.remove(tenant(&call.name));
        }
    }
    held
}

/// The number of unfinished uploads that no run can abort, since the run was killed or never learned the upload's id. The
/// template's bucket has a lifecycle rule for them.
pub(crate) fn orphans(scenario: Scenario, call: &Call, fault: Fault) -> usize {
    let lost = match call.name.operation.as_str() {
        "CreateMultipartUpload" => {
            [Fault::KillAfter, Fault::LoseAnswer, Fault::LoseAnswerAndDenyRetry, Fault::Truncate].contains(&fault)
        }
        "UploadPart" => fault.kills(),
        // Between the refusal and the abort.
        "AbortMultipartUpload of none" => scenario.is_in_parts() && fault.kills(),
        "AbortMultipartUpload" => [Fault::KillBefore, Fault::Deny].contains(&fault),
        "CompleteMultipartUpload" => fault == Fault::KillBefore,
        _ => false,
    };
    usize::from(lost)
}
