//! Scenarios: the tenants, the hour, and what AWS denies.

use audit_log_tests::fault_proxy::{CallName, Service};

/// The tenant that fails in every run.
pub(crate) const FAILING: &str = "denied";

/// A tenant that failed before, with two due windows. The first is empty.
pub(crate) const RECOVERING: &str = "recovering";

/// A tenant that failed before, with events in several shards and gzip.
pub(crate) const SHARDED: &str = "sharded";
pub(crate) const SHARDS: u32 = 3;

/// The tenants of a tick at 11:00, in its order.
const SMALL: [&str; 4] = [RECOVERING, FAILING, FILES, SHARDED];

/// The tenants of the replays.
pub(crate) const REPLAYED: [&str; 2] = [RECOVERING, FILES];

/// The tenant with several files in its window.
pub(crate) const FILES: &str = "files";

pub(crate) const CALLS: [&str; 33] = [
    "AbortMultipartUpload",
    "AbortMultipartUpload of none",
    "AssumeRole",
    "BatchGetItem",
    "CompleteMultipartUpload",
    "CreateMultipartUpload",
    "GetItem",
    "GetItem manifest_keys",
    "GetPublicKey",
    "PutEvents",
    "PutItem",
    "PutObject",
    "PutObject of a manifest",
    "Query",
    "Query due",
    "Query due, Limit",
    "Query receipts",
    "Scan",
    "SendMessageBatch",
    "Sign",
    "TransactWriteItems ConditionCheck+Put",
    "TransactWriteItems ConditionCheck+Put+Put",
    "TransactWriteItems ConditionCheck+Put+Put+Update+Put+Put",
    "TransactWriteItems ConditionCheck+Put+Update+Put+Put",
    "TransactWriteItems Update",
    "TransactWriteItems Update+ConditionCheck",
    "TransactWriteItems Update+ConditionCheck+Put",
    "TransactWriteItems Update+ConditionCheck+Put+Update+Put+Put",
    "TransactWriteItems Update+Update+Put+Put",
    "UpdateItem REMOVE entries",
    "UpdateItem REMOVE lease",
    "UpdateItem SET lease",
    "UploadPart",
];

/// What a run does, and how it is invoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A tick exports all tenants, with files of 64 KiB.
    Inline,
    /// A tick exports one tenant with a file of several parts.
    Parts,
    /// A tick queues all tenants, and batches export one window of each. They queue tenants with another window again.
    FannedOut,
    /// No tenant is due.
    Idle,
    /// The tick after the inline one: one tenant fails again, the other has a late arrival.
    Later,
    /// S3 denies each part of the file with several parts.
    PartRefused,
    /// S3 denies the last file of the window with several files, so that no stored file is committed.
    FileRefused,
    /// No tenant is due. The windows of the inline tick are delivered again to two customers who have deleted all their files. An event
    /// of the window with several files came late, so its manifest is amended.
    Replay,
}

impl Scenario {
    pub(crate) const ALL: [Self; 8] = [
        Self::Inline,
        Self::Parts,
        Self::FannedOut,
        Self::Idle,
        Self::Later,
        Self::PartRefused,
        Self::FileRefused,
        Self::Replay,
    ];

    pub(crate) fn tenants(self) -> &'static [&'static str] {
        match self {
            Self::Inline | Self::FannedOut => &SMALL,
            Self::Later => &[FAILING, FILES],
            Self::Idle | Self::FileRefused => &[FILES],
            Self::Replay => &REPLAYED,
            Self::Parts | Self::PartRefused => &["parts"],
        }
    }

    /// The hour of the run with the fault, and of the runs after it.
    pub(crate) fn hour(self) -> &'static str {
        match self {
            Self::Idle => "09:00",
            Self::Later => "12:00",
            _ => "11:00",
        }
    }

    /// The hour of the next tick.
    pub(crate) fn next_hour(self) -> &'static str {
        match self {
            Self::Idle => "10:00",
            Self::Later => "13:00",
            _ => "12:00",
        }
    }

    /// `MAX_OBJECT_BYTES`.
    pub(crate) fn file_size(self) -> u64 {
        if self.is_in_parts() { 256 << 20 } else { 64 << 10 }
    }

    pub(crate) fn is_in_parts(self) -> bool {
        matches!(self, Self::Parts | Self::PartRefused)
    }

    /// Whether a run delivers all events of all tenants except [`FAILING`].
    pub(crate) fn delivers(self) -> bool {
        matches!(self, Self::Inline | Self::Parts | Self::FannedOut | Self::Replay)
    }

    /// Whether no run commits the tenant's window.
    pub(crate) fn never_commits(self, tenant: &str) -> bool {
        tenant == FAILING || matches!(self, Self::PartRefused | Self::FileRefused)
    }

    /// What AWS denies in every run.
    pub(crate) fn denied(self) -> fn(&CallName) -> bool {
        match self {
            Self::PartRefused => |name| name.operation == "UploadPart",
            Self::FileRefused => |name| name.operation == "PutObject" && name.subject.ends_with("_0003.json"),
            _ => |_| false,
        }
    }

    /// Whether this scenario is the one that tests the faults of a call.
    pub(crate) fn tests(self, name: &CallName) -> bool {
        let operation = name.operation.as_str();
        match self {
            Self::Inline => true,
            Self::Parts => operation.ends_with("MultipartUpload") || operation == "UploadPart",
            Self::FannedOut => operation == "SendMessageBatch",
            Self::Idle => operation == "Query due, Limit",
            Self::Later => {
                let is_stored = name.service == Service::S3 && name.subject.starts_with(FILES);
                is_stored || operation == "TransactWriteItems Update"
            }
            Self::PartRefused => operation == "AbortMultipartUpload",
            Self::FileRefused => operation == "PutObject",
            Self::Replay => {
                let is_stored = name.service == Service::S3 || operation == "Sign";
                is_stored || operation.starts_with("TransactWriteItems ConditionCheck") || operation == "Query receipts"
            }
        }
    }
}
