//! Which policy refused a request, by AWS's message.
//!
//! AWS names the kind of policy in requests within one account or one organization ("Troubleshoot access denied (403
//! Forbidden) errors in Amazon S3" in the S3 user guide, "Troubleshoot access denied error messages" in the IAM user guide).
//! Elsewhere it doesn't.

/// A kind of policy that AWS names when it refuses a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Of the organization of the caller's account (SCP).
    ServiceControl,
    /// Of the organization of the resource's account (RCP).
    ResourceControl,
    /// The caller's permissions boundary.
    Boundary,
    /// The session policy that the exporter narrows the role with.
    Session,
    /// Of the caller: its own policies.
    Identity,
    /// Of the resource: the policy of the bucket, of the key or of the role's trust.
    Resource,
    /// Of the VPC endpoint that the request passed through.
    Endpoint,
}

/// The words in AWS's messages: "with an explicit deny in a service control policy", "because no session policy allows …".
const NAMES: &[(&str, Policy)] = &[
    ("service control policy", Policy::ServiceControl),
    ("resource control policy", Policy::ResourceControl),
    ("permissions boundary", Policy::Boundary),
    ("session policy", Policy::Session),
    ("identity-based policy", Policy::Identity),
    ("resource-based policy", Policy::Resource),
    ("endpoint policy", Policy::Endpoint),
];

impl Policy {
    /// Whether a message says that a policy denies, and not only that none allows.
    pub(super) fn is_explicit(message: &str) -> bool {
        message.rfind("with an explicit deny in ") > message.rfind("because no ")
    }

    /// The policy that a message names as the reason. An ARN before the reason can hold any words.
    pub(super) fn from_message(message: &str) -> Option<Self> {
        let reasons = ["because no ", "with an explicit deny in "];
        let at = reasons.iter().filter_map(|reason| message.rfind(reason)).max()?;
        let reason = message.get(at..)?.to_ascii_lowercase();
        let named = NAMES.iter().filter_map(|(name, policy)| Some((reason.find(name)?, *policy)));
        named.min_by_key(|(at, _)| *at).map(|(_, policy)| policy)
    }
}

/// The account in the message of `RegionDisabledException`: "STS is not activated in this region for account:222222222222".
pub(super) fn account_in(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("account:")?;
    let digits = rest.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end).filter(|account| account.len() == 12)
}
