//! Writes a window's lines into as many objects as they need.

use chrono::{DateTime, Utc};

use super::{AbortReason, reader::ReadEvent, report::Deferral};
use crate::{
    checkpoint::{self, Checkpoint, next_number},
    failure::{Code, Failure},
    late_arrivals::TrailingCounts,
    object::Encoder,
    ports::{Bucket, Buckets, Finish, Upload},
    records::{EventPosition, Location, Receipt, StoredObject},
    schedule::Window,
    settings::TenantConfig,
};

/// Encoded bytes that are sent at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// The files of a window as they lie in the bucket, which a replay replaces one by one.
///
/// Each file keeps the position of its last event, whatever arrived late. So every event is in the bucket at any time, also if the
/// replay ends between two files: one that moves to an earlier file is in both until the later one is replaced.
pub(super) struct StandingFiles {
    /// Those of the window itself, in order.
    files: Vec<StoredObject>,
    /// Whether a request that stored one of them may still be carried out, and overwrite other bytes.
    in_doubt: bool,
}

impl StandingFiles {
    pub(super) fn new(receipt: &Receipt, in_doubt: bool) -> Self {
        let files = receipt.objects.iter().filter(|object| object.late.is_none()).cloned().collect();
        Self { files, in_doubt }
    }

    /// Whether the event is one of the file's, which counts from 1.
    fn includes(&self, file: u32, event: &ReadEvent) -> bool {
        let last = self.get(file).and_then(|standing| standing.last_event.as_ref());
        last.is_none_or(|last| event.position() <= (last.recorded_at_id.as_str(), last.shard))
    }

    fn has(&self, file: u32, sha256: &str) -> bool {
        self.get(file).is_some_and(|standing| standing.sha256 == sha256)
    }

    fn get(&self, file: u32) -> Option<&StoredObject> {
        self.files.get(usize::try_from(file).ok()?.checked_sub(1)?)
    }

    /// Checks the file after those in `stored`, which is about to replace the standing one.
    ///
    /// Up to its end, there must be no fewer events than before. File by file, there may be: the export may have been resumed, and
    /// have put a late event of one shard behind later events of another.
    fn check(&self, stored: &[StoredObject], events: u64, sha256: &str) -> Result<(), AbortReason> {
        let file = next_number(stored, None);
        let standing = self.get(file).ok_or_else(events_expired)?;
        let count = |files: &[StoredObject]| -> u64 {
            files.iter().filter(|object| object.late.is_none()).map(|object| object.events).sum()
        };
        let before = self.files.get(..usize::try_from(file).unwrap_or(usize::MAX)).map_or(u64::MAX, count);
        if count(stored) + events < before {
            return Err(events_expired().into());
        }
        if self.in_doubt && standing.sha256 != sha256 {
            return Err(AbortReason::Deferred(Deferral::UploadInDoubt));
        }
        Ok(())
    }
}

/// A complete file is never replaced by an incomplete one.
fn events_expired() -> Failure {
    Failure::new(Code::RetentionExceeded, "Some events of a file that was delivered are no longer there.")
}

/// The stored objects of a window, and the one that is being written.
pub(super) struct Writer<'a, B: Buckets> {
    buckets: &'a B,
    config: &'a TenantConfig,
    window: Window,
    is_final: bool,
    limit: u64,
    /// What the files replace, if this is a replay.
    standing: Option<StandingFiles>,
    bucket: &'a mut Option<B::Bucket>,
    open: Option<OpenObject<<B::Bucket as Bucket>::Upload>>,
    sealed: Option<SealedObject<<B::Bucket as Bucket>::Upload>>,
    stored: Vec<StoredObject>,
    /// Whether a request to store an object that failed may still be carried out.
    pub(super) in_doubt: bool,
    /// The minute that is delivered again; none while the window itself is written.
    pub(super) late_minute: Option<Window>,
    /// Late arrivals of the window before.
    pub(super) late: u64,
    /// Whether events of a minute may have been deleted before it was delivered again.
    pub(super) late_gap: bool,
    pub(super) trailing_counts: TrailingCounts,
    pub(super) malformed: u64,
}

struct OpenObject<U> {
    key: String,
    encoder: Encoder,
    upload: U,
    events: u64,
}

/// An object with all its bytes, which are sent but not stored.
struct SealedObject<U> {
    object: StoredObject,
    upload: U,
}

/// What a line counts as: heartbeats and the like are not counted.
pub(super) const SYSTEM_EVENT: u64 = 0;
pub(super) const RECORDED_EVENT: u64 = 1;

impl<'a, B: Buckets> Writer<'a, B> {
    pub(super) fn new(
        buckets: &'a B,
        config: &'a TenantConfig,
        bucket: &'a mut Option<B::Bucket>,
        start: &Checkpoint,
        standing: Option<StandingFiles>,
    ) -> Self {
        Self {
            buckets,
            config,
            window: start.window,
            is_final: start.is_final,
            limit: start.max_object_bytes,
            standing,
            bucket,
            open: None,
            sealed: None,
            stored: start.objects.clone(),
            in_doubt: false,
            late_minute: None,
            late: start.late,
            late_gap: false,
            trailing_counts: start.trailing_counts.clone(),
            malformed: start.malformed,
        }
    }

