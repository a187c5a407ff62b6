//! One window of one tenant: read, encode, store.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Export, Options, Run, reader::Reader, tenant::TenantExport};
use crate::{
    event,
    failure::{Code, Failure},
    object::{Encoder, ObjectSpec},
    ports::{Bucket, Buckets, Events, Tenants, Upload},
    records::{Receipt, StoredObject, StoredWatermark},
    schedule::Window,
    settings::TenantConfig,
};

/// How many encoded bytes are handed on at a time.
const CHUNK: usize = 256 * 1024;

/// For how long a tenant's records are taken to be as they were read. A run can take many minutes; storing a window
/// that another run committed meanwhile would put an older reading over a newer one.
const FRESH: TimeDelta = TimeDelta::seconds(10);

/// Why a window was given up.
pub(super) enum Why {
    /// The run's time is over.
    OutOfTime,
    /// The records are no longer as they were read.
    Overtaken,
    Failed(Failure),
}

impl From<Failure> for Why {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is known of a window before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The watermark stands at its beginning, and has to stand there still.
    Due,
    /// It is committed, so the watermark is beyond it and may move on.
    Committed,
}

/// A window that was given up. Its first objects may be stored, the last of them only if its answer was lost; of an
/// object that was still on its way, nothing is left.
pub(super) struct GivenUp {
    pub(super) why: Why,
    pub(super) stored: Vec<StoredObject>,
}

impl<T: Tenants, E: Events, B: Buckets> Export<T, E, B> {
    /// Stores all objects of a window and tells what was stored. Moves nothing.
    pub(super) async fn store_window(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        state: State,
    ) -> Result<Receipt, GivenUp> {
        let started = (run.now)();
        let gap = self.options.retention.is_some_and(|retention| window.from < started - retention);
        let TenantExport { config, bucket, watermark, read_at, .. } = tenant;
        let watermark = (state == State::Due).then_some(&*watermark);
        let as_read = AsRead { run, tenants: &self.tenants, config, watermark, read_at };
        let mut writer = Writer::new(&self.buckets, &self.options, config, window, bucket);
        match self.copy_events(as_read, window, gap, &mut writer).await {
            Ok(()) => Ok(writer.into_receipt(gap, started, (run.now)())),
            Err(why) => Err(GivenUp { why, stored: writer.abort().await }),
        }
    }

    async fn copy_events(
        &self,
        mut as_read: AsRead<'_, T>,
        window: Window,
        gap: bool,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), Why> {
        let (run, config) = (as_read.run, as_read.config);
        if gap {
            writer.push_systems_own(&event::retention_notice(&config.tenant, window)).await?;
        }
        let mut reader = Reader::new(&self.events, config, window);
        while let Some(event) = reader.next().await? {
            if (run.should_stop)() {
                return Err(Why::OutOfTime);
            }
            let (line, malformed) = event.line();
            if !writer.has_room(&line) {
                as_read.still_holds().await?;
                writer.finish_object().await?;
            }
            writer.push(&line, 1).await?;
            writer.malformed += u64::from(malformed);
        }
        if writer.is_empty() {
            writer.push_systems_own(&event::heartbeat(&config.tenant, window)).await?;
        }
        as_read.still_holds().await?;
        Ok(writer.finish_object().await?)
    }
}

/// The records that a window is exported by.
struct AsRead<'a, T> {
    run: Run<'a>,
    tenants: &'a T,
    config: &'a TenantConfig,
    /// None if it may be any other by now.
    watermark: Option<&'a StoredWatermark>,
    read_at: &'a mut DateTime<Utc>,
}

