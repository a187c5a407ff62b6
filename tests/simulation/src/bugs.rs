//! Bugs on purpose, one at a time, for the simulation to catch. All of them are at the ports or in the invocation; the core is
//! as it is deployed.

mod events;
mod records;
mod score;

use std::cell::Cell;

pub use events::{change_page, misplace};
pub use records::{Write, change_watermark, commit, record_failure, remove_published, save_checkpoint};
pub use score::{Score, score};

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in all that runs on this thread, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether it is this bug that is planted.
pub fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Declares each bug once, with what it does.
macro_rules! bugs {
    ($($name:ident = $what:literal;)*) => {
        /// A bug.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each says what it does")]
        pub enum Bug { $($name,)* }

        impl Bug {
            /// Every bug there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What it does.
            pub fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }
        }
    };
}

bugs! {
    // The lease.
    AcquireUnconditionally = "a lease is acquired whether or not another run holds it";
    MarginZero = "a lease ends at its run's deadline";
    TokenIsShared = "the runs of one tick share the token of their leases";
    DoubtIsHidden = "a put in doubt is reported as settled, so the lease is released";
    ReleasedBeforePublishing = "a commit and a recorded failure always release the lease";
    CommitUnfenced = "a commit holds whatever the lease and the watermark are";
    CommitOfAnyVersion = "a commit holds whatever the config's version is";
    CommitWhileDisconnected = "a commit holds for a disconnected tenant";
    CheckpointUnfenced = "a checkpoint is saved whatever the lease and the watermark are";
    CheckpointOfAnyVersion = "a checkpoint is used under other settings than it was saved by";
    FailureUnfenced = "a failure is recorded whatever the lease and the watermark are";
    // Puts and their order.
    WatermarkBeforePut = "an object is stored only after the watermark has moved";
    CheckpointBeforePut = "an object is stored only after the checkpoint was saved";
    DeniedIsStored = "a 403 from the bucket is taken for success";
    FailedPutIsStored = "a put that fails is taken for success";
    AnothersFolder = "an object lies in another tenant's folder";
    AnothersBucket = "an object lies in another tenant's bucket";
    // Reading.
    ZeroSettle = "windows are read right at their end";
    StalePageToken = "a page begins with the last event of the one before";
    PageTokenOffByOne = "a page leaves its first event out";
    WindowLacksItsBegin = "what was recorded right at a window's begin is left out";
    AnothersEvents = "a page holds an event of another tenant";
    EmptyPageEnds = "an empty page is taken for the end of a window";
    UnreadableIsEmpty = "a page that can't be read is taken for an empty one";
    MalformedIsDropped = "malformed events are dropped";
    OnlyTheFirstShard = "the other shards are not read";
    StaleConfig = "a run keeps the config as it read it first";
    // The schedule.
    FailureMovesTheWatermark = "a failed window is skipped";
    DueOnlyAfter = "a tenant is due only after `next_due`, not at it";
    SaveKeepsTheBackoff = "a save does not reset the backoff";
    BackoffFromTheStart = "a failing tenant is not tried again for six hours";
    UnreadIndexIsEmpty = "a part of the index that can't be read is taken for an empty one";
    // What is stored with a commit.
    TrailingCountsAreLost = "a commit stores no trailing counts";
    LateIsOverlooked = "trailing counts are those of the moment, so nothing is ever late";
    GapIsHidden = "a receipt never says that events may be missing";
    CheckpointForgetsFiles = "a checkpoint lacks the last file";
    // Notifications.
    FailureIsNotAnnounced = "a failure is recorded without its announcement";
    RecoveryIsNotAnnounced = "a commit lacks the announcement of a recovery";
    OutboxIsCleared = "what is removed from an outbox is all that it holds";
    OutboxIsNeverRemoved = "published notifications stay in the outbox";
    RefusedIsPublished = "a notification that the bus refuses is taken for published";
    PublishedUnderNewId = "a notification is published under another id than its event's";
}