    /// Whether nothing of the window itself was written; late minutes don't count.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.stored.iter().all(|object| object.late.is_some())
    }

    /// The objects that this run and those before it stored.
    pub(super) fn stored(&self) -> &[StoredObject] {
        &self.stored
    }

    /// Whether the line belongs into the open object. Into a new one, it always does, unless it replaces one without it.
    pub(super) fn has_room(&self, event: &ReadEvent, line: &str) -> bool {
        match self.standing.as_ref().filter(|_| self.late_minute.is_none()) {
            Some(standing) => standing.includes(next_number(&self.stored, None), event),
            None => self.open.as_ref().is_none_or(|open| open.encoder.has_room(line.len(), self.limit)),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Begins the next object. The first one assumes the role.
    pub(super) async fn open(&mut self) -> Result<(), Failure> {
        let bucket = match self.bucket.take() {
            Some(bucket) => bucket,
            None => self.buckets.open(self.config, self.window).await?,
        };
        let bucket = self.bucket.insert(bucket);
        let file = next_number(&self.stored, self.late_minute);
        let spec = checkpoint::spec(self.config, self.window, self.late_minute, self.is_final, file);
        let encoder = Encoder::new(self.config.format, self.config.compression);
        self.open = Some(OpenObject { key: spec.key.clone(), encoder, upload: bucket.upload(spec), events: 0 });
        Ok(())
    }

    /// Adds a line to the open object. Returns whether there is enough to [`Self::send`].
    pub(super) fn push(&mut self, line: &str, events: u64) -> Result<bool, Failure> {
        let Some(open) = &mut self.open else { return Ok(false) };
        open.events += events;
        open.encoder.push(line).map_err(not_encoded)?;
        Ok(open.encoder.ready() >= CHUNK_BYTES)
    }

    pub(super) async fn send(&mut self) -> Result<(), Failure> {
        let Some(open) = &mut self.open else { return Ok(()) };
        match open.encoder.take_ready(1) {
            Some(bytes) => open.upload.write(bytes).await,
            None => Ok(()),
        }
    }

    /// Ends the open object, whose last event is `last_event`. Returns whether [`Self::store`] leaves the bucket with other files
    /// of a window that is replayed than before.
    pub(super) async fn seal(&mut self, last_event: Option<EventPosition>) -> Result<bool, AbortReason> {
        let Some(OpenObject { key, encoder, mut upload, events }) = self.open.take() else {
            // All events of the standing file are gone.
            return self.standing.as_ref().map_or(Ok(false), |_| Err(events_expired().into()));
        };
        let sent = async {
            let finished = encoder.finish().map_err(not_encoded)?;
            upload.write(finished.bytes).await.map(|()| (finished.stored, finished.sha256))
        };
        let (bytes, sha256) = match sent.await {
            Ok(finished) => finished,
            Err(failure) => {
                upload.abort().await;
                return Err(failure.into());
            }
        };
        let checked = self.standing.as_ref().map(|standing| standing.check(&self.stored, events, &sha256));
        if let Some(Err(reason)) = checked {
            upload.abort().await;
            return Err(reason);
        }
        let file = next_number(&self.stored, None);
        let is_other = self.standing.as_ref().is_none_or(|standing| !standing.has(file, &sha256));
        let object = StoredObject { key, bytes, events, sha256, late: self.late_minute, last_event };
        self.sealed = Some(SealedObject { object, upload });
        Ok(is_other)
    }

    /// Stores the sealed object.
    pub(super) async fn store(&mut self) -> Result<(), Failure> {
        let Some(SealedObject { object, upload }) = self.sealed.take() else { return Ok(()) };
        let Finish { result, in_doubt } = upload.finish(&object.sha256).await;
        self.in_doubt |= in_doubt;
        result?;
        self.stored.push(object);
        Ok(())
    }

    /// Checks that no file of the window that was delivered before is left.
    pub(super) fn check_last(&self) -> Result<(), Failure> {
        let has_all = |standing: &StandingFiles| standing.get(next_number(&self.stored, None)).is_none();
        if self.standing.as_ref().is_none_or(has_all) { Ok(()) } else { Err(events_expired()) }
    }

    pub(super) async fn abort(self) {
        let uploads = self.open.map(|open| open.upload).into_iter().chain(self.sealed.map(|sealed| sealed.upload));
        for upload in uploads {
            upload.abort().await;
        }
    }

    pub(super) fn into_receipt(self, gap: bool, started: DateTime<Utc>, ended: DateTime<Utc>) -> Receipt {
        Receipt {
            objects: self.stored,
            late: self.late,
            malformed: self.malformed,
            gap,
            exported_at: ended,
            duration: ended - started,
            format: self.config.format,
            compression: self.config.compression,
            schema: self.config.schema,
            ..Receipt::empty(self.window, Location::of(self.config), self.trailing_counts)
        }
    }
}

fn not_encoded(error: std::io::Error) -> Failure {
    Failure::new(Code::Unexpected, format!("An object could not be encoded: {error}."))
}