impl<T: Tenants> AsRead<'_, T> {
    /// Looks at the records again if they were read a while ago, before anything is stored by them.
    async fn still_holds(&mut self) -> Result<(), Why> {
        let now = (self.run.now)();
        if now - *self.read_at <= FRESH {
            return Ok(());
        }
        let records = self.tenants.load_one(&self.config.tenant).await?;
        let config = records.config.map(|config| config.check(&self.config.tenant, self.run.platform));
        let moved = self.watermark.is_some_and(|as_read| records.watermark.as_ref() != Some(as_read));
        if moved || config != Some(Ok(self.config.clone())) {
            return Err(Why::Overtaken);
        }
        *self.read_at = now;
        Ok(())
    }
}

/// Spreads a window's lines over as many objects as they need.
struct Writer<'a, B: Buckets> {
    buckets: &'a B,
    config: &'a TenantConfig,
    window: Window,
    limit: u64,
    bucket: &'a mut Option<B::Bucket>,
    open: Option<OpenObject<<B::Bucket as Bucket>::Upload>>,
    stored: Vec<StoredObject>,
    malformed: u64,
}

struct OpenObject<U> {
    key: String,
    encoder: Encoder,
    upload: U,
    events: u64,
}

impl<'a, B: Buckets> Writer<'a, B> {
    fn new(
        buckets: &'a B,
        options: &Options,
        config: &'a TenantConfig,
        window: Window,
        bucket: &'a mut Option<B::Bucket>,
    ) -> Self {
        let limit = options.max_object_bytes;
        Self { buckets, config, window, limit, bucket, open: None, stored: Vec::new(), malformed: 0 }
    }

    fn is_empty(&self) -> bool {
        self.open.is_none() && self.stored.is_empty()
    }

    async fn push_systems_own(&mut self, line: &str) -> Result<(), Failure> {
        self.push(line, 0).await
    }

    /// Whether the line fits into the object that is open; into one that is not, it always does.
    fn has_room(&self, line: &str) -> bool {
        self.open.as_ref().is_none_or(|open| open.encoder.has_room(line.len(), self.limit))
    }

    async fn push(&mut self, line: &str, events: u64) -> Result<(), Failure> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.next_object().await?,
        };
        let encoded = open.encoder.push(line).map_err(not_encoded);
        let ready = open.encoder.take_ready(CHUNK);
        open.events += events;
        let open = self.open.insert(open);
        encoded?;
        match ready {
            Some(bytes) => open.upload.write(bytes).await,
            None => Ok(()),
        }
    }

    async fn next_object(&mut self) -> Result<OpenObject<<B::Bucket as Bucket>::Upload>, Failure> {
        let bucket = match self.bucket.take() {
            Some(bucket) => bucket,
            None => self.buckets.open(self.config, self.window).await?,
        };
        let bucket = self.bucket.insert(bucket);
        let file = u32::try_from(self.stored.len() + 1).unwrap_or(u32::MAX);
        let spec = ObjectSpec::new(self.config, self.window, file);
        let encoder = Encoder::new(self.config.format, self.config.compression);
        Ok(OpenObject { key: spec.key.clone(), encoder, upload: bucket.upload(spec), events: 0 })
    }

    async fn finish_object(&mut self) -> Result<(), Failure> {
        let Some(OpenObject { key, encoder, mut upload, events }) = self.open.take() else { return Ok(()) };
        let finished = match encoder.finish() {
            Ok(finished) => finished,
            Err(error) => {
                upload.abort().await;
                return Err(not_encoded(error));
            }
        };
        if let Err(failure) = upload.write(finished.bytes).await {
            upload.abort().await;
            return Err(failure);
        }
        // Before the answer: a write whose answer is lost may have replaced the object all the same.
        self.stored.push(StoredObject { key, bytes: finished.stored, events, sha256: finished.sha256 });
        upload.finish().await
    }

    async fn abort(self) -> Vec<StoredObject> {
        if let Some(open) = self.open {
            open.upload.abort().await;
        }
        self.stored
    }

    fn into_receipt(self, gap: bool, started: DateTime<Utc>, ended: DateTime<Utc>) -> Receipt {
        Receipt {
            window: self.window,
            bucket: self.config.bucket.to_string(),
            objects: self.stored,
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
