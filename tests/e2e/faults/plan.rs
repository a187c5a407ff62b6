//! Which call gets which fault.

use std::collections::{BTreeSet, HashMap, HashSet};

use audit_log_core::tenant::{DueShard, TenantId};
use audit_log_tests::fault_proxy::{Call, Fault, Name, Service};

use crate::run::Outcome;
use crate::scenario::Scenario;

/// What is done to a call, and what it is about.
pub(crate) type Case = (Call, Fault);

/// Whether all that can be done is done to each call; some minutes become half an hour.
#[allow(clippy::disallowed_methods, reason = "a test may learn from its environment how much to do")]
pub(crate) fn all() -> bool {
    std::env::var("FAULTS").is_ok_and(|faults| faults == "all")
}

/// The operation by the name that AWS has for it.
pub(crate) fn operation(name: &Name) -> &str {
    name.operation.split_once(' ').map_or(name.operation.as_str(), |(operation, _)| operation)
}

/// Kills before each call, and after each that writes. In the scenarios that do what the inline one does, by other
/// means or more of it, one call of each operation stands for those that are the same.
pub(crate) fn kills(scenario: Scenario, undisturbed: &Outcome) -> Vec<Case> {
    let mut chosen: Vec<&Call> = Vec::new();
    for call in sorted(undisturbed) {
        let is_first = chosen.iter().all(|it| it.name.operation != call.name.operation);
        let is_other = match scenario {
            Scenario::Parts => is_first || call.name.operation != "Query due",
            Scenario::FannedOut | Scenario::Idle => is_first,
            _ => false,
        };
        if all() || is_other || scenario.tests(&call.name) {
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

/// Each kind of fault at some call of each operation, and some kind at each call. What another scenario has tested is left
/// out, but for what a batch makes of a failure of the platform's.
pub(crate) fn faults(scenario: Scenario, undisturbed: &Outcome) -> Vec<Case> {
    let calls = sorted(undisturbed);
    let each = |calls: &[&Call], faults: &[Fault]| -> Vec<Case> {
        calls.iter().flat_map(|call| faults.iter().map(|fault| ((*call).clone(), *fault))).collect()
    };
    let mut cases = Vec::new();
    let is_tested = |call: &&Call| all() || scenario.tests(&call.name);
    let tested: Vec<&Call> = calls.iter().copied().filter(is_tested).collect();
    for same in tested.chunk_by(|one, other| one.name.operation == other.name.operation) {
        let kinds = kinds(&same[0].name);
        if all() || scenario == Scenario::FannedOut {
            cases.extend(each(same, &kinds));
        } else {
            let most = kinds.len().max(same.len());
            let in_turn = same.iter().cycle().zip(kinds.iter().cycle()).take(most);
            cases.extend(in_turn.map(|(call, fault)| ((*call).clone(), *fault)));
        }
    }
    // Most shards of the index list no tenant, and it is no matter whether these can be read.
    let is_listed = |call: &Call| scenario.tenants().iter().any(|tenant| due_shard(tenant) == call.name.subject);
    let listed = tested.into_iter().filter(|call| call.name.operation == "Query due" && is_listed(call));
    cases.extend(each(&listed.collect::<Vec<_>>(), &[Fault::Deny]));
    if scenario == Scenario::FannedOut {
        let mut platforms = calls;
        platforms.retain(|call| call.name.service == Service::DynamoDb);
        platforms.dedup_by_key(|call| call.name.operation.clone());
        cases.extend(each(&platforms, &[Fault::Deny]));
    }
    cases
}

/// The shard of the index in which a tenant is listed.
fn due_shard(tenant: &str) -> String {
    TenantId::parse(tenant).map(|tenant| DueShard::of(&tenant).to_string()).unwrap_or_default()
}

/// In an order that does not depend on which of the calls that are made side by side came first.
fn sorted(undisturbed: &Outcome) -> Vec<&Call> {
    let mut calls: Vec<_> = undisturbed.calls.iter().collect();
    calls.sort_by_key(|call| (&call.name.operation, *call));
    calls
}

/// Whether the call changes something.
pub(crate) fn writes(name: &Name) -> bool {
    !matches!(operation(name), "Query" | "BatchGetItem" | "GetItem" | "AssumeRole")
}

/// What can go wrong with such a call.
fn kinds(name: &Name) -> Vec<Fault> {
    let mut kinds =
        vec![Fault::Reset, Fault::LoseAnswer, Fault::InternalError, Fault::Throttle, Fault::Deny, Fault::Delay];
    // The answers to these have no body.
    if !matches!(operation(name), "PutObject" | "UploadPart") {
        kinds.push(Fault::Truncate);
    }
    if writes(name) {
        kinds.push(Fault::LoseForGood);
    }
    match (name.service, operation(name)) {
        (Service::DynamoDb, "TransactWriteItems" | "UpdateItem") => kinds.push(Fault::Conflict),
        (_, "CompleteMultipartUpload") => kinds.push(Fault::LateError),
        _ => {}
    }
    kinds
}

/// The tenant that a call to S3, to `DynamoDB`'s tables or to the bus is about; blank for others.
pub(crate) fn tenant(name: &Name) -> &str {
    let subject = name.subject.as_str();
    let tenant = match (name.service, operation(name)) {
        (Service::S3, _) => subject.split_once("-audit-logs/"),
        (Service::DynamoDb, "BatchGetItem") => None,
        _ => subject.split_once([' ', '#']),
    };
    tenant.map_or("", |(tenant, _)| tenant)
}

/// The tenants that a disturbed run leaves with a lease.
pub(crate) fn leased(scenario: Scenario, undisturbed: &Outcome, outcome: &Outcome, case: &Case) -> BTreeSet<String> {
    let (call, fault) = case;
    if fault.kills() {
        return held_at_the_end(undisturbed, &outcome.calls, case);
    }
    let lost = *fault == Fault::LoseForGood;
    let is_left = match call.name.operation.as_str() {
        "UpdateItem REMOVE lease" => *fault == Fault::Deny,
        // S3 may still store the object, unless every attempt got a clear answer. A commit is that answer, too.
        "PutObject" | "CompleteMultipartUpload" => {
            let is_in_doubt = ![Fault::Delay, Fault::Deny].contains(fault);
            is_in_doubt && (lost || scenario.never_commits(tenant(&call.name)))
        }
        _ => false,
    };
    is_left.then(|| tenant(&call.name).to_owned()).into_iter().collect()
}

/// The tenants whose lease a run had acquired and not ended when it was killed.
fn held_at_the_end(undisturbed: &Outcome, made: &[Call], (killed_at, fault): &Case) -> BTreeSet<String> {
    let acquires = |call: &Call| call.name.operation == "UpdateItem SET lease";
    // The last write under a lease ends it, be it a release or a transaction that does that as well.
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

/// How many uploads the fault leaves begun, which no run can abort: the run has died, or never learned the upload's id.
/// For these the template's bucket has a lifecycle rule.
pub(crate) fn orphans(scenario: Scenario, call: &Call, fault: Fault) -> usize {
    let lost = match call.name.operation.as_str() {
        "CreateMultipartUpload" => {
            [Fault::KillAfter, Fault::LoseAnswer, Fault::LoseForGood, Fault::Truncate].contains(&fault)
        }
        "UploadPart" => fault.kills(),
        // Between its refusal and its abort.
        "AbortMultipartUpload of none" => scenario.is_in_parts() && fault.kills(),
        "AbortMultipartUpload" => [Fault::KillBefore, Fault::Deny].contains(&fault),
        "CompleteMultipartUpload" => fault == Fault::KillBefore,
        _ => false,
    };
    usize::from(lost)
}
