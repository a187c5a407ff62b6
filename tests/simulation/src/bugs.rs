//! Plants one bug at a time, which the simulation must catch. All bugs are in ports, admins and invocations; the core is
//! unchanged.

mod events;
mod manifests;
mod records;
mod replays;

use std::cell::Cell;

use audit_log_core::{
    fakes::{FakeTenant, Fakes},
    tenant::TenantId,
};

pub use events::{change_page, misplace};
pub use manifests::{chain_final, change_chain, change_commit, forget_head};
pub use records::{
    Write, change_final_deliveries, change_watermark, commit, record_failure, remove_published, save_checkpoint,
    write_final_deliveries,
};
pub use replays::{change_receipt, change_records, change_replayed_receipt, write_replay};

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug, or none, on this thread.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

pub fn is_planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

fn with_tenant<R>(fakes: &Fakes, tenant: &TenantId, change: impl FnOnce(&mut FakeTenant) -> R) -> Option<R> {
    fakes.state().tenants.get_mut(tenant.as_str()).map(change)
}

/// Declares each bug once, with what it does.
macro_rules! bugs {
    ($($name:ident = $what:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug { $($name,)* }

        impl Bug {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// What the bug does, as in the README.
            pub fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }
        }
    };
}

bugs! {
    // The lease.
    AcquireUnconditionally = "a lease is acquired even if another run holds it";
    MarginZero = "a lease ends at its run's deadline";
    TokenIsShared = "the runs of one tick share the token of their leases";
    DoubtIsHidden = "a put in doubt is reported as certain, so the lease is released";
    ReleasedBeforePublishing = "a commit and a recorded failure always release the lease";
    CommitUnfenced = "a commit ignores the lease and the watermark";
    CommitOfAnyVersion = "a commit ignores the config's version";
    CommitWhileDisconnected = "a commit succeeds for a disconnected tenant";
    CheckpointUnfenced = "a checkpoint is saved without regard to the lease and the watermark";
    CheckpointOfAnyVersion = "a checkpoint is used with other settings than it was saved with";
    FailureUnfenced = "a failure is recorded without regard to the lease and the watermark";
    // Puts and their order.
    WatermarkBeforePut = "an object is stored only after the watermark has moved";
    CheckpointBeforePut = "an object is stored only after the checkpoint was saved";
    DeniedIsStored = "a 403 from the bucket counts as success";
    FailedPutIsStored = "a failed put counts as success";
    AnothersFolder = "an object lies in another tenant's folder";
    AnothersBucket = "an object lies in another tenant's bucket";
    // Reading.
    ZeroSettle = "windows are read without settle time";
    StalePageToken = "a page begins with the last event of the one before";
    PageTokenOffByOne = "a page leaves its first event out";
    WindowLacksItsBegin = "a window leaves out events at its first millisecond";
    AnothersEvents = "a page holds an event of another tenant";
    EmptyPageEnds = "an empty page counts as the end of a window";
    UnreadableIsEmpty = "a page that can't be read counts as empty";
    MalformedIsDropped = "malformed events are dropped";
    OnlyTheFirstShard = "only the first event shard is read";
    StaleConfig = "a run never reloads a config";
    // The schedule.
    FailureMovesTheWatermark = "a failed window is skipped";
    DueOnlyAfter = "a tenant is due only after `next_due`, not at it";
    SaveKeepsTheBackoff = "a save does not reset the backoff";
    BackoffFromTheStart = "a failing tenant waits six hours from its first failure";
    UnreadIndexIsEmpty = "a due shard that can't be read counts as empty";
    // What is stored with a commit.
    TrailingCountsAreLost = "a commit stores no trailing counts";
    LateIsOverlooked = "trailing counts are counted again, so nothing is ever late";
    GapIsHidden = "a receipt never says that events may be missing";
    CheckpointForgetsFiles = "a checkpoint lacks the last file";
    // Manifests.
    ManifestAfterCommit = "a manifest is stored only after the commit";
    ManifestBeforeLastObject = "a manifest is stored before the last object that it lists";
    ManifestDoubtIsHidden = "a manifest's put in doubt is reported as certain";
    HeadIsNotStored = "a commit does not store the chain's head";
    StaleHead = "the chain's head is the one that was read first";
    SaveRestartsTheChain = "a save begins a new chain";
    FinalIsInTheChain = "a window's manifest follows that of a final delivery";
    ChainEndsWithoutKey = "without a key, a chain gets no manifests";
    KeyIdIsCached = "signatures name the key that signed first, also after another has replaced it";
    UnsignedAtOnce = "a window whose manifest can't be signed is committed at once";
    NeverUnsigned = "each failure to sign begins the six hours anew";
    UnsignedIsNotAnnounced = "a window without a signature is not announced";
    OtherFailureKeepsTheWait = "a failure of another kind doesn't begin the six hours anew";
    // A change of destination.
    LeftWithoutDelivery = "a change of destination leaves nothing to deliver to the place that is left";
    PendingIsOverwritten = "a change of destination replaces the final deliveries that wait";
    FinalDeliveryUnfenced = "a final delivery is noted without regard to the lease";
    FinalDeliveryOfAnyRevision = "a final delivery is noted without regard to the record's revision";
    FinalDoubtIsForgotten = "a failed final delivery is tried again while its put may still be stored";
    // Replays.
    ReplayUnleased = "a replay goes on though another run has the lease";
    ReplayOfAnyRevision = "a replay is noted without regard to the record's revision";
    ReplayMovesTheWatermark = "a replayed window moves the watermark";
    ReplayReceiptIsLost = "a replayed window gets no receipt";
    ReplayIgnoresStop = "a replay doesn't see that it is to stop";
    ReplayBeforeFinals = "a replay doesn't wait for final deliveries";
    ReplayEndIsNotAnnounced = "a replay ends without an announcement";
    IncompleteOverComplete = "a replayed window lacks an event, and its receipt doesn't say how many it had";
    RangesAreForgotten = "the receipt that a replay reads doesn't say where files end";
    OtherFormatOverFiles = "the receipt that a replay reads has another format";
    AmendedIsForgotten = "a replay doesn't know that the window's manifest was amended before";
    // Notifications.
    FailureIsNotAnnounced = "a failure is recorded without its announcement";
    RecoveryIsNotAnnounced = "a commit lacks the announcement of a recovery";
    OutboxIsCleared = "all entries are removed from an outbox, published or not";
    OutboxIsNeverRemoved = "published notifications stay in the outbox";
    RefusedIsPublished = "a notification that the bus refuses counts as published";
    PublishedUnderNewId = "a notification has another id than its audit event";
}
