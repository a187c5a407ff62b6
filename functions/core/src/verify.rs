//! Verifies a connection in five steps, before a delivery depends on it.
//!
//! Each step is decided by AWS's answers to real requests. Reading policies would prove nothing, since boundaries,
//! organizations and bucket policies apply too. Nothing is written through a role that doesn't enforce the external ID:
//! such a role may belong to another customer.

mod decide;
mod role;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout_at};

use crate::{
    failure::{Code, Failure, Party},
    new_event::Stamp,
    object::{ObjectSpec, key_outside_folder, key_outside_prefix},
    ports::{Access, Action, Conditional, DeliveryFailure, Probes, Reach as _, Repairs, Rotations, Tenants},
    records::TenantRecords,
    settings::{Connection, Draft, FieldError, FieldErrors, TenantConfig},
    system_events,
    tenant::{ExternalId, ExternalIds, Platform, TenantId},
    verification::{Step, StepName, Steps, Verification, VerificationRequest},
};
use decide::Attempts;
use role::{Decoy, RoleProbe};

/// The stored object's text, for the customer who finds it.
const CHECK_TEXT: &str = "This file shows that audit logs can be delivered to this bucket. Each verification of the connection replaces it. It holds no events.\n";

#[derive(Clone, Copy)]
pub struct VerifyContext<'a> {
    pub platform: &'a Platform,
    pub now: &'a (dyn Fn() -> DateTime<Utc> + Send + Sync),
    /// None keeps events forever.
    pub retention: Option<TimeDelta>,
    /// Different for each verification, and unpredictable for customers.
    pub id: &'a str,
    /// A call that isn't answered within this time is inconclusive.
    pub within: Duration,
    /// For how long a refused role is tried again, since it may be seconds old. Shorter than `within`. Zero for a role that
    /// isn't new: then each question to AWS is asked once.
    pub retry_refused_role: Duration,
}

/// A request whose fields have been checked.
struct ValidRequest {
    connection: Connection,
    delivery: Option<TenantConfig>,
    /// The saved settings, if they deliver in the same way.
    saved: Option<SavedSettings>,
    /// Whether the tenant has another role, which may still demand the current external ID.
    has_other_role: bool,
}

/// Saved settings that are verified.
struct SavedSettings {
    version: u64,
    /// Whether an earlier verification of them has passed.
    is_marked: bool,
}

/// Verifies a connection. If it is the saved one and passes, notes that and resets the tenant's backoff, so that the next tick
/// exports.
///
/// In a rotation of the external ID, completes the rotation if the role demands the pending one. It takes the two steps about
/// the role: the bucket has no part in the external ID.
pub async fn verify<T: Tenants + Rotations + Repairs, P: Probes>(
    tenants: &T,
    probes: &P,
    request: &VerificationRequest,
    context: VerifyContext<'_>,
) -> Verification {
    let deadline = Instant::now() + context.within;
    let mut steps = Steps::default();
    let valid = match check_request(tenants, request, context, deadline).await {
        Ok(valid) => valid,
        Err(failure) => {
            steps.push(Step::from_failure(StepName::AssumeRole, &failure));
            return steps.skip_remaining("Skipped: the step before it did not pass.");
        }
    };

    let ValidRequest { connection, delivery, saved, has_other_role } = valid;
    let role = RoleProbe { probes, connection: &connection, decoys: Decoy::all(&connection, context.id), deadline };
    let answers = role.ask(context.retry_refused_role).await;
    let mut assumed = decide::assume_role(&connection, &answers.with_right);
    let enforced = decide::external_id_enforced(&connection, &assumed, &answers.to_decoys);
    let is_role_usable = assumed.passed() && enforced.passed();
    let accepted = answers.with_right.ok();
    if is_role_usable
        && !has_other_role
        && let Some(pending) = accepted.as_ref().filter(|it| connection.pending_external_id.as_ref() == Some(*it))
    {
        let problem = complete_rotation(tenants, &connection, pending, context).await;
        assumed.message.extend(problem);
    }
    steps.push(assumed);
    steps.push(enforced);
    // The delivery uses the external ID that was just found to work.
    let with_accepted = |config| match &accepted {
        Some(accepted) => TenantConfig { external_id: accepted.clone(), pending_external_id: None, ..config },
        None => config,
    };
    let Some(config) = delivery.map(with_accepted) else {
        return steps.skip_remaining("Skipped: no bucket was given yet.");
    };
    if !is_role_usable {
        return steps
            .skip_remaining("Skipped: nothing is written through a role that has not passed the steps before.");
    }

    let now = (context.now)();
    let spec = ObjectSpec::connectivity_check(&config, now);
    let key = spec.key.clone();
    let deliver = || probes.deliver(&config, spec.clone(), CHECK_TEXT.as_bytes().to_vec(), deadline);
    let mut delivered = deliver().await;
    // A new role's rights reach S3 and KMS later than its trust reaches STS.
    if answers.is_new && delivered.as_ref().is_err_and(is_refusal) {
        role.pause().await;
        delivered = deliver().await;
    }
    steps.push(decide::region(&config, &delivered));
    steps.push(decide::put_object(&config, &key, &delivered));
    if let Err(DeliveryFailure::Put(_)) = delivered {
        return steps.skip_remaining("Skipped: no delivery was stored.");
    }
    let last = least_privilege(probes, &config, &key, deadline).await;
    let verification = steps.finish_with(last);
    if let Some(saved) = saved
        && verification.passed()
        && let Err(failure) = before(deadline, note_passed(tenants, &config.tenant, saved, now)).await
    {
        let Failure { code, message, .. } = failure;
        tracing::error!(tenant = %config.tenant, code = %code, reason = message, "verification not noted: the next tick may skip the tenant, and the settings may count as not verified");
    }
    verification
}

