//! Whether a connection would work: what VERIFY CONNECTIVITY finds out before a delivery depends on it.
//!
//! Five steps, always all of them and in this order, each an answer that AWS itself gave to a request: a policy that is
//! read proves nothing, since boundaries, organisations and bucket policies have their say too. Each step stands on
//! those before it. Above all, nothing is ever written through a role that doesn't insist on the external ID: whoever
//! names such a role may have no business with it.

mod decide;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout_at};

use crate::{
    failure::{Code, Failure, Party},
    object::{ObjectSpec, key_outside},
    ports::{Access, Action, Probes, Reach as _, Tenants},
    settings::{Connection, Draft, FieldError, FieldErrors, TenantConfig},
    tenant::{Platform, TenantId},
    verification::{Step, StepName, Steps, Verification, VerificationRequest},
};
use decide::Tried;

/// What the check's object holds: an export of nothing, for whoever reads it as one.
const NOTHING: &[u8] = b"[\n]\n";

/// What this run is given of the world outside.
#[derive(Debug, Clone, Copy)]
pub struct VerifyContext<'a> {
    /// Whose system it is.
    pub platform: &'a Platform,
    /// The time, for the labels of the check's object.
    pub now: DateTime<Utc>,
    /// Differs with each context, and can't be foreseen by a customer.
    pub id: &'a str,
    /// How long it may take; what isn't answered by then is inconclusive.
    pub within: Duration,
}

/// What is to be verified, once every field has been checked.
struct ValidRequest {
    connection: Connection,
    delivery: Option<TenantConfig>,
    /// Whether deliveries go by these very settings.
    is_saved: bool,
}

/// Verifies a connection. Where it is the saved one and passes, the next tick tries the tenant again, however long its
/// exports have failed.
pub async fn verify<T: Tenants, P: Probes>(
    tenants: &T,
    probes: &P,
    request: &VerificationRequest,
    context: VerifyContext<'_>,
) -> Verification {
    let by = Instant::now() + context.within;
    let mut steps = Steps::default();
    let ValidRequest { connection, delivery, is_saved } = match check(tenants, request, context, by).await {
        Ok(checked) => checked,
        Err(failure) => {
            steps.push(Step::of(StepName::AssumeRole, &failure));
            return steps.rest_skipped("Not tried, since the step before it did not pass.");
        }
    };

    let wrong = connection.external_id.another(context.id);
    let (with_it, with_wrong, without) = futures::join!(
        in_time(by, probes.assume(&connection, Some(&connection.external_id))),
        in_time(by, probes.assume(&connection, Some(&wrong))),
        in_time(by, probes.assume(&connection, None)),
    );
    let assumed = decide::assume_role(&connection, &with_it);
    let enforced = decide::external_id_enforced(&connection, &assumed, with_wrong.into(), without.into());
    let trusted = assumed.passed() && enforced.passed();
    steps.push(assumed);
    steps.push(enforced);
    let Some(config) = delivery else {
        return steps.rest_skipped("Not tried, since no bucket was given yet.");
    };
    if !trusted {
        return steps
            .rest_skipped("Not tried: nothing is written through a role that has not passed the steps before.");
    }

    let spec = ObjectSpec::connectivity_check(&config, context.now);
    let key = spec.key.clone();
    let stored = in_time(by, probes.deliver(&config, spec, NOTHING.to_vec())).await;
    steps.push(decide::region(&config, &stored));
    let put = decide::put_object(&config, &key, &stored);
    let delivers = put.passed();
    steps.push(put);
    if !delivers {
        return steps.rest_skipped("Not tried, since it takes an object that the check has stored.");
    }
    let last = least_privilege(probes, &config, &key, by).await;
    let verification = steps.and_last(last);
    if is_saved
        && verification.passed()
        && let Err(failure) = in_time(by, tenants.reset_backoff(&config.tenant, context.now)).await
    {
        let Failure { code, message, .. } = failure;
        tracing::error!(tenant = %config.tenant, code = %code, reason = message, "the next tick may not try the tenant");
    }
    verification
}

