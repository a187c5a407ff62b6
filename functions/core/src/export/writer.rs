//! A window's lines, spread over as many objects as they need.

use chrono::{DateTime, Utc};

use super::{Options, window::Why};
use crate::{
    failure::{Code, Failure},
    late::Tail,
    object::{Encoder, ObjectSpec},
    ports::{Bucket, Buckets, Upload},
    progress::{Progress, next_number},
    records::{Receipt, StoredObject},
    schedule::Window,
    settings::TenantConfig,
};

/// How many encoded bytes are handed on at a time.
const CHUNK: usize = 256 * 1024;

/// What is stored of a window, and the object that is on its way.
pub(super) struct Writer<'a, B: Buckets> {
    buckets: &'a B,
    config: &'a TenantConfig,
    window: Window,
    limit: u64,
    bucket: &'a mut Option<B::Bucket>,
    open: Option<OpenObject<<B::Bucket as Bucket>::Upload>>,
    stored: Vec<StoredObject>,
    /// How many of those an earlier run has stored.
    resumed: usize,
    /// The minute that is delivered again at the moment.
    pub(super) minute: Option<Window>,
    /// How many events came too late for the window before.
    pub(super) late: u64,
    /// Whether a minute that was delivered again may have lacked some events by then.
    pub(super) late_gap: bool,
    /// How many events of the window's last minutes were pushed.
    pub(super) tail: Tail,
    pub(super) malformed: u64,
}

struct OpenObject<U> {
    key: String,
    encoder: Encoder,
    upload: U,
    events: u64,
}

/// A line's events: the system's own are not counted.
pub(super) const OWN: u64 = 0;
pub(super) const RECORDED: u64 = 1;

impl<'a, B: Buckets> Writer<'a, B> {
    /// At a window's beginning, or where another run has left it.
    pub(super) fn new(
        buckets: &'a B,
        options: &Options,
        config: &'a TenantConfig,
        window: Window,
        bucket: &'a mut Option<B::Bucket>,
        progress: &Progress,
    ) -> Self {
        let stored = progress.objects.clone();
        let (limit, resumed) = (options.max_object_bytes, stored.len());
        let malformed = if planted!(MalformedIsNotCounted) { 0 } else { progress.malformed };
        let (late, tail) = (progress.late, progress.tail.clone());
        Self {
            buckets,
            config,
            window,
            limit,
            bucket,
            open: None,
            stored,
            resumed,
            minute: None,
            late,
            late_gap: false,
            tail,
            malformed,
        }
    }

    /// Whether there is nothing of the window itself.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_none() && self.stored.iter().all(|object| object.late.is_some())
    }

    /// What is stored, by this run and those before it.
    pub(super) fn stored(&self) -> &[StoredObject] {
        &self.stored
    }

    /// Whether the line fits into the object that is open; into one that is not, it always does.
    pub(super) fn has_room(&self, line: &str) -> bool {
        self.open.as_ref().is_none_or(|open| open.encoder.has_room(line.len(), self.limit))
    }

    /// Whether there is an object to push lines into.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Begins the next object.
    pub(super) async fn open(&mut self) -> Result<(), Failure> {
        let bucket = match self.bucket.take() {
            Some(bucket) => bucket,
            None => self.buckets.open(self.config, self.window).await?,
        };
        let bucket = self.bucket.insert(bucket);
        let counted_from = if planted!(ResumeCountsFromOne) { self.resumed } else { 0 };
        let file = next_number(&self.stored[counted_from..], self.minute);
        let spec = match self.minute {
            Some(minute) => ObjectSpec::late(self.config, minute, file),
            None => ObjectSpec::new(self.config, self.window, file),
        };
        let encoder = Encoder::new(self.config.format, self.config.compression);
        self.open = Some(OpenObject { key: spec.key.clone(), encoder, upload: bucket.upload(spec), events: 0 });
        Ok(())
    }

    /// Adds a line to the object that is open; whether there is enough now to [`Self::send`].
    pub(super) fn push(&mut self, line: &str, events: u64) -> Result<bool, Failure> {
        let Some(open) = &mut self.open else { return Ok(false) };
        open.events += events;
        open.encoder.push(line).map_err(not_encoded)?;
        Ok(open.encoder.ready() >= CHUNK)
    }

    /// Hands on what is encoded.
    pub(super) async fn send(&mut self) -> Result<(), Failure> {
        let Some(open) = &mut self.open else { return Ok(()) };
        match open.encoder.take_ready(1) {
            Some(bytes) => open.upload.write(bytes).await,
            None => Ok(()),
        }
    }

    /// Stores the object that is open, if `still_holds` then: handing on its last bytes can take a while.
    pub(super) async fn finish(&mut self, still_holds: impl Future<Output = Result<(), Why>>) -> Result<(), Why> {
        let Some(OpenObject { key, encoder, mut upload, events }) = self.open.take() else { return Ok(()) };
        let handed_on = async {
            let finished = encoder.finish().map_err(not_encoded)?;
            upload.write(finished.bytes).await?;
            still_holds.await.map(|()| (finished.stored, finished.sha256))
        };
        let (bytes, sha256) = match handed_on.await {
            Ok(finished) => finished,
            Err(why) => {
                upload.abort().await;
                return Err(why);
            }
        };
        // Before the answer: a write whose answer is lost may have replaced the object all the same.
        self.stored.push(StoredObject { key, bytes, events, sha256: sha256.clone(), late: self.minute });
        Ok(upload.finish(&sha256).await?)
    }

    /// Gives up the object that is open; comes back with those that this run has stored.
    pub(super) async fn abort(mut self) -> Vec<StoredObject> {
        if let Some(open) = self.open {
            open.upload.abort().await;
        }
        self.stored.split_off(self.resumed)
    }

    pub(super) fn into_receipt(mut self, gap: bool, started: DateTime<Utc>, ended: DateTime<Utc>) -> Receipt {
        Receipt {
            window: self.window,
            bucket: self.config.bucket.to_string(),
            objects: self.stored.split_off(if planted!(ResumeForgetsFiles) { self.resumed } else { 0 }),
            tail: self.tail,
            late: self.late,
            malformed: self.malformed,
            gap,
            exported_at: ended,
            duration: ended - started,
            amended: 0,
        }
    }
}

fn not_encoded(error: std::io::Error) -> Failure {
    Failure::new(Code::Rejected, format!("An object could not be encoded: {error}."))
}
