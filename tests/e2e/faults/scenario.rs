//! What a run is about: which tenants there are, which hour it is, and what AWS refuses.

use audit_log_tests::fault_proxy::{Name, Service};

use crate::world::{FAILING, RECOVERING, SHARDED};

/// The tenants of a tick at 11:00 with files of 64 KiB; in the order of the tick.
const SMALL: [&str; 4] = [RECOVERING, FAILING, FILES, SHARDED];

/// The tenant whose window makes several files.
pub(crate) const FILES: &str = "files";

/// Every kind of call that a tick makes.
pub(crate) const CALLS: [&str; 22] = [
    "AbortMultipartUpload",
    "AbortMultipartUpload of none",
    "AssumeRole",
    "BatchGetItem",
    "CompleteMultipartUpload",
    "CreateMultipartUpload",
    "GetItem",
    "PutEvents",
    "PutObject",
    "Query",
    "Query due",
    "Query due, Limit",
    "SendMessageBatch",
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

/// What is done, and by which kind of invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A tick exports every tenant itself, in files of 64 KiB.
    Inline,
    /// A tick exports one tenant whose file has several parts.
    Parts,
    /// A tick hands every tenant over, and the messages are handed to the function. A run exports one window of a tenant,
    /// and hands a tenant that has another one over again.
    FannedOut,
    /// A tick finds no tenant due.
    Idle,
    /// The tick after the inline one: one tenant fails again, and the other has an event that came late.
    Later,
    /// Of the file with several parts, S3 refuses each part.
    PartRefused,
    /// Of the window with several files, S3 refuses the last one: so nothing that is stored before it is committed.
    FileRefused,
}

impl Scenario {
    pub(crate) const ALL: [Self; 7] =
        [Self::Inline, Self::Parts, Self::FannedOut, Self::Idle, Self::Later, Self::PartRefused, Self::FileRefused];

    /// The tenants that there are.
    pub(crate) fn tenants(self) -> &'static [&'static str] {
        match self {
            Self::Inline | Self::FannedOut => &SMALL,
            Self::Later => &[FAILING, FILES],
            Self::Idle | Self::FileRefused => &[FILES],
            Self::Parts | Self::PartRefused => &["parts"],
        }
    }

    /// The hour of the first run, and of those that make up for it.
    pub(crate) fn hour(self) -> &'static str {
        match self {
            Self::Idle => "09:00",
            Self::Later => "12:00",
            _ => "11:00",
        }
    }

    /// The hour of the tick after these.
    pub(crate) fn next_hour(self) -> &'static str {
        match self {
            Self::Idle => "10:00",
            Self::Later => "13:00",
            _ => "12:00",
        }
    }

    /// Where files end, in bytes.
    pub(crate) fn file_size(self) -> u64 {
        if self.is_in_parts() { 256 << 20 } else { 64 << 10 }
    }

    pub(crate) fn is_in_parts(self) -> bool {
        matches!(self, Self::Parts | Self::PartRefused)
    }

    /// Whether a run delivers every tenant but the one that always fails all there is.
    pub(crate) fn delivers(self) -> bool {
        matches!(self, Self::Inline | Self::Parts | Self::FannedOut)
    }

    /// Whether no run commits the window of a tenant.
    pub(crate) fn never_commits(self, tenant: &str) -> bool {
        tenant == FAILING || matches!(self, Self::PartRefused | Self::FileRefused)
    }

    /// What AWS refuses in every run.
    pub(crate) fn refused(self) -> fn(&Name) -> bool {
        match self {
            Self::PartRefused => |name| name.operation == "UploadPart",
            Self::FileRefused => |name| name.operation == "PutObject" && name.subject.ends_with("_0003.json"),
            _ => |_| false,
        }
    }

    /// Whether all is done to such a call here: no scenario before this one makes it, or not under these circumstances.
    pub(crate) fn tests(self, name: &Name) -> bool {
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
        }
    }
}
