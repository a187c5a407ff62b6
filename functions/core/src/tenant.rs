//! Parsed names of tenants, roles, buckets and other AWS resources.
//!
//! A value of one of these types proves that its text was checked; no other code checks it again.

mod arn;
mod destination;
mod encryption;
mod file_format;
mod identity;
mod regions;

pub use arn::{KmsKeyArn, RoleArn};
pub use destination::{BucketName, Prefix};
pub use encryption::Encryption;
pub use file_format::{Compression, Format, Schema};
pub use identity::{AccountId, DueShard, EventShards, ExternalId, ExternalIds, Frequency, Platform, TenantId};
pub use regions::{Partition, Region};

/// Why a text is invalid, in words for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// Quotes a text for an error message, cut to 60 characters.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{rest}")
}

impl Invalid {
    fn err<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self(reason.into()))
    }
}

macro_rules! text_accessors {
    ($type:ident) => {
        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
use text_accessors;
