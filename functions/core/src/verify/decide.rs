//! Decides each step of a verification by AWS's answers; pure rules.

use crate::{
    failure::{Code, Failure},
    object::tenant_folder,
    ports::{Access, Action, DeliveryFailure},
    settings::{Connection, TenantConfig},
    tenant::ExternalId,
    verification::{Step, StepName, StepStatus},
};

/// The answers to attempts that must be refused.
pub(super) struct Attempts {
    pub(super) get: Access,
    pub(super) list: Access,
    pub(super) delete: Access,
    pub(super) put_outside_folder: Access,
    /// None without a prefix.
    pub(super) put_outside_prefix: Option<Access>,
}

pub(super) fn assume_role(connection: &Connection, answer: &Result<ExternalId, Failure>) -> Step {
    let Connection { role, pending_external_id, .. } = connection;
    let role = role.as_str();
    let which = match (answer, pending_external_id) {
        (Ok(_), None) => "with the external ID",
        (Ok(accepted), Some(pending)) if accepted == pending => "with the new external ID",
        (Ok(_), Some(_)) => "with the current external ID, but not with the new one",
        (Err(failure), _) => return Step::from_failure(StepName::AssumeRole, failure),
    };
    Step::pass(StepName::AssumeRole, format!("The platform can assume the role {role} {which}."))
}

/// Passes if all decoys are refused. Refusals count only if the role can be assumed with the right external ID: otherwise
/// it may refuse everything. `to_decoys` has words that follow "can be assumed", and the answer.
pub(super) fn external_id_enforced(connection: &Connection, assumed: &Step, to_decoys: &[(&str, Access)]) -> Step {
    const NAME: StepName = StepName::ExternalIdEnforced;
    let mut allowed: Vec<&str> = Vec::new();
    for (how, access) in to_decoys {
        if *access == Access::Allowed && !allowed.contains(how) {
            allowed.push(how);
        }
    }
    let role = connection.role.as_str();
    if !allowed.is_empty() {
        let how = allowed.join(", ");
        let message = format!(
            "The role {role} can be assumed {how}. Any other customer of this platform who learns its ARN could name it as its own, and have the platform write into its bucket (the confused deputy problem)."
        );
        return Step::finding(NAME, StepStatus::Failed, &Failure::new(Code::ExternalIdNotEnforced, message));
    }
    let unclear = to_decoys.iter().find_map(|(_, access)| match access {
        Access::Unclear(code) => Some(*code),
        _ => None,
    });
    match (assumed.status, unclear) {
        (StepStatus::Passed, None) => Step::pass(NAME, "AWS refuses the role with wrong external IDs and without any."),
        (StepStatus::Passed | StepStatus::Inconclusive, Some(code)) => {
            let message = "AWS gave no clear answer to assuming the role with wrong external IDs and without any.";
            Step::inconclusive(NAME, &Failure::new(code, message))
        }
        (StepStatus::Inconclusive, None) => {
            let message = "It isn't clear whether the role can be assumed at all, so its refusals prove nothing.";
            Step::inconclusive(NAME, &Failure::new(assumed.code.unwrap_or(Code::Unavailable), message))
        }
        _ => Step::skip(NAME, "The role can't be assumed at all, so its refusals prove nothing."),
    }
}

/// Decides the bucket's region by S3's answer to the put. S3 redirects from a wrong region, and checks the bucket's owner
/// and key in the right one only. A plain refusal proves nothing. GetBucketLocation is not used: no delivery needs that
/// right, and it fails across accounts.
pub(super) fn region(config: &TenantConfig, delivered: &Result<(), DeliveryFailure>) -> Step {
    const NAME: StepName = StepName::Region;
    let TenantConfig { bucket, region, .. } = config;
    match delivered {
        Ok(()) | Err(DeliveryFailure::Multipart(_)) => Step::pass(NAME, format!("The bucket {bucket} is in {region}.")),
        Err(DeliveryFailure::Put(failure)) => match failure.code {
            Code::WrongRegion => Step::finding(NAME, StepStatus::Failed, failure),
            Code::KmsDenied | Code::KmsThrottled | Code::BucketOwnerMismatch => {
                Step::pass(NAME, format!("The bucket {bucket} is in {region}; it answered from there."))
            }
            Code::AccessDenied | Code::RegionNotEnabled | Code::AccountProblem => {
                Step::skip(NAME, "S3 refused the write without naming the region.")
            }
            Code::BucketNotFound => Step::skip(NAME, format!("There is no bucket {bucket}.")),
            code => {
                let message = format!("S3 did not say whether the bucket {bucket} is in {region}.");
                Step::inconclusive(NAME, &Failure::new(code, message))
            }
        },
    }
}

