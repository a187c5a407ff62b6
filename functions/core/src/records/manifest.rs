//! What the records hold about manifests: where a tenant's chain stands, and the manifest of a window.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::schedule::full_hour;

/// For so long, a window whose manifest can't be signed is not committed. Then it is committed with an unsigned manifest: the
/// events matter more than their proof.
const SIGNING_TRIED_FOR: TimeDelta = TimeDelta::hours(6);

/// Where a chain of manifests stands before a window.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chain<'a> {
    /// SHA-256 of the last manifest's text, in lower-case hex; none before the first.
    pub head: Option<&'a str>,
    /// When signing failed first, if nothing was signed and nothing else failed since.
    pub signing_failed_since: Option<DateTime<Utc>>,
}

impl Chain<'_> {
    /// Whether a window whose manifest could not be signed now is committed nevertheless. Full hours are compared, so that it
    /// doesn't matter at which minute of its hour a tick comes to a tenant.
    pub fn goes_on_unsigned(&self, now: DateTime<Utc>) -> bool {
        self.signing_failed_since.is_some_and(|since| full_hour(now) - full_hour(since) >= SIGNING_TRIED_FOR)
    }
}

/// A stored manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    pub key: String,
    /// SHA-256 of its text, without the signature, in lower-case hex: what the next manifest names.
    pub sha256: String,
    pub state: ManifestState,
    /// What its text names as the manifest before; none for the first of a chain.
    pub previous: Option<String>,
    /// The manifest that stands for it since the window was delivered again with other bytes.
    pub amended: Option<AmendedManifest>,
}

impl StoredManifest {
    /// SHA-256 of the text that lists the files as they are.
    pub fn standing_sha256(&self) -> &str {
        self.amended.as_ref().map_or(&self.sha256, |amended| &amended.sha256)
    }
}

/// A manifest that amends another one of the same window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AmendedManifest {
    /// From 1.
    pub number: u32,
    /// SHA-256 of its text, in lower-case hex.
    pub sha256: String,
    /// SHA-256 of the text that it amends.
    pub amends: String,
    /// One word.
    pub cause: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ManifestState {
    Signed,
    Unsigned,
}

impl ManifestState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Unsigned => "unsigned",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Signed, Self::Unsigned].into_iter().find(|state| state.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_waits_for_its_signature_for_six_ticks() {
        let at = |text: &str| -> DateTime<Utc> { text.parse().unwrap() };
        let since = Chain { head: None, signing_failed_since: Some(at("2026-11-21T11:01:30Z")) };
        assert!(!Chain::default().goes_on_unsigned(at("2026-11-21T11:01:00Z")));
        assert!(!since.goes_on_unsigned(at("2026-11-21T16:59:59Z")));
        assert!(since.goes_on_unsigned(at("2026-11-21T17:00:00Z")));
    }
}