/// Notes that the saved settings have passed, unless others were saved meanwhile. Then that save has reset the backoff.
async fn note_passed<T: Repairs>(
    tenants: &T,
    tenant: &TenantId,
    SavedSettings { version, is_marked }: SavedSettings,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    if is_marked || tenants.mark_verified(tenant, version).await? == Conditional::Written {
        tenants.reset_backoff(tenant, now).await?;
    }
    Ok(())
}

/// Makes the pending external ID the only one, unless another role was connected during the verification: that one may still
/// demand the current one. If that fails, returns a sentence about it. Both stay then, and the next verification tries again.
async fn complete_rotation<T: Rotations>(
    tenants: &T,
    connection: &Connection,
    pending: &ExternalId,
    context: VerifyContext<'_>,
) -> Option<&'static str> {
    let Connection { tenant, external_id, role, .. } = connection;
    let as_read = ExternalIds { current: external_id.clone(), pending: Some(pending.clone()) };
    let after = ExternalIds { current: pending.clone(), pending: None };
    let stamp = Stamp { at: (context.now)(), retention: context.retention };
    let announcement = system_events::rotation_completed(tenant, stamp, role, pending);
    match tenants.replace_external_ids(tenant, &as_read, &after, Some(role), &announcement).await {
        Ok(Conditional::Written) => {
            tracing::info!(tenant = %tenant, "rotation of the external ID completed");
            None
        }
        Ok(Conditional::ConditionFailed) => {
            tracing::info!(tenant = %tenant, "rotation of the external ID not completed: the external IDs or the connected role have changed meanwhile");
            Some(" But the rotation was cancelled or completed meanwhile, or another role was connected.")
        }
        Err(Failure { code, message, .. }) => {
            tracing::error!(tenant = %tenant, code = %code, reason = message, "rotation of the external ID not completed: the next verification tries again");
            Some(" But the platform failed to make the new one the only one: verify again in a minute.")
        }
    }
}

/// Checks the fields, and that the external ID is the tenant's stored one: a request with another tenant's external ID
/// could use another customer's role. The pending external ID is the stored one, too.
async fn check_request<T: Tenants>(
    tenants: &T,
    request: &VerificationRequest,
    context: VerifyContext<'_>,
    deadline: Instant,
) -> Result<ValidRequest, Failure> {
    let VerificationRequest { tenant_id, draft } = request;
    let tenant = TenantId::parse(tenant_id).map_err(|invalid| {
        let error = FieldError { field: "tenant_id", message: invalid.0 };
        Failure { party: Party::Platform, ..FieldErrors(vec![error]).into_failure() }
    })?;
    let records = before(deadline, tenants.load(std::slice::from_ref(&tenant))).await?;
    let records = records.into_iter().next().map(|(_, records)| records).unwrap_or_default();
    let TenantRecords { config: stored, verified_version, .. } = records;
    let stored = stored.unwrap_or_default();
    let draft = Draft { pending_external_id: stored.pending_external_id.clone(), ..draft.clone() };
    let connection = draft.check_connection(&tenant, context.platform);
    let delivery = match draft.bucket.as_deref() {
        None | Some("") => None,
        Some(_) => {
            let every_hour = Some("1".to_owned());
            let draft = Draft { frequency_hours: every_hour, ..draft.clone() };
            // Before the connection's errors, since this names all wrong fields.
            Some(draft.check(&tenant, context.platform).map_err(FieldErrors::into_failure)?)
        }
    };
    let connection = connection.map_err(FieldErrors::into_failure)?;
    if stored.external_id.as_deref() != Some(connection.external_id.as_str()) {
        let message = "The external ID is not the one that the platform has made for this tenant; nothing was tried.";
        return Err(Failure::by(Party::Platform, Code::ConfigInvalid, message));
    }
    let has_other_role = stored.role_arn.as_ref().is_some_and(|stored| stored != connection.role.as_str());
    let saved = stored.check(&tenant, context.platform).ok();
    let saved = saved.zip(delivery.as_ref()).filter(|(saved, delivery)| has_same_destination(saved, delivery));
    let saved = saved.map(|(TenantConfig { version, .. }, _)| SavedSettings {
        version,
        is_marked: verified_version == Some(version),
    });
    Ok(ValidRequest { connection, delivery, saved, has_other_role })
}

