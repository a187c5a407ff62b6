//! The port of the verification: what it tries in the customer's account.

use std::{fmt, future::Future};

use tokio::time::Instant;

use crate::{
    failure::{Code, Failure},
    object::ObjectSpec,
    settings::{Connection, TenantConfig},
    tenant::ExternalId,
};

pub trait Probes: Sync {
    type Reach: Reach;

    /// Assumes the role, with an external ID or without, and drops the session.
    fn assume(
        &self,
        connection: &Connection,
        external_id: Option<&ExternalId>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Stores an object as a delivery does: with the same session policy and the same headers. Then creates a multipart
    /// upload of it, sends the bytes as its only part and aborts it, since a large object needs more rights. Returns by the
    /// deadline: what isn't answered in time fails as unavailable, early enough to abort the upload.
    fn deliver(
        &self,
        config: &TenantConfig,
        spec: ObjectSpec,
        bytes: Vec<u8>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), DeliveryFailure>> + Send;

    /// Assumes the role without a session policy.
    fn reach(&self, config: &TenantConfig) -> impl Future<Output = Result<Self::Reach, Failure>> + Send;
}

/// What of a delivery failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// Nothing is known to be stored.
    Put(Failure),
    /// The object is stored, but the multipart upload failed.
    Multipart(Failure),
}

impl From<Failure> for DeliveryFailure {
    fn from(failure: Failure) -> Self {
        Self::Put(failure)
    }
}

/// A session with all rights of the role in the customer's bucket.
pub trait Reach: Send + Sync {
    /// Tries an action on one key. A put object is empty, and only that key is listed.
    fn attempt(&self, action: Action, key: &str) -> impl Future<Output = Access> + Send;
}

/// An action of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// AWS's answer to an action that it should refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Allowed,
    /// The only answer that proves a limit.
    Refused,
    /// A throttle, a server's error or no answer.
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
