//! Who an export is for and where it goes: names parsed once, by the rules of whoever owns them.
//!
//! Every type here is proof that its text was checked; nothing downstream checks again.

mod arn;
mod destination;
mod file_format;
mod identity;

pub use arn::{KmsKeyArn, RoleArn};
pub use destination::{BucketName, Partition, Prefix, Region};
pub use file_format::{Compression, Format};
pub use identity::{AccountId, DueShard, EventShards, ExternalId, Frequency, Platform, TenantId};

/// Why a text is not what it should be, in words for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

/// A text as an error shows it: quoted, and cut where it is longer than any right one would be.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(60).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown:?}{rest}")
}

impl Invalid {
    fn new<T>(reason: impl Into<String>) -> Result<T, Self> {
        Err(Self(reason.into()))
    }
}

/// Gives a parsed text its accessors; the check itself stands with each type.
macro_rules! text_accessors {
    ($type:ident) => {
        impl $type {
            /// The checked text.
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
