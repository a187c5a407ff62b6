//! Bugs on purpose, one at a time, for the simulation to catch. All of this is there only with the feature `planted-bugs`;
//! without it, `planted!` is a constant `false`, and what it guards is compiled away.

use std::cell::Cell;

thread_local! {
    static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug in all that runs on this thread, or none.
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether it is this bug that is planted.
pub fn is(bug: Bug) -> bool {
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
    // In the core.
    ZeroSettle = "windows are read right at their end";
    DueOnlyAfter = "a tenant is due only after `next_due`, not at it";
    FrequencyFromTheWindowsBegin = "the next window is counted from the last one's begin";
    SaveMovesTheWatermark = "a save lets exports begin at the save";
    SaveMergesTheBacklog = "a save makes one window of all that is due";
    WindowHoldsItsEnd = "a window also holds what was recorded right at its end";
    TwinsAreOne = "of equal keys in two shards, one is lost";
    OnlyTheFirstShard = "the other shards are not read";
    EmptyPageEnds = "an empty page is taken for the end of a window";
    HeartbeatOnError = "a page that can't be read is taken for an empty one";
    MalformedIsDropped = "what is malformed is dropped";
    MalformedIsNotCounted = "what an earlier run found malformed is not counted";
    GapIsHidden = "a window from before the retention is not marked";
    GapIsAllThereIs = "of a window that is marked as incomplete, nothing is exported";
    GapIsHiddenOnResume = "a window that was begun before the retention ran out is not marked";
    RestoreHidesTheGap = "a window that is stored again is never marked";
    EmptyWindowHasNoFile = "an empty window has no heartbeat";
    ProgressOfAnyVersion = "progress is used whatever settings it was kept by";
    ProgressOfAnySize = "progress is used wherever files are split";
    ResumeSkipsOne = "the event that did not fit is taken for written";
    ResumeCountsFromOne = "a resumed window's files are numbered from 1 again";
    ResumeForgetsFiles = "a resumed window's receipt lacks the files before";
    LoserLooksAway = "who lost a race leaves what it has stored";
    PartsAreForgotten = "who gave a window up leaves what it has stored";
    WholeLosesToProgress = "who stored a whole window and lost to another run's progress leaves it";
    RepairIsGivenUp = "a window that four runs have failed to store again is left so";
    NobodyLeavesAMark = "who can't look after a window leaves no mark";
    RepairIsUnmarked = "a window is stored again without a mark";
    DoubtsAreIgnored = "marks of windows that are stored again are ignored";
    OverlaidIsOverlooked = "a part that lies over a committed window is overlooked";
    OldBucketAfterSave = "the bucket of the old settings is used on";
    RecoveryIsUntold = "nobody is told that exports go well again";
    FailureIsUntold = "nobody is told that exports fail";
    GivesUpAfterAWeek = "who has failed for a week is never tried again";
    ImpatientFromTheStart = "who fails is put off from the first hour";
    LastingFailureIsUntold = "nobody is told that a failure lasts";
    BusIsForgotten = "others are told of failures and never of their end";
    UnfinishedAreDropped = "who has no time left is not handed over again";
    BatchNeverComesAgain = "a platform's failure does not send the batch back";
    LastIsNotHandedOver = "the last due tenant is not handed over";
    UnreadIndexIsWell = "a part of the index that can't be read is passed over";
    ConfigIsNeverReadAgain = "records are taken to be as they were read, however long ago";
    LateIsOverlooked = "a minute that has more events than before is overlooked";
    TailIsForgotten = "how many events a window's last minutes have is not kept";
    LateForNoReason = "minutes are delivered again that have no more events than before";
    LateIsNotNumbered = "only the first file of what came too late is stored";
    // At the ports.
    WatermarkBeforePut = "an object is stored only after the watermark has moved";
    ProgressBeforePut = "an object is stored only after progress was kept";
    DeniedIsWell = "a 403 from the bucket is taken for success";
    FailedPutIsWell = "a put that fails is taken for success";
    StalePageToken = "a page begins with the last event of the one before";
    PageTokenOffByOne = "a page leaves its first event out";
    WindowLacksItsBegin = "what was recorded right at a window's begin is left out";
    CommitUnconditionally = "a commit holds whatever the watermark is";
    CommitWhateverWasSaved = "a commit holds whatever settings were saved meanwhile";
    CommitUndisturbed = "a commit holds though it was disturbed";
    ProgressUnconditionally = "progress is kept whatever the watermark is";
    DisturbDoesNothing = "a disturbance leaves no mark";
    DisturbKeepsProgress = "a disturbance leaves the progress";
    AmendDoesNothing = "a receipt is never amended";
    AnothersFolder = "an object lies in another tenant's folder";
    AnothersBucket = "an object lies in another tenant's bucket";
    AnothersEvents = "a page holds an event of another tenant";
    SaveLeavesTheWait = "a save does not let the next tick try";
    FailureMovesTheWatermark = "a failed window is passed over";
}