/// A bucket in another account than the role gets a warning: where the bucket has ACLs on, an object belongs to the account
/// that stored it ("Controlling ownership of objects and disabling ACLs for your bucket" in the S3 user guide). No answer to
/// a request tells whether that is so, short of rights that a delivery doesn't need.
pub(super) fn put_object(config: &TenantConfig, key: &str, delivered: &Result<(), DeliveryFailure>) -> Step {
    const NAME: StepName = StepName::PutObject;
    let TenantConfig { bucket, role, .. } = config;
    let owner = config.expected_bucket_owner();
    match delivered {
        Ok(()) if owner != role.account() => {
            let account = role.account();
            let message = format!(
                "A delivery can be stored; this one is s3://{bucket}/{key}. But the bucket belongs to the account {owner}, and the role to {account}: unless ACLs are switched off for the bucket, {owner} can't read what is delivered."
            );
            Step::finding(NAME, StepStatus::Warning, &Failure::new(Code::ObjectOwnership, message))
        }
        Ok(()) => Step::pass(NAME, format!("A delivery can be stored; this one is s3://{bucket}/{key}.")),
        Err(DeliveryFailure::Put(failure)) if failure.code == Code::WrongRegion => {
            Step::skip(NAME, "Nothing was stored, since the bucket is in another region.")
        }
        // The role could be assumed a moment ago.
        Err(DeliveryFailure::Put(failure)) if failure.code == Code::AssumeRoleDenied => {
            let message = "AWS let the platform assume the role, and then refused it. A new role is not known everywhere for some seconds.";
            Step::inconclusive(NAME, &Failure::new(failure.code, message))
        }
        Err(DeliveryFailure::Put(failure) | DeliveryFailure::Multipart(failure)) => Step::from_failure(NAME, failure),
    }
}

/// Excess rights are a warning, since deliveries work. An allowed attempt outweighs an unclear one. A role that may only write
/// into other folders under `audit-logs/` has a code of its own: its stack needs the parameter `TenantId`, and nothing else.
pub(super) fn least_privilege(config: &TenantConfig, attempts: &Attempts, left_behind: &[&str]) -> Step {
    const NAME: StepName = StepName::LeastPrivilege;
    let Attempts { get, list, delete, put_outside_folder, put_outside_prefix } = attempts;
    let others = [Some(*get), Some(*list), Some(*delete), *put_outside_prefix];
    let is_only_too_wide = !others.contains(&Some(Access::Allowed));
    let attempts = [
        (Some(*get), Action::Get, "on what was delivered"),
        (Some(*list), Action::List, "on the bucket"),
        (Some(*delete), Action::Delete, "on what was delivered"),
        (Some(*put_outside_folder), Action::Put, "outside the tenant's folder"),
        (*put_outside_prefix, Action::Put, "outside the prefix"),
    ];
    let list = |wanted: fn(&Access) -> bool| {
        let matching = attempts.iter().filter(|(access, ..)| access.as_ref().is_some_and(wanted));
        matching.map(|(_, action, place)| format!("{action} {place}")).collect::<Vec<_>>().join(", ")
    };
    let allowed = list(|access| *access == Access::Allowed);
    let unclear = list(|access| matches!(access, Access::Unclear(_)));
    if !allowed.is_empty() {
        let (code, mut message) = if is_only_too_wide {
            let folder = tenant_folder(&config.prefix, &config.tenant);
            let message = format!(
                "The role is not limited to the tenant's folder: it may also write beside s3://{}/{folder}.",
                config.bucket
            );
            (Code::RoleFolderTooWide, message)
        } else {
            (Code::ExcessRights, format!("The role may do more than a delivery needs: {allowed}."))
        };
        if !unclear.is_empty() {
            message += &format!(" AWS gave no clear answer to {unclear}.");
        }
        for key in left_behind {
            message += &format!(
                " The empty object s3://{}/{key} may have been left behind; you may delete it.",
                config.bucket
            );
        }
        return Step::finding(NAME, StepStatus::Warning, &Failure::new(code, message));
    }
    let code = attempts.iter().find_map(|(access, ..)| match access {
        Some(Access::Unclear(code)) => Some(*code),
        _ => None,
    });
    match code {
        Some(code) => {
            let message = format!("AWS gave no clear answer to {unclear}.");
            Step::inconclusive(NAME, &Failure::new(code, message))
        }
        None => Step::pass(
            NAME,
            "The role could neither read, list nor delete what was delivered, nor write outside the tenant's folder.",
        ),
    }
}