/// Whether both deliver through the same role to the same place; settings that a verification ignores may differ.
fn has_same_destination(a: &TenantConfig, b: &TenantConfig) -> bool {
    // Without `..`, so that a new setting does not compile until it is compared or ignored.
    let TenantConfig {
        tenant,
        external_id,
        pending_external_id: _,
        role,
        bucket,
        region,
        prefix,
        frequency: _,
        format: _,
        compression: _,
        schema: _,
        encryption,
        bucket_owner,
        event_shards: _,
        version: _,
    } = a;
    (tenant, external_id, role, bucket, region) == (&b.tenant, &b.external_id, &b.role, &b.bucket, &b.region)
        && (prefix, encryption, bucket_owner) == (&b.prefix, &b.encryption, &b.bucket_owner)
}

/// Tries what a delivery never needs, in a session with all of the role's rights: a delivery's session policy would
/// refuse everything, which proves nothing about the role. Delete comes last, and only for objects of this run.
async fn least_privilege<P: Probes>(probes: &P, config: &TenantConfig, key: &str, deadline: Instant) -> Step {
    let reach = match before(deadline, probes.reach(config)).await {
        Ok(reach) => reach,
        Err(failure) => return Step::inconclusive(StepName::LeastPrivilege, &failure),
    };
    let attempt = async |action: Action, key: &str| match timeout_at(deadline, reach.attempt(action, key)).await {
        Ok(access) => access,
        Err(_) => Access::Unclear(Code::Unavailable),
    };
    let outside_folder = key_outside_folder(&config.prefix, &config.tenant);
    let outside_prefix = key_outside_prefix(&config.prefix, &config.tenant);
    let put_outside_prefix = async {
        match &outside_prefix {
            Some(outside) => Some(attempt(Action::Put, outside).await),
            None => None,
        }
    };
    let (get, list, put_outside_folder, put_outside_prefix) = futures::join!(
        attempt(Action::Get, key),
        attempt(Action::List, key),
        attempt(Action::Put, &outside_folder),
        put_outside_prefix,
    );
    let delete = attempt(Action::Delete, key).await;
    let puts = [(Some(put_outside_folder), Some(&outside_folder)), (put_outside_prefix, outside_prefix.as_ref())];
    let mut left_behind = Vec::new();
    for (put, stored) in puts {
        // A put without a clear answer may have been carried out.
        if let (Some(Access::Allowed | Access::Unclear(_)), Some(stored)) = (put, stored)
            && attempt(Action::Delete, stored).await != Access::Allowed
        {
            left_behind.push(stored.as_str());
        }
    }
    decide::least_privilege(
        config,
        &Attempts { get, list, delete, put_outside_folder, put_outside_prefix },
        &left_behind,
    )
}

/// Whether AWS refused a delivery as it refuses a role that it doesn't know everywhere yet.
fn is_refusal(failure: &DeliveryFailure) -> bool {
    let (DeliveryFailure::Put(failure) | DeliveryFailure::Multipart(failure)) = failure;
    matches!(failure.code, Code::AssumeRoleDenied | Code::AccessDenied | Code::KmsDenied)
}

async fn before<T, E: From<Failure>>(deadline: Instant, call: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let timed_out = |_| Err(Failure::new(Code::Unavailable, "AWS did not answer in time.").into());
    timeout_at(deadline, call).await.unwrap_or_else(timed_out)
}