/// Checks the fields, and that the external ID is the one that the platform made for this tenant: a request that names
/// another could go through another customer's role.
async fn check<T: Tenants>(
    tenants: &T,
    request: &VerificationRequest,
    context: VerifyContext<'_>,
    by: Instant,
) -> Result<ValidRequest, Failure> {
    let tenant = TenantId::parse(&request.tenant_id).map_err(|invalid| {
        let error = FieldError { field: "tenant_id", message: invalid.0 };
        Failure { party: Party::Platform, ..FieldErrors(vec![error]).into_failure() }
    })?;
    let connection = request.draft.check_connection(&tenant, context.platform);
    let delivery = match request.draft.bucket.as_deref() {
        None | Some("") => None,
        Some(_) => {
            let every_hour = Some("1".to_owned());
            let draft = Draft { frequency_hours: every_hour, ..request.draft.clone() };
            // With all that is wrong, the role's fields included.
            Some(draft.check(&tenant, context.platform).map_err(FieldErrors::into_failure)?)
        }
    };
    let connection = connection.map_err(FieldErrors::into_failure)?;
    let records = in_time(by, tenants.load(std::slice::from_ref(&tenant))).await?;
    let stored = records.into_iter().find_map(|(_, records)| records.config);
    if stored.as_ref().is_some_and(|stored| stored.external_id.as_deref() != Some(connection.external_id.as_str())) {
        let message = "The external ID is not the one that the platform has made for this tenant; nothing was tried.";
        return Err(Failure::by(Party::Platform, Code::ConfigInvalid, message));
    }
    let saved = stored.and_then(|stored| stored.check(&tenant, context.platform).ok());
    let is_saved = saved.zip(delivery.as_ref()).is_some_and(|(saved, delivery)| goes_alike(saved, delivery));
    Ok(ValidRequest { connection, delivery, is_saved })
}

/// Whether deliveries go the same way: what a verification doesn't look at may differ.
fn goes_alike(saved: TenantConfig, delivery: &TenantConfig) -> bool {
    let TenantConfig { frequency, format, compression, event_shards, version, .. } = delivery.clone();
    TenantConfig { frequency, format, compression, event_shards, version, ..saved } == *delivery
}

/// Tries what a delivery never needs, in a session that has all of the role's own rights: under a delivery's session
/// policy everything would be refused, and that would prove nothing about the role. Reads and the key outside go first;
/// Delete goes last, and only for what this run has stored itself.
async fn least_privilege<P: Probes>(probes: &P, config: &TenantConfig, key: &str, by: Instant) -> Step {
    let reach = match in_time(by, probes.reach(config)).await {
        Ok(reach) => reach,
        Err(failure) => return Step::inconclusive(StepName::LeastPrivilege, &failure),
    };
    let attempt = async |action: Action, key: &str| match timeout_at(by, reach.attempt(action, key)).await {
        Ok(access) => access,
        Err(_) => Access::Unclear(Code::Unavailable),
    };
    // A name that nobody else has, made from the tenant's external ID so that it doesn't tell it; and always the same, or
    // every day's check would leave another object where it may put one and not take it away.
    let unique = config.external_id.another("outside");
    let outside = key_outside(&config.prefix, unique.as_str());
    let put_outside = async {
        match &outside {
            Some(outside) => Some(attempt(Action::Put, outside).await),
            None => None,
        }
    };
    let (get, list, put_outside) = futures::join!(attempt(Action::Get, key), attempt(Action::List, key), put_outside);
    let delete = attempt(Action::Delete, key).await;
    // A put without a clear answer may have landed.
    let mut left_behind = outside.as_deref().filter(|_| !matches!(put_outside, None | Some(Access::Refused)));
    if let Some(stored) = left_behind
        && attempt(Action::Delete, stored).await == Access::Allowed
    {
        left_behind = None;
    }
    decide::least_privilege(config, &Tried { get, list, delete, put_outside }, left_behind)
}

/// What comes in time, or the failure to.
async fn in_time<T>(by: Instant, asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = |_| Err(Failure::new(Code::Unavailable, "AWS did not answer in time."));
    timeout_at(by, asked).await.unwrap_or_else(late)
}
