//! What the verification asks of AWS, and how an answer reads.

use std::{fmt, future::Future};

use crate::{
    failure::{Code, Failure},
    object::ObjectSpec,
    settings::{Connection, TenantConfig},
    tenant::ExternalId,
};

/// What the verification needs of the customer's account.
pub trait Probes: Sync {
    /// A session with all of the role's own rights.
    type Reach: Reach;

    /// Assumes the role with an external ID or without any, and drops the session at once.
    fn assume(
        &self,
        connection: &Connection,
        external_id: Option<&ExternalId>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Stores one object just as a delivery does: under the same session policy, with the same headers.
    fn deliver(
        &self,
        config: &TenantConfig,
        spec: ObjectSpec,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Assumes the role without a session policy.
    fn reach(&self, config: &TenantConfig) -> impl Future<Output = Result<Self::Reach, Failure>> + Send;
}

/// A session with all of the role's own rights in the customer's bucket.
pub trait Reach: Send + Sync {
    /// Tries something on one key: what is put there is empty, and what is listed is that key alone.
    fn attempt(&self, action: Action, key: &str) -> impl Future<Output = Access> + Send;
}

/// What is tried on a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is S3's action of that name")]
pub enum Action {
    Get,
    List,
    Put,
    Delete,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "s3:GetObject",
            Self::List => "s3:ListBucket",
            Self::Put => "s3:PutObject",
            Self::Delete => "s3:DeleteObject",
        })
    }
}

/// What AWS said to something that it ought to refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It was done.
    Allowed,
    /// It is not allowed; the only answer that proves a limit.
    Refused,
    /// Neither: a throttle, an error of AWS's own, no answer.
    Unclear(Code),
}

/// For an attempt to assume a role.
impl From<Result<(), Failure>> for Access {
    fn from(answer: Result<(), Failure>) -> Self {
        match answer.map_err(|failure| failure.code) {
            Ok(()) => Self::Allowed,
            Err(Code::AssumeRoleDenied) => Self::Refused,
            Err(code) => Self::Unclear(code),
        }
    }
}
