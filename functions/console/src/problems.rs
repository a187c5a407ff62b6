//! Refusals that several requests share.

use audit_log_core::{failure::Failure, settings::FieldErrors};
use audit_log_web::problem::{Code, Problem};

pub(crate) fn changed_meanwhile() -> Problem {
    Problem::new(Code::ChangedMeanwhile, "Someone else saved changes. Read them, then decide whether to save yours.")
}

pub(crate) fn connector_required() -> Problem {
    let detail = "Connect a role first: send its ARN with PUT /v1/connector. Exports need a role.";
    Problem::new(Code::ConnectorRequired, detail)
}

/// Too many places wait for their final delivery. `failure` says until when.
pub(crate) fn final_deliveries_pending(failure: Failure) -> Problem {
    Problem::new(Code::FinalDeliveriesPending, failure.message)
}

/// Names every invalid field as this API does.
pub(crate) fn invalid_fields(FieldErrors(errors): FieldErrors) -> Problem {
    errors.into_iter().fold(invalid(), |problem, error| problem.field(camel_case(error.field), error.message))
}

/// No field is named yet.
pub(crate) fn invalid() -> Problem {
    Problem::new(Code::InvalidFields, "Correct the fields named here and send them again.")
}

/// `frequency_hours` becomes `frequencyHours`.
pub(crate) fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_ascii_uppercase() + tail
    })
}
