//! A window's lines, spread over as many objects as they need.

use chrono::{DateTime, Utc};

use super::AbortReason;
use crate::{
    checkpoint::{Checkpoint, next_number},
    failure::{Code, Failure},
    late_arrivals::TrailingCounts,
    object::{Encoder, ObjectSpec},
    ports::{Bucket, Buckets, Finish, Upload},
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
    /// Whether a request to store an object that was given up may still be carried out.
    pub(super) in_doubt: bool,
    /// The minute that is delivered again at the moment.
    pub(super) minute: Option<Window>,
    /// How many events came too late for the window before.
    pub(super) late: u64,
    /// Whether a minute that was delivered again may have lacked some events by then.
    pub(super) late_gap: bool,
    /// What the pushed events of the window's last minutes come to.
    pub(super) trailing_counts: TrailingCounts,
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
        config: &'a TenantConfig,
        bucket: &'a mut Option<B::Bucket>,
        from: &Checkpoint,
    ) -> Self {
        Self {
            buckets,
            config,
            window: from.window,
            limit: from.max_object_bytes,
            bucket,
            open: None,
            stored: from.objects.clone(),
            in_doubt: false,
            minute: None,
            late: from.late,
            late_gap: false,
            trailing_counts: from.trailing_counts.clone(),
            malformed: from.malformed,
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
        let file = next_number(&self.stored, self.minute);
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

    /// Stores the object that is open.
    pub(super) async fn finish(&mut self) -> Result<(), AbortReason> {
        let Some(OpenObject { key, encoder, mut upload, events }) = self.open.take() else { return Ok(()) };
        let handed_on = async {
            let finished = encoder.finish().map_err(not_encoded)?;
            upload.write(finished.bytes).await.map(|()| (finished.stored, finished.sha256))
        };
        let (bytes, sha256) = match handed_on.await {
            Ok(finished) => finished,
            Err(failure) => {
                upload.abort().await;
                return Err(failure.into());
            }
        };
        let Finish { result, in_doubt } = upload.finish(&sha256).await;
        self.in_doubt |= in_doubt;
        result?;
        self.stored.push(StoredObject { key, bytes, events, sha256, late: self.minute });
        Ok(())
    }

    /// Gives up the object that is open.
    pub(super) async fn abort(self) {
        if let Some(open) = self.open {
            open.upload.abort().await;
        }
    }

    pub(super) fn into_receipt(self, gap: bool, started: DateTime<Utc>, ended: DateTime<Utc>) -> Receipt {
        Receipt {
            window: self.window,
            bucket: self.config.bucket.to_string(),
            objects: self.stored,
            trailing_counts: self.trailing_counts,
            late: self.late,
            malformed: self.malformed,
            gap,
            exported_at: ended,
            duration: ended - started,
        }
    }
}

fn not_encoded(error: std::io::Error) -> Failure {
    Failure::new(Code::Rejected, format!("An object could not be encoded: {error}."))
}
