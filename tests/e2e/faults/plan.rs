//! Which call gets which fault.

use audit_log_core::tenant::{DueShard, TenantId};
use audit_log_tests::fault_proxy::{Call, Fault, Name, Service};

use crate::run::{Outcome, Scenario};

/// What is done to a call, and what it is about.
pub(crate) type Case = (Call, Fault);

/// Whether all that can be done is done to each call; some minutes become half an hour.
#[allow(clippy::disallowed_methods, reason = "a test may be told by its environment how much to do")]
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
    let calls = sorted(undisturbed);
    let is_same = |name: &Name| match scenario {
        Scenario::Inline => false,
        Scenario::Parts => name.operation == "Query due",
        Scenario::FannedOut | Scenario::Idle => true,
    };
    let mut chosen: Vec<&Call> = Vec::new();
    for call in calls {
        let stands = is_same(&call.name) && chosen.iter().any(|it| it.name.operation == call.name.operation);
        if all() || !stands {
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
    let mut operations: Vec<(&str, Vec<&Call>)> = Vec::new();
    for call in sorted(undisturbed) {
        match operations.last_mut() {
            Some((operation, calls)) if *operation == call.name.operation => calls.push(call),
            _ => operations.push((&call.name.operation, vec![call])),
        }
    }
    let mut cases = Vec::new();
    let is_listed = |call: &Call| scenario.tenants().iter().any(|tenant| due_shard(tenant) == call.name.subject);
    for (operation, calls) in operations {
        let kinds = kinds(&calls[0].name);
        let is_own = match scenario {
            Scenario::Inline => true,
            Scenario::Parts => operation.ends_with("MultipartUpload") || operation == "UploadPart",
            Scenario::FannedOut => operation == "SendMessageBatch",
            Scenario::Idle => operation == "Query due, Limit",
        };
        if all() {
            cases.extend(calls.iter().flat_map(|call| kinds.iter().map(|fault| ((*call).clone(), *fault))));
        } else if is_own {
            let most = kinds.len().max(calls.len());
            let in_turn = calls.iter().cycle().zip(kinds.iter().cycle()).take(most);
            cases.extend(in_turn.map(|(call, fault)| ((*call).clone(), *fault)));
            // Most shards of the index list nobody, and it is no matter whether these can be read.
            let listed = calls.iter().filter(|call| operation == "Query due" && is_listed(call));
            cases.extend(listed.map(|call| ((*call).clone(), Fault::Deny)));
        } else if scenario == Scenario::FannedOut && calls[0].name.service == Service::DynamoDb {
            cases.push((calls[0].clone(), Fault::Deny));
        }
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
        (Service::DynamoDb, "TransactWriteItems") => kinds.push(Fault::Conflict),
        (_, "CompleteMultipartUpload") => kinds.push(Fault::LateError),
        _ => {}
    }
    kinds
}

/// How many uploads the fault leaves begun, which nobody can abort: the run has died, or was never told the upload's id.
/// For these the template's bucket has a lifecycle rule.
pub(crate) fn orphans(call: &Call, fault: Fault) -> usize {
    let lost = matches!(
        (operation(&call.name), fault),
        ("CreateMultipartUpload", Fault::KillAfter | Fault::LoseAnswer | Fault::LoseForGood | Fault::Truncate)
            | ("UploadPart", Fault::KillBefore | Fault::KillAfter)
            | ("CompleteMultipartUpload", Fault::KillBefore)
    );
    usize::from(lost)
}
