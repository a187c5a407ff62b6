//! What a run is about: who is there, which hour it is, and what AWS refuses.

use audit_log_tests::fault_proxy::{Name, Service};

use crate::world::{FAILING, RECOVERING, SHARDED};

/// The tenants of a tick at 11:00 with files of 64 KiB; in the order of the tick.
const SMALL: [&str; 4] = [RECOVERING, FAILING, FILES, SHARDED];

/// Whose window makes several files.
pub(crate) const FILES: &str = "files";

/// Every kind of call that a tick makes.
pub(crate) const CALLS: [&str; 26] = [
    "AbortMultipartUpload",
    "AbortMultipartUpload of none",
    "AssumeRole",
    "BatchGetItem",
    "CompleteMultipartUpload",
    "CreateMultipartUpload",
    "GetItem",
    "PutEvents",
    "PutItem",
    "PutObject",
    "Query",
    "Query due",
    "Query due, Limit",
    "SendMessageBatch",
    "TransactWriteItems Update",
    "TransactWriteItems Update+ConditionCheck",
    "TransactWriteItems Update+ConditionCheck+Put",
    "TransactWriteItems Update+ConditionCheck+Put+Put+Put",
    "TransactWriteItems Update+Put+Put",
    "UpdateItem ADD disturbed",
    "UpdateItem ADD disturbed REMOVE progress",
    "UpdateItem ADD doubts",
    "UpdateItem DELETE doubts",
    "UpdateItem REMOVE told",
    "UpdateItem SET told",
    "UploadPart",
];

/// What is done, and by whom it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A tick exports everybody itself, in files of 64 KiB.
    Inline,
    /// A tick exports one tenant whose file has several parts.
    Parts,
    /// A tick hands everybody over, and the messages are handed to the function. A run exports one window of a tenant, and
    /// hands whoever has another one over again.
    FannedOut,
    /// A tick finds nobody due.
    Idle,
    /// The tick after the inline one: one tenant fails again; the other has a window that a dead run has left in doubt, and
    /// an event that came late.
    Later,
    /// Of the file with several parts, S3 refuses each part.
    PartRefused,
    /// Of the window with several files, S3 refuses the last one.
    FileRefused,
}

impl Scenario {
    pub(crate) const ALL: [Self; 7] =
        [Self::Inline, Self::Parts, Self::FannedOut, Self::Idle, Self::Later, Self::PartRefused, Self::FileRefused];

    /// Who is there.
    pub(crate) fn tenants(self) -> &'static [&'static str] {
        match self {
            Self::Inline | Self::FannedOut | Self::Idle => &SMALL,
            Self::Later => &[FAILING, FILES],
            Self::FileRefused => &[FILES],
            Self::Parts | Self::PartRefused => &["parts"],
        }
    }

    /// The hour of the first run, of the one that makes up for it, and of the one that tells what is left to tell. What a
    /// tick has not done is done by another one of the same hour; what was done and is in doubt, by the next hour's.
    pub(crate) fn hour(self, nth: usize) -> &'static str {
        let hours = match self {
            Self::Idle => ["09:00", "09:00", "09:00"],
            Self::Later => ["12:00", "13:00", "14:00"],
            _ => ["11:00", "11:00", "12:00"],
        };
        hours[nth]
    }

    /// Where files end, in bytes.
    pub(crate) fn file_size(self) -> u64 {
        if self.is_in_parts() { 256 << 20 } else { 64 << 10 }
    }

    pub(crate) fn is_in_parts(self) -> bool {
        matches!(self, Self::Parts | Self::PartRefused)
    }

    /// Whether everybody but the one who always fails is delivered all there is.
    pub(crate) fn delivers(self) -> bool {
        !matches!(self, Self::Idle | Self::PartRefused | Self::FileRefused)
    }

    /// What AWS refuses in every run.
    pub(crate) fn refused(self) -> fn(&Name) -> bool {
        match self {
            Self::PartRefused => |name| name.operation == "UploadPart",
            Self::FileRefused => |name| name.operation == "PutObject" && name.subject.ends_with("_0003.json"),
            _ => |_| false,
        }
    }

    /// Whether all is done to such a call here: no scenario before this one makes it, or for another reason.
    pub(crate) fn tests(self, name: &Name) -> bool {
        let operation = name.operation.as_str();
        match self {
            Self::Inline => true,
            Self::Parts => operation.ends_with("MultipartUpload") || operation == "UploadPart",
            Self::FannedOut => operation == "SendMessageBatch",
            Self::Idle => operation == "Query due, Limit",
            Self::Later => {
                let is_stored = name.service == Service::S3 && name.subject.starts_with(FILES);
                is_stored
                    || ["PutItem", "TransactWriteItems Update"].contains(&operation)
                    || operation.ends_with(" doubts")
            }
            Self::PartRefused => operation == "AbortMultipartUpload",
            Self::FileRefused => operation == "UpdateItem ADD disturbed",
        }
    }
}
